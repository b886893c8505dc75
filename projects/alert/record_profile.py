"""Record what each network costs at each setting of this machine, while nothing else runs.

``python -m projects.alert.record_profile`` runs the recorded networks in ONNX Runtime on one
thread at every setting of the best actuator there is (a CPU quota where watts cannot be capped),
and writes ``recorded/profile.csv``. Latency is measured, power is modelled. It takes one to three
minutes.
"""

from __future__ import annotations

import argparse
import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING

from projects.alert import recordings
from projects.alert.knob import Knob, PowerModel, find_knob
from projects.alert.networks import recorded_candidates
from projects.alert.profiling import measure_profile

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

    from projects.alert.runners import Candidate

log = logging.getLogger(__name__)
SHAPE = (3, 32, 32)


def record(
    folder: Path, candidates: Sequence[Candidate], knob: Knob, *, tiles: int, runs: int, seed: int
) -> pd.DataFrame:
    """Profile the candidates, write ``profile.csv`` into a folder and return the table.

    Parameters
    ----------
    folder : path
        Where ``profile.csv`` and ``recording.json`` go.
    candidates : sequence of Candidate
        Networks for images of 3 x 32 x 32.
    knob : Knob
        Whose settings to go through.
    tiles : int
        Images an input.
    runs : int
        Timed runs of each network at each setting.
    seed : int
        Of the images, which are noise: time does not depend on them.
    """
    import numpy as np

    power = PowerModel()
    x = np.random.default_rng(seed).normal(size=(tiles, *SHAPE)).astype(np.float32)
    with knob:
        frame = measure_profile(candidates, knob, x, runs=runs, power=power)
    arguments = f"--tiles {tiles} --runs {runs} --levels {len(knob.settings)} --seed {seed}"
    recipe = {
        "command": f"python -m projects.alert.record_profile {arguments}",
        "parameters": {
            "tiles": tiles,
            "runs": runs,
            "settings": list(knob.settings),
            "seed": seed,
            "threads": 1,
        },
        "actuator": {"name": knob.name, "unit": knob.unit, "passed_over": knob.note},
        "meters": {
            "latency": "measured: monotonic wall clock (time.perf_counter), mean over the runs",
            "power": f"modelled: {power.describe()}; the setting stands for a frequency",
            "accuracy": "measured when the networks were recorded",
        },
        "note": f"the recorded networks on {tiles} images at once, ONNX Runtime, one thread",
    }
    recordings.write(recordings.PROFILE, frame, recipe, folder)
    return frame


def main() -> None:
    """Record with the options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tiles", type=int, default=64)
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--levels", type=int, default=4)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, default=recordings.FOLDER)
    options = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    knob = find_knob(levels=options.levels)
    candidates = recorded_candidates(recordings.FOLDER)
    sizes = {"tiles": options.tiles, "runs": options.runs, "seed": options.seed}
    frame = record(options.folder, candidates, knob, **sizes)
    log.info("%s", frame.round(6).to_string(index=False))


if __name__ == "__main__":
    main()
