"""What is measured once per model, offline, and shared by all contexts (section 5.2).

A profile is a bag of named arrays with the codec, model and shape that they belong to. It is
stored as an ``.npz`` archive that is read without pickle.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from projects.cachegen.errors import IncompatibleProfileError
from projects.cachegen.tensors import Geometry

_HEADER = "header"


@dataclass(frozen=True)
class Profile:
    """Offline knowledge of one codec about one model.

    Attributes
    ----------
    codec : str
        Name of the codec that fitted it.
    options : dict
        The codec's options; other bins or groups need another profile.
    geometry : Geometry
        Layers, heads and head size of the model.
    fingerprint : str
        Of the model's configuration and weights.
    arrays : dict of ndarray
        Scales, distributions or bases, as the codec names them.
    """

    codec: str
    options: Mapping[str, Any]
    geometry: Geometry
    fingerprint: str
    arrays: Mapping[str, np.ndarray] = field(repr=False)

    @cached_property
    def id(self) -> str:
        """SHA-256 of everything in it, the first 32 hexadecimal digits."""
        digest = hashlib.sha256(self._header())
        for name in sorted(self.arrays):
            array = np.ascontiguousarray(self.arrays[name])
            digest.update(f"{name}{array.dtype.str}{array.shape}".encode())
            digest.update(array.data)
        return digest.hexdigest()[:32]

    def require(self, codec: str, options: Mapping[str, Any], geometry: Geometry) -> None:
        """Raise IncompatibleProfileError unless it was fitted by this codec for this shape."""
        theirs = (self.codec, dict(self.options), self.geometry)
        for what, have, want in zip(
            ("codec", "options", "shape"), theirs, (codec, dict(options), geometry), strict=True
        ):
            if have != want:
                raise IncompatibleProfileError(
                    f"the profile's {what} is {have}, needed is {want}; "
                    f"fit one with codec({codec!r}, ...).fit(kvs)"
                )

    def save(self, path: str | Path) -> Path:
        """Write it to ``path``, atomically."""
        path = Path(path)
        buffer = io.BytesIO()
        header = np.frombuffer(self._header(), np.uint8)
        np.savez_compressed(buffer, **{_HEADER: header}, **self.arrays)
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f"{path.name}.{os.getpid()}.part")
        partial.write_bytes(buffer.getvalue())
        partial.replace(path)
        return path

    @classmethod
    def load(cls, path: str | Path) -> Profile:
        """Read what :meth:`save` wrote.

        Raises
        ------
        FileNotFoundError
            If there is no such file.
        IncompatibleProfileError
            If it is no profile or damaged.
        """
        path = Path(path)
        if not path.is_file():
            raise FileNotFoundError(f"{path}: no such profile")
        try:
            with np.load(path, allow_pickle=False) as archive:
                arrays = {name: archive[name] for name in archive.files}
            header = json.loads(arrays.pop(_HEADER).tobytes())
            geometry = Geometry(*header.pop("geometry"))
            return cls(geometry=geometry, arrays=arrays, **header)
        except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile, EOFError) as error:
            raise IncompatibleProfileError(f"{path}: not a profile ({error})") from error

    def _header(self) -> bytes:
        header = {
            "codec": self.codec,
            "options": dict(self.options),
            "geometry": self.geometry.as_list(),
            "fingerprint": self.fingerprint,
        }
        return json.dumps(header, sort_keys=True).encode()
