"""The project's exceptions, and messages that say what was passed, what is allowed, what to do."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Iterable
from types import ModuleType


class RepriseError(Exception):
    """Base of every error that is the user's to mend; the CLI prints it without a traceback."""


class ConfigError(RepriseError):
    """A file, key or option is not what its schema allows."""


class DataError(RepriseError):
    """A dataset is missing, corrupted or not what its registry entry says."""


class MissingExtra(RepriseError, ImportError):
    """An optional package is not installed; the message holds the install line."""


def did_you_mean(word: str, allowed: Iterable[str]) -> str:
    """Return ``"; did you mean 'x'? allowed: ..."`` for an unknown word.

    Examples
    --------
    >>> did_you_mean("quik", ["smoke", "quick", "full"])
    "; did you mean 'quick'? allowed: full, quick, smoke"
    """
    options = sorted(str(a) for a in allowed)
    close = difflib.get_close_matches(str(word), options, n=1)
    hint = f"; did you mean {close[0]!r}?" if close else ";"
    return f"{hint} allowed: {', '.join(options) or '(none)'}"


def known(word: str, allowed: Iterable[str], what: str) -> str:
    """Return ``word`` if it is allowed, else raise :class:`ConfigError` naming the closest.

    Examples
    --------
    >>> known("quick", ["smoke", "quick", "full"], "size")
    'quick'
    """
    options = list(allowed)
    if word not in options:
        raise ConfigError(f"unknown {what} {word!r}{did_you_mean(word, options)}")
    return word


def require(module: str, extra: str) -> ModuleType:
    """Import an optional module or raise :class:`MissingExtra` with the install line.

    Parameters
    ----------
    module : str
        Dotted module name.
    extra : str
        The extra of this distribution that brings it.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingExtra(
            f"{module} is not installed (missing extra '{extra}'); "
            f"run: pip install -c envs/constraints.txt -e '.[{extra}]'"
        ) from error
