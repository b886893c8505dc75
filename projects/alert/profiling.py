"""Profile the candidates on this machine: latency of every stage at every setting, quiet."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import TYPE_CHECKING

from projects.alert.knob import Knob, PowerModel

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from projects.alert.runners import Candidate, Runner


def measure_profile(
    candidates: Sequence[Candidate],
    knob: Knob,
    x: np.ndarray,
    *,
    runs: int = 20,
    warm_up: int = 3,
    power: PowerModel | None = None,
) -> pd.DataFrame:
    """Time every stage of every candidate at every setting.

    Parameters
    ----------
    candidates : sequence of Candidate
        What to run.
    knob : Knob
        Held by the caller (``with knob:``).
    x : ndarray
        One input.
    runs, warm_up : int
        Runs that count, and that do not, per candidate and setting.
    power : PowerModel, optional
        Watts of a setting; modelled, whatever the machine.

    Returns
    -------
    DataFrame
        Columns ``model, stage, accuracy, setting, latency, power`` as
        ``ProfileTable.from_frame`` reads them, and ``spread``, the standard deviation of the
        latency. Latency is the mean, cumulative over stages.

    Raises
    ------
    ValueError
        If ``runs`` is below 1, or a candidate has not one accuracy per stage.
    """
    import pandas as pd

    if runs < 1:
        raise ValueError(f"runs={runs}; at least one run has to count")
    model = power or PowerModel()
    rows = []
    for candidate in candidates:
        _check(candidate)
        for setting in knob.settings:
            knob.apply(setting)
            seconds = _stage_times(candidate.runner, x, runs, warm_up)
            for stage, times in enumerate(seconds):
                rows.append(
                    {
                        "model": candidate.name,
                        "stage": stage + 1,
                        "accuracy": candidate.accuracies[stage],
                        "setting": setting,
                        "latency": statistics.fmean(times),
                        "power": model.watts(knob.share(setting)),
                        "spread": statistics.pstdev(times),
                    }
                )
    knob.apply(knob.full)
    return pd.DataFrame(rows)


def _check(candidate: Candidate) -> None:
    given, stages = len(candidate.accuracies), candidate.runner.num_stages
    if given != stages:
        raise ValueError(f"{candidate.name} has {stages} stages but {given} accuracies")


def _stage_times(runner: Runner, x: np.ndarray, runs: int, warm_up: int) -> list[list[float]]:
    """Seconds to the end of each stage, one list of runs per stage."""
    for _ in range(warm_up):
        runner.run(x)
    whole = [runner.run(x).times for _ in range(runs)]
    return [list(times) for times in zip(*whole, strict=True)]
