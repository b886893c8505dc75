"""Train the networks of live mode once, and record their graphs.

``python -m projects.alert.record_networks`` trains one width-nested network by OSGD and three of a
single stage on the images of ``cifar10-jpeg-subset``, and writes ``recorded/networks``: ONNX graphs
per stage, and ``networks.json`` with the accuracy of every stage on images that training never saw.
It takes about four minutes on one core.
"""

from __future__ import annotations

import argparse
import logging
import shutil
import tempfile
from pathlib import Path

from common.papers import load_paper
from common.results import write_json
from common.run import Run
from projects.alert import recordings

log = logging.getLogger(__name__)
WIDTHS, ALONE = (8, 16, 32, 64), (8, 24, 40)
TRAINING = {"batch": 64, "lr": 0.1, "weight_decay": 5e-4, "augment": True}


def record(folder: Path, *, epochs: int, seed: int = 0) -> list[dict[str, object]]:
    """Train, export and describe; return the entries of ``networks.json``.

    Raises
    ------
    DataError
        If the images are not on this machine: digits would make other networks.
    """
    from projects.osgd import Recipe, candidates, load_images

    with tempfile.TemporaryDirectory() as scratch:
        paper = load_paper("alert")
        run = Run(paper, "live", size="quick", results=Path(scratch), data_mode="real")
        split = load_images(run)
    recipe = Recipe(epochs=epochs, **TRAINING)
    found = candidates(split, widths=WIDTHS, alone=ALONE, recipe=recipe, seed=seed)
    target = folder / recordings.NETWORKS
    shutil.rmtree(target, ignore_errors=True)
    entries = []
    for candidate in found:
        candidate.export(target)
        entries.append(
            {"name": candidate.name, "accuracies": [round(a, 6) for a in candidate.accuracies]}
        )
    write_json(
        target / recordings.INDEX, {"dataset": split.name, "classes": 10, "networks": entries}
    )
    recordings.describe(
        recordings.NETWORKS,
        {
            "command": f"python -m projects.alert.record_networks --epochs {epochs} --seed {seed}",
            "parameters": {
                **TRAINING,
                "epochs": epochs,
                "seed": seed,
                "widths": list(WIDTHS),
                "alone": list(ALONE),
                "images": len(split.train_y),
            },
            "meters": {"accuracies": f"measured on {len(split.val_y)} images not trained on"},
            "note": f"trained on {split.name}; the images themselves are not part of the recording",
        },
        folder,
    )
    return entries


def main() -> None:
    """Record with the options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, default=recordings.FOLDER)
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    for entry in record(**vars(options)):
        log.info("%s: %s", entry["name"], entry["accuracies"])


if __name__ == "__main__":
    main()
