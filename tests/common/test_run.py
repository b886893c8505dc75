"""One experiment's life: data, cells, resuming, and what it leaves on disk."""

from __future__ import annotations

import hashlib
import json
import math
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from common.data.dataset import Dataset, DataUnavailable
from common.errors import ConfigError, DataError, MissingExtra
from common.provenance import git_state, without_folders
from common.results import Folder, RunRecord
from common.run import PARTIAL, Run


@pytest.fixture
def start(shelf, tmp_path):
    """Begin a run of the toy paper's experiment in the same results tree each time."""
    shelf.add()

    def begin(paper=None, **options):
        paper = paper or shelf.add()
        options = {"size": "quick", "results": tmp_path / "results", **options}
        return Run(paper, "speed", **options)

    return begin


def files(folder: Folder) -> list[str]:
    return sorted(path.name for path in folder.path.iterdir())


def score(run: Run) -> None:
    """Four cells, with rows before and after the loop and numpy scalars among the parameters."""
    run.synthetic("made", "random numbers")
    run.observe({"before": 1}, variant="all", dataset="made")
    for i in run.cells(range(run.params["n"])):
        value = run.rng("score", i).normal()
        run.observe(
            {"score": value, "none": math.nan},
            variant="ours",
            dataset="made",
            item=str(i),
            alpha=np.float32(0.5) * i,
            step=np.int64(i),
            odd=np.bool_(i % 2),
            name=np.str_(f"n{i}"),
        )
    run.observe({"after": 2}, variant="all", dataset="made")


def interrupted_at(cell, error):
    """The same experiment, but it ends in mid-cell, after it has observed something."""

    def score_interrupted(run: Run) -> None:
        cells = run.cells

        def dying(keys):
            for key in cells(keys):
                if key == cell:
                    run.observe({"score": 99.0}, variant="half", dataset="made")
                    raise error
                yield key

        run.cells = dying
        score(run)

    return score_interrupted


# -- cells and resuming --------------------------------------------------------------------


@pytest.mark.parametrize("error", [KeyboardInterrupt(), ValueError("no luck"), SystemExit(3)])
def test_resumed_observations_are_those_of_an_uninterrupted_run(start, tmp_path, error):
    whole = start(results=tmp_path / "whole").execute(score)
    first = start()
    with pytest.raises(type(error)):
        first.execute(interrupted_at(2, error))
    assert (first.folder.path / PARTIAL).exists()

    yielded = []
    second = start()
    cells = second.cells
    second.cells = lambda keys: (yielded.append(key) or key for key in cells(keys))
    folder = second.execute(score)
    assert yielded == [2, 3]
    pd.testing.assert_frame_equal(folder.observations(), whole.observations())
    assert folder.record().datasets == whole.record().datasets
    assert files(folder) == ["observations.parquet", "run.json"]


def test_the_same_run_object_may_try_again(start):
    run = start()
    with pytest.raises(ValueError, match="no luck"):
        run.execute(interrupted_at(1, ValueError("no luck")))
    del run.cells  # the dying one
    assert run.execute(score).record().rows == 10


