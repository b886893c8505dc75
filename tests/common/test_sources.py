"""A digest of code changes with what a module imports, and with nothing else."""

import pytest

from common.sources import code_digest, source_files

FILES = {
    "common/__init__.py": "",
    "common/stats.py": "import math\n",
    "common/plots.py": "",
    "common/data/__init__.py": "",
    "common/data/store.py": "",
    "projects/__init__.py": "",
    "projects/toy/__init__.py": "",
    "projects/toy/experiments.py": (
        "from projects.toy import method\n"
        "def f():\n    from common.stats import mean\n    import common.data\n"
    ),
    "projects/toy/method.py": "from projects.other import Thing\n",
    "projects/toy/figures.py": "from common.plots import figure\n",
    "projects/other/__init__.py": "",
    "projects/other/deep/lazy.py": "",
}


@pytest.fixture
def tree(tmp_path, monkeypatch):
    for name, text in FILES.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    monkeypatch.setattr("common.sources.projects_root", lambda: tmp_path / "projects")
    return tmp_path


def test_files_are_those_that_are_imported_however_indirectly(tree):
    found = source_files(tree, "projects.toy.experiments")
    names = {path.relative_to(tree).as_posix() for path in found}
    assert names == set(FILES) - {"projects/toy/figures.py", "common/plots.py"}


@pytest.mark.parametrize(
    ("changed", "differs"),
    [
        ("common/stats.py", True),
        ("common/data/store.py", True),
        ("projects/other/deep/lazy.py", True),
        ("projects/toy/figures.py", False),
        ("common/plots.py", False),
    ],
)
def test_digest(tree, changed, differs):
    before = code_digest("projects.toy.experiments")
    (tree / changed).write_text("x = 1\n")
    assert (code_digest("projects.toy.experiments") != before) is differs


def test_a_module_that_is_not_there_is_left_out(tree):
    assert source_files(tree, "projects.none.claims") == {tree / "projects/__init__.py"}


def test_other_packages_are_no_part_of_it(tree):
    assert not source_files(tree, "numpy", "math")
