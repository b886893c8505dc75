"""Versions in a record, against the standard library's own, slower, answer."""

import importlib.metadata
import sys

import yaml

from common.provenance import loaded_versions


def test_distributions_of_all_loaded_modules():
    found, owners = loaded_versions(), importlib.metadata.packages_distributions()
    loaded = {name.partition(".")[0] for name in sys.modules}
    assert set(found) == {owner for name in loaded for owner in owners.get(name, ())}
    assert found["PyYAML"] == yaml.__version__
