"""SAMoSA recordings that a user downloaded: read without trusting their pickles, kept as .npz.

The data is for non-commercial research and may not be passed on, so nothing here fetches it. Files
are named ``PARTICIPANT---CONTEXT---ACTIVITY---TRIAL.pkl`` and hold a dictionary: ``Audio`` (16 kHz,
16 bit), ``IMU`` (samples x 9: accelerometer, gyroscope, rotation vector; 50 Hz) and, where the
class is "Other", ``1kHz_Audio``.
"""

from __future__ import annotations

import io
import pickle
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from common.data.store import cache_folder
from common.errors import ConfigError
from common.results import write_bytes
from projects.watchhar.data import (
    AUDIO_HZ,
    CLASSES,
    CONTEXTS,
    IMU_HZ,
    OTHER,
    SOURCE_HZ,
    Windows,
    class_index,
    join,
    paired,
)
from projects.watchhar.digits import PCM
from projects.watchhar.resampling import decimate
from projects.watchhar.signal_checks import check_audio, check_units

NAME = "samosa"
FILE = re.compile(r"(\d+)---(.+)---(.+)---(\d+)\.pkl")
LARGEST = 256 << 20  # bytes of one pickle
DRIFT = 0.05  # how far motion and sound may differ in length


@dataclass(frozen=True)
class Recording:
    """One trial: motion at 50 Hz, shape (samples, 6), and sound at 1 kHz, shape (samples,)."""

    participant: str
    activity: str
    trial: int
    imu: np.ndarray
    audio: np.ndarray


class NumpyUnpickler(pickle.Unpickler):
    """Unpickler that knows how to make arrays and nothing else.

    Raises
    ------
    UnpicklingError
        If the stream names any other global.
    """

    def find_class(self, module: str, name: str) -> Any:
        """Return one of a few harmless globals."""
        allowed = _allowed()
        if (module, name) not in allowed:
            raise pickle.UnpicklingError(
                f"the pickle names {module}.{name}; only NumPy arrays are read, so that a file "
                "cannot run code"
            )
        return allowed[module, name]


def _allowed() -> dict[tuple[str, str], Callable[..., Any]]:
    from numpy._core.multiarray import _reconstruct, scalar

    made: dict[tuple[str, str], Callable[..., Any]] = {
        ("numpy", "ndarray"): np.ndarray,
        ("numpy", "dtype"): np.dtype,
        ("_codecs", "encode"): _latin,
    }
    for core in ("numpy.core.multiarray", "numpy._core.multiarray"):
        made |= {(core, "_reconstruct"): _reconstruct, (core, "scalar"): scalar}
    for core in ("numpy.core.numeric", "numpy._core.numeric"):
        made[core, "_frombuffer"] = _frombuffer
    return made


def _frombuffer(buffer: bytes, dtype: np.dtype, shape: tuple[int, ...], order: str) -> np.ndarray:
    """Array of protocol 5."""
    return np.frombuffer(buffer, dtype).reshape(shape, order=order)


def _latin(text: str, encoding: str) -> bytes:
    """Bytes of old protocols; other codecs are refused."""
    if encoding not in ("latin1", "latin-1"):
        raise pickle.UnpicklingError(f"the pickle asks for codec {encoding!r}")
    return text.encode("latin1")


def read_pickle(content: bytes) -> dict[str, np.ndarray]:
    """Read a dictionary of numeric arrays.

    Raises
    ------
    ValueError
        If the bytes are no pickle of that, or name anything but NumPy.

    Examples
    --------
    >>> read_pickle(pickle.dumps({"IMU": np.zeros((2, 9))}))["IMU"].shape
    (2, 9)
    >>> read_pickle(pickle.dumps({"IMU": print}))
    Traceback (most recent call last):
    ValueError: refused: the pickle names builtins.print; only NumPy arrays are read, so that ...
    """
    try:
        loaded = NumpyUnpickler(io.BytesIO(content)).load()
    except pickle.UnpicklingError as error:
        raise ValueError(f"refused: {error}") from error
    except Exception as error:  # a damaged stream raises whatever it trips over
        raise ValueError(f"no readable pickle: {error!r:.200}") from error
    if not isinstance(loaded, dict):
        raise ValueError(f"the pickle holds a {type(loaded).__name__}, not a dictionary")
    arrays = {str(key): np.asarray(value) for key, value in loaded.items()}
    for key, array in arrays.items():
        if array.dtype.kind not in "iuf":
            raise ValueError(f"{key!r} holds {array.dtype}, not numbers")
    return arrays


def convert(name: str, content: bytes, *, low_pass: bool = False) -> Recording:
    """Turn one file into a recording.

    Parameters
    ----------
    name : str
        File name, which says whose trial of what it is.
    content : bytes
        The pickle.
    low_pass : bool
        Filter before keeping every 16th sample of the sound; the released code does not.

    Raises
    ------
    ValueError
        If name, shapes, units or lengths are not as they should be.
    """
    participant, activity, trial = parse(name)
    arrays = read_pickle(content)
    try:
        imu = _motion(arrays)
        audio = _sound(arrays, low_pass)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error
    times = len(imu) / IMU_HZ, len(audio) / AUDIO_HZ
    if abs(times[0] - times[1]) > DRIFT * max(times) + 1:
        raise ValueError(f"{name}: {times[0]:.1f} s of motion beside {times[1]:.1f} s of sound")
    return Recording(participant, activity, trial, imu, audio)


