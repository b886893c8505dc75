"""Style, workflow and import rules, as `make lint` checks them."""

import subprocess
import sys

import pytest

HEAVY = ("torch", "mlflow", "pandas", "sklearn", "matplotlib", "numba", "pyarrow", "streamlit")
# The formatter would also undo the aligned comments in the examples of the Markdown pages.
PYTHON_ALONE = "--config=extend-exclude=['*.md']"


def check(root, *command):
    done = subprocess.run(
        [sys.executable, *command],
        cwd=root,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.mark.parametrize("options", [["check"], ["format", "--check", PYTHON_ALONE]])
def test_python_style(root, options):
    check(root, "-m", "ruff", *options, ".")


@pytest.mark.workflow
def test_workflow_style(root):
    check(
        root,
        "-c",
        "from snakefmt.snakefmt import main; main()",
        "--check",
        "Snakefile",
        "workflows",
    )


@pytest.mark.workflow
def test_workflow_lint(root):
    assert "good condition" in check(root, "-m", "snakemake", "--lint")


def test_rooms_import_one_way(root):
    check(root, "-c", "from importlinter.cli import lint_imports_command; lint_imports_command()")


def test_import_of_the_packages_and_the_command_line_is_light(root):
    loaded = check(
        root,
        "-c",
        "import sys, common, projects, common.cli; print(*sorted(sys.modules))",
    ).split()
    assert not [name for name in HEAVY if name in loaded]
