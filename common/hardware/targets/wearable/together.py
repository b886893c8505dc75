"""Several modules in one pass of PyTorch's exporter, which takes seconds before its first operator.

Most of what the pass takes after that goes into batch normalisation, which any runtime folds into
the convolution before it: so it is folded before the pass.
"""

from __future__ import annotations

import ast
import copy
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common.errors import ConfigError, require
from common.hardware.targets.wearable.export import TOLERANCE, Export, describe, onnx_model
from common.hardware.targets.wearable.graph import EXTRA, SCOPES
from common.results import write_bytes

if TYPE_CHECKING:
    import torch

MEMBER = re.compile(r"^members\.\d+\.?")
"""How the exporter begins the path of a module that was exported with others."""


def export_together(
    models: Mapping[str, tuple[torch.nn.Module, Sequence[str]]],
    windows: Sequence[Mapping[str, torch.Tensor]],
    folder: Path | str,
    *,
    tolerance: float | None = TOLERANCE,
) -> dict[str, Export]:
    """Export modules to one ONNX file each, in one pass, and compare each with eager mode.

    Parameters
    ----------
    models : mapping of str to tuple
        By the name of its file: a module of one output, and the names of its inputs.
    windows : sequence of mapping
        Tensors by the name of the input. The first gives the shapes; all are compared on.
    folder : Path or str
        Gets ``{name}.onnx``, with the inputs as named and an output called as the model.
    tolerance : float or None
        As for :func:`~common.hardware.targets.wearable.export.export_onnx`.

    Returns
    -------
    dict
        Record of each export by its name.

    Raises
    ------
    MissingExtra
        If a package is not installed.
    ConfigError
        If a model takes an input that the windows lack, or is called as an input.
    ExportError
        If the exporter refuses a module, or a file computes something else.

    Examples
    --------
    >>> import tempfile, torch
    >>> models = {"a": (torch.nn.Linear(4, 2), ["x"]), "b": (torch.nn.ReLU(), ["x"])}
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     made = export_together(models, [{"x": torch.ones(1, 4)}], folder)
    >>> made["b"].inputs[0].name, made["b"].outputs[0].shape
    ('x', (1, 4))
    """
    require("onnxruntime", EXTRA)
    utils = require("onnx.utils", EXTRA)
    names = list(dict.fromkeys(name for _, taken in models.values() for name in taken))
    for name in names:
        if name not in windows[0]:
            raise ConfigError(f"no input is called {name!r}; there are {', '.join(windows[0])}")
        if name in models:
            raise ConfigError(f"{name!r} is an input and a model; give them different names")
    together = _together(
        [folded(module) for module, _ in models.values()],
        [[names.index(name) for name in taken] for _, taken in models.values()],
    )
    inputs = [windows[0][name] for name in names]
    whole = onnx_model(together, inputs, input_names=names, output_names=list(models))
    cutter, made = utils.Extractor(whole), {}
    for name, (module, taken) in models.items():
        path = Path(folder) / f"{name}.onnx"
        part = cutter.extract_model(list(taken), [name])
        for node in part.graph.node:
            _forget_member(node)
        write_bytes(path, part.SerializeToString())
        checked = [[window[each] for each in taken] for window in windows]
        made[name] = describe(module, checked, path, "onnx", "fp32", tolerance=tolerance)
    return made


def folded(module: torch.nn.Module) -> torch.nn.Module:
    """Copy of a module for inference, batch normalisation folded into the convolution before it.

    Where both follow each other in a ``Sequential``; elsewhere it stays.

    Examples
    --------
    >>> import torch
    >>> layers = torch.nn.Conv1d(1, 2, 3), torch.nn.BatchNorm1d(2)
    >>> folded(torch.nn.Sequential(*layers))[1]
    Identity()
    """
    from torch import nn
    from torch.nn.modules.batchnorm import _BatchNorm
    from torch.nn.modules.conv import _ConvNd
    from torch.nn.utils.fusion import fuse_conv_bn_eval

    module = copy.deepcopy(module).eval()
    for layers in [each for each in module.modules() if isinstance(each, nn.Sequential)]:
        for place in range(len(layers) - 1):
            first, second = layers[place], layers[place + 1]
            foldable = isinstance(second, _BatchNorm) and second.track_running_stats
            if foldable and isinstance(first, _ConvNd):
                layers[place], layers[place + 1] = fuse_conv_bn_eval(first, second), nn.Identity()
    return module


def _together(members: Sequence[torch.nn.Module], takes: Sequence[Sequence[int]]) -> Any:
    """Module of all inputs that gives the output of every member."""
    from torch import nn

    class Together(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.members = nn.ModuleList(members)

        def forward(self, *inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
            chosen = zip(self.members, takes, strict=True)
            return tuple(module(*(inputs[place] for place in taken)) for module, taken in chosen)

    return Together()


def _forget_member(node: Any) -> None:
    """Let a node name its module as if that had been exported alone."""
    for each in node.metadata_props:
        if each.key == SCOPES:
            each.value = str([MEMBER.sub("", scope) for scope in ast.literal_eval(each.value)])
