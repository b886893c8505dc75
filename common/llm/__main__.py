"""``python -m common.llm train``: train a reference model, or say where it is and how good."""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from common.errors import RepriseError
from common.llm.reference import PRESETS, preset
from common.results import read_json


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    main = argparse.ArgumentParser(
        "python -m common.llm", description="The small language models that the papers share."
    )
    verbs = main.add_subparsers(dest="verb", required=True, metavar="VERB")
    train = verbs.add_parser(
        "train", help="train a model anew; interrupted, the same command goes on"
    )
    train.add_argument("name", choices=PRESETS, help="whose recipe")
    train.add_argument("folder", type=Path, help="where the model goes; must not exist")
    train.add_argument("--device", default="cpu", help="cpu or cuda; %(default)s")
    train.add_argument("--tokens", type=int, help="another budget of training tokens")
    train.add_argument("--seconds", type=float, help="another budget of training time [s]")
    where = verbs.add_parser("where", help="print a model's folder; trains it if there is none")
    where.add_argument("name", choices=PRESETS)
    card = verbs.add_parser("card", help="print what a model was trained on and how good it is")
    card.add_argument("name", choices=PRESETS)
    return main


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns 2 on an error of its use."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    options = parser().parse_args(arguments)
    try:
        sys.stdout.write(f"{_answer(options)}\n")
    except RepriseError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    except KeyboardInterrupt:
        sys.stderr.write("interrupted; the same command goes on from the last checkpoint\n")
        return 130
    return 0


def _answer(options: argparse.Namespace) -> str:
    if options.verb == "train":
        from common.llm.training import train

        changes = {name: getattr(options, name) for name in ("tokens", "seconds")}
        spec = preset(options.name)
        spec = spec.model_validate(
            {**spec.model_dump(), **{k: v for k, v in changes.items() if v is not None}}
        )
        train(spec, options.folder, device=options.device)
        return str(options.folder)
    from common.llm.store import reference_model

    folder = reference_model(options.name)
    if options.verb == "where":
        return str(folder)
    facts = read_json(folder / "card.json")
    facts["training"].pop("curve")
    return json.dumps(facts, indent=2)


if __name__ == "__main__":
    sys.exit(main())
