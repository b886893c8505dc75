"""ESC-50 of the user's own: a download of the same layout, made here, and what is not one."""

import io
import wave
import zipfile

import numpy as np
import pytest

from common.errors import ConfigError, DataError
from common.papers import load_paper
from common.run import Run
from projects.watchhar import esc50
from projects.watchhar.command import main
from projects.watchhar.esc50 import CATEGORIES, import_esc50, imported_files, load

HEADER = "filename,fold,target,category,esc10,src_file,take\n"


def wav(hz=440.0, rate=44_100, seconds=5.0):
    tone = 0.5 * np.sin(2 * np.pi * hz * np.arange(round(rate * seconds)) / rate)
    made = io.BytesIO()
    with wave.open(made, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes((tone * 32767).astype("<i2").tobytes())
    return made.getvalue()


def download(folder, rows, clips):
    (folder / "meta").mkdir(parents=True)
    (folder / "audio").mkdir()
    lines = [f"{name},{fold},0,{category},False,1,A\n" for name, fold, category in rows]
    (folder / "meta" / "esc50.csv").write_text(HEADER + "".join(lines))
    for name, content in clips.items():
        (folder / "audio" / name).write_bytes(content)
    return folder


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("REPRISE_CACHE", str(tmp_path / "cache"))


def test_ten_classes_come_in_at_16_khz_and_keep_their_folds(tmp_path, capsys):
    rows = [
        ("1-1-A-19.wav", 1, "clapping"),
        ("5-2-A-36.wav", 5, "vacuum_cleaner"),
        ("2-3-A-0.wav", 2, "dog"),
    ]
    source = download(tmp_path / "ESC-50", rows, {row[0]: wav() for row in rows})
    assert main(["data", "import-esc50", str(source)]) == 0
    assert capsys.readouterr().out == "2 recordings imported, 0 refused\n"
    sounds = load(imported_files())
    assert sounds.audio.shape == (2, 80_000) and sounds.folds.tolist() == [1, 5]
    assert [CATEGORIES[label] for label in sounds.labels] == ["clapping", "vacuum_cleaner"]
    # the tone is where it was, away from the ends
    expected = 0.5 * np.sin(2 * np.pi * 440 * np.arange(80_000) / 16_000)
    assert np.abs(sounds.audio[0] - expected)[200:-200].max() < 2e-3


def test_the_zip_file_of_github_is_read_and_stays_inside(tmp_path):
    row = ("1-1-A-19.wav", 1, "clapping")
    folder = download(tmp_path / "ESC-50-master", [row], {row[0]: wav()})
    made = tmp_path / "master.zip"
    with zipfile.ZipFile(made, "w") as archive:
        for path in folder.rglob("*.*"):
            archive.write(path, path.relative_to(tmp_path))
    assert import_esc50(made) == (1, {})
    with zipfile.ZipFile(made, "a") as archive:
        archive.writestr("../outside.wav", wav(seconds=0.1))
    with pytest.raises(DataError, match="climbs out"):
        import_esc50(made)


@pytest.mark.parametrize(
    ("name", "fold", "content", "reason"),
    [
        ("../secret.wav", 1, None, "climbs out of its folder"),
        ("deep/1.wav", 1, None, "lies in a folder"),
        ("1.wav", 1, wav(rate=8000, seconds=0.1), "8000 Hz; the clips of ESC-50 have 44100 Hz"),
        ("1.wav", 1, b"RIFF", "no readable WAV file"),
        ("1.wav", 9, wav(seconds=0.1), "fold '9'"),
        ("1.wav", "x", wav(seconds=0.1), "invalid literal"),
        ("1.wav", 1, None, "No such file"),
    ],
)
def test_a_clip_that_is_none_is_refused_with_the_reason(tmp_path, name, fold, content, reason):
    clips = {} if content is None else {name: content}
    source = download(tmp_path / "data", [(name, fold, "clapping")], clips)
    kept, refused = import_esc50(source)
    assert kept == 0 and reason in refused[name]
    assert not imported_files()


def test_a_huge_clip_is_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr(esc50, "LARGEST", 1000)
    source = download(tmp_path / "data", [("1.wav", 1, "clapping")], {"1.wav": wav(seconds=0.1)})
    assert "larger than" in import_esc50(source)[1]["1.wav"]


def test_what_is_no_download_of_it(tmp_path, capsys):
    assert main(["data", "import-esc50", str(tmp_path)]) == 2
    assert "no meta/esc50.csv in it; name the folder or the zip file" in capsys.readouterr().err
    folder = download(tmp_path / "a", [("1.wav", 1, "dog")], {})
    with pytest.raises(ConfigError, match=r"no clip of brushing_teeth"):
        import_esc50(folder)
    (folder / "meta" / "esc50.csv").write_text("filename,category\n")
    with pytest.raises(ConfigError, match="no column 'fold'"):
        import_esc50(folder)


@pytest.mark.parametrize(("imported", "label"), [(True, "substitute"), (False, "synthetic")])
def test_the_experiment_takes_what_there_is_and_says_so(tmp_path, imported, label):
    pytest.importorskip("torch", reason="torch is not installed (extra 'torch')")
    paper = load_paper("watchhar")
    if imported:
        rows = [(f"{fold}-{n}.wav", fold, CATEGORIES[n]) for fold in range(1, 6) for n in (1, 2)]
        clips = {row[0]: wav(hz=300 * row[1], seconds=0.2) for row in rows}
        import_esc50(download(tmp_path / "ESC-50", rows, clips))
    training = {**paper.experiment("sounds").params["training"], "epochs": 1}
    overrides = {"rates": [1000], "front_ends": ["frozen"], "clips": 1, "channels": 4}
    options = {"results": tmp_path, "overrides": {**overrides, "training": training}}
    run = Run(paper, "sounds", size="full", **options)
    run.execute(paper.function("experiments", "sounds"))
    rows = run.folder.observations()
    assert set(rows["data"]) == {label} and set(rows["item"]) == {f"fold {n}" for n in range(1, 6)}
    assert set(rows["low_pass"]) == {True, False} and rows["value"].between(0, 1).all()
    if not imported:
        with pytest.raises(DataError, match="import-esc50"):
            run = Run(paper, "sounds", size="full", results=tmp_path / "real", data_mode="real")
            run.execute(paper.function("experiments", "sounds"))
