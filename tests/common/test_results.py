"""Reading and writing a results tree."""

from __future__ import annotations

import json
import re

import pytest

from common.errors import ConfigError, DataError
from common.results import (
    Folder,
    RunRecord,
    atomic,
    find,
    merge,
    metered_totals,
    paper_folder,
    paper_observations,
    read_json,
    write_json,
)


def files(root):
    return sorted(path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file())


# -- writing -------------------------------------------------------------------------------


def test_atomic_replaces_only_when_the_block_succeeds(tmp_path):
    path = tmp_path / "deep" / "file.txt"
    with atomic(path) as temporary:
        temporary.write_text("one")
        assert temporary.parent == path.parent  # the same file system, or it were no replacement
        assert not path.exists()
    with path.open() as reader:
        with atomic(path) as temporary:
            temporary.write_text("another")
        assert reader.read() == "one"  # who reads meanwhile has the old file, whole
    with pytest.raises(KeyboardInterrupt), atomic(path) as temporary:
        temporary.write_text("two")
        raise KeyboardInterrupt
    assert path.read_text() == "another"
    assert files(tmp_path) == ["deep/file.txt"]
    assert path.stat().st_mode & 0o044 == 0o044


@pytest.mark.parametrize("value", [float("nan"), float("inf"), object()])
def test_json_that_cannot_be_read_back_is_not_written(tmp_path, value):
    path = tmp_path / "x.json"
    write_json(path, {"a": 1})
    with pytest.raises((TypeError, ValueError)):
        write_json(path, {"a": value})
    assert read_json(path) == {"a": 1}
    assert files(tmp_path) == ["x.json"]


def test_json_errors_name_the_file(tmp_path):
    with pytest.raises(DataError, match=r"x\.json: no such file"):
        read_json(tmp_path / "x.json")
    for content in (b'{"a": ', b"\xff\xfe"):
        (tmp_path / "x.json").write_bytes(content)
        with pytest.raises(DataError, match=r"x\.json: not valid JSON"):
            read_json(tmp_path / "x.json")


# -- places --------------------------------------------------------------------------------


def test_unknown_place_is_an_error_and_no_empty_folder(tmp_path):
    with pytest.raises(ConfigError, match="unknown size 'quik'; did you mean 'quick'"):
        paper_folder(tmp_path, "quik", "cpu", "toy")
    with pytest.raises(ConfigError, match="unknown target 'gpx'; did you mean 'gpu'"):
        assert Folder(tmp_path, "quick", "gpx", "toy", "speed").path


def test_find_lists_folders_with_a_record_at_known_places(tmp_path, lay, table):
    frame = table({"ours": [1.0]})
    for place in ({}, {"size": "full"}, {"target": "gpu"}, {"paper": "other"}):
        lay(tmp_path, frame, **place)
    (tmp_path / "quick/cpu/toy/unfinished").mkdir()
    (tmp_path / "old/cpu/toy/speed").mkdir(parents=True)
    (tmp_path / "old/cpu/toy/speed/run.json").write_text("{}")
    assert [(f.size, f.target, f.paper) for f in find(tmp_path)] == [
        ("full", "cpu", "toy"),
        ("quick", "cpu", "other"),
        ("quick", "cpu", "toy"),
        ("quick", "gpu", "toy"),
    ]
    assert len(find(tmp_path, paper="toy", size="quick")) == 2
    assert [f.target for f in find(str(tmp_path), target="gpu")] == ["gpu"]
    assert find(tmp_path / "nothing") == []


# -- records and observations --------------------------------------------------------------


def test_record_of_a_newer_version_keeps_its_keys_and_a_broken_one_names_the_file(
    tmp_path, lay, table
):
    folder = lay(tmp_path, table({"ours": [1.0]}), carbon={"grams": 3})
    assert folder.record().carbon == {"grams": 3}
    content = read_json(folder.path / "run.json")
    assert RunRecord.model_validate(content).schema_version == 1
    write_json(folder.path / "run.json", {**content, "status": "dun"})
    with pytest.raises(ConfigError, match=r"run\.json: status: .*'done', 'skipped' or 'failed'"):
        folder.record()


