"""Min-max scaling by what has been seen so far, so that no future value leaks in."""

from __future__ import annotations

import numpy as np

CLIP = (-0.5, 1.5)


class SeenScaler:
    """Min-max scaler whose range grows as values are seen; columns still constant become 0.

    Parameters
    ----------
    clip : bool
        Clip what lies beyond the seen range to [-0.5, 1.5].

    Examples
    --------
    >>> scaler = SeenScaler().see(np.array([[0.0, 7.0], [2.0, 7.0]]))
    >>> scaler.transform(np.array([[1.0, 7.0], [9.0, 7.0]])).tolist()
    [[0.5, 0.0], [1.5, 0.0]]
    """

    def __init__(self, clip: bool = True) -> None:
        self.clip = clip
        self.low: np.ndarray | None = None
        self.high: np.ndarray | None = None

    def see(self, *blocks: np.ndarray) -> SeenScaler:
        """Widen the range by blocks of rows, each of shape (m, d); empty blocks change nothing."""
        rows = np.concatenate([block for block in blocks if len(block)])
        low, high = rows.min(axis=0), rows.max(axis=0)
        self.low = low if self.low is None else np.minimum(self.low, low)
        self.high = high if self.high is None else np.maximum(self.high, high)
        return self

    @property
    def varying(self) -> np.ndarray:
        """Mask of the columns that have taken more than one value, shape (d,)."""
        return self.high > self.low

    def transform(self, rows: np.ndarray) -> np.ndarray:
        """Scale rows so that the seen range becomes [0, 1]."""
        keep = self.varying
        scaled = (rows - self.low) / np.where(keep, self.high - self.low, 1.0)
        return np.where(keep, np.clip(scaled, *CLIP) if self.clip else scaled, 0.0)
