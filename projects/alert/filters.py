"""The two filters: the global slow-down factor xi, and the ratio of idle to running power.

Both work on floats, for a controller, and on arrays, for many controllers at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, TypeVar

import numpy as np

from common.errors import did_you_mean

Number = TypeVar("Number", float, np.ndarray)

PRESETS: Mapping[str, Mapping[str, float]] = {
    # the paper's: the gain stays above 0.99, so the mean is almost the last ratio
    "responsive": {},
    "smooth": {"r": 0.05, "q0": 0.005},
}


@dataclass(frozen=True)
class KalmanConfig:
    """Constants of both filters (section 2.3, steps 3 and 6).

    Parameters
    ----------
    k0, r, q0, mu0, var0, alpha : float
        Initial gain K(0), variance of a measurement R, floor and initial value of the process
        variance Q, initial mean and variance of xi, forgetting factor of Q. Recalled from the
        paper, not read in it; ``alpha`` is that of the adaptive filter which it cites.
    textbook : bool
        Predict with the variance after the last measurement, (1 - K) var. The paper predicts with
        the one before it, so that its variance never falls below ``q0``.
    max_ratio : float
        A measured slow-down above this is clipped to it.
    m0, s, v : float
        Initial variance, process variance and measurement variance of the idle ratio.

    Raises
    ------
    ValueError
        If a constant is not positive or ``alpha`` lies outside [0, 1].

    Examples
    --------
    >>> KalmanConfig.preset("smooth").r
    0.05
    """

    k0: float = 0.5
    r: float = 0.001
    q0: float = 0.1
    mu0: float = 1.0
    var0: float = 0.1
    alpha: float = 0.3
    textbook: bool = False
    max_ratio: float = 20.0
    m0: float = 0.01
    s: float = 0.0001
    v: float = 0.001

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if name == "alpha":
                if not 0 <= value <= 1:
                    raise ValueError(f"alpha is {value}; a forgetting factor lies in [0, 1]")
            elif name != "textbook" and not 0 < value < float("inf"):
                raise ValueError(f"Kalman constant {name} is {value}; it must be positive")

    @classmethod
    def preset(cls, name: str, **changes: Any) -> KalmanConfig:
        """Return ``"responsive"`` (the paper's constants) or ``"smooth"``, with changes on top."""
        if name not in PRESETS:
            raise ValueError(f"unknown preset {name!r}{did_you_mean(name, PRESETS)}")
        return cls(**{**PRESETS[name], **changes})


@dataclass
class SlowDown:
    """Adaptive Kalman filter of the slow-down factor xi ~ N(mu, var).

    ``var`` is the variance before a measurement: with the gain K of the measurement before it,
    var <- (1 - K) var + Q is the textbook's prediction step, and is what the next input's latency
    is predicted with.

    Attributes
    ----------
    mu, var, q, k : float or ndarray
        Mean and variance of xi, process variance Q, gain K.

    Examples
    --------
    >>> xi = SlowDown.start(KalmanConfig())
    >>> xi.update(2.0)
    >>> round(xi.mu, 3), xi.variance >= 0.1
    (1.996, True)
    """

    config: KalmanConfig
    mu: Any
    var: Any
    q: Any
    k: Any

    @classmethod
    def start(cls, config: KalmanConfig, shape: tuple[int, ...] = ()) -> SlowDown:
        """Return the filter before the first input; with a shape, that many of them."""
        values = (config.mu0, config.var0, config.q0, config.k0)
        return cls(config, *(np.full(shape, v) if shape else v for v in values))

    def update(self, ratio: Number) -> None:
        """Take in a measured latency over the profiled one (step 3)."""
        scalar, limit = isinstance(ratio, float), self.config.max_ratio
        largest, smallest = (max, min) if scalar else (np.maximum, np.minimum)
        alpha = self.config.alpha
        y = smallest(ratio, limit) - self.mu
        self.q = largest(self.config.q0, alpha * self.q + (1 - alpha) * (self.k * y) ** 2)
        self.var = (1 - self.k) * self.var + self.q
        self.k = self.var / (self.var + self.config.r)
        self.mu = self.mu + self.k * y

    def miss(self) -> None:
        """Take in that an input was not measured: the variance grows by Q (section 2.4)."""
        self.var = self.var + self.q

    def at_least(self, ratio: float) -> None:
        """Take in a run that was killed: the ratio is a lower bound, the variance grows by Q."""
        if ratio > self.mu:
            self.update(ratio)
        self.miss()

    @property
    def variance(self) -> Any:
        """Variance that the next latency is predicted with."""
        return (1 - self.k) * self.var if self.config.textbook else self.var


@dataclass
class IdleRatio:
    """Kalman filter of phi, idle power over running power (step 6).

    Examples
    --------
    >>> phi = IdleRatio.start(KalmanConfig(), 0.3)
    >>> phi.update(0.5)
    >>> 0.3 < phi.phi < 0.5
    True
    """

    config: KalmanConfig
    phi: Any
    m: float

    @classmethod
    def start(cls, config: KalmanConfig, phi: Any) -> IdleRatio:
        """Return the filter before the first measurement."""
        return cls(config, phi, config.m0)

    def update(self, ratio: Number) -> None:
        """Take in a measured idle power over the running power."""
        prior = self.m + self.config.s
        gain = prior / (prior + self.config.v)
        self.m = (1 - gain) * prior
        self.phi = self.phi + gain * (ratio - self.phi)
