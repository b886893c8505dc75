"""The experiments on speed: one exported graph beside separate preprocessing, and the watch."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pandas as pd

    from common.hardware.targets.wearable.chips import Interval
    from common.run import Run


def speed(run: Run) -> None:
    """One thread of this machine: unified against separate, stage by stage (sections 3 and 7)."""
    import torch

    from common.hardware.targets.wearable.host import one_core
    from projects.watchhar.latency import METER, alternate, quantiles
    from projects.watchhar.speed_study import timed_calls

    run.synthetic("noise", "windows of noise; how long a network takes does not depend on them")
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder, one_core() as pinned:
        calls = timed_calls(Path(folder), run.params["rates"])
        timing = {name: run.params[name] for name in ("rounds", "repeats", "warm_up")}
        found = alternate(calls, **timing)
    for (variant, stage), milliseconds in found.items():
        for turn, metrics in enumerate(quantiles(milliseconds)):
            labels = {"dataset": "noise", "item": f"round {turn}", "stage": stage}
            meter = f"{METER}, 1 thread{pinned}"
            run.observe(metrics, variant=variant, unit="ms", meter=meter, **labels)


def wearable(run: Run) -> None:
    """Both stages on every part of the wearable target, in several formats (section 7).

    A front end is counted as a C program too, and together with the network behind it: the
    separate pipeline.
    """
    from common.hardware.targets.wearable.chips import Interval
    from projects.watchhar.speed_study import CLASSIFIER, DETECTOR, LIBROSA

    run.synthetic("noise", "windows of noise; how long a network takes does not depend on them")
    run.skip(LIBROSA, "instructions are counted on a C program, which Python's libraries are not")
    energies: dict[tuple[str, str], dict[str, Interval]] = {}
    for variant, table in _profiles(run.params).items():
        for row in table.itertuples():
            _observe_row(run, variant, row)
            if row.quantity == "energy":
                found = energies.setdefault((row.target, row.precision), {})
                found[variant] = Interval(row.value, row.low, row.high)
    for (part, bits), found in energies.items():
        if DETECTOR in found and CLASSIFIER in found:
            _observe_battery(run, found[DETECTOR], found[CLASSIFIER], part=part, precision=bits)


def _profiles(params: Mapping[str, Any]) -> dict[str, pd.DataFrame]:
    """Profile of each model, of front ends in C, and of the two halves of a separate pipeline."""
    from projects.watchhar import speed_study as study

    tables = {}
    with tempfile.TemporaryDirectory() as folder:
        files = study.float_files(params["models"], params, Path(folder))
        for model in params["models"]:
            tables[model] = study.profiled(model, files[model], params, Path(folder))
            if model in (study.FRONT_END, study.FAST_FRONT_END):
                tables[f"{model}, C"] = study.profiled_in_c(model, params)
    front = f"{study.FRONT_END}, C"
    if front in tables and study.NETWORK in tables:
        tables[study.SEPARATE_C] = study.in_turn(tables[front], tables[study.NETWORK])
    return tables


def _observe_row(run: Run, variant: str, row: Any) -> None:
    """Record one number of a profile, or why it is not there."""
    if row.quantity == "skipped":
        # claims ask for the count of a C program by its variant alone
        whole = (row.format, row.target) == ("c", "emulator")
        name = variant if whole else f"{variant}, {row.format} {row.precision}, {row.target}"
        run.skip(name, row.note)
        return
    run.observe(
        {row.quantity: row.value},
        variant=variant,
        dataset="noise",
        unit=row.unit,
        measurement=row.measurement,
        meter=row.meter,
        low=row.low,
        high=row.high,
        part=row.target,
        precision=row.precision,
        format=row.format,
    )


def _observe_battery(
    run: Run, detection: Interval, classification: Interval, **labels: str
) -> None:
    """Hours of a battery: the microphone behind the detector, and always on without one."""
    from common.hardware.targets.wearable.chips import METER, battery_life
    from projects.watchhar.speed_study import HOURLY_CLASSIFICATIONS, HOURLY_DETECTIONS

    loads = [(classification, HOURLY_CLASSIFICATIONS)]
    lives = {("always listening", 1.0): battery_life(loads, microphone_duty=1.0)}
    for share in run.params["event_shares"]:
        loads = [
            (detection, HOURLY_DETECTIONS),
            (classification, share * HOURLY_CLASSIFICATIONS),
        ]
        lives["gated microphone", share] = battery_life(
            loads, microphone_duty=share, wakes_per_hour=run.params["wakes_per_hour"]
        )
    for (variant, share), life in lives.items():
        run.observe(
            {"battery_life": life.value},
            variant=variant,
            dataset="noise",
            unit="h",
            measurement="modelled",
            meter=METER,
            low=life.low,
            high=life.high,
            event_share=share,
            **labels,
        )


def precision(run: Run) -> None:
    """What eight bits cost a trained classifier: right answers, bytes, and where they are lost."""
    from common.hardware.targets.wearable.export import onnx_runner
    from projects.watchhar.activity_study import activity_windows, classifiers
    from projects.watchhar.data import leave_one_out
    from projects.watchhar.speed_study import quantised

    windows, dataset = activity_windows(run)
    fold = next(leave_one_out(windows.participants, together=run.params["together"]))
    train, test = windows.select(fold.train), windows.select(fold.test)
    trained = classifiers(run, windows)["watchhar"]()
    trained.fit(train, windows.select(fold.validation))
    sample = run.rng("calibration").permutation(len(train))[: run.params["calibration"]]
    with tempfile.TemporaryDirectory() as folder:
        formats = run.params["formats"]
        exports = quantised(trained, train.select(sample), formats, Path(folder))
        for name, export in exports.items():
            answer = onnx_runner(export.path)
            labels = {"variant": name, "dataset": dataset}
            run.observe({"bytes": export.bytes}, unit="B", **labels)
            pairs = zip(test.imu.astype(np.float32), test.audio.astype(np.float32), strict=True)
            found = np.array([answer([m[None], a[None]])[0].argmax() for m, a in pairs])
            for person in np.unique(test.participants):
                right = (found == test.labels)[test.participants == person]
                run.observe({"accuracy": right.mean()}, item=str(person), **labels)