def test_torn_last_line_is_one_unfinished_cell(start):
    run = start()
    with pytest.raises(KeyboardInterrupt):
        run.execute(interrupted_at(3, KeyboardInterrupt()))
    journal = run.folder.path / PARTIAL
    lines = journal.read_bytes().splitlines(keepends=True)
    assert len(lines) == 3
    whole = start(results=run.folder.root / "whole").execute(score)
    for torn in (lines[2][:-1], lines[2][: len(lines[2]) // 2], b"\xff\xfe", b"17\n", b"{}\n"):
        journal.write_bytes(b"".join(lines[:2]) + torn)
        yielded = []
        run = start()
        cells = run.cells
        run.cells = lambda keys, cells=cells, seen=yielded: (
            seen.append(k) or k for k in cells(keys)
        )
        with pytest.raises(KeyboardInterrupt):
            run.execute(interrupted_at(3, KeyboardInterrupt()))
        assert yielded == ([3] if torn == lines[2][:-1] else [2, 3])
        assert [json.loads(line)["cell"] for line in journal.open()] == [
            "[0, 0]",
            "[0, 1]",
            "[0, 2]",
        ]
    pd.testing.assert_frame_equal(start().execute(score).observations(), whole.observations())


def test_journal_is_dropped_when_configuration_or_code_changes(start, shelf):
    def leave_unfinished():
        run = start()
        with pytest.raises(KeyboardInterrupt):
            run.execute(interrupted_at(2, KeyboardInterrupt()))
        assert (run.folder.path / PARTIAL).exists()

    def yielded_by(run):
        seen = []
        cells = run.cells
        run.cells = lambda keys: (seen.append(key) or key for key in cells(keys))
        run.execute(score)
        return seen

    leave_unfinished()
    assert yielded_by(start(overrides={"n": 5})) == [0, 1, 2, 3, 4]
    leave_unfinished()
    assert yielded_by(start(data_mode="synthetic")) == [0, 1, 2, 3]
    leave_unfinished()
    (shelf.root / "toy" / "experiments.py").write_text("x = 1\n")
    assert yielded_by(start()) == [0, 1, 2, 3]
    leave_unfinished()
    (shelf.root / "toy" / "figures.py").write_text("x = 1  # of no experiment\n")
    assert yielded_by(start()) == [2, 3]


def test_what_a_cell_noted_survives_resuming(start, monkeypatch):
    """Data sets and skipped variants of finished cells belong into the record, too."""
    stop = [True]

    def noting(run):
        run.synthetic("made", "numbers")
        for name in run.cells(["a", "b"]):
            if name == "b" and stop[0]:
                raise KeyboardInterrupt
            run.synthetic(f"made-{name}", f"numbers for {name}")
            run.skip(f"slow-{name}", "too slow")
            run.observe({"score": 1}, variant="ours", dataset=f"made-{name}")

    with pytest.raises(KeyboardInterrupt):
        start().execute(noting)
    stop[0] = False
    record = start().execute(noting).record()
    assert sorted(record.datasets) == ["made", "made-a", "made-b"]
    assert [entry["variant"] for entry in record.skipped] == ["slow-a", "slow-b"]


def test_two_loops_over_the_same_keys_are_two_loops(start):
    stop = [True]

    def twice(run):
        run.synthetic("made", "numbers")
        for loop in ("first", "second"):
            for key in run.cells([1, 2]):
                if loop == "second" and key == 2 and stop[0]:
                    raise KeyboardInterrupt
                run.observe({"score": key}, variant=loop, dataset="made")

    with pytest.raises(KeyboardInterrupt):
        start().execute(twice)
    stop[0] = False
    frame = start().execute(twice).observations()
    assert list(zip(frame["variant"], frame["value"], strict=True)) == [
        ("first", 1.0),
        ("first", 2.0),
        ("second", 1.0),
        ("second", 2.0),
    ]


def test_breaking_out_of_the_loop_keeps_what_was_observed(start):
    def early(run):
        run.synthetic("made", "numbers")
        for key in run.cells(range(10)):
            run.observe({"score": key}, variant="ours", dataset="made")
            if key == 2:
                break
        run.observe({"after": 1}, variant="ours", dataset="made")

    assert start().execute(early).observations()["value"].tolist() == [0, 1, 2, 1]


def test_cells_that_cannot_be_told_apart_are_refused(start):
    run = start()
    with pytest.raises(ValueError, match="cell 1 stands twice"):
        list(run.cells([1, 2, 1]))
    with pytest.raises(ValueError, match="inside another"):
        for _ in run.cells([1]):
            list(run.cells([2]))


def test_cells_take_a_generator_with_its_length(start):
    assert list(start().cells((i for i in range(3)), total=3)) == [0, 1, 2]


# -- observing -----------------------------------------------------------------------------


def test_label_of_the_dataset_travels_and_may_be_overridden(start):
    run = start()
    run.synthetic("made", "numbers")

    def observing(run):
        run.synthetic("made", "numbers")
        run.observe({"a": 1}, variant="v", dataset="made")
        run.observe({"b": 1}, variant="v", dataset="made", measurement="simulated", meter="sim")
        run.observe({"c": 1}, variant="v", dataset="elsewhere", data="substitute")

    frame = run.execute(observing).observations().set_index("metric")
    assert frame["data"].to_dict() == {"a": "synthetic", "b": "synthetic", "c": "substitute"}
    assert frame["measurement"].tolist() == ["measured", "simulated", "measured"]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"dataset": "unheard-of"}, "get the data through run.dataset, run.recorded or"),
        ({"data": "invented"}, "has data label 'invented'"),
        ({"measurement": "mesured"}, "did you mean 'measured'"),
        ({"value": 3}, "parameter columns may not be called"),
        ({"alpha": [1, 2]}, "parameter alpha=.* is a list; pass a string, a number"),
        ({"alpha": np.array([1, 2])}, "parameter alpha=.* is a ndarray"),
        ({"where": Path("/tmp")}, "is a PosixPath"),
    ],
)
def test_bad_observations_say_what_to_do(start, wrong, message):
    run = start()
    run.synthetic("made", "numbers")
    with pytest.raises(ValueError, match=message):
        run.observe({"score": 1}, **{"variant": "v", "dataset": "made", **wrong})


