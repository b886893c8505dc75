"""The experiments end to end, on stand-ins and a handful of windows."""

import hashlib
import json

import pytest

from common.errors import DataError
from common.papers import load_paper
from common.run import Run

TINY = {
    "events": {
        "subjects": 4,
        "together": 1,
        "channels": 8,
        "train_hop": 150,
        "hop": 50,
        "prolong": 50,
        "trees": 5,
    },
    "frontend": {
        "takes": 2,
        "rates": [2000, 1000],
        "front_ends": ["trainable", "host log-mel"],
        "channels": 4,
    },
    "fusion": {
        "classes": ["Toothbrushing", "Chopping", "Clapping"],
        "participants": 3,
        "together": 1,
        "takes": 1,
        "seconds": 2,
        "variants": [
            *("watchhar", "watchhar released", "motion only", "sound only", "late fusion"),
            *("attend and discriminate", "vggish"),
        ],
    },
    "open_set": {
        "classes": ["Toothbrushing", "Other"],
        "unknown": ["Chopping", "Clapping"],
        "participants": 3,
        "together": 1,
        "takes": 1,
        "seconds": 2,
    },
}


@pytest.mark.filterwarnings("ignore:.*mel filters are empty")
@pytest.mark.parametrize("name", list(TINY))
def test_experiment_is_run_and_drawn(name, tmp_path):
    paper = load_paper("watchhar")
    training = {**paper.experiment(name).params["training"], "epochs": 1}
    overrides = {**TINY[name], "training": training}
    options = {"results": tmp_path, "data_mode": "synthetic", "overrides": overrides}
    run = Run(paper, name, size="quick", **options)
    run.execute(paper.function("experiments", name))
    rows = run.folder.observations()
    assert set(rows["data"]) == {"synthetic"}
    shares = rows[rows["unit"].eq("") & ~rows["metric"].isin(["windows", "interruptions"])]
    shares = shares[~shares["metric"].str.endswith("per_hour")]
    assert shares["value"].dropna().between(0, 1).all()
    rows = rows.assign(experiment=name)
    for figure, declared in paper.figures.items():
        if declared.experiments[0] == name:
            assert paper.function("figures", figure)(rows).axes


def test_every_level_is_always_reported(tmp_path):
    paper = load_paper("watchhar")
    training = {**paper.experiment("fusion").params["training"], "epochs": 1}
    overrides = {**TINY["fusion"], "variants": ["motion only"], "training": training}
    run = Run(paper, "fusion", size="quick", results=tmp_path, overrides=overrides)
    run.execute(paper.function("experiments", "fusion"))
    rows = run.folder.observations()
    for level in ("frame", "file", "context"):
        assert (rows["metric"] == f"{level}_accuracy").any()
        assert (rows["metric"] == f"{level}_accuracy_logits").any()


def test_imported_recordings_are_labelled_original(tmp_path, monkeypatch):
    import io

    import numpy as np

    from projects.watchhar.activity_study import activity_windows

    monkeypatch.setenv("REPRISE_CACHE", str(tmp_path))
    folder = tmp_path / "data" / "samosa"
    folder.mkdir(parents=True)
    imu = np.tile(np.array([0, 0, 9.81, 0, 0, 0], np.float32), (100, 1))
    written = io.BytesIO()
    np.savez(written, imu=imu, audio=np.zeros(2000, np.float32))
    (folder / "7---Kitchen---Chopping---1.npz").write_bytes(written.getvalue())
    paper = load_paper("watchhar")
    for mode, label in (("auto", "original"), ("synthetic", "synthetic")):
        overrides = {"imported": True, "participants": 2, "takes": 1, "seconds": 1}
        options = {"results": tmp_path, "data_mode": mode, "overrides": overrides}
        run = Run(paper, "fusion", size="quick", **options)

        def observe(run):
            run.observe({"score": 1}, variant="none", dataset=activity_windows(run)[1])

        record = run.execute(observe).record()
        assert run.folder.observations()["data"].tolist() == [label]
        assert str(tmp_path) not in json.dumps(record.datasets)
        if label == "original":
            digest = hashlib.sha256(written.getvalue()).hexdigest()
            assert record.datasets["samosa"]["sha256"] == {"7---Kitchen---Chopping---1.npz": digest}


def test_real_data_alone_needs_an_import(tmp_path, monkeypatch):
    from projects.watchhar.activity_study import activity_windows

    monkeypatch.setenv("REPRISE_CACHE", str(tmp_path))
    options = {"results": tmp_path, "data_mode": "real", "overrides": {"imported": True}}
    with pytest.raises(DataError, match="import-samosa"):
        activity_windows(Run(load_paper("watchhar"), "fusion", size="quick", **options))


def test_the_package_stays_light():
    import subprocess
    import sys

    code = (
        "import sys, projects.watchhar, projects.watchhar.figures, projects.watchhar.experiments;"
        "print([m for m in ('torch', 'onnxruntime', 'sklearn', 'librosa') if m in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