def parse(name: str) -> tuple[str, str, int]:
    """Participant, class and trial that a file name promises.

    Examples
    --------
    >>> parse("49---Kitchen---Chopping---1.pkl")
    ('49', 'Chopping', 1)
    """
    if not (matched := FILE.fullmatch(name)):
        raise ValueError(f"{name}: expected PARTICIPANT---CONTEXT---ACTIVITY---TRIAL.pkl")
    participant, context, activity, trial = matched.groups()
    if context not in CONTEXTS:  # "Other" and "All" hold no activity of their own
        activity = OTHER
    class_index([activity], CLASSES)
    return participant, activity, int(trial)


def _motion(arrays: dict[str, np.ndarray]) -> np.ndarray:
    if "IMU" not in arrays:
        raise ValueError(f"no 'IMU' among {sorted(arrays)}")
    imu = arrays["IMU"]
    if imu.ndim != 2 or imu.shape[1] not in (6, 9):
        raise ValueError(f"'IMU' has shape {imu.shape}; it must be (samples, 9) or (samples, 6)")
    if not np.isfinite(imu).all():
        raise ValueError("'IMU' holds NaN or infinity")
    check_units(imu[:, :6])
    return imu[:, :6].astype(np.float32)


def _sound(arrays: dict[str, np.ndarray], low_pass: bool) -> np.ndarray:
    """Sound at 1 kHz; the recordings of "Other" have zeros at 16 kHz and bring their own."""
    if "1kHz_Audio" in arrays:
        return _scaled(arrays["1kHz_Audio"])
    if "Audio" not in arrays:
        raise ValueError(f"no 'Audio' among {sorted(arrays)}")
    if not arrays["Audio"].any():
        raise ValueError("'Audio' is zero throughout and there is no '1kHz_Audio'")
    return decimate(_scaled(arrays["Audio"]), SOURCE_HZ // AUDIO_HZ, low_pass=low_pass)


def _scaled(audio: np.ndarray) -> np.ndarray:
    """Mono in [-1, 1]; what is larger was 16-bit PCM, whatever type it is kept in."""
    whole = audio.dtype.kind in "iu" or np.abs(audio).max(initial=0) > 1.5
    return check_audio(audio / PCM if whole else audio)


# -- what was imported ---------------------------------------------------------------------


def import_folder(source: Path, *, low_pass: bool = False) -> tuple[int, dict[str, str]]:
    """Convert all recordings of a folder into the cache.

    Parameters
    ----------
    source : Path
        ``TrainingDataset`` of the download.
    low_pass : bool
        See :func:`convert`.

    Returns
    -------
    tuple
        How many were kept, and by name why others were not.

    Raises
    ------
    ConfigError
        If the folder holds no such file.
    """
    files = sorted(Path(source).rglob("*---*.pkl"))
    if not files:
        raise ConfigError(
            f"{source}: no file PARTICIPANT---CONTEXT---ACTIVITY---TRIAL.pkl below this folder; "
            "name the TrainingDataset folder of your SAMoSA download"
        )
    kept, refused = 0, {}
    for path in files:
        try:
            if path.stat().st_size > LARGEST:
                raise ValueError(f"larger than {LARGEST >> 20} MiB")
            recording = convert(path.name, path.read_bytes(), low_pass=low_pass)
        except ValueError as error:
            refused[path.name] = str(error)
            continue
        written = io.BytesIO()
        np.savez_compressed(written, imu=recording.imu, audio=recording.audio)
        write_bytes(cache_folder(NAME) / f"{path.stem}.npz", written.getvalue())
        kept += 1
    return kept, refused


def imported_files() -> dict[str, Path]:
    """Files in the cache by name, sorted."""
    return {path.name: path for path in sorted(cache_folder(NAME).glob("*---*.npz"))}


def imported() -> Iterator[Recording]:
    """Recordings in the cache, in the order of their names."""
    for path in imported_files().values():
        with np.load(path, allow_pickle=False) as arrays:
            yield Recording(*parse(f"{path.stem}.pkl"), arrays["imu"], arrays["audio"])


def samosa_windows(hop: int = 5) -> Windows | None:
    """Windows of all imported recordings, or None if nothing was imported."""
    parts = []
    for recording in imported():
        imu, audio = paired(recording.imu, recording.audio, hop)
        name = f"{recording.participant} {recording.activity} {recording.trial}"
        labels = np.repeat(class_index([recording.activity], CLASSES), len(imu))
        who, which = (np.repeat(text, len(imu)) for text in (recording.participant, name))
        parts.append(Windows(imu, labels, who, which, CLASSES, audio))
    return join(parts) if parts else None
