import json

import numpy as np
import pytest

from common.errors import DataError
from common.papers import load_paper
from common.run import Run
from projects.nurd.data import (
    GOOGLE,
    GOOGLE_COLUMNS,
    GOOGLE_FEATURES,
    SPARK,
    SYNTHETIC,
    google_job,
    load_jobs,
    spark_jobs,
    tail,
    workflow_job,
)


def google_file(path, tasks=25, header=False):
    lines = [",".join(GOOGLE_COLUMNS)] if header else []
    for task in range(tasks):
        for record in range(2):
            begin = 1_000_000 * (100 + 10 * record)
            times = [begin, begin + 1_000_000 * (1 + task), 42, task, 7]
            lines.append(",".join(map(str, [*times, *([0.5] * 17)])))
    path.write_text("\n".join(lines) + "\n")
    return path


def test_google_job_counts_overlapping_records_as_the_authors_do(tmp_path):
    job = google_job(google_file(tmp_path / "job_42.csv"))
    assert (job.name, job.dataset, job.features) == ("42", GOOGLE, GOOGLE_FEATURES)
    assert len(GOOGLE_FEATURES) == 15
    # Two records of 1 + task seconds each; from task 10 on they overlap.
    assert job.latency.tolist() == [2.0 * (1 + task) for task in range(25)]


def test_a_header_line_where_none_is_expected(tmp_path):
    with pytest.raises(ValueError, match=r"no header line, got 22 columns, first row \['ST'"):
        google_job(google_file(tmp_path / "job_42.csv", header=True))


def test_workflow_job_by_hand(tmp_path):
    tasks = [
        {
            "id": f"blastall_{i}",
            "runtimeInSeconds": 10.0 + i,
            "command": {"program": "blastall"},
            "avgCPU": 99.0,
            "readBytes": i,
            "writtenBytes": 2,
            "memoryInBytes": 3,
            "machines": [f"worker-{i % 2}"],
        }
        for i in range(20)
    ]
    other = {**tasks[0], "id": "cat_1", "command": {"program": "cat"}}
    specification = {
        "files": [{"id": "a", "sizeInBytes": 5}, {"id": "b", "sizeInBytes": 6}],
        "tasks": [{"id": task["id"], "inputFiles": ["a", "b"]} for task in tasks],
    }
    workflow = {"specification": specification, "execution": {"tasks": [*tasks, other]}}
    path = tmp_path / "blast-chameleon-large-001.json"
    path.write_text(json.dumps({"workflow": workflow}))
    job = workflow_job(path)
    assert (job.name, job.n, job.static) == ("blast-large-001", 20, True)
    assert job.features[-3:] == ("inputBytes", "on_worker-0", "on_worker-1")
    assert set(job.usage[:, job.features.index("inputBytes")]) == {11.0}
    assert job.usage[:, -2:].sum(axis=1).tolist() == [1.0] * 20


def test_recorded_spark_stages_have_both_kinds_of_tail():
    jobs = spark_jobs(load_paper("nurd").path("recorded/spark/usage.csv.gz"))
    assert len(jobs) == 6
    assert {tail(job) for job in jobs} == {"near", "far"}
    assert all(job.n >= 128 and np.isfinite(job.usage).all() for job in jobs)


def run(tmp_path, mode):
    return Run(load_paper("nurd"), "jobs", size="smoke", results=tmp_path, data_mode=mode)


def test_without_data_stand_ins_are_labelled(tmp_path, monkeypatch):
    monkeypatch.delenv("REPRISE_DATA", raising=False)
    monkeypatch.setenv("REPRISE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("REPRISE_OFFLINE", "1")
    auto = run(tmp_path, "auto")
    jobs = load_jobs(auto, google=["6343048076"], spark=True, stand_ins=2)
    assert {job.dataset for job in jobs} == {SPARK, SYNTHETIC}
    for name, label in ((SPARK, "substitute"), (SYNTHETIC, "synthetic")):
        auto.observe({"x": 1}, variant="v", dataset=name)
        assert auto._rows[-1]["data"] == label
    with pytest.raises(DataError, match="google-2011-straggler-jobs"):
        load_jobs(run(tmp_path, "real"), google=["6343048076"], stand_ins=2)
    only = load_jobs(run(tmp_path, "synthetic"), google=["6343048076"], spark=True, stand_ins=2)
    assert {job.dataset for job in only} == {SYNTHETIC}


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "n"), [("blast-chameleon-large-001", 100), ("bwa-chameleon-large-002", 1000)]
)
def test_workflow_runs_of_the_mirror(name, n):
    from common.data import resolve

    files = resolve("wfinstances-tasks").files
    assert workflow_job(files[f"{name}.json"]).n == n
