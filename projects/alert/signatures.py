"""Whether several ONNX Runtime sessions can stand in for each other, and what they share."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from projects.alert.runners import open_session

# ONNX Runtime's names of element types
_TYPES = {
    "tensor(float)": np.float32,
    "tensor(double)": np.float64,
    "tensor(float16)": np.float16,
    "tensor(int64)": np.int64,
    "tensor(int32)": np.int32,
    "tensor(uint8)": np.uint8,
    "tensor(int8)": np.int8,
    "tensor(bool)": np.bool_,
}


def is_anytime(candidate: Any) -> bool:
    """Whether a candidate gives stage after stage."""
    return hasattr(candidate, "stages") and hasattr(candidate, "num_stages")


def opened_as(candidate: Any, threads: int) -> Any:
    """Open a path or the bytes of an ONNX file; a session or an anytime network stays as it is.

    Raises
    ------
    ValueError
        If it is none of these.
    """
    if isinstance(candidate, bytes | str | Path):
        return open_session(candidate, threads)
    if not (is_anytime(candidate) or hasattr(candidate, "get_inputs")):
        raise ValueError(
            f"candidate of type {type(candidate).__name__}; allowed: an InferenceSession, a path "
            "or bytes of an ONNX file, or an anytime network with stages(x) and num_stages"
        )
    return candidate


def named(candidates: Sequence[Any]) -> Iterator[tuple[str, Any]]:
    """Give every candidate a name of its own: its place, and its file's name where it has one."""
    for place, candidate in enumerate(candidates):
        stem = Path(candidate).stem if isinstance(candidate, str | Path) else "candidate"
        yield f"{place}: {stem}", candidate


def in_common(opened: Mapping[str, Any]) -> tuple[list[Any], list[Any]]:
    """Return inputs, which must agree, and the outputs that all candidates have.

    Parameters
    ----------
    opened : mapping
        Sessions and anytime networks by name.

    Raises
    ------
    ValueError
        If inputs differ, no output is shared, or nothing but anytime networks is given, whose
        inputs are not known by name.
    """
    sessions = {name: found for name, found in opened.items() if not is_anytime(found)}
    if not sessions:
        raise ValueError("all candidates are anytime networks; give at least one session")
    (first, reference), *others = sessions.items()
    inputs, outputs = reference.get_inputs(), reference.get_outputs()
    for name, other in others:
        theirs = {item.name: item for item in other.get_inputs()}
        ours = {item.name: item for item in inputs}
        if set(ours) != set(theirs) or not all(_agree(ours[key], theirs[key]) for key in ours):
            raise ValueError(
                f"inputs of {name!r} are {_shown(theirs.values())}, those of {first!r} "
                f"{_shown(inputs)}; candidates must take the same inputs"
            )
        has = other.get_outputs()
        outputs = [item for item in outputs if any(_agree(item, theirs) for theirs in has)]
    if not outputs:
        raise ValueError(f"{', '.join(map(repr, sessions))} have no output of one name in common")
    if len(sessions) < len(opened):
        if len(inputs) > 1:
            raise ValueError(f"an anytime network takes one input; {first!r} has {_shown(inputs)}")
        outputs = outputs[:1]
    return inputs, outputs


def zeros(inputs: Sequence[Any]) -> dict[str, np.ndarray]:
    """Make an input of zeros, with 1 for every free dimension.

    Raises
    ------
    ValueError
        If an input is of a type that numpy lacks.
    """
    feed = {}
    for item in inputs:
        if item.type not in _TYPES:
            raise ValueError(f"input {item.name!r} is a {item.type}; pass feed= to profile with")
        shape = [size if isinstance(size, int) else 1 for size in item.shape]
        feed[item.name] = np.zeros(shape, _TYPES[item.type])
    return feed


def _agree(ours: Any, theirs: Any) -> bool:
    """Same name and type, and no two fixed dimensions that differ."""
    if (ours.name, ours.type, len(ours.shape)) != (theirs.name, theirs.type, len(theirs.shape)):
        return False
    pairs = zip(ours.shape, theirs.shape, strict=True)
    return all(a == b or not isinstance(a, int) or not isinstance(b, int) for a, b in pairs)


def _shown(items: Any) -> str:
    return ", ".join(f"{item.name} {item.type} {list(item.shape)}" for item in items)
