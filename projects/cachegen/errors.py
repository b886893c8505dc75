"""What can be wrong with a stream or a profile; wrong arguments are plain ValueErrors."""

from __future__ import annotations

from common.errors import RepriseError


class CorruptStreamError(RepriseError):
    """The bytes are not what was written: truncated, flipped or inconsistent."""


class IncompatibleStreamError(RepriseError):
    """The stream is sound, but of another version, model, codec or chunk size."""


class IncompatibleProfileError(RepriseError):
    """The profile is missing or belongs to another codec, model, shape or level."""
