"""An NVIDIA GPU driven through PyTorch."""

from __future__ import annotations

import importlib.util
from functools import lru_cache
from importlib import metadata

from common.hardware import nvml
from common.hardware.probe import Probe

TORCH_EXTRA = "pip install -c envs/constraints.txt -e '.[torch]'"
CUDA_TORCH = "install a CUDA build of PyTorch (https://pytorch.org/get-started/locally/)"


@lru_cache(maxsize=1)
def probe() -> Probe:
    """Whether NVML lists a GPU and PyTorch can compute on it.

    PyTorch takes seconds to import, so it is asked last and once per process.
    """
    seen = nvml.probe()
    if not seen:
        return seen
    if importlib.util.find_spec("torch") is None:
        return Probe(False, f"{seen.reason}, but PyTorch is not installed", TORCH_EXTRA)
    version = metadata.version("torch")
    if version.endswith("+cpu"):
        reason = f"{seen.reason}, but PyTorch {version} is built without CUDA"
        return Probe(False, reason, CUDA_TORCH)
    import torch

    if not torch.cuda.is_available():
        reason = f"{seen.reason}, but PyTorch {version} cannot reach it (torch.cuda)"
        return Probe(
            False, reason, f"{CUDA_TORCH} that fits the driver; check CUDA_VISIBLE_DEVICES"
        )
    return Probe(True, f"{torch.cuda.get_device_name()}, PyTorch {version}")
