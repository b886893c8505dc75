"""Training: stopped and resumed it is the same training, and what it writes is a model."""

import copy
import json
import logging
import math
from types import SimpleNamespace

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from common.errors import DataError, RepriseError
from common.llm import report, training
from common.llm.batches import Batches
from common.llm.corpus import corpus
from common.llm.loading import load
from common.llm.recall import Recall
from common.llm.report import recalled, validation
from common.llm.tokenizer import encode
from common.llm.training import CHECKPOINT, LOWEST_RATE, Trainer, train


@pytest.fixture(autouse=True)
def _short_evaluation(monkeypatch):
    monkeypatch.setattr(report, "QUESTIONS", 4)


@pytest.fixture(scope="module")
def whole(tiny, sources, tmp_path_factory):
    """Weights of a training that nothing interrupted."""
    folder = tmp_path_factory.mktemp("whole") / "model"
    train(tiny(weights="float32"), folder, corpus=sources)
    return (folder / "model.safetensors").read_bytes()


class Killed(Exception):
    pass


def killed_after(steps):
    def on_step(trainer):
        if trainer.step == steps:
            raise Killed

    return on_step


def interrupt(spec, folder, sources, steps):
    with pytest.raises(Killed):
        train(spec, folder, corpus=sources, checkpoint_seconds=0.0, on_step=killed_after(steps))
    assert not folder.exists()
    return folder.with_name(f"{folder.name}.unfinished") / CHECKPOINT


def go_on(spec, folder, sources):
    """Train; returns the first step made and the weights written."""
    steps = []
    train(spec, folder, corpus=sources, on_step=lambda trainer: steps.append(trainer.step))
    assert sorted(path.name for path in folder.parent.iterdir()) == [folder.name]
    return steps[0], (folder / "model.safetensors").read_bytes()


def test_resumed_is_uninterrupted(tiny, sources, whole, tmp_path):
    spec, folder = tiny(weights="float32"), tmp_path / "model"
    interrupt(spec, folder, sources, 3)
    interrupt(spec, folder, sources, 6)
    first, weights = go_on(spec, folder, sources)
    assert first == 6  # the sixth step was made but not saved
    assert weights == whole
    facts = json.loads((folder / "card.json").read_text())
    assert facts["training"]["steps"] == 8 and facts["training"]["tokens"] == 8 * 256


def test_curve_goes_on(tiny, sources, tmp_path):
    spec = tiny(tokens=256 * 25)
    once = train(spec, tmp_path / "once", corpus=sources)["training"]["curve"]
    interrupt(spec, tmp_path / "twice", sources, 14)
    twice = train(spec, tmp_path / "twice", corpus=sources)["training"]["curve"]
    for curve in (once, twice):
        assert [point.pop("seconds") >= 0 for point in curve] == [True, True]
    assert once == twice and [point["tokens"] for point in once] == [2560, 5120]


def garbage(path):
    path.write_bytes(b"no checkpoint")


