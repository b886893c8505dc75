"""Batches: of any step without the ones before, and every token of the text once an epoch."""

import numpy as np
import pytest

pytest.importorskip("transformers")

from common.errors import DataError
from common.llm.batches import Batches
from common.llm.recall import Recall

# A stream that counts: a token says where it stands. 41 rows of 128, an odd number, and a rest.
STREAM = np.arange(42 * 128 + 50, dtype=np.int32)
PER_EPOCH = 41


@pytest.fixture(scope="module")
def recall(tokenizer):
    return Recall(tokenizer)


def same(one, two):
    return all(
        np.array_equal(getattr(one, name), getattr(two, name))
        for name in ("tokens", "text", "recall")
    )


def text_of(batches, steps, progress):
    """All rows of text of some steps, whole again."""
    rows = [batches.batch(step, progress) for step in steps]
    return np.concatenate([b.tokens[b.text.any(1)].reshape(-1, 128) for b in rows])


def test_order_of_calls_does_not_matter(tiny, recall):
    spec = tiny(recall=0.5)
    in_order = [Batches(spec, STREAM, recall).batch(step, 0.5) for step in range(60)]
    other = Batches(spec, STREAM, recall)
    for step in [59, 0, 31, 32, 30, 0, 58, 5]:
        assert same(other.batch(step, 0.5), in_order[step])
    # No two steps hold the same questions.
    asked = [batch.tokens[batch.recall.any(1)].tobytes() for batch in in_order]
    assert len(asked) == len(set(asked)) == 60 and all(asked)


def test_seed_decides(tiny, recall):
    one, again = (Batches(tiny(seed=3), STREAM, recall).batch(4, 0.0) for _ in range(2))
    other = Batches(tiny(seed=4), STREAM, recall).batch(4, 0.0)
    assert same(one, again) and not same(one, other)


@pytest.mark.parametrize("progress", [0.0, 0.5, 1.0])
def test_an_epoch_covers_the_stream_once(tiny, progress):
    batches = Batches(tiny(batch=128), STREAM, None)  # a row a step
    cuts = []
    for epoch in range(3):
        rows = text_of(batches, range(epoch * PER_EPOCH, (epoch + 1) * PER_EPOCH), progress)
        tokens = np.sort(rows.ravel())
        assert np.array_equal(tokens, np.arange(tokens[0], tokens[0] + PER_EPOCH * 128))
        assert tokens[0] < 128  # less than a row is left out in front, and less than two behind
        assert (np.diff(rows, axis=1) == 1).all()
        assert not np.array_equal(rows[:, 0], np.sort(rows[:, 0]))  # shuffled
        cuts.append(int(tokens[0]))
    assert len(set(cuts)) > 1


@pytest.mark.parametrize("share", [0.25, 0.3, 0.5])
def test_recall_rows_displace_no_text(tiny, recall, share):
    batches = Batches(tiny(recall=share, batch=512), STREAM, recall)
    rows = text_of(batches, range(60), 1.0)
    assert len(rows) == batches.text_rows(60) == pytest.approx(60 * 4 * (1 - share), abs=1)
    tokens = np.sort(rows[:PER_EPOCH].ravel())
    assert np.array_equal(tokens, np.arange(tokens[0], tokens[0] + PER_EPOCH * 128))


@pytest.mark.parametrize(
    ("progress", "length"),
    [(0.0, 32), (0.3499, 32), (0.35, 64), (0.6999, 64), (0.7, 128), (1.0, 128), (1.5, 128)],
)
def test_rows_grow(tiny, recall, progress, length):
    batch = Batches(tiny(), STREAM, recall).batch(0, progress)
    assert batch.tokens.shape == batch.text.shape == batch.recall.shape == (256 // length, length)
    assert batch.tokens.dtype == np.int64


@pytest.mark.parametrize("progress", [0.0, 0.4, 0.9])
def test_what_is_to_be_predicted(tiny, recall, tokenizer, progress):
    batches = Batches(tiny(recall=0.5), STREAM + 10_000, recall)
    for step in range(10):
        batch = batches.batch(step, progress)
        is_text = (batch.tokens >= 10_000).all(1)
        assert is_text.any() and not is_text.all()
        assert not is_text[: np.argmax(is_text)].any() and is_text[np.argmax(is_text) :].all()
        assert not batch.text[:, 0].any() and not batch.recall[:, 0].any()
        assert batch.text[is_text, 1:].all() and not batch.text[~is_text].any()
        assert batch.recall[~is_text].any(1).all() and not batch.recall[is_text].any()
        assert (batch.tokens[~is_text, 0] == tokenizer.eos_token_id).all()
        assert np.isin(batch.tokens[batch.recall], recall.values).all()


def test_all_recall_and_none(tiny, recall):
    every = Batches(tiny(recall=1.0), STREAM, recall).batch(3, 0.8)
    assert every.recall.any(1).all() and not every.text.any()
    for spec, task in [(tiny(recall=0.0), recall), (tiny(), None)]:
        none = Batches(spec, STREAM, task).batch(3, 0.8)
        assert none.text[:, 1:].all() and not none.recall.any()


def test_two_rows_are_the_least(tiny):
    assert Batches(tiny(), STREAM[:256], None).batch(5, 1.0).tokens.shape == (2, 128)
    with pytest.raises(DataError, match="255 tokens of text do not fill two rows of 128"):
        Batches(tiny(), STREAM[:255], None)
