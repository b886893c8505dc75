"""Where the maps are computed: with numpy on the CPU, or with PyTorch on any of its devices."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from common.graphs.projections import keyed_normal, keyed_normal_torch

_NORMALS_AT_ONCE = 1 << 14
# Rows that are kept from one fingerprint to the next, in numbers per matrix.
_KEPT = 1 << 22


class NumpyArrays:
    """Arrays on the CPU."""

    xp = np

    def array(self, values: np.ndarray) -> np.ndarray:
        """Return the values where the computation is."""
        return values

    def numpy(self, values: np.ndarray) -> np.ndarray:
        """Return the values as numpy's."""
        return values

    def zeros(self, *shape: int) -> np.ndarray:
        """Float64 zeros."""
        return np.zeros(shape)

    def normal(self, state: int, keys: np.ndarray, width: int) -> np.ndarray:
        """Rows of a keyed Gaussian matrix."""
        return _kept_rows(state, width)(keys)


class _KeptRows:
    """The first rows of a keyed Gaussian matrix, kept because graphs are compared many at a time.

    The rows of keys 0, 1, 2, ... as far as they have been asked for and 32 MB hold; rows further
    down and keys that lie far apart are computed each time.
    """

    def __init__(self, state: int, width: int) -> None:
        self._state, self._width = state, width
        self._rows = np.empty((0, width))

    def __call__(self, keys: np.ndarray) -> np.ndarray:
        kept, needed = self._rows, int(keys.max()) + 1
        scattered = needed > 16 * (len(kept) + len(keys))
        if scattered or needed * self._width > _KEPT:
            return self._computed(keys)
        if needed > len(kept):
            kept = np.concatenate([kept, self._computed(np.arange(len(kept), needed))])
            self._rows = kept
        return kept[keys]

    def _computed(self, keys: np.ndarray) -> np.ndarray:
        """Compute rows in pieces that stay in the processor's cache."""
        rows = np.empty((len(keys), self._width))
        step = max(_NORMALS_AT_ONCE // self._width, 1)
        for begin in range(0, len(keys), step):
            part = keys[begin : begin + step]
            rows[begin : begin + step] = keyed_normal(self._state, part, self._width)
        return rows


@functools.lru_cache(maxsize=4)
def _kept_rows(state: int, width: int) -> _KeptRows:
    return _KeptRows(state, width)


class TorchArrays:
    """Tensors on a device of PyTorch's."""

    def __init__(self, device: Any) -> None:
        import torch

        self.xp, self.device = torch, torch.device(device)

    def array(self, values: np.ndarray) -> Any:
        """Return the values where the computation is."""
        return self.xp.as_tensor(values, device=self.device)

    def numpy(self, values: Any) -> np.ndarray:
        """Return the values as numpy's."""
        return values.cpu().numpy()

    def zeros(self, *shape: int) -> Any:
        """Float64 zeros."""
        return self.xp.zeros(shape, dtype=self.xp.float64, device=self.device)

    def normal(self, state: int, keys: np.ndarray, width: int) -> Any:
        """Rows of a keyed Gaussian matrix."""
        return keyed_normal_torch(state, self.array(keys), width)


Arrays = NumpyArrays | TorchArrays


def arrays_on(device: Any) -> Arrays:
    """Return numpy for ``"cpu"``, PyTorch for any other name or for a ``torch.device``."""
    return NumpyArrays() if isinstance(device, str) and device == "cpu" else TorchArrays(device)
