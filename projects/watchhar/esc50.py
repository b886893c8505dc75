"""ESC-50 recordings that a user downloaded: ten everyday sounds, read bounded, kept as .npz.

K. Piczak, ESC: Dataset for Environmental Sound Classification, ACM Multimedia 2015. CC BY-NC 3.0,
so nothing here fetches it. ``meta/esc50.csv`` names the clips of ``audio/``, 44.1 kHz, five
seconds; clips cut from one source lie in one of its five folds.
"""

from __future__ import annotations

import csv
import io
import re
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from common.data.archive import extract
from common.data.safepath import safe_relative
from common.data.store import cache_folder
from common.errors import ConfigError
from common.results import write_bytes
from projects.watchhar.data import SOURCE_HZ
from projects.watchhar.digits import PCM, fitted, read_wav

NAME = "esc-50"
CATEGORIES = (
    *("brushing_teeth", "clapping", "clock_alarm", "coughing", "door_wood_knock"),
    *("drinking_sipping", "laughing", "pouring_water", "toilet_flush", "vacuum_cleaner"),
)
COLUMNS = ("filename", "fold", "category")
FILE = re.compile(r"([1-5])---([a-z_]+)---([\w.-]+)\.npz")
RATE, SECONDS = 44_100, 5
LARGEST, LARGEST_DOWNLOAD = 8 << 20, 4 << 30  # bytes of one file, of the archive's files
ADVICE = "name the folder or the zip file of your download of ESC-50"


@dataclass(frozen=True)
class Sounds:
    """Clips of ten classes.

    Attributes
    ----------
    audio : ndarray of float32, shape (n, 80000)
        Five seconds at 16 kHz in [-1, 1].
    labels : ndarray of int64, shape (n,)
        Place in ``CATEGORIES``.
    folds : ndarray of int64, shape (n,)
        1 to 5, as published.
    """

    audio: np.ndarray
    labels: np.ndarray
    folds: np.ndarray


def import_esc50(source: Path) -> tuple[int, dict[str, str]]:
    """Convert the clips of the ten classes into the cache.

    Parameters
    ----------
    source : Path
        The folder of the download, or its zip file as from GitHub.

    Returns
    -------
    tuple
        How many were kept, and by name why others were not.

    Raises
    ------
    ConfigError
        If there is no table of clips, or it lacks a column or the ten classes.
    DataError
        If the zip file is damaged, too large, or holds a path that leaves its folder.
    """
    source = Path(source)
    if source.is_file():
        with tempfile.TemporaryDirectory() as folder:
            extract(source, Path(folder), max_bytes=LARGEST_DOWNLOAD)
            return import_esc50(Path(folder))
    tables = sorted(source.glob("meta/esc50.csv")) or sorted(source.glob("*/meta/esc50.csv"))
    if not tables:
        raise ConfigError(f"{source}: no meta/esc50.csv in it; {ADVICE}")
    kept, refused = 0, {}
    for row in _rows(tables[0]):
        name = row["filename"]
        try:
            written = io.BytesIO()
            np.savez_compressed(written, audio=_clip(tables[0].parent.parent / "audio", name))
            target = f"{int(row['fold'])}---{row['category']}---{Path(name).stem}.npz"
            if not FILE.fullmatch(target):
                raise ValueError(f"fold {row['fold']!r} or name {name!r} is none of ESC-50")
        except (ValueError, OSError) as error:
            refused[name] = str(error)
            continue
        write_bytes(cache_folder(NAME) / target, written.getvalue())
        kept += 1
    return kept, refused


def _rows(table: Path) -> list[dict[str, str]]:
    """Rows of the ten classes."""
    text = _bounded(table).decode("utf-8", errors="replace")
    reader = csv.DictReader(io.StringIO(text))
    lacking = [name for name in COLUMNS if name not in (reader.fieldnames or ())]
    if lacking:
        raise ConfigError(f"{table}: no column {lacking[0]!r}; {ADVICE}")
    rows = [row for row in reader if row["category"] in CATEGORIES]
    if not rows:
        raise ConfigError(f"{table}: no clip of {', '.join(CATEGORIES)}; {ADVICE}")
    return rows


def _clip(folder: Path, name: str) -> np.ndarray:
    """Five seconds at 16 kHz as 16-bit integers."""
    from scipy.signal import resample_poly

    path = safe_relative(name)
    if len(path.parts) > 1:
        raise ValueError(f"{name!r} lies in a folder; clips lie in audio/")
    samples, rate = read_wav(_bounded(folder / path), name)
    if rate != RATE:
        raise ValueError(f"{name}: {rate} Hz; the clips of ESC-50 have {RATE} Hz")
    slower = resample_poly(fitted(samples, SECONDS * RATE), SOURCE_HZ, RATE)
    return np.clip(np.round(slower * PCM), -PCM, PCM - 1).astype("<i2")


def _bounded(path: Path) -> bytes:
    if path.stat().st_size > LARGEST:
        raise ValueError(f"{path.name} is larger than {LARGEST >> 20} MiB")
    return path.read_bytes()


def imported_files() -> dict[str, Path]:
    """Files in the cache by name, sorted."""
    found = sorted(cache_folder(NAME).glob("*---*.npz"))
    return {path.name: path for path in found if FILE.fullmatch(path.name)}


def load(files: Mapping[str, Path]) -> Sounds:
    """Read imported clips.

    Parameters
    ----------
    files : mapping
        As of :func:`imported_files`.
    """
    audio, labels, folds = [], [], []
    for name, path in files.items():
        fold, category, _ = FILE.fullmatch(name).groups()  # type: ignore[union-attr]
        with np.load(path, allow_pickle=False) as arrays:
            audio.append((arrays["audio"] / PCM).astype(np.float32))
        labels.append(CATEGORIES.index(category))
        folds.append(int(fold))
    return Sounds(np.stack(audio), np.array(labels), np.array(folds))
