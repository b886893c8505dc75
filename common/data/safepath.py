"""One rule for names that come from outside: a relative path that stays where it is put."""

from __future__ import annotations

from pathlib import PurePosixPath


def safe_relative(name: str) -> PurePosixPath:
    """Return a name as a relative POSIX path, or refuse it.

    Parameters
    ----------
    name : str
        ``/``-separated file name from a registry file or an archive. ``.`` components and doubled
        slashes are dropped.

    Raises
    ------
    ValueError
        If the name is empty or absolute, or holds ``..``, a backslash, a drive letter or a control
        character.

    Examples
    --------
    >>> str(safe_relative("train/./hat/1.jpg"))
    'train/hat/1.jpg'
    """
    if name.startswith("/"):
        raise ValueError(f"{name!r} is an absolute path; names must be relative")
    if "\\" in name or any(ord(character) < 32 or ord(character) == 127 for character in name):
        raise ValueError(f"{name!r} holds a backslash or a control character")
    path = PurePosixPath(name)
    if ".." in path.parts:
        raise ValueError(f"{name!r} climbs out of its folder with '..'")
    if not path.parts:
        raise ValueError(f"{name!r} names no file")
    if ":" in path.parts[0]:
        raise ValueError(f"{name!r} starts with a drive letter or scheme")
    return path
