"""Where models are kept: shipped, cached or trained, once for everybody."""

import threading

import pytest

pytest.importorskip("transformers")

from common.errors import ConfigError, DataError
from common.llm import store, training
from common.llm.corpus import corpus
from common.llm.reference import PRESETS
from common.llm.store import is_complete, model_folder, models_root, reference_model, ships
from common.results import write_json


@pytest.fixture(autouse=True)
def cache(tmp_path, sources, monkeypatch):
    """A cache and a package without models, and a corpus that is quickly read."""
    monkeypatch.setenv("REPRISE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(store, "SHIPPED", tmp_path / "shipped")
    monkeypatch.setattr(store, "corpus", lambda source: sources)
    return tmp_path / "cache"


def make(folder, spec):
    folder.mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(b"weights")
    write_json(folder / "card.json", {"spec_digest": spec.digest()})
    return folder


@pytest.fixture
def trained(monkeypatch):
    """Stands in for the training; lists what was trained where."""
    calls = []

    def train(spec, folder, *, device):
        calls.append((spec, folder, device))
        make(folder, spec)

    monkeypatch.setattr(training, "train", train)
    return calls


def test_root(cache, monkeypatch, tmp_path):
    assert models_root() == cache / "models"
    monkeypatch.setenv("REPRISE_CACHE", "~/there")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert models_root() == tmp_path / "there" / "models"
    monkeypatch.delenv("REPRISE_CACHE")
    assert models_root().parts[-2:] == ("reprise", "models")


def test_folder_is_of_a_specification_and_a_corpus(tiny, sources, tmp_path, monkeypatch):
    spec = tiny()
    here = model_folder(spec, "draft")
    assert here.parent == models_root() and here.name.startswith("draft-")
    assert model_folder(spec, "draft") == here != model_folder(tiny(seed=1), "draft")
    (tmp_path / "other.py").write_text("other")
    monkeypatch.setattr(store, "corpus", lambda source: corpus(roots=[tmp_path]))
    assert model_folder(spec, "draft") != here


def test_trains_once(tiny, trained):
    spec = tiny()
    folder = reference_model("draft", spec=spec)
    assert trained == [(spec, folder, "cpu")] and is_complete(folder)
    assert reference_model("draft", spec=spec) == folder == model_folder(spec, "draft")
    assert len(trained) == 1
    other = reference_model("draft", spec=tiny(seed=1), device="cuda")
    assert other != folder and trained[1:] == [(tiny(seed=1), other, "cuda")]


def test_names_are_presets(trained):
    reference_model("small")
    assert trained[0][0] == PRESETS["small"]
    with pytest.raises(ConfigError, match="did you mean 'reference'"):
        reference_model("referense")


def test_a_second_process_waits(tiny, monkeypatch):
    begun, finish, calls = threading.Event(), threading.Event(), []

    def train(spec, folder, *, device):
        calls.append(folder)
        begun.set()
        assert finish.wait(30)
        make(folder, spec)

    monkeypatch.setattr(training, "train", train)
    found = []

    def ask():
        found.append(reference_model("draft", spec=tiny()))

    # Each opens the lock for itself, as processes do.
    first, second = threading.Thread(target=ask), threading.Thread(target=ask)
    first.start()
    assert begun.wait(30)
    second.start()
    second.join(0.3)
    assert second.is_alive() and not found
    finish.set()
    first.join(30)
    second.join(30)
    assert len(calls) == 1 and found == [calls[0]] * 2


def test_a_failure_does_not_keep_the_lock(tiny, trained, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(training, "train", lambda *_, **__: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            reference_model("draft", spec=tiny())
    assert is_complete(reference_model("draft", spec=tiny())) and len(trained) == 1


def test_shipped_models_come_first(tiny, trained, tmp_path):
    spec, shipped = tiny(), tmp_path / "shipped" / "draft"
    assert not ships(spec, "draft")
    make(shipped, spec)
    assert ships(spec, "draft") and reference_model("draft", spec=spec) == shipped
    assert not trained
    # One of an older recipe is not what was asked for.
    assert not ships(tiny(seed=1), "draft") and not ships(spec, "reference")
    assert reference_model("draft", spec=tiny(seed=1)) != shipped and len(trained) == 1


@pytest.mark.parametrize("missing", ["card.json", "model.safetensors"])
def test_incomplete(tiny, tmp_path, missing):
    folder = make(tmp_path / "model", tiny())
    assert is_complete(folder)
    (folder / missing).unlink()
    assert not is_complete(folder)


def test_cache_that_cannot_be_written(tiny, trained, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("REPRISE_CACHE", str(tmp_path / "file"))
    with pytest.raises(DataError, match="set REPRISE_CACHE to a writable folder"):
        reference_model("draft", spec=tiny())
    assert not trained


def test_what_it_trains_can_be_loaded(tiny, sources, monkeypatch):
    """The whole way, with the training itself."""
    from common.llm import report
    from common.llm.loading import load

    monkeypatch.setattr(report, "QUESTIONS", 2)
    monkeypatch.setattr(training, "python_sources", lambda source: sources)
    folder = reference_model("draft", spec=tiny(tokens=256))
    assert load(folder).layers == 1
