"""What the recorded networks take on a watch: instructions emulated, time and energy modelled."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from common.run import Run

INPUTS = "random images"


def wearable(run: Run) -> None:
    """Every stage at every operating point of each chip, and counted in an emulator."""
    from common.hardware.targets.wearable.chips import CHIPS, METER
    from projects.alert.wearable import chip_table, recorded_networks

    run.synthetic(INPUTS, "images of Gaussian noise; instructions and time depend on shapes alone")
    networks = recorded_networks(run.paper.path("recorded"), run.params["tiles"])
    for platform in run.cells(run.params["platforms"]):
        chip = CHIPS[platform]
        for row in chip_table(networks, chip, run.params["shares"]).to_dict("records"):
            labels = _labels(row["model"], row["stage"], platform)
            labels |= {"measurement": "modelled", "meter": f"{METER}, {chip.name}"}
            labels |= {"setting": row["setting"]}
            for metric, unit in (("latency", "s"), ("energy", "J")):
                ends = {"low": row[f"{metric}_low"], "high": row[f"{metric}_high"]}
                run.observe({metric: row[metric]}, unit=unit, **ends, **labels)
    for network in run.cells([network.name for network in networks]):
        _count(run, network)


def _count(run: Run, network: str) -> None:
    """Count each stage on an emulated core, and time it on this machine for reference."""
    from projects.alert.recordings import NETWORKS
    from projects.osgd import fixed_stages

    manifest = run.paper.path("recorded", NETWORKS, network, "stages.json")
    options = {"targets": run.params["parts"], "runs": run.params["runs"]}
    with tempfile.TemporaryDirectory() as folder:
        graphs = fixed_stages(manifest, Path(folder), run.params["tiles"])
        tables = [graph.profile(**options) for graph in graphs]
    for stage, table in enumerate(tables, start=1):
        for row in table[table["target"] != "file"].itertuples():
            if row.quantity == "skipped":
                run.skip(f"{network}, {row.target}", row.note)
                continue
            labels = _labels(network, stage, row.target)
            labels |= {"measurement": row.measurement, "meter": row.meter, "unit": row.unit}
            # of this stage alone, where the model's rows are cumulative
            run.observe({f"stage_{row.quantity}": row.value}, low=row.low, high=row.high, **labels)


def _labels(model: str, stage: int, platform: str) -> dict[str, Any]:
    item = f"{model} {stage}"
    return {
        "variant": model, "dataset": INPUTS, "item": item, "platform": platform, "stage": stage
    }  # fmt: skip
