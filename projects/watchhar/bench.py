"""The hot paths beside their peers: the front end, and the whole window."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from common.bench import Benchmark


def benchmarks() -> list[Benchmark]:
    """Time the exported front end beside librosa, and one graph beside two steps."""
    from projects.watchhar.speed_study import LEAN, LIBROSA, UNIFIED, timed_calls

    folder = tempfile.TemporaryDirectory()  # ONNX Runtime holds the graphs in memory
    calls = timed_calls(Path(folder.name), [1000, 16000])
    made = []
    for stage in ("front end", "front end, 1 kHz, padded", "front end, 16 kHz, padded", "total"):
        for peer in (LIBROSA, LEAN):
            sizes = {"stage": stage, "window": "0.95 s"}
            made.append(
                Benchmark(
                    "window" if stage == "total" else "front end",
                    calls[UNIFIED, stage],
                    calls[peer, stage],
                    peer,
                    sizes,
                    _difference,
                )
            )
    folder.cleanup()
    return made


def _difference(ours: list[np.ndarray], peer: Any) -> dict[str, float]:
    theirs = peer[0] if isinstance(peer, list) else peer
    return {"largest difference": float(np.abs(ours[0] - theirs).max())}
