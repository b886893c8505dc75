"""The console script: ``jlmetric reference.csv generated.csv --json``."""

from __future__ import annotations

import argparse
import json
import sys
import warnings
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from common.errors import RepriseError
from common.graphs.events import EventStream
from projects.jlmetric.alignment import ALIGNMENTS
from projects.jlmetric.calibration import calibrate
from projects.jlmetric.histories import read
from projects.jlmetric.projection import MAPS
from projects.jlmetric.scores import NORMALISE, SCORES

BAD_INPUT = 2

_DESCRIPTION = """\
JL-Metric: how close a generated stream of timestamped edges is to a reference.
The score is a cosine: 1 for equal streams, higher is better.

Both files are CSV with a header line and one event per line: columns src, dst
(integers, not negative), t (any unit) and, for features, msg_0, msg_1, ..."""

_EPILOG = """\
examples:
  jlmetric real.csv fake.csv
  jlmetric real.csv fake.csv --seeds 10 --split-half 199 --json
  jlmetric real.csv fake.csv --align activity     # the files name nodes differently
  jlmetric real.csv fake.csv --score columns --align first_seen   # as the released package

exit codes: 0 with a score, 2 for input that cannot be scored (the message says why)."""


def parser() -> argparse.ArgumentParser:
    """Return the command's options."""
    made = argparse.ArgumentParser(
        prog="jlmetric",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("reference", type=Path, help="CSV file of the real events")
    made.add_argument("generated", type=Path, help="CSV file of the generated events")
    what = made.add_argument_group("what is scored")
    what.add_argument(
        "--score",
        choices=list(SCORES),
        default="frobenius",
        help="cosine of the whole fingerprints (paper), or mean cosine of their rows (released "
        "experiments) or columns (released package); default: %(default)s",
    )
    what.add_argument(
        "--align",
        choices=ALIGNMENTS,
        default="id",
        help="which nodes belong together: same id, same rank of first appearance (released), "
        "same rank of activity, or soft matching of histories; default: %(default)s",
    )
    what.add_argument(
        "--normalise",
        choices=NORMALISE,
        default="own",
        help="scale each file by its own smallest and largest values (paper), or both by the "
        "reference's, which sees changed scales; default: %(default)s",
    )
    what.add_argument(
        "--partner", action="store_true", help="let histories say who the other end is"
    )
    maps = made.add_argument_group("random maps")
    maps.add_argument("--node-dim", type=int, default=100, metavar="n", help="default: %(default)s")
    maps.add_argument(
        "--graph-dim", type=int, default=100, metavar="o", help="default: %(default)s"
    )
    maps.add_argument("--seed", type=int, default=42, help="of the first map; default: %(default)s")
    maps.add_argument(
        "--projection", choices=list(MAPS), default="gaussian", help="default: %(default)s"
    )
    error = made.add_argument_group("how far the score can be trusted")
    error.add_argument(
        "--seeds",
        type=int,
        default=1,
        metavar="K",
        help="average over K independent maps and give the standard error; default: %(default)s",
    )
    error.add_argument(
        "--split-half",
        type=int,
        nargs="?",
        const=199,
        default=0,
        metavar="P",
        help="test with P permutations (199 if no number is given) whether the generated events "
        "are further from the reference than its own halves are from each other",
    )
    made.add_argument(
        "--strict", action="store_true", help="refuse events out of order instead of sorting them"
    )
    made.add_argument("--json", action="store_true", help="print one JSON object")
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    options = parser().parse_args(arguments)
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            result = score_files(options)
    except (ValueError, TypeError, OSError, RepriseError) as error:
        sys.stderr.write(f"jlmetric: {error}\n")
        return BAD_INPUT
    for warning in caught:
        sys.stderr.write(f"jlmetric: warning: {warning.message}\n")
    sys.stdout.write((json.dumps(result) if options.json else _lines(result)) + "\n")
    return 0


def score_files(options: argparse.Namespace) -> dict[str, Any]:
    """Read both files and score them; what ``--json`` prints."""
    streams = [_read(path, options.strict) for path in (options.reference, options.generated)]
    names = ("score", "align", "normalise", "node_dim", "graph_dim", "seed", "partner")
    chosen = {name: getattr(options, name) for name in (*names, "projection")}
    counts = {"seeds": options.seeds, "permutations": options.split_half}
    found = asdict(calibrate(*streams, **counts, **chosen))
    return {
        "jl_metric": found["mean"],
        "standard_error": found["standard_error"] if options.seeds > 1 else None,
        "p_value": found["p_value"],
        "scores": list(found["scores"]),
        **chosen,
        "reference": _described(options.reference, streams[0]),
        "generated": _described(options.generated, streams[1]),
    }


def _read(path: Path, strict: bool) -> EventStream:
    if not path.is_file():
        raise ValueError(f"there is no file {path}; pass the path of a CSV file of events")
    try:
        return read(path, sort=not strict)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _described(path: Path, events: EventStream) -> dict[str, Any]:
    return {
        "file": str(path),
        "events": len(events),
        "nodes": len(events.nodes),
        "features": events.num_features,
    }


def _lines(result: dict[str, Any]) -> str:
    error = result["standard_error"]
    spread = f" +- {error:.6f} (standard error, {len(result['scores'])} seeds)" if error else ""
    lines = [f"JL-Metric  {result['jl_metric']:.6f}{spread}"]
    if result["p_value"] is not None:
        lines.append(f"split-half p-value  {result['p_value']:.4g}")
    for which in ("reference", "generated"):
        lines.append(
            "{0}  {file}: {events} events, {nodes} nodes, {features} features".format(
                which, **result[which]
            )
        )
    lines.append("score {score}, align {align}, normalise {normalise}".format(**result))
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
