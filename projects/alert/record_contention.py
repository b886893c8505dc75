"""Record how much slower one network runs while other work comes and goes on this machine.

``python -m projects.alert.record_contention`` times a fixed network in ONNX Runtime on one thread,
20,000 times in a row, while streaming and computing processes are switched on and off beside it.
It writes ``recorded/contention.csv.gz`` (``input, seconds, load``). Keep the machine otherwise
idle meanwhile.
"""

from __future__ import annotations

import argparse
import logging
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from common.hardware.machine import usable_cores
from projects.alert import recordings
from projects.alert.contention import KINDS, bursts, contention
from projects.alert.runners import OnnxRunner, Runner, open_session

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

log = logging.getLogger(__name__)
WARM_UP = 100


def trace(
    runner: Runner, x: np.ndarray, plan: Sequence[str], switch: Callable[[str], None]
) -> pd.DataFrame:
    """Run once per entry of the plan and return ``input, seconds, load``."""
    import pandas as pd

    for _ in range(WARM_UP):
        runner.run(x)
    rows = []
    for index, load in enumerate(plan):
        switch(load)
        rows.append((index, runner.run(x).latency, load))
    return pd.DataFrame(rows, columns=["input", "seconds", "load"])


def record(
    folder: Path, *, inputs: int, length: int, width: int, processes: int, seed: int = 0
) -> pd.DataFrame:
    """Record a trace into a folder and return it.

    Parameters
    ----------
    folder : path
        Where ``contention.csv.gz`` and ``recording.json`` go.
    inputs, length : int
        Number of inferences, and of inferences in an average quiet or loaded stretch.
    width : int
        Channels of the network.
    processes : int
        Co-running processes while a load is on.
    seed : int
        Of the lengths of the stretches and the network's weights.
    """
    import numpy as np

    from projects.alert.ridge_networks import SIDE, network

    rng = np.random.default_rng(seed)
    runner = OnnxRunner(open_session(network(width, seed=seed)))
    x = rng.random((1, 1, SIDE, SIDE), dtype=np.float32)
    plan = bursts(inputs, length, KINDS, rng)
    with contention(KINDS, processes) as switch:
        frame = trace(runner, x, plan, switch)
    options = {"inputs": inputs, "length": length, "width": width, "processes": processes}
    arguments = " ".join(f"--{name} {value}" for name, value in options.items())
    recipe = {
        "command": f"python -m projects.alert.record_contention {arguments} --seed {seed}",
        "parameters": {**options, "seed": seed, "threads": 1, "warm_up": WARM_UP},
        "meters": {"seconds": "measured: monotonic wall clock (time.perf_counter)"},
        "note": (
            f"two random 5 x 5 and 3 x 3 convolutions of {width} channels on one 32 x 32 image, "
            "ONNX Runtime, one thread, back to back; memory: copies between two arrays of 64 MiB; "
            "compute: products of 96 x 96 float32 matrices"
        ),
    }
    recordings.write(recordings.CONTENTION, frame, recipe, folder)
    return frame


def main() -> None:
    """Record with the options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--inputs", type=int, default=20_000)
    parser.add_argument("--length", type=int, default=200)
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--processes", type=int, default=max(1, int(usable_cores())))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, default=recordings.FOLDER)
    options = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    frame = record(**vars(options))
    for load, seconds in frame.groupby("load")["seconds"]:
        log.info("%s: %d inputs, median %.2f ms", load, len(seconds), 1e3 * seconds.median())


if __name__ == "__main__":
    main()
