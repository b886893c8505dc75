"""Public names of a package that are imported on first use."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping
from typing import Any


def lazy(
    package: str, home: Mapping[str, str]
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Return a package's ``__getattr__`` and ``__dir__``.

    Parameters
    ----------
    package : str
        Its ``__name__``.
    home : mapping
        Module inside the package of each public name. A name may not be that of a module: once
        imported, the module would stand in its place.

    Examples
    --------
    In a package's ``__init__``::

        __getattr__, __dir__ = lazy(__name__, {"Journal": "journal"})

    >>> getattribute, _ = lazy("common", {"Journal": "journal"})
    >>> getattribute("Journal").__module__
    'common.journal'
    """

    def getattribute(name: str) -> Any:
        if name not in home:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(importlib.import_module(f"{package}.{home[name]}"), name)

    def names() -> list[str]:
        return sorted(sys.modules[package].__all__)

    return getattribute, names
