"""Profile tables: timm's accuracy and latency, Zeus' power curves, and a generator for neither.

Nothing here was measured together. Latency is timm's, batch 1 on one CPU; what a power limit does
to time and watts is the shape of Zeus' curves, from training on GPUs; energy is modelled from both.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from projects.alert.profile import COLUMNS, ProfileTable

if TYPE_CHECKING:
    import pandas as pd

TIMM = "timm-model-profiles"
ZEUS = "zeus-power-traces"
ACCURACY_FILE = "results-imagenet.csv"
LATENCY_FILE = "benchmark-infer-fp32-nchw-pt240-cpu-i9_10940x-dynamo.csv"
CLASSES = 1000
SMALL_GMACS = 1.0  # below it a network answers to a power limit as ShuffleNet does
NESTING_COST = 0.008  # accuracy that a stage of an anytime network lacks to a network of its own


@dataclass(frozen=True)
class PowerCurve:
    """Time and power of one workload against the power limit.

    Attributes
    ----------
    limits : tuple of float
        Watts, rising.
    time : ndarray
        Time at each limit over that at the highest.
    power : ndarray
        Mean watts at each limit.
    """

    limits: tuple[float, ...]
    time: np.ndarray
    power: np.ndarray


def join_timm(accuracy: pd.DataFrame, latency: pd.DataFrame) -> pd.DataFrame:
    """Join timm's accuracies with its batch-1 CPU latencies.

    The tag of the training recipe (behind the first dot) is stripped, image sizes have to be equal,
    and of a network's several rows the least accurate is kept.

    Returns
    -------
    DataFrame
        Columns ``model``, ``image_size``, ``accuracy`` in [0, 1], ``latency`` in seconds and
        ``gmacs``, fastest first.
    """
    left = accuracy.assign(model=accuracy["model"].str.partition(".")[0])
    left = left.sort_values("top1")
    right = latency[latency["infer_batch_size"] == 1]
    sizes = {"left_on": ["model", "img_size"], "right_on": ["model", "infer_img_size"]}
    joined = left.merge(right, **sizes).drop_duplicates("model")
    facts = {
        "model": joined["model"],
        "image_size": joined["img_size"],
        "accuracy": joined["top1"] / 100,
        "latency": joined["infer_step_time"] / 1000,
        "gmacs": joined["infer_gmacs"],
    }
    return type(accuracy)(facts).sort_values("latency", ignore_index=True)


def pareto(networks: pd.DataFrame) -> pd.DataFrame:
    """Keep the networks that are more accurate than every faster one."""
    ordered = networks.sort_values(["latency", "accuracy"], ascending=[True, False])
    before = ordered["accuracy"].cummax().shift(fill_value=-1.0)
    return ordered[ordered["accuracy"] > before].reset_index(drop=True)


def spread(networks: pd.DataFrame, count: int) -> pd.DataFrame:
    """Keep ``count`` networks, evenly over the logarithm of latency, both ends included."""
    wanted = np.geomspace(networks["latency"].min(), networks["latency"].max(), count)
    kept: list[int] = []
    for target in np.log(wanted):
        distance = (np.log(networks["latency"]) - target).abs().drop(index=kept)
        kept.append(int(distance.idxmin()))
    return networks.loc[sorted(kept)].reset_index(drop=True)


def read_curve(path: Path) -> PowerCurve:
    """Read a power profile of Zeus: seconds and joules of a fixed number of steps per limit."""
    import pandas as pd

    table = pd.read_csv(path)
    limit = table["window_name"].str.rpartition("_")[2].astype(float)
    table = table.assign(limit=limit).sort_values("limit")
    seconds, joules = table["elapsed_time"].to_numpy(), table["gpu0_energy"].to_numpy()
    return PowerCurve(tuple(table["limit"].tolist()), seconds / seconds[-1], joules / seconds)


def combine(
    networks: pd.DataFrame,
    large: PowerCurve,
    small: PowerCurve,
    stages: Sequence[int] = (),
    *,
    idle_ratio: float = 0.3,
) -> ProfileTable:
    """Combine networks with power curves, and add an anytime network made of some of them.

    Parameters
    ----------
    networks : DataFrame
        As :func:`join_timm` returns.
    large, small : PowerCurve
        Of networks above and below one GMAC.
    stages : sequence of int
        Rows that become the stages of the synthetic ``anytime`` network: each takes the time of all
        rows up to it and lacks 0.8 points to the row's accuracy.
    idle_ratio : float
        Idle power over running power.
    """
    import pandas as pd

    def curve(row: pd.Series) -> PowerCurve:
        return small if row["gmacs"] < SMALL_GMACS else large

    rows = []
    for _, row in networks.iterrows():
        shape = curve(row)
        times = row["latency"] * shape.time
        for limit, seconds, watts in zip(shape.limits, times, shape.power, strict=True):
            rows.append((row["model"], 1, row["accuracy"], limit, seconds, watts))
    elapsed = np.zeros(len(large.limits))
    for stage, place in enumerate(stages, start=1):
        row = networks.iloc[place]
        elapsed = elapsed + row["latency"] * curve(row).time
        accuracy = row["accuracy"] - NESTING_COST
        for limit, seconds, watts in zip(large.limits, elapsed, large.power, strict=True):
            rows.append(("anytime", stage, accuracy, limit, seconds, watts))
    frame = pd.DataFrame(rows, columns=list(COLUMNS))
    return ProfileTable.from_frame(frame, fail_accuracy=1 / CLASSES, idle_ratio=idle_ratio)


def generated_networks(count: int = 12) -> pd.DataFrame:
    """Return networks for a machine without data: error falls as a power of latency.

    Ends as on the frontier of timm's networks: 3 ms with 33 % error, 175 ms with 12 %.
    """
    import pandas as pd

    latency = np.geomspace(0.003, 0.175, count)
    exponent = np.log(0.33 / 0.12) / np.log(0.175 / 0.003)
    error = 0.33 * (latency / 0.003) ** -exponent
    return pd.DataFrame(
        {
            "model": [f"net{place:02d}" for place in range(count)],
            "accuracy": 1 - error,
            "latency": latency,
            "gmacs": 60 * latency,
        }
    )


def generated_curve(large: bool) -> PowerCurve:
    """Power curve for a machine without data: time falls with the limit until the work saturates.

    The shape of a large network is that of ResNet50 on an A40: no gain above 225 W, three times
    slower at 100 W. A small one draws at most 150 W and slows by a tenth.
    """
    limits = np.arange(100.0, 301.0, 25.0)
    if not large:
        return PowerCurve(
            tuple(limits), np.interp(limits, [100, 150], [1.1, 1.0]), np.minimum(limits, 150.0)
        )
    time = np.interp(limits, [100, 125, 150, 175, 200, 225], [2.9, 2.35, 1.54, 1.16, 1.05, 1.0])
    return PowerCurve(tuple(limits), time, np.minimum(limits, 260.0))
