"""Recordings made by the project on one machine: written with their recipe, read with checks.

``recorded/recording.json`` says of every file beside it which command made it, on what machine,
with what versions, and which of its numbers were measured and which modelled.
"""

from __future__ import annotations

import gzip
import io
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common.errors import DataError
from common.hardware.machine import fingerprint, versions
from common.results import write_bytes, write_json

if TYPE_CHECKING:
    import pandas as pd

FOLDER = Path(__file__).parent / "recorded"
RECIPES = "recording.json"
INDEX = "networks.json"
CONTENTION, PROFILE, NETWORKS = "contention.csv.gz", "profile.csv", "networks"
COLUMNS = {
    CONTENTION: {"input": "int", "seconds": "float", "load": "str"},
    PROFILE: {
        "model": "str",
        "stage": "int",
        "accuracy": "float",
        "setting": "float",
        "latency": "float",
        "power": "float",
        "spread": "float",
    },
}
_DIGITS = 6  # microseconds; the clock and the machine are no finer


def write(name: str, frame: pd.DataFrame, recipe: dict[str, Any], folder: Path = FOLDER) -> Path:
    """Write one recording and what made it.

    Parameters
    ----------
    name : str
        ``contention.csv.gz`` or ``profile.csv``.
    frame : DataFrame
        The columns of :data:`COLUMNS`, in any order.
    recipe : dict
        ``command``, ``parameters``, ``meters`` and ``note``; the machine and the versions are
        added.
    folder : path
        Where to.
    """
    columns = list(COLUMNS[name])
    text = frame[columns].round(_DIGITS).to_csv(index=False, lineterminator="\n").encode()
    # no time of day inside: the same numbers give the same file
    content = gzip.compress(text, mtime=0) if name.endswith(".gz") else text
    folder.mkdir(parents=True, exist_ok=True)
    write_bytes(folder / name, content)
    describe(name, {**recipe, "rows": len(frame)}, folder)
    return folder / name


def describe(name: str, recipe: dict[str, Any], folder: Path = FOLDER) -> None:
    """Write into ``recording.json`` what made a file or folder, on which machine and with what."""
    described = folder / RECIPES
    known = json.loads(described.read_text()) if described.exists() else {}
    machine = fingerprint()
    facts = ("id", "label", "cpu", "usable_cores", "arch", "os", "kernel", "python", "virtualised")
    known[name] = {
        **recipe,
        "machine": {fact: machine[fact] for fact in facts},
        "versions": versions(["numpy", "onnx", "onnxruntime", "torch"]),
        "licence": "Apache-2.0, made by this project",
    }
    write_json(described, known)


def read(path: Path) -> pd.DataFrame:
    """Read a recording and check that it holds what its name promises.

    Parameters
    ----------
    path : path
        A file called ``contention.csv.gz`` or ``profile.csv``.

    Raises
    ------
    DataError
        If it is missing, not such a table, or holds a value that is no measurement.
    """
    import pandas as pd

    try:
        content = path.read_bytes()
        text = gzip.decompress(content) if path.suffix == ".gz" else content
        frame = pd.read_csv(io.BytesIO(text), keep_default_na=False)
    except (OSError, EOFError, ValueError) as error:
        raise DataError(f"{path.name} cannot be read as a recording: {error}") from error
    if list(frame.columns) != list(COLUMNS[path.name]):
        wanted = ", ".join(COLUMNS[path.name])
        raise DataError(f"{path.name} has columns {list(frame.columns)}; expected {wanted}")
    for column in frame.columns.intersection(["seconds", "latency", "power"]):
        values = pd.to_numeric(frame[column], errors="coerce")
        if not (values > 0).all():
            row = int((~(values > 0)).idxmax())
            raise DataError(
                f"{path.name} row {row}: {column} is {frame[column][row]}; it must be positive"
            )
    return frame


def read_recipe(name: str, folder: Path = FOLDER) -> dict[str, Any]:
    """Return what ``recording.json`` says of one recording."""
    described = json.loads((folder / RECIPES).read_text())
    if name not in described:
        raise DataError(f"{RECIPES} does not describe {name}; it has {sorted(described)}")
    return described[name]