def cut_off(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def other_content(path):
    torch.save([1, 2, 3], path)


@pytest.mark.parametrize("damage", [garbage, cut_off, other_content])
def test_damaged_checkpoint_starts_anew(tiny, sources, whole, tmp_path, caplog, damage):
    spec, folder = tiny(weights="float32"), tmp_path / "model"
    damage(interrupt(spec, folder, sources, 4))
    caplog.set_level(logging.WARNING, "common.llm.training")
    first, weights = go_on(spec, folder, sources)
    assert first == 1 and weights == whole
    assert "training starts anew" in caplog.text and CHECKPOINT in caplog.text


def test_checkpoint_of_another_training_starts_anew(tiny, sources, whole, tmp_path, caplog):
    caplog.set_level(logging.WARNING, "common.llm.training")
    fewer = corpus(roots=[sources.files[0].parent])
    fewer = type(fewer)(fewer.files[:-1], fewer.digests[:-1])
    spec, folder = tiny(weights="float32"), tmp_path / "model"
    for other_spec, other_corpus in [(spec.model_copy(update={"seed": 1}), sources), (spec, fewer)]:
        interrupt(other_spec, folder, other_corpus, 4)
        caplog.clear()
        with pytest.raises(Killed):
            train(spec, folder, corpus=sources, on_step=killed_after(1))
        assert "another recipe or corpus" in caplog.text
    first, weights = go_on(spec, folder, sources)
    assert first == 1 and weights == whole


def test_seed_decides(tiny, sources, whole, tmp_path):
    _, again = go_on(tiny(weights="float32"), tmp_path / "a" / "model", sources)
    _, other = go_on(tiny(weights="float32", seed=1), tmp_path / "b" / "model", sources)
    assert again == whole != other


def test_random_state_of_the_caller_is_left_alone(tiny, sources, tmp_path):
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    train(tiny(tokens=256), tmp_path / "model", corpus=sources)
    assert torch.equal(torch.rand(3), expected)


def test_folder_appears_complete_or_not_at_all(tiny, sources, tmp_path, monkeypatch):
    spec, folder = tiny(), tmp_path / "deep" / "model"
    with monkeypatch.context() as patch:
        patch.setattr(training, "write_json", lambda *_: (_ for _ in ()).throw(OSError("full")))
        with pytest.raises(OSError, match="full"):
            train(spec, folder, corpus=sources)
    assert [path.name for path in folder.parent.iterdir()] == ["model.unfinished"]
    # The training itself is done and not repeated.
    train(spec, folder, corpus=sources, on_step=killed_after(8))
    names = {path.name for path in folder.iterdir()}
    assert {"config.json", "model.safetensors", "tokenizer.json", "card.json"} <= names
    assert [path.name for path in folder.parent.iterdir()] == ["model"]


def test_an_empty_folder_is_filled_and_another_left_alone(tiny, sources, tmp_path):
    (tmp_path / "empty").mkdir()
    train(tiny(tokens=256), tmp_path / "empty", corpus=sources)
    with pytest.raises(RepriseError, match="empty exists; remove it"):
        train(tiny(), tmp_path / "empty", corpus=sources)
    (tmp_path / "file").write_text("mine")
    with pytest.raises(RepriseError, match="file exists; remove it"):
        train(tiny(), tmp_path / "file", corpus=sources)
    assert (tmp_path / "file").read_text() == "mine"


class Clock:
    """A second passes whenever somebody looks."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        self.now += 1.0
        return self.now


def test_budget_of_seconds(tiny, sources, tmp_path, monkeypatch):
    clock = Clock()
    monkeypatch.setattr(training, "time", SimpleNamespace(perf_counter=clock, monotonic=clock))
    rates = []
    facts = train(
        tiny(tokens=10**9, seconds=5.0),
        tmp_path / "model",
        corpus=sources,
        on_step=lambda trainer: rates.append(trainer.rate()),
    )["training"]
    assert (facts["stopped_by"], facts["steps"], facts["seconds"]) == ("seconds", 5, 5.0)
    assert facts["tokens"] == 5 * 256
    assert rates == sorted(rates, reverse=True)  # the rate has fallen all the same
    assert rates[-1] == pytest.approx(LOWEST_RATE * 3e-3)


@pytest.mark.parametrize(("tokens", "steps"), [(1, 1), (256, 1), (257, 2), (256 * 4, 4)])
def test_budget_of_tokens(tiny, sources, tmp_path, tokens, steps):
    facts = train(tiny(tokens=tokens), tmp_path / "model", corpus=sources)["training"]
    assert (facts["stopped_by"], facts["steps"], facts["tokens"]) == ("tokens", steps, steps * 256)


def test_checkpoints_are_apart(tiny, sources, tmp_path, monkeypatch):
    clock, saved = Clock(), []
    monkeypatch.setattr(training, "time", SimpleNamespace(perf_counter=clock, monotonic=clock))
    original = Trainer.save

    def save(trainer, path, key):
        saved.append(trainer.step)
        original(trainer, path, key)

    monkeypatch.setattr(Trainer, "save", save)
    # A step looks at the clock three times: at its begin, its end, and for the checkpoint.
    train(tiny(), tmp_path / "model", corpus=sources, checkpoint_seconds=6.0)
    assert saved == [2, 4, 6, 8, 8]


@pytest.fixture
def trainer(tiny, sources, tokenizer):
    stream = encode(tokenizer, sources.split("train").texts())

    def make(**changes):
        spec = tiny(**changes)
        return Trainer(spec, Batches(spec, stream, Recall(tokenizer)), tokenizer, "cpu")

    return make


def test_rate_rises_then_falls(trainer):
    one = trainer(tokens=256 * 1000, rate=1.0, warmup=0.1)

    def rate(step):
        one.tokens = 256 * step
        return one.rate()

    # Linear: the step that ends at share s of the warm-up has share s of the peak.
    assert [rate(step) for step in (0, 49, 99)] == pytest.approx([0.01, 0.5, 1.0])
    assert rate(100) == pytest.approx(1.0)
    assert rate(550) == pytest.approx((1 + LOWEST_RATE) / 2)  # half way down
    assert rate(1000) == pytest.approx(LOWEST_RATE)
    falling = [rate(step) for step in range(100, 1001)]
    assert falling == sorted(falling, reverse=True)
    one.tokens, one.seconds = 0, one.spec.seconds  # the other budget
    assert one.rate() == pytest.approx(LOWEST_RATE)


def test_rate_without_warmup(trainer):
    assert trainer(rate=1.0, warmup=0.0).rate() == pytest.approx(1.0)


def test_losses_are_those_of_all_logits(trainer, monkeypatch):
    monkeypatch.setattr(training, "CURVE_EVERY", 1)
    one = trainer(batch=512, recall=0.5)
    batch = one.batches.batch(0, 0.0)
    tokens = torch.from_numpy(batch.tokens)
    with torch.no_grad():
        scores = torch.log_softmax(one.network(tokens).logits.double(), -1).numpy()
    expected = {}
    for kind, wanted in {"text": batch.text, "recall": batch.recall}.items():
        places = np.argwhere(wanted)
        each = [-scores[row, i - 1, batch.tokens[row, i]] for row, i in places]
        expected[kind] = np.mean(each)
    one.advance()
    assert {kind: one.curve[0][kind] for kind in expected} == pytest.approx(expected, abs=1e-4)
    assert one.step == 1 and one.tokens == 512


def test_a_step_is_adamw_on_the_loss_per_row(trainer):
    one = trainer(batch=512, rate=1e-3, warmup=0.0)
    batch = one.batches.batch(0, 0.0)
    tokens, recalls = torch.from_numpy(batch.tokens), torch.from_numpy(batch.recall)
    assert batch.text.any(1).sum() == 3 * batch.recall.any(1).sum()
    with torch.no_grad():
        one.network.lm_head.weight.mul_(30)  # so that the gradient is long enough to be clipped
    other = copy.deepcopy(one.network)
    losses = torch.nn.functional.cross_entropy(
        other(tokens).logits[:, :-1].flatten(0, 1), tokens[:, 1:].flatten(), reduction="none"
    )
    of_text = losses[torch.from_numpy(batch.text)[:, 1:].flatten()].mean()
    of_recall = losses[recalls[:, 1:].flatten()].mean()
    (0.75 * of_text + 0.25 * of_recall).backward()
    norm = sum(p.grad.pow(2).sum() for p in other.parameters()).sqrt()
    assert norm > 1.2
    one.advance()
    for before, after in zip(other.parameters(), one.network.parameters(), strict=True):
        gradient = before.grad / norm
        moment = one.optimizer.state[after]["exp_avg"]
        torch.testing.assert_close(moment, 0.1 * gradient, atol=1e-6, rtol=1e-3)
        decayed = before * (1 - 1e-3 * 0.1) if before.ndim > 1 else before
        # The first step's corrected moments are the gradient and its square.
        expected = decayed - 1e-3 * gradient / (gradient.abs() + 1e-8)
        sure = gradient.abs() > 1e-6  # the others' signs are rounding
        assert sure.any()
        torch.testing.assert_close(after[sure], expected[sure], atol=2e-5, rtol=0)


def test_kinds_without_rows_have_no_loss(tiny, sources, tmp_path):
    for share, kind in [(0.0, "text"), (1.0, "recall")]:
        spec = tiny(recall=share, tokens=256 * 10)
        facts = train(spec, tmp_path / kind, corpus=sources)
        assert set(facts["training"]["curve"][0]) == {"tokens", "seconds", kind}
        assert (facts["recall"] is None) == (share == 0)


def test_learns(learnt, tiny):
    _, facts = learnt
    curve = facts["training"]["curve"]
    assert curve[0]["text"] > 3 * curve[-1]["text"]
    assert facts["validation"]["uniform"] == pytest.approx(math.log(400), abs=1e-4)
    assert facts["validation"]["loss"] < 0.3 * math.log(400)
    assert facts["validation"]["perplexity"] == pytest.approx(
        math.exp(facts["validation"]["loss"]), rel=1e-3
    )
    assert facts["spec_digest"] == tiny(layers=2, tokens=256 * 320, rate=1e-2).digest()


def test_is_a_model_of_transformers(learnt, sources):
    folder, facts = learnt
    network = AutoModelForCausalLM.from_pretrained(folder, local_files_only=True)
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    text = sources.split("evaluation").texts()[0]
    tokens = torch.tensor([tokenizer.encode(text, add_special_tokens=False)])
    assert tokenizer.decode(tokens[0]) == text
    with torch.no_grad():
        logits = network(tokens).logits
    assert logits.shape == (1, tokens.shape[1], 400) and logits.isfinite().all()
    # Most words of an unseen file are foretold.
    right = (logits[0, :-1].argmax(-1) == tokens[0, 1:]).float().mean()
    assert right > 0.7
    assert {w.dtype for w in load_file(folder / "model.safetensors").values()} == {torch.bfloat16}
    shapes = [400 * 32, 32, 2 * (32 * 32 * 2 + 2 * 32 * 16 + 3 * 32 * 64 + 2 * 32)]
    assert facts["parameters"] == sum(p.numel() for p in network.parameters()) == sum(shapes)
    assert json.loads((folder / "card.json").read_text()) == facts


def test_card_is_of_the_weights_that_are_stored(learnt, sources):
    folder, facts = learnt
    model = load(folder)
    stream = encode(model.tokenizer, sources.split("validation").texts())
    # Not to the last digit: memory laid out otherwise is added up otherwise.
    assert validation(model.network, stream, 128) == pytest.approx(facts["validation"], rel=1e-3)
    train_tokens = len(encode(model.tokenizer, sources.split("train").texts()))
    assert facts["corpus"]["train_tokens"] == train_tokens
    assert facts["corpus"]["digest"] == sources.digest
    again = recalled(model.network, Recall(model.tokenizer), 128)["accuracy"]
    assert set(again) == set(facts["recall"]["accuracy"]) == {"2", "4", "8", "16"}


def test_what_is_judged_is_what_is_stored(tiny, sources, tmp_path, monkeypatch):
    judged = {}

    def card(trainer, *_, **__):
        judged.update({name: w.clone() for name, w in trainer.network.state_dict().items()})
        return {}

    monkeypatch.setattr(training, "card", card)
    train(tiny(), tmp_path / "model", corpus=sources)
    stored = load_file(tmp_path / "model" / "model.safetensors")
    assert stored and all(torch.equal(judged[name], w.float()) for name, w in stored.items())


def test_validation_is_a_cross_entropy_of_whole_rows():
    class Network:
        """Gives token ``i`` after ``i`` a probability of a half, all others the rest."""

        device, config = "cpu", SimpleNamespace(vocab_size=5)

        def __call__(self, tokens, use_cache):
            logits = torch.zeros(*tokens.shape, 5)
            logits.scatter_(2, tokens[..., None], math.log(4))
            return SimpleNamespace(logits=logits)

    stream = np.array([1, 1, 1, 1, 2, 3, 4, 4, 0, 0], np.int32)  # two rows of four and a rest
    found = validation(Network(), stream, 4)
    # Repeated: 3 in the first row, 1 in the second; the other two have probability 1/8.
    loss = (4 * math.log(2) + 2 * math.log(8)) / 6
    assert found["tokens"] == 6 and found["loss"] == pytest.approx(loss, abs=1e-4)
    assert found["perplexity"] == pytest.approx(math.exp(loss), abs=1e-3)
    nothing = validation(Network(), stream[:3], 4)
    assert nothing["loss"] is None and nothing["tokens"] == 0 and set(nothing) == set(found)


def test_too_little_text(tiny, sources, tmp_path):
    small = type(sources)(sources.files[:1], ("f" * 64,))
    with pytest.raises(DataError, match="do not fill two rows"):
        train(tiny(recall=0.0, vocabulary=2000), tmp_path / "model", corpus=small)
    assert not any(tmp_path.iterdir())


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_no_gpu(tiny, sources, tmp_path):
    with pytest.raises(RepriseError, match="use device='cpu'"):
        train(tiny(), tmp_path / "model", corpus=sources, device="cuda")
    assert not any(tmp_path.iterdir())
