"""All codecs by name."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from common.errors import did_you_mean
from projects.cachegen.interface import Codec

# Name: (module, class, options that the name stands for).
_CODECS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "fp16": ("uniform", "RawCodec", {}),
    "uniform8": ("uniform", "UniformCodec", {"bits": 8}),
    "uniform4": ("uniform", "UniformCodec", {"bits": 4}),
    "uniform3": ("uniform", "UniformCodec", {"bits": 3}),
    "cachegen": ("stepping", "SteppedCodec", {}),
    "nodelta": ("stepping", "NoDelta", {}),
    "previous": ("stepping", "PreviousToken", {}),
    "auto": ("stepping", "Auto", {}),
    "lmcache": ("released", "ReleasedCodec", {}),
    "kivi2": ("kivi", "KiviCodec", {"bits": 2}),
    "rotation3": ("rotation", "RotationCodec", {"bits": 3}),
    "rotation4": ("rotation", "RotationCodec", {"bits": 4}),
    "kvtc": ("transform", "TransformCodec", {}),
}
_DROPPING = "h2o+"


def codec_names() -> list[str]:
    """Names that :func:`codec` knows; ``h2o+`` may stand before each of them.

    Examples
    --------
    >>> "cachegen" in codec_names()
    True
    """
    return list(_CODECS)


def codec(name: str, **options: Any) -> Codec:
    """Return a codec by name.

    Parameters
    ----------
    name : str
        ``"cachegen"`` is the paper's, ``"lmcache"`` the released one, ``"auto"`` the one to use.
        ``"h2o+NAME"`` drops tokens first and takes ``keep=``.
    **options
        As the codec's class takes them; they override what the name stands for.

    Raises
    ------
    ValueError
        For an unknown name, or an option that the codec refuses.

    Examples
    --------
    >>> codec("uniform4").options
    {'bits': 4}
    >>> codec("h2o+uniform8", keep=0.4).name
    'h2o+uniform8'
    """
    if name.startswith(_DROPPING):
        from projects.cachegen.dropping import DroppingCodec

        budget = {"keep": options.pop("keep")} if "keep" in options else {}
        return DroppingCodec(codec(name.removeprefix(_DROPPING), **options), **budget)
    if name not in _CODECS:
        raise ValueError(f"unknown codec {name!r}{did_you_mean(name, _CODECS)}")
    module, kind, preset = _CODECS[name]
    try:
        made = getattr(import_module(f"projects.cachegen.{module}"), kind)(**{**preset, **options})
    except TypeError as error:
        raise ValueError(f"codec {name!r}: {error}") from error
    made.name = name
    return made
