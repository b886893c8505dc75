"""Profile tables for the tests."""

from __future__ import annotations

import numpy as np
import pandas as pd

from projects.alert import ProfileTable
from projects.alert.profile import COLUMNS

# model, stage, accuracy, setting, latency, power
ROWS = [
    ("small", 1, 0.70, 10, 0.020, 9.0),
    ("small", 1, 0.70, 20, 0.010, 19.0),
    ("big", 1, 0.80, 10, 0.090, 9.0),
    ("big", 1, 0.80, 20, 0.050, 19.0),
    ("any", 1, 0.60, 10, 0.020, 9.0),
    ("any", 1, 0.60, 20, 0.010, 19.0),
    ("any", 2, 0.78, 10, 0.100, 9.0),
    ("any", 2, 0.78, 20, 0.060, 19.0),
]


def frame(rows=ROWS):
    return pd.DataFrame(rows, columns=list(COLUMNS))


def small_profile(**options):
    return ProfileTable.from_frame(frame(), **{"fail_accuracy": 0.1, **options})


def random_profile(seed, models=6, settings=4, anytime=2):
    """Networks with 1 to 4 stages, the last ``anytime`` of them with more than one."""
    rng = np.random.default_rng(seed)
    rows = []
    for k in range(models):
        stages = int(rng.integers(2, 5)) if k >= models - anytime else 1
        accuracy = np.sort(rng.uniform(0.3, 0.95, stages))
        ends = np.cumsum(rng.uniform(0.005, 0.05, stages))
        for s in range(stages):
            for j in range(settings):
                slower = 1 + 2 * (settings - 1 - j) / settings
                watts = 20.0 + 10 * j + k
                rows.append((f"m{k}", s + 1, accuracy[s], 40 + 10 * j, ends[s] * slower, watts))
    return ProfileTable.from_frame(frame(rows), fail_accuracy=0.1)
