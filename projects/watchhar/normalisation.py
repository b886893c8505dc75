"""Scaling of the motion's six channels (section 2.3), fitted on whom it should be fitted on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from common.errors import known

METHODS = ("standard", "released")


@dataclass(frozen=True)
class Normaliser:
    """An affine map per channel.

    Attributes
    ----------
    scale, shift : ndarray, shape (channels,)
        ``x * scale + shift``.

    Notes
    -----
    The released code maps the 20th and 80th percentiles to -1 and 1,
    ``z = 1 + (x - p80) * 2 / (p80 - p20)``, and then takes ``(z - mean) / sd`` with mean and
    standard deviation *of x*: a slip (trap 4) that leaves channels far from zero. Done with those
    of z, the first map would cancel and the whole be the standard score: so that is the default.
    """

    scale: np.ndarray
    shift: np.ndarray

    @classmethod
    def fit(cls, imu: np.ndarray, method: str = "standard") -> Normaliser:
        """Fit on windows or a recording.

        Parameters
        ----------
        imu : ndarray, shape (..., channels)
            Motion of the participants that may be known: those of the training part. Released is
            the use of all, also the one under test (trap 3).
        method : {"standard", "released"}
            See the notes.

        Raises
        ------
        ValueError
            If a channel is constant, or its percentiles coincide under ``released``.

        Examples
        --------
        >>> x = np.array([[0.0], [2.0]])
        >>> Normaliser.fit(x)(x).ravel().tolist()
        [-1.0, 1.0]
        """
        known(method, METHODS, "normalisation")
        flat = imu.reshape(-1, imu.shape[-1]).astype(float)
        mean, sd = flat.mean(axis=0), flat.std(axis=0)
        if not (sd > 0).all():
            raise ValueError(f"channel {int(np.argmin(sd > 0))} of the motion is constant")
        if method == "standard":
            return cls(1 / sd, -mean / sd)
        low, high = np.percentile(flat, [20, 80], axis=0)
        if not (high > low).all():
            place = int(np.argmin(high > low))
            raise ValueError(f"channel {place}: 20th and 80th percentile are both {low[place]:.4g}")
        slope = 2 / (high - low)
        return cls(slope / sd, (1 - high * slope - mean) / sd)

    def __call__(self, imu: np.ndarray) -> np.ndarray:
        """Scale motion of shape (..., channels)."""
        return (imu * self.scale + self.shift).astype(np.float32)
