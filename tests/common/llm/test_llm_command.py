"""Models that start from others, and the command ``python -m common.llm``."""

import json

import numpy as np
import pytest

pytest.importorskip("transformers")

from common.llm import __main__ as command
from common.llm import load, reference, report, store, training
from common.llm.loading import fingerprint
from common.llm.training import train


@pytest.fixture
def presets(tiny, sources, tmp_path, monkeypatch):
    """Two toy recipes, the second of which starts from the first and hardly moves."""
    both = {
        "first": tiny(separator=":", recall=0.5, tokens=1024),
        "second": tiny(start="first", rate=1e-9, recall=0.5, lists=0.5, tokens=512),
    }
    monkeypatch.setattr(report, "QUESTIONS", 2)
    monkeypatch.setattr(reference, "PRESETS", both)
    monkeypatch.setattr(command, "PRESETS", both)
    monkeypatch.setattr(command, "preset", both.__getitem__)
    monkeypatch.setattr(store, "corpus", lambda source: sources)
    monkeypatch.setattr(training, "python_sources", lambda source: sources)
    monkeypatch.setenv("REPRISE_CACHE", str(tmp_path / "cache"))
    return both


def test_training_starts_from_another_model(presets, sources, tmp_path):
    train(presets["second"], tmp_path / "second", corpus=sources)
    first = load(store.reference_model("first", spec=presets["first"]))
    second = load(tmp_path / "second")
    assert second.encode("alpha beta") == first.encode("alpha beta")
    for name, weight in first.network.state_dict().items():
        np.testing.assert_allclose(second.network.state_dict()[name], weight, atol=1e-3)


def test_a_model_is_another_when_what_it_starts_from_is(presets):
    before = presets["second"].digest()
    presets["first"] = presets["first"].model_copy(update={"seed": 9})
    assert presets["second"].digest() != before


def test_train_where_and_card(presets, tmp_path, capsys):
    target = tmp_path / "model"
    assert command.main(["train", "first", str(target), "--tokens", "512"]) == 0
    assert capsys.readouterr().out.strip() == str(target)
    assert json.loads((target / "card.json").read_text())["spec"]["tokens"] == 512
    assert command.main(["where", "first"]) == 0
    folder = capsys.readouterr().out.strip()
    assert fingerprint(folder) != fingerprint(target)
    assert command.main(["card", "first"]) == 0
    assert json.loads(capsys.readouterr().out)["training"]["stopped_by"] == "tokens"


def test_errors_are_one_line(presets, tmp_path, capsys):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").write_text("")
    assert command.main(["train", "first", str(tmp_path / "full")]) == 2
    assert "exists" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="2"):
        command.main(["where", "third"])
    assert "first" in capsys.readouterr().err


def test_interrupted_training_says_how_to_go_on(presets, tmp_path, capsys, monkeypatch):
    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(training, "train", stop)
    assert command.main(["train", "first", str(tmp_path / "model")]) == 130
    assert "goes on" in capsys.readouterr().err