def test_observations_round_trip_and_torn_ones_name_the_file(tmp_path, lay, table):
    frame = table({"ours": [1.0, float("nan")]}, alpha=0.5)
    folder = lay(tmp_path, frame)
    back = folder.observations()
    assert list(back.columns) == list(frame.columns)
    assert back["value"].isna().tolist() == [False, True]
    path = folder.path / "observations.parquet"
    for content in (path.read_bytes()[:-20], b""):
        path.write_bytes(content)
        with pytest.raises(DataError, match=r"observations\.parquet: not a readable parquet file"):
            folder.observations()
    path.unlink()
    assert folder.observations().empty


def test_observations_of_a_paper_are_stacked_with_their_experiment(tmp_path, lay, table):
    lay(tmp_path, table({"ours": [1.0]}), experiment="a")
    lay(tmp_path, table({"ours": [2.0, 3.0]}, alpha=0.1), experiment="b")
    stacked = paper_observations(tmp_path, "quick", "cpu", "toy")
    assert stacked["experiment"].tolist() == ["a", "b", "b"]
    assert stacked["alpha"].isna().tolist() == [True, False, False]
    assert "experiment" in paper_observations(tmp_path, "full", "cpu", "toy")


def test_metered_totals_by_hand(rows):
    frame = rows(
        [
            {"metric": "fit_wall_time", "value": 1.5, "unit": "s", "meter": "clock"},
            {"metric": "fit_wall_time", "value": 2.0, "unit": "s", "meter": "clock"},
            {"metric": "fit_peak_memory", "value": 10, "unit": "MB", "meter": "rss"},
            {"metric": "fit_peak_memory", "value": 30, "unit": "MB", "meter": "rss"},
            {"metric": "fit_energy", "value": float("nan"), "unit": "J", "meter": "rapl"},
            {"metric": "latency", "value": 4.0, "unit": "s", "meter": "perf"},
            {"metric": "score", "value": 9.0},
        ]
    )
    totals = {(t["region"], t["quantity"]): (t["total"], t["count"]) for t in metered_totals(frame)}
    assert totals == {  # energy has no value, which is not zero joules
        ("fit", "wall_time"): (3.5, 2),
        ("fit", "peak_memory"): (30.0, 2),
        ("", "latency"): (4.0, 1),
    }
    assert metered_totals(frame[:0]) == []
    json.dumps(metered_totals(frame), allow_nan=False)


# -- merging -------------------------------------------------------------------------------


def test_merge_keeps_machines_apart_and_copies_once(tmp_path, lay, table):
    here, there = {"id": "aaaa00000001"}, {"id": "bbbb00000002"}
    lay(tmp_path / "a", table({"ours": [1.0]}), machine=here)
    lay(tmp_path / "b", table({"ours": [2.0]}), machine=here, experiment="other")
    # The same code and configuration, so the same digest, but another machine's numbers.
    lay(tmp_path / "c", table({"ours": [7.0]}), machine=there)
    sources, goal = [tmp_path / name for name in "abc"], tmp_path / "goal"
    copied = merge(sources, goal)
    places = [(folder.root.name, folder.experiment) for folder in copied]
    assert places == [(here["id"], "speed"), (here["id"], "other"), (there["id"], "speed")]
    assert [folder.observations()["value"].tolist() for folder in copied] == [[1], [2], [7]]
    assert merge(sources, goal) == []


def test_merge_overwrites_nothing(tmp_path, lay, table):
    lay(tmp_path / "a", table({"ours": [1.0]}))
    lay(tmp_path / "b", table({"ours": [2.0]}), seconds=5.0)
    (copied,) = merge([tmp_path / "a"], tmp_path / "goal")
    with pytest.raises(ConfigError, match=r"different runs of one machine.*a folder of its own"):
        merge([tmp_path / "b"], tmp_path / "goal")
    assert copied.observations()["value"].tolist() == [1.0]
    with pytest.raises(DataError, match=r"nowhere holds no results"):
        merge([tmp_path / "nowhere"], tmp_path / "goal")


def test_merge_leaves_no_folder_for_a_machine_that_is_called_one(tmp_path, lay, table):
    """A record is a stranger's: its machine's id names a folder, never a path."""
    lay(tmp_path / "a", table({"ours": [1.0]}), machine={"id": "../../outside"})
    (copied,) = merge([tmp_path / "a"], tmp_path / "goal")
    assert copied.root.parent == tmp_path / "goal"
    assert re.fullmatch("[0-9a-f]{16}", copied.root.name)
