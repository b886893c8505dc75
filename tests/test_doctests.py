"""Every example in a docstring runs and prints what it says."""

import doctest
import importlib
from pathlib import Path

import pytest

from common.errors import MissingExtra

pytestmark = pytest.mark.slow  # all of them together

ROOT = Path(__file__).resolve().parent.parent


def with_examples():
    """Names of the modules whose docstrings hold examples."""
    for room in ("common", "projects", "dashboard"):
        for path in sorted((ROOT / room).rglob("*.py")):
            if ">>> " in path.read_text(encoding="utf-8"):
                parts = path.relative_to(ROOT).with_suffix("").parts
                yield ".".join(part for part in parts if part != "__init__")


@pytest.mark.parametrize("name", list(with_examples()))
def test_examples(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    try:
        module = importlib.import_module(name)
    except (ImportError, MissingExtra) as error:
        pytest.skip(f"needs a package that is not installed: {error}")
    outcome = doctest.testmod(module, optionflags=doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS)
    assert outcome.failed == 0, f"{outcome.failed} of {outcome.attempted} examples of {name}"
