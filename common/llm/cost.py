"""How long a model takes for its next tokens, as a formula fitted to measurements.

The time to process ``n`` new tokens after ``c`` cached ones is ``a + b n + d n (c + n / 2)``: call,
weights, and attention, in which token ``i`` of the new ones sees ``c + i`` earlier ones. With
``n = 1`` it is the time of one decoding step.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import nnls


@dataclass(frozen=True)
class CostModel:
    """Seconds as a function of new and cached tokens.

    Attributes
    ----------
    call : float
        Time of a call whatever its size [s].
    token : float
        Time of a token without attention [s].
    pair : float
        Time for one token to attend to another [s].

    Examples
    --------
    >>> CostModel(0.01, 1e-4, 1e-8).seconds(1000, 2000)
    0.135
    """

    call: float
    token: float
    pair: float

    def seconds(self, new: float, cached: float = 0.0) -> float:
        """Return the time to process ``new`` tokens after ``cached`` ones [s]."""
        return float(_terms(new, cached) @ [self.call, self.token, self.pair])

    @classmethod
    def analytic(
        cls, parameters: float, layers: int, width: int, flops: float, call: float = 0.0
    ) -> CostModel:
        """Count operations: two for each parameter and token, 4 x layers x width for each pair.

        Parameters
        ----------
        parameters : float
            Of the model, without the embedding table.
        layers, width : int
            Layers, and query heads times head size.
        flops : float
            Operations per second that the device reaches on such matrices.
        call : float
            Time of a call whatever its size [s].

        Examples
        --------
        An 8B model at 75 TFLOP/s takes 2.3 s for 9,400 tokens.

        >>> round(CostModel.analytic(8e9, 32, 4096, 75e12).seconds(9400), 1)
        2.3
        """
        return cls(call, 2 * parameters / flops, 4 * layers * width / flops)


@dataclass(frozen=True)
class Fit:
    """A fitted model and how well it describes what it was fitted to.

    Attributes
    ----------
    model : CostModel
    error : float
        Median of |predicted - measured| / measured.
    worst : float
        Largest of them.
    """

    model: CostModel
    error: float
    worst: float


def fit(new: Sequence[float], cached: Sequence[float], seconds: Sequence[float]) -> Fit:
    """Fit the formula by least squares of relative errors, no coefficient below zero.

    Parameters
    ----------
    new, cached, seconds : sequence of float, shape (n,)
        Tokens of each call, tokens before them, and measured times; three or more.

    Raises
    ------
    ValueError
        For fewer than three measurements, other lengths, or times that are not positive.

    Examples
    --------
    >>> truth = CostModel(0.01, 1e-4, 1e-8)
    >>> grid = [(1, 0), (100, 0), (1000, 0), (100, 900), (1000, 4000)]
    >>> found = fit(*zip(*grid), [truth.seconds(n, c) for n, c in grid])
    >>> bool(np.isclose(found.model.seconds(500, 500), truth.seconds(500, 500)))
    True
    """
    new, cached, seconds = (np.asarray(x, float) for x in (new, cached, seconds))
    if not len(new) == len(cached) == len(seconds) or len(new) < 3:
        raise ValueError(
            f"{len(new)} sizes, {len(cached)} caches and {len(seconds)} times; a fit needs three "
            "measurements or more"
        )
    if not (seconds > 0).all():
        raise ValueError(f"times must be positive, the shortest is {seconds.min():g} s")
    terms = _terms(new, cached) / seconds[:, None]
    # Columns of like size: the solver's tolerance is absolute.
    size = np.linalg.norm(terms, axis=0)
    coefficients = nnls(terms / size, np.ones(len(seconds)))[0] / size
    errors = np.abs(terms @ coefficients - 1)
    model = CostModel(*map(float, coefficients))
    return Fit(model, float(np.median(errors)), float(errors.max()))


def measure(call: Callable[[], object], repeats: int = 5, warm: int = 1) -> float:
    """Return the median time of a call [s]; the first ``warm`` calls do not count."""
    times = []
    for repeat in range(warm + repeats):
        begun = time.perf_counter()
        call()
        if repeat >= warm:
            times.append(time.perf_counter() - begun)
    return statistics.median(times)


def _terms(new: float | np.ndarray, cached: float | np.ndarray) -> np.ndarray:
    new, cached = np.asarray(new, float), np.asarray(cached, float)
    return np.stack([np.ones_like(new), new, new * (cached + new / 2)], axis=-1)
