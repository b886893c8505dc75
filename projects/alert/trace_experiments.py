"""The recorded contention: how much a load slows down, and how well the filter foresees it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from projects.alert.contention import QUIET, bursts
from projects.alert.filters import KalmanConfig, SlowDown

if TYPE_CHECKING:
    import pandas as pd

    from common.run import Run

PRESETS = {
    "responsive": KalmanConfig.preset("responsive"),
    "smooth": KalmanConfig.preset("smooth"),
    "textbook": KalmanConfig.preset("responsive", textbook=True),
}
NORMAL_95 = 1.959964


def contention(run: Run) -> None:
    """How much a co-running load slows an inference down, and how well each filter foresees it."""
    from projects.alert.recordings import CONTENTION, read

    path = run.recorded(CONTENTION, name="contention")
    trace = _synthetic_trace(run) if path is None else read(path)
    trace = trace.iloc[: run.params["inputs"]]
    quiet = trace.loc[trace["load"] == QUIET, "seconds"].median()
    ratio = (trace["seconds"] / quiet).to_numpy()
    loads = trace["load"].to_numpy()
    burst = np.cumsum(np.r_[0, loads[1:] != loads[:-1]])
    for number in range(burst[-1] + 1):
        inside = burst == number
        values = ratio[inside]
        item = {"item": f"burst {number}", "load": loads[inside][0], "dataset": "contention"}
        run.observe(
            {
                "slow_down": values.mean(),
                "slow_down_p95": np.quantile(values, 0.95),
                "variation": values.std() / values.mean(),
                "burst_length": len(values),
            },
            variant="trace",
            **item,
        )
    for preset, config in PRESETS.items():
        mean, deviation = foreseen(ratio, config)
        covered = np.abs(ratio - mean) <= NORMAL_95 * deviation
        for number in range(burst[-1] + 1):
            inside = burst == number
            run.observe(
                {
                    "coverage": covered[inside].mean(),
                    "band": 2 * NORMAL_95 * deviation[inside].mean(),
                    "missed_by": np.abs(ratio - mean)[inside].mean(),
                },
                variant=preset,
                dataset="contention",
                item=f"burst {number}",
                load=loads[inside][0],
            )
        _observe_series(run, preset, ratio, mean, deviation, loads)


def foreseen(ratio: np.ndarray, config: KalmanConfig) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of xi before each measured ratio, shape (n,) each."""
    xi = SlowDown.start(config)
    mean, deviation = np.empty(len(ratio)), np.empty(len(ratio))
    for place, value in enumerate(ratio):
        mean[place], deviation[place] = xi.mu, xi.variance**0.5
        xi.update(float(value))
    return mean, deviation


def _observe_series(
    run: Run,
    preset: str,
    ratio: np.ndarray,
    mean: np.ndarray,
    deviation: np.ndarray,
    loads: np.ndarray,
) -> None:
    """The first inputs one by one, for the figure."""
    for place in range(min(run.params["shown"], len(ratio))):
        run.observe(
            {
                "series_ratio": ratio[place],
                "series_mean": mean[place],
                "series_sd": deviation[place],
            },
            variant=preset,
            dataset="contention",
            item=f"input {place}",
            index=place,
            load=loads[place],
        )


def _synthetic_trace(run: Run) -> pd.DataFrame:
    """Bursts of the generated environments in place of the recorded ones."""
    import pandas as pd

    from projects.alert.environment import BUSY, LOADS
    from projects.alert.environment import QUIET as QUIET_SD

    run.synthetic("contention", "bursts of the generated memory and compute environments")
    rng = run.rng("trace")
    loads = np.array(bursts(run.params["inputs"], 200, rng=rng))
    extra = np.zeros(len(loads))
    for load in ("memory", "compute"):
        extra[loads == load] = rng.uniform(*LOADS[load], (loads == load).sum())
    noise = rng.normal(0, np.where(loads == QUIET, QUIET_SD, BUSY))
    seconds = 0.004 * (1 + extra) * np.exp(noise)
    return pd.DataFrame({"input": np.arange(len(loads)), "seconds": seconds, "load": loads})