@pytest.mark.parametrize("value", [math.inf, -math.inf, np.float32("inf")])
def test_infinite_values_are_refused_and_nan_is_kept(start, value):
    run = start()
    run.synthetic("made", "numbers")
    with pytest.raises(ValueError, match="v made i7: metric 'score' is infinite"):
        run.observe({"score": value}, variant="v", dataset="made", item="i7")

    def observing(run):
        run.synthetic("made", "numbers")
        run.observe({"score": math.nan, "other": 1}, variant="v", dataset="made")

    frame = run.execute(observing).observations()
    assert frame["value"].isna().tolist() == [True, False]


def test_items_that_are_numbers_become_text(start):
    def observing(run):
        run.synthetic("made", "numbers")
        for item in (7, np.int64(8), "nine"):
            run.observe({"score": 1}, variant="v", dataset="made", item=item)

    assert start().execute(observing).observations()["item"].tolist() == ["7", "8", "nine"]


def test_measure_records_readings_with_their_meters(start):
    def measuring(run):
        run.synthetic("made", "numbers")
        for i in run.cells(range(3)):
            with run.measure("fit", variant="ours", dataset="made", item=str(i), n=10):
                sum(range(1000))

    folder = start().execute(measuring)
    frame = folder.observations()
    assert {"fit_wall_time", "fit_cpu_time"} <= set(frame["metric"])
    assert (frame["meter"] != "").all() and (frame["unit"] != "").all()
    assert frame["n"].eq(10).all()
    wall = frame[frame["metric"] == "fit_wall_time"]
    assert len(wall) == 3 and (wall["value"] >= 0).all()
    (total,) = (m for m in folder.record().measurements if m.quantity == "wall_time")
    assert (total.region, total.count, total.unit) == ("fit", 3, wall["unit"].iloc[0])
    assert total.total == pytest.approx(wall["value"].sum())
    assert total.meter == wall["meter"].iloc[0]


def test_measured_region_that_raises_records_nothing(start):
    run = start()
    run.synthetic("made", "numbers")
    with pytest.raises(ZeroDivisionError), run.measure("fit", variant="v", dataset="made"):
        raise ZeroDivisionError
    assert run._rows == []


# -- randomness ----------------------------------------------------------------------------


def test_rng_depends_on_the_key_alone(start):
    run = start()
    first = [run.rng(key).random() for key in ("a", "b")]
    other = start()
    assert [other.rng(key).random() for key in ("b", "a")] == first[::-1]
    assert run.rng("a", 1).random() != run.rng("a", 2).random()
    assert run.rng("a1").random() != run.rng("a", 1).random()
    assert run.rng().random() == start(size="smoke").rng().random()


def test_seeds(start):
    assert start().seeds == range(2)
    assert start(overrides={"seeds": 5}).seeds == range(5)


# -- data modes ----------------------------------------------------------------------------


@pytest.fixture
def no_data(monkeypatch):
    def resolve(name, mode, files):
        raise DataUnavailable(name, "no network", ["/some/mirror/folder"], "name a mirror")

    monkeypatch.setattr("common.data.resolve", resolve, raising=False)


