"""Imports on first use: public names of a package, and what a library imports in vain."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import LazyLoader
from types import ModuleType
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


def defer(*modules: str) -> None:
    """Let modules that are not loaded yet load when something in them is first asked for.

    For what a library imports at its own start, at a price, and this project does not use.

    Parameters
    ----------
    *modules : str
        Full names. A module that does not exist stays an error of whoever imports it.

    Examples
    --------
    >>> defer("xml.dom.pulldom")
    >>> import xml.dom.pulldom
    >>> "START_ELEMENT" in object.__getattribute__(xml.dom.pulldom, "__dict__")
    False
    >>> xml.dom.pulldom.START_ELEMENT
    'START_ELEMENT'
    """
    sys.meta_path.insert(0, _Deferred(modules))


class _Deferred(MetaPathFinder):
    """Finds the modules named, with the standard library's lazy loader."""

    def __init__(self, modules: Sequence[str]) -> None:
        self._modules = frozenset(modules)

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """See :class:`importlib.abc.MetaPathFinder`."""
        spec = PathFinder.find_spec(fullname, path) if fullname in self._modules else None
        if spec is not None and spec.loader is not None:
            spec.loader = LazyLoader(spec.loader)
        return spec
