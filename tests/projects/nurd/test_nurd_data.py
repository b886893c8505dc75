import gzip
import json

import numpy as np
import pytest

from common.errors import ConfigError, DataError
from common.papers import load_paper
from common.run import Run
from projects.nurd.data import (
    GOOGLE,
    GOOGLE_COLUMNS,
    GOOGLE_FEATURES,
    SPARK,
    SYNTHETIC,
    WORKFLOWS,
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


@pytest.mark.parametrize("column", [5, 19])
def test_a_column_that_holds_no_numbers(tmp_path, column):
    path = google_file(tmp_path / "job_42.csv")
    lines = [line.split(",") for line in path.read_text().split()]
    lines[-1][column] = "none"
    path.write_text("\n".join(map(",".join, lines)))
    with pytest.raises(ValueError, match="expected 22 numeric columns"):
        google_job(path)


def test_too_few_columns(tmp_path):
    path = tmp_path / "job_42.csv"
    path.write_text("1,2,3\n" * 30)
    with pytest.raises(ValueError, match=r"expected 22 numeric columns .* got 3 columns"):
        google_job(path)


def test_gzip_by_its_name_and_only_then(tmp_path):
    plain = google_file(tmp_path / "job_42.csv")
    packed = tmp_path / "job_42.csv.gz"
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    assert np.array_equal(google_job(packed).usage, google_job(plain).usage)
    (tmp_path / "job_1.csv").write_bytes(packed.read_bytes())
    (tmp_path / "job_1.csv.gz").write_bytes(plain.read_bytes())
    (tmp_path / "job_2.csv").write_bytes(b"")
    for name in ("job_1.csv", "job_1.csv.gz", "job_2.csv"):
        with pytest.raises(ValueError, match=f"{name}: neither a plain CSV file nor"):
            google_job(tmp_path / name)


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


# -- the mirror ----------------------------------------------------------------------------


@pytest.mark.data
@pytest.mark.parametrize(
    ("stage", "n"),
    [
        ("blast-chameleon-large", 100),
        ("blast-chameleon-medium", 300),
        ("bwa-chameleon-large", 1000),
    ],
)
def test_workflow_runs_of_the_mirror(mirrored, stage, n):
    for number in (1, 2, 3):
        job = workflow_job(mirrored(WORKFLOWS)[f"{stage}-{number:03d}.json"])
        assert (job.n, job.static) == (n, True)
        machines = [i for i, name in enumerate(job.features) if name.startswith("on_")]
        assert (job.usage[:, machines].sum(axis=1) == 1).all()


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "n", "records", "quantiles"),
    [
        ("6266469130", 1000, 5213, (38, 134, 244, 463)),
        ("6274140245", 189, 5322, (4462, 4782, 7227, 13963)),
        ("6308689702", 350, 1857, (18, 55, 141, 3072)),
        ("6343048076", 152, 819, (128, 184, 327, 356)),
    ],
)
def test_google_jobs_of_the_mirror(google, name, n, records, quantiles):
    """Sizes and latencies (min, median, p90, max) as the source of the extraction gives them."""
    job = google(name)
    assert (job.name, job.n, len(job.end), len(job.features)) == (name, n, records, 15)
    assert np.quantile(job.latency, [0, 0.5, 0.9, 1]) == pytest.approx(quantiles, abs=1.0)


@pytest.mark.data
def test_all_zero_records_are_records(google):
    """Padding with zeros once doubled as "finished"; this job begins with such records."""
    job = google("6266469130")
    zero = ~job.usage.any(axis=1)
    assert zero.sum() > 0
    assert (job.end - job.start)[zero].min() > 0


@pytest.mark.data
@pytest.mark.parametrize("mode", ["auto", "real"])
def test_labels_of_the_mirror(mirrored, tmp_path, mode):
    mirrored(GOOGLE), mirrored(WORKFLOWS)
    loaded = run(tmp_path, mode)
    names = {"google": ["6343048076"], "workflows": ["blast-chameleon-large-001"]}
    jobs = load_jobs(loaded, **names, synthetic=2, stand_ins=5)
    expected = {GOOGLE: "original", WORKFLOWS: "substitute", SYNTHETIC: "synthetic"}
    assert [job.dataset for job in jobs] == [GOOGLE, WORKFLOWS, SYNTHETIC, SYNTHETIC]
    for name, label in expected.items():
        loaded.observe({"x": 1}, variant="v", dataset=name)
        assert loaded._rows[-1]["data"] == label


@pytest.mark.data
def test_an_unknown_job_is_named_with_the_closest(mirrored, tmp_path):
    mirrored(GOOGLE)
    with pytest.raises(ConfigError, match=r"unknown job .*'634304807'; did you mean '6343048076'"):
        load_jobs(run(tmp_path, "auto"), google=["634304807"])


def test_synthetic_jobs_alternate_and_repeat(tmp_path):
    made = [load_jobs(run(tmp_path, "synthetic"), synthetic=4) for _ in range(2)]
    assert [tail(job) for job in made[0]] == ["far", "near", "far", "near"]
    assert [job.name for job in made[0]] == [f"synthetic-{i:04d}" for i in range(4)]
    for one, other in zip(*made, strict=True):
        assert np.array_equal(one.usage, other.usage)