def found(name="jobs", label="original"):
    return Dataset(name, "Jobs", {}, label, "mirror", {"j.csv": "0" * 64}, "CC0", "A. Author", "u")


@pytest.fixture
def some_data(monkeypatch):
    monkeypatch.setattr("common.data.resolve", lambda name, mode, files: found(name), raising=False)


def with_stand_in(run: Run) -> None:
    name = "jobs"
    if run.dataset("jobs") is None:
        name = "jobs-like"
        run.synthetic(name, "drawn from a distribution")
    run.observe({"score": 1}, variant="v", dataset=name)


def test_auto_falls_back_and_says_so_everywhere(start, no_data, caplog):
    folder = start().execute(with_stand_in)
    assert folder.record().stand_ins == {"jobs": "no network"}
    assert folder.record().datasets["jobs-like"]["label"] == "synthetic"
    assert folder.observations()["data"].tolist() == ["synthetic"]
    assert "STAND-IN: jobs is not available" in caplog.text


def test_real_makes_a_stand_in_an_error(start, no_data):
    run = start(data_mode="real")
    with pytest.raises(DataUnavailable):
        run.execute(with_stand_in)
    record = run.folder.record()
    assert record.status == "failed"
    assert "/some/mirror" not in record.reason
    assert "no network" in record.reason


def test_synthetic_never_looks_and_records_that_it_was_asked_for(start, shelf):
    name = "google-2011-straggler-jobs"
    run = start(data_mode="synthetic")
    assert run.dataset(name) is None
    assert run._notes.stand_ins == {name: "synthetic data was asked for"}
    assert run.recorded("x.csv", name="x") is None


def test_data_that_is_there_brings_its_provenance(start, some_data):
    folder = start(data_mode="real").execute(with_stand_in)
    assert folder.observations()["data"].tolist() == ["original"]
    assert folder.record().datasets == {"jobs": found().provenance()}
    run = start()
    run.dataset("jobs", label="substitute")
    run.observe({"score": 1}, variant="v", dataset="jobs")
    assert run._rows[0]["data"] == "substitute"


def test_recorded_data_is_a_substitute_with_its_digest(start, shelf):
    run = start()
    with pytest.raises(DataError, match="no such recording"):
        run.recorded("log.csv", name="log")
    path = shelf.root / "toy" / "recorded" / "log.csv"
    path.parent.mkdir()
    path.write_bytes(b"abc")
    assert run.recorded("log.csv", name="log") == path
    assert run._notes.datasets["log"] == {
        "label": "substitute",
        "source": "recorded",
        "sha256": "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
    }


def test_stand_ins_give_way_when_the_data_arrives(start, no_data, monkeypatch):
    here = ["no"]
    monkeypatch.setattr("common.data.inspection.presence", lambda name: here[0])
    run = start()
    run.execute(with_stand_in)
    assert run.is_done()
    here[0] = "mirror"
    assert not run.is_done()
    assert not start(data_mode="synthetic").is_done()  # another configuration altogether

    def unfinished(run):
        assert run.dataset("jobs") is None
        run.synthetic("jobs-like", "drawn")
        for key in run.cells("ab"):
            if key == "b":
                raise KeyboardInterrupt
            run.observe({"score": 1}, variant="v", dataset="jobs-like")

    here[0] = "no"
    for arrived, kept in (("no", True), ("cache", False)):
        with pytest.raises(KeyboardInterrupt):
            start().execute(unfinished)
        here[0] = arrived
        assert bool(start()._resumable(run.digest()).finished) == kept


# -- life cycle ----------------------------------------------------------------------------


def test_record_is_complete_and_names_no_folder_of_this_machine(start, shelf):
    folder = start(overrides={"seeds": 3}).execute(score)
    text = (folder.path / "run.json").read_text()
    record = RunRecord.model_validate_json(text)
    assert (record.paper, record.experiment, record.size, record.target) == (
        "toy",
        "speed",
        "quick",
        "cpu",
    )
    assert record.config == {"n": 4, "seeds": 3}
    assert record.status == "done" and record.reason == ""
    assert record.rows == len(folder.observations()) == 10
    assert record.versions["numpy"] == np.__version__
    assert record.machine["id"] and record.seconds >= 0 and record.peak_memory_mb > 0
    assert record.finished >= record.started
    for part in (str(shelf.root), str(Path.home()), str(Path(__file__).parents[2])):
        assert part == "/" or part not in text


