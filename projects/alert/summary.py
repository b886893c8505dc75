"""From outcomes to the paper's table: normalised loss and violations per constraint setting."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from projects.alert.replay import Constraints, Outcome

if TYPE_CHECKING:
    import pandas as pd

ALLOWED = 0.1  # share of inputs that may violate a constraint in a setting that counts as met
MEANS = ("harmonic", "arithmetic", "geometric")


def loss(result: Outcome, constraints: Constraints) -> np.ndarray:
    """Mean over inputs of what is minimised, joules or error, shape (G,)."""
    if constraints.minimises == "energy":
        return result.energy.mean(axis=0)
    return (1 - result.accuracy).mean(axis=0)


def summarise(
    results: Mapping[str, Outcome],
    constraints: Constraints,
    *,
    reference: str = "OracleStatic",
    oracle: str = "Oracle",
    allowed: float = ALLOWED,
) -> pd.DataFrame:
    """Summarise each scheme in each setting.

    Parameters
    ----------
    results : mapping
        Outcome of each scheme; ``reference`` and ``oracle`` are among them.
    constraints : Constraints
        The settings.
    reference : str
        What losses are divided by.
    oracle : str
        A setting in which even this scheme violates more than ``allowed`` is excluded.
    allowed : float
        Share of violated inputs up to which a setting is met.

    Returns
    -------
    DataFrame
        Columns ``scheme``, ``setting``, ``energy`` (J), ``error``, ``violations``, ``late``
        (shares of inputs), ``on_average`` (the goal holds for the mean over inputs, and the
        deadline for all but ``allowed``), ``met``, ``excluded``, and ``normalised``, the loss over
        the reference's, NaN where excluded.

    Examples
    --------
    >>> one = np.array([[0, 0]])
    >>> def result(energy):
    ...     return Outcome(one, one + 1.0, one + 0.8, one + energy, one > 0)
    >>> goals = Constraints("energy", np.ones(2), np.array([0.7, 0.9]))
    >>> table = summarise({"OracleStatic": result(2.0), "Oracle": result(1.0)}, goals)
    >>> table[table["scheme"] == "Oracle"]["normalised"].tolist()
    [0.5, nan]
    """
    import pandas as pd

    base = loss(results[reference], constraints)
    excluded = results[oracle].violated(constraints).mean(axis=0) > allowed
    parts = []
    for scheme, result in results.items():
        violations = result.violated(constraints).mean(axis=0)
        energy, accuracy = result.energy.mean(axis=0), result.accuracy.mean(axis=0)
        late = result.late.mean(axis=0)
        kept = (
            accuracy >= constraints.goal
            if constraints.minimises == "energy"
            else energy <= constraints.goal
        )
        columns = {
            "scheme": scheme,
            "setting": np.arange(len(constraints)),
            "energy": energy,
            "error": 1 - accuracy,
            "violations": violations,
            "late": late,
            "on_average": kept & (late <= allowed),
            "met": violations <= allowed,
            "excluded": excluded,
            "normalised": np.where(excluded, np.nan, loss(result, constraints) / base),
        }
        parts.append(pd.DataFrame(columns))
    return pd.concat(parts, ignore_index=True)


def mean(values: Sequence[float] | np.ndarray, kind: str = "harmonic") -> float:
    """Harmonic (the paper's), arithmetic or geometric mean of positive numbers; NaN of none.

    Examples
    --------
    >>> [round(mean([1, 4], kind), 3) for kind in MEANS]
    [1.6, 2.5, 2.0]
    """
    numbers = np.asarray(values, dtype=float)
    if kind not in MEANS:
        raise ValueError(f"unknown mean {kind!r}; allowed: {', '.join(MEANS)}")
    if not len(numbers):
        return float("nan")
    if (numbers <= 0).any():
        raise ValueError(f"means of normalised losses need positive numbers, got {numbers.min()}")
    if kind == "harmonic":
        return float(1 / np.mean(1 / numbers))
    return (
        float(np.mean(numbers)) if kind == "arithmetic" else float(np.exp(np.log(numbers).mean()))
    )
