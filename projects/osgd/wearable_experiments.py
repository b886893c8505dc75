"""Accuracy and cost of every stage on a watch (emulated and modelled)."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

    from common.run import Run
    from projects.osgd.width import WidthNestedCNN

INPUTS = "random images"
STAGES, STRIPES, DENSE = "all stages", "last, stripes", "last, dense"


def wearable(run: Run) -> None:
    """The staircase of a trained network: accuracy of every stage beside what it costs on a watch.

    Accuracies are of one network per seed; costs, which follow from shapes alone, of the first.
    """
    from projects.osgd.data import load_images
    from projects.osgd.training import Recipe, errors, train
    from projects.osgd.width import WidthNestedCNN

    params = run.params
    sizes = {"train": params["train"], "test": params["test"]}
    split = load_images(run, params["source"], val=0, **sizes)
    run.synthetic(INPUTS, "images of Gaussian noise; instructions and time depend on shapes alone")
    recipe = Recipe(epochs=params["epochs"], weight_decay=5e-4)

    def make() -> WidthNestedCNN:
        return WidthNestedCNN(3, params["widths"], params["strides"])

    for seed in run.cells(run.seeds):
        model = train(make, split, "osgd", recipe, seed).eval()
        for stage, error in enumerate(errors(model, split.test_x, split.test_y)):
            labels = {"dataset": split.name, "item": f"seed {seed}", "seed": seed}
            run.observe({"accuracy": 1 - error}, variant=STAGES, stage=stage + 1, **labels)
        if seed == run.seeds[0]:
            for variant, table in _profiles(run, model).items():
                _observe(run, variant, table)
                _observe_rate(run, variant, table)


def _profiles(run: Run, model: WidthNestedCNN) -> dict[str, pd.DataFrame]:
    """Profile of the stages in turn, and of the last answer alone in the forms asked for."""
    from common.errors import known
    from projects.osgd.export import export_together
    from projects.osgd.runtime import INPUT
    from projects.osgd.wearable import fix_batch, fixed_stages, profile_graphs
    from projects.osgd.width import WidthNestedCNN

    params, shape = run.params, (3, 32, 32)
    dense = WidthNestedCNN(3, params["widths"][-1:], params["strides"])
    last = {"stripes": (STRIPES, model), "dense": (DENSE, dense)}
    asked = dict(last[known(form, last, "form")] for form in params["alone"])
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        free = export_together({STRIPES: model, **asked}, folder / "free", shape)
        staged = fixed_stages(free[STRIPES].manifest, folder, params["batch"])
        x = {INPUT: staged[0].inputs[0]}
        graphs = {STAGES: staged} | {
            variant: [fix_batch(free[variant].last, folder / f"{variant}.onnx", x)]
            for variant in asked
        }
        options = {"targets": params["parts"], "runs": params["runs"]}
        return {variant: profile_graphs(found, **options) for variant, found in graphs.items()}


def _observe(run: Run, variant: str, table: pd.DataFrame) -> None:
    """Record what every stage takes and, for what adds up, what is taken until its answer."""
    from projects.osgd.wearable import SUMMED

    table = table.sort_values("stage", kind="stable")
    later = table[(table["stage"] > 0) & table["quantity"].isin(SUMMED)]
    ends = ["value", "low", "high"]
    until = later.assign(quantity=later["quantity"] + "_until")
    until[ends] = later.groupby(["target", "quantity"])[ends].cumsum()
    for rows in (table, until):
        for row in rows.to_dict("records"):
            if row["quantity"] == "skipped":
                # claims ask for counted instructions by the variant alone
                counted = row["target"] == "emulator"
                run.skip(variant if counted else f"{variant}, {row['target']}", row["note"])
                continue
            run.observe(
                {row["quantity"]: row["value"]},
                variant=variant,
                dataset=INPUTS,
                item="one network",
                unit=row["unit"],
                measurement=row["measurement"],
                meter=row["meter"],
                part=row["target"],
                stage=row["stage"],
                low=row["low"],
                high=row["high"],
            )


def _observe_rate(run: Run, variant: str, table: pd.DataFrame) -> None:
    """Record the emulated instructions over the cycles that a model leaves all stages."""
    from common.hardware.targets.wearable.chips import CHIPS

    whole = table[table["stage"] == 0].set_index(["target", "quantity"])["value"]
    if ("emulator", "instructions") not in whole.index:
        return
    for part in CHIPS.keys() & set(table["target"]):
        chip = CHIPS[part]
        cycles = whole[part, "latency"] * chip.clock.value * min(2, chip.cores)
        run.observe(
            {"instructions_per_cycle": whole["emulator", "instructions"] / cycles},
            variant=variant,
            dataset=INPUTS,
            item="one network",
            unit="instructions per cycle",
            measurement="modelled",
            meter="emulated instructions over modelled cycles of all cores",
            part=part,
        )