def test_git_state_is_of_this_checkout_alone(shelf):
    import subprocess

    outer = shelf.root.parents[1]
    assert git_state() == {}
    commit = ["-c", "user.name=a", "-c", "user.email=a@example.org", "commit", "-q", "-m", "x"]
    subprocess.run(["git", "init", "-q", str(outer)], check=True)
    subprocess.run(["git", "-C", str(outer), *commit, "--allow-empty"], check=True)
    assert git_state() == {}, "the commit of a checkout around ours"
    subprocess.run(["git", "init", "-q", str(shelf.root.parent)], check=True)
    subprocess.run(["git", "-C", str(shelf.root.parent), *commit, "--allow-empty"], check=True)
    assert re.fullmatch("[0-9a-f]{40}", git_state()["commit"])
    assert git_state()["dirty"] is False
    shelf.write()
    assert git_state()["dirty"] is True


def test_failed_run_says_why_and_raises_again(start):
    def failing(run):
        run.synthetic("made", "numbers")
        run.observe({"score": 1}, variant="v", dataset="made")
        raise FileNotFoundError(2, "No such file", "/home/somebody/data/jobs.csv")

    run = start()
    with pytest.raises(FileNotFoundError):
        run.execute(failing)
    record = run.folder.record()
    assert record.status == "failed"
    assert record.reason == "FileNotFoundError: [Errno 2] No such file: 'jobs.csv'"
    assert run.folder.observations().empty and record.rows == 0
    assert not run.is_done()


def test_nothing_observed_is_a_failure(start):
    run = start()
    with pytest.raises(Exception, match="observed nothing"):
        run.execute(lambda run: None)
    assert run.folder.record().status == "failed"


def test_rows_that_no_table_can_hold_are_a_failure_with_a_record(start):
    def mixed(run):
        run.synthetic("made", "numbers")
        for k in (1, "all"):
            run.observe({"score": 1}, variant="v", dataset="made", k=k)

    run = start()
    with pytest.raises(Exception, match="k"):
        run.execute(mixed)
    assert run.folder.record().status == "failed"
    assert files(run.folder) == ["observations.parquet", "run.json"]


def test_missing_extra_is_skipped_with_the_install_line(start):
    def needing(run):
        raise MissingExtra("lightgbm is not installed (missing extra 'nurd'); run: pip install x")

    run = start()
    record = run.execute(needing).record()
    assert record.status == "skipped"
    assert record.reason.startswith("lightgbm is not installed (missing extra 'nurd')")
    assert run.folder.observations().empty
    assert not run.is_done()


def test_is_done_until_something_that_counts_changes(start, shelf):
    run = start()
    assert not run.is_done()
    folder = run.execute(score)
    assert start().is_done()
    assert not start(overrides={"n": 3}).is_done()
    assert not start(size="smoke").is_done()
    kept = (folder.path / "observations.parquet").read_bytes()
    (folder.path / "observations.parquet").unlink()
    assert not start().is_done()
    (folder.path / "observations.parquet").write_bytes(kept)
    assert start().is_done()
    record = (folder.path / "run.json").read_text()
    (folder.path / "run.json").write_text(record[:100])
    assert not start().is_done()
    (folder.path / "run.json").write_text(record)
    (shelf.root / "toy" / "experiments.py").write_text("x = 1\n")
    assert not start().is_done()


def test_digest_and_configuration_are_those_of_the_start(start, shelf):
    """What an experiment does to its parameters, or an editor to the code, comes too late."""
    run = start()
    before = run.digest()

    def meddling(run):
        (shelf.root / "toy" / "experiments.py").write_text("x = 2\n")
        run.params["n"] = 99
        run.observe({"score": 1}, variant="v", dataset="d", data="synthetic")

    record = run.execute(meddling).record()
    assert record.digest == before
    assert record.config["n"] == 4
    assert not start().is_done()


