"""What an experiment replays on: profile tables and environments through the data layer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from common.errors import known
from common.hardware.targets.wearable.chips import CHIPS
from projects.alert import recordings
from projects.alert.data import (
    ACCURACY_FILE,
    LATENCY_FILE,
    TIMM,
    ZEUS,
    combine,
    generated_curve,
    generated_networks,
    join_timm,
    pareto,
    read_curve,
    spread,
)
from projects.alert.environment import Environment, generate, recorded, sentences
from projects.alert.profile import ProfileTable

if TYPE_CHECKING:
    from common.run import Run

GPUS = {"a40": "A40", "v100": "V100"}
PLATFORMS = (*GPUS, "recorded", *CHIPS)
SOURCES = ("generated", "recorded", "sentences")
GENERATED = "generated environment"
TRACE = "recorded contention"
GENERATED_PROFILE, RECORDED_PROFILE = "generated profile", "recorded profile"
RECORDED_NETWORKS = "recorded networks"
RECORDED_CLASSES = 10  # of the images that the recorded networks were trained on


def load_profile(run: Run, platform: str) -> tuple[str, ProfileTable]:
    """Return the name of a platform's data, and its candidates.

    ``a40`` and ``v100`` are timm's networks under Zeus' power curves, ``recorded`` is what this
    project measured, ``w5`` and its like are the recorded networks on the model of a watch's chip.
    Without the data they become generated tables, and the run says so.
    """
    known(platform, PLATFORMS, "platform")
    if platform in CHIPS:
        return _watch(run, platform)
    if platform == "recorded":
        path = run.recorded(recordings.PROFILE, name=RECORDED_PROFILE)
        if path is None:
            return _generated(run)
        fail = 1 / RECORDED_CLASSES
        return RECORDED_PROFILE, ProfileTable.from_frame(
            recordings.read(path), fail_accuracy=fail, setting_unit="cores"
        )
    networks = _networks(run)
    curves = run.dataset(ZEUS, label="substitute")
    if networks is None or curves is None:
        return _generated(run)
    shapes = [
        read_curve(curves.files[f"profile_{GPUS[platform]}+{network}.csv"])
        for network in ("resnet50", "shufflenetv2")
    ]
    return TIMM, combine(networks, *shapes, stages=run.params["stages"])


def _watch(run: Run, chip: str) -> tuple[str, ProfileTable]:
    from projects.alert.wearable import chip_table, recorded_networks

    if run.recorded(f"{recordings.NETWORKS}/{recordings.INDEX}", name=RECORDED_NETWORKS) is None:
        return _generated(run)
    networks = recorded_networks(run.paper.path("recorded"), run.params["tiles"])
    frame = chip_table(networks, CHIPS[chip], run.params["shares"])
    # what the watch draws whatever is running is the same for all schemes, and left out
    options = {"fail_accuracy": 1 / RECORDED_CLASSES, "idle_ratio": 0.0, "setting_unit": "GHz"}
    return RECORDED_NETWORKS, ProfileTable.from_frame(frame, **options)


def _networks(run: Run) -> pd.DataFrame | None:
    files = [ACCURACY_FILE, LATENCY_FILE]
    found = run.dataset(TIMM, label="substitute", files=files)
    if found is None:
        return None
    frontier = pareto(join_timm(*(pd.read_csv(found.files[name]) for name in files)))
    kept = frontier[frontier["latency"].between(*run.params["latency_range"])]
    return spread(kept.reset_index(drop=True), run.params["networks"])


def _generated(run: Run) -> tuple[str, ProfileTable]:
    run.synthetic(GENERATED_PROFILE, "error a power of latency, curves shaped as an A40's")
    networks = generated_networks(run.params["networks"])
    shapes = [generated_curve(large=True), generated_curve(large=False)]
    return GENERATED_PROFILE, combine(networks, *shapes, stages=run.params["stages"])


def load_environment(
    run: Run, source: str, load: str, inputs: int, models: int
) -> tuple[str, Environment]:
    """Return the name of an environment's data, and the environment.

    The name carries the label: a generated environment is synthetic whatever is replayed in it.

    Parameters
    ----------
    run : Run
        Its random numbers make the environment, the same for every profile of as many networks.
    source : {"generated", "recorded", "sentences"}
        Generated input by input, recorded by this project, or generated in sentences.
    load : {"default", "memory", "compute"}
        What is co-running.
    inputs, models : int
        Size.
    """
    known(source, SOURCES, "source of environments")
    rng = run.rng(source, load, inputs, models)
    if source == "recorded" and (path := run.recorded(recordings.CONTENTION, name=TRACE)):
        return TRACE, recorded(path, load, models, rng).first(inputs)
    run.synthetic(GENERATED, "two-state Markov chain of bursts, log-normal noise")
    make = sentences if source == "sentences" else generate
    return GENERATED, make(rng, load, inputs, models)


def weaker(profile: str, environment: str) -> str:
    """Which of two names of data carries the weaker label."""
    return profile if profile == GENERATED_PROFILE else environment
