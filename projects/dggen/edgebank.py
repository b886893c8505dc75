"""EdgeBank: a link is predicted if it was seen before (Poursafaei et al. 2022)."""

from __future__ import annotations

import numpy as np

# Ids fit into half a key.
_MOST = 2**31 - 1


def pair_keys(src: np.ndarray, dst: np.ndarray) -> np.ndarray:
    """Return one integer per pair of ids, shape (B,); :func:`unpack_keys` inverts it.

    Raises
    ------
    ValueError
        For ids below 0 or above 2^31 - 1.

    Examples
    --------
    >>> [part.tolist() for part in unpack_keys(pair_keys(np.array([3]), np.array([4])))]
    [[3], [4]]
    """
    src, dst = np.asarray(src, dtype=np.int64), np.asarray(dst, dtype=np.int64)
    for ids in (src, dst):
        if ids.size and not 0 <= ids.min() <= ids.max() <= _MOST:
            raise ValueError(f"ids are {ids.min()} to {ids.max()}; allowed are 0 to {_MOST}")
    return (src << 31) | dst


def unpack_keys(keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the sources and destinations of keys of :func:`pair_keys`."""
    return keys >> 31, keys & _MOST


class EdgeBank:
    """Memory of seen pairs, for ever or for a time window.

    Parameters
    ----------
    window : float, optional
        How long a pair is remembered after it was last seen; by default for ever. The benchmark
        takes the length of the test part.

    Raises
    ------
    ValueError
        If the window is not positive.

    Examples
    --------
    >>> bank = EdgeBank(window=5.0)
    >>> bank.update(np.array([0, 1]), np.array([2, 3]), np.array([0.0, 9.0]))
    >>> bank.score(np.array([0, 1]), np.array([2, 3]), 10.0).tolist()
    [0.0, 1.0]
    """

    def __init__(self, window: float | None = None) -> None:
        if window is not None and not window > 0:
            raise ValueError(f"window={window} must be positive, or None to remember for ever")
        self.window = np.inf if window is None else window
        self._last: dict[int, float] = {}

    def __len__(self) -> int:
        return len(self._last)

    def update(self, src: np.ndarray, dst: np.ndarray, t: np.ndarray | float) -> None:
        """Remember pairs seen at times ``t``, one each or one for all."""
        keys = pair_keys(src, dst)
        times = np.broadcast_to(np.asarray(t, dtype=float), keys.shape)
        for key, time in zip(keys.tolist(), times.tolist(), strict=True):
            self._last[key] = max(time, self._last.get(key, time))

    def score(self, src: np.ndarray, dst: np.ndarray, t: np.ndarray | float) -> np.ndarray:
        """Return 1.0 for pairs that are remembered at times ``t``, else 0.0; shape (B,)."""
        keys = pair_keys(src, dst).tolist()
        last = np.array([self._last.get(key, -np.inf) for key in keys])
        return (np.isfinite(last) & (np.asarray(t, dtype=float) - last <= self.window)).astype(
            float
        )