def test_interrupted_writing_leaves_no_partial_files(start, monkeypatch):
    def disk_full(self, path, **options):
        Path(path).write_bytes(b"PAR1 half a table")
        raise OSError(28, "No space left on device")

    good = start().execute(score)
    run = start(overrides={"n": 3})
    with monkeypatch.context() as patch:
        patch.setattr(pd.DataFrame, "to_parquet", disk_full)
        with pytest.raises(OSError, match="No space left"):
            run.execute(score)
    # The earlier result is whole; the finished cells wait for the next time.
    assert good.record().config["n"] == 4 and len(good.observations()) == 10
    assert files(good) == ["observations.parquet", PARTIAL, "run.json"]
    assert start(overrides={"n": 3}).execute(score).record().rows == 8


def test_no_record_stays_beside_observations_of_another_run(start, monkeypatch):
    start().execute(score)
    run = start(overrides={"n": 3})
    with monkeypatch.context() as patch:
        patch.setattr(Run, "_write_record", lambda self, **facts: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            run.execute(score)
    assert not (run.folder.path / "run.json").exists()


def test_results_that_cannot_be_written_are_said_at_once(start, tmp_path):
    (tmp_path / "file").write_text("")
    called = []
    with pytest.raises(ConfigError, match="results cannot be written"):
        start(results=tmp_path / "file").execute(called.append)
    assert called == []


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"size": "quik"}, "no size 'quik'; did you mean 'quick'"),
        ({"target": "wearable"}, "toy speed has no target 'wearable'.*allowed: cpu, gpu"),
        ({"data_mode": "reel"}, "unknown data mode 'reel'; did you mean 'real'"),
        ({"overrides": {"seed": 1}}, "unknown parameter 'seed'; did you mean 'seeds'"),
    ],
)
def test_wrong_options_name_the_closest(start, wrong, message):
    with pytest.raises(ConfigError, match=message):
        start(**wrong)


def test_without_folders():
    assert without_folders("/a/b/c.csv and '/x/y'") == "c.csv and 'y'"
    for text in ("1/2 of a/b", "https://example.org/a/b", "./a/b ~/c/d", "s/m"):
        assert without_folders(text) == text


def test_a_language_model_is_part_of_the_run(shelf, tmp_path):
    experiment = {"title": "t", "sizes": {"quick": None}, "language_model": "reference"}
    paper = shelf.add(
        experiments={"speed": experiment, "plain": {**experiment, "language_model": ""}}
    )
    options = {"size": "quick", "results": tmp_path / "results"}
    one, other = Run(paper, "speed", **options), Run(paper, "speed", language_model="w", **options)
    assert (one.language_model, other.language_model) == ("reference", "w")
    assert one.digest() != other.digest()
    with pytest.raises(ConfigError, match="uses no language model"):
        Run(paper, "plain", language_model="w", **options)


def test_a_substitute_is_labelled_and_identified(start):
    run = start()

    def observe(run):
        run.substitute("text", "sources of this machine", fingerprint="abc")
        run.observe({"score": 1}, variant="ours", dataset="text")

    folder = run.execute(observe)
    assert folder.observations()["data"].tolist() == ["substitute"]
    found = folder.record().datasets["text"]
    assert (found["label"], found["fingerprint"]) == ("substitute", "abc")


def test_own_data_is_original_and_identified_without_folders(start, tmp_path):
    (tmp_path / "a.npz").write_bytes(b"abc")

    def observe(run):
        run.own_data("private", {"a.npz": tmp_path / "a.npz"})
        run.observe({"score": 1}, variant="ours", dataset="private")

    folder = start().execute(observe)
    assert folder.observations()["data"].tolist() == ["original"]
    found = folder.record().datasets["private"]
    assert found["sha256"] == {"a.npz": hashlib.sha256(b"abc").hexdigest()}
    assert found["bytes"] == {"a.npz": 3}
    assert str(tmp_path) not in (folder.path / "run.json").read_text()


@pytest.mark.parametrize("file", ["missing.npz", "folder/a.npz", None])
def test_own_data_without_a_plain_file_is_refused(start, tmp_path, file):
    (tmp_path / "a.npz").write_bytes(b"abc")
    path = tmp_path / ("missing.npz" if file == "missing.npz" else "a.npz")
    with pytest.raises(DataError, match="own data 'private'"):
        start().own_data("private", {file: path} if file else {})
