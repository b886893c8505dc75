"""The registered datasets on a mirror of the real data."""

import csv
import json
import os
from pathlib import Path

import pytest

from common.data import list_datasets, load_entry, resolve

pytestmark = pytest.mark.data


@pytest.fixture
def mirrored(monkeypatch, tmp_path):
    """Resolve a dataset of the mirror into a fresh cache, or skip."""
    monkeypatch.setenv("REPRISE_CACHE", str(tmp_path / "cache"))

    def get(name, **options):
        folders = [Path(item) for item in os.environ.get("REPRISE_DATA", "").split(os.pathsep)]
        if not any((folder / name).is_dir() for folder in folders if folder.name):
            pytest.skip(f"no {name} in REPRISE_DATA")
        return resolve(name, offline=True, **options)

    return get


@pytest.mark.parametrize("name", list_datasets())
def test_every_dataset_of_the_mirror_verifies(mirrored, name):
    found = mirrored(name)
    assert found.source == "mirror"
    sizes = {file.name: file.bytes for file in load_entry(name).files}
    assert {name: path.stat().st_size for name, path in found.files.items()} == sizes


def test_google_parts_are_the_task_indices_of_column_four(mirrored):
    found = mirrored("google-2011-straggler-jobs")
    for file in load_entry("google-2011-straggler-jobs").files:
        with found.files[file.name].open(newline="") as stream:
            tasks = [int(row[3]) for row in csv.reader(stream)]
        assert sorted(set(tasks)) == file.parts.indices
        assert tasks == sorted(tasks)


def test_google_job_comes_back_from_its_parts(mirrored, server, request):
    """The mirror's file, taken apart and served in parts, joins to the registered digest."""
    file = load_entry("google-2011-straggler-jobs").files[-1]
    whole = mirrored("google-2011-straggler-jobs").files[file.name].read_bytes()
    for line in whole.splitlines(keepends=True):
        path = "job/" + line.split(b",")[3].decode()
        server.content[path] = server.content.get(path, b"") + line
    server.content = {path: part.rstrip(b"\n") for path, part in server.content.items()}
    world = request.getfixturevalue("world")
    parts = {"url": server.url + "job/{index}", "index": file.parts.index}
    digest = {"name": file.name, "sha256": file.sha256, "bytes": file.bytes}
    world.register("rejoined", [{**digest, "parts": parts}])
    assert resolve("rejoined").files[file.name].read_bytes() == whole


@pytest.mark.parametrize(
    ("run", "category", "count"),
    [
        ("blast-chameleon-large-001.json", "blastall", 100),
        ("blast-chameleon-medium-001.json", "blastall", 300),
        ("bwa-chameleon-large-001.json", "bwa", 1001),
    ],
)
def test_wfinstances_hold_a_table_of_tasks(mirrored, run, category, count):
    found = mirrored("wfinstances-tasks", files=[run])
    tasks = json.loads(found.files[run].read_bytes())["workflow"]["execution"]["tasks"]
    assert sum(task["id"].split("_")[0] == category for task in tasks) == count
    assert all(task["runtimeInSeconds"] >= 0 for task in tasks)
