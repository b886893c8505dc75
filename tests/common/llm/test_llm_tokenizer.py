"""The tokenizer: nothing gets lost, whatever the text."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("transformers")

from common.errors import ConfigError
from common.llm.tokenizer import END, PAD, SMALLEST, encode, train_tokenizer

TEXTS = [
    "def alpha(beta):\n    return beta + 1\n",
    "def gamma(beta):\n    return beta - 2024\n",
] * 3
TOKENIZER = train_tokenizer(TEXTS, 320)
# "<|endoftext|>" in a text is one token, not its letters.
WITHOUT_SPECIAL = st.text(alphabet=st.characters(codec="utf-8", exclude_characters="<"))
SMALL = train_tokenizer(TEXTS, SMALLEST)


@given(st.text())
@settings(deadline=None, max_examples=200)
def test_any_text_comes_back(text):
    for tokenizer in (TOKENIZER, SMALL):
        assert tokenizer.decode(tokenizer.encode(text)) == text


@given(WITHOUT_SPECIAL)
@settings(deadline=None, max_examples=100)
def test_the_smallest_spells_bytes(text):
    ids = SMALL.encode(text, add_special_tokens=False)
    assert len(ids) == len(text.encode())  # a token per byte: every byte has one
    assert all(token < SMALLEST for token in ids)


@given(st.lists(WITHOUT_SPECIAL, max_size=5))
@settings(deadline=None, max_examples=100)
def test_stream_holds_the_documents(texts):
    stream = encode(TOKENIZER, texts)
    assert stream.dtype == np.int32 and stream.ndim == 1
    starts = np.flatnonzero(stream == TOKENIZER.eos_token_id)
    assert len(starts) == len(texts)
    if texts:
        assert starts[0] == 0
    documents = np.split(stream, starts)[1:] if texts else []
    assert [TOKENIZER.decode(document[1:].tolist()) for document in documents] == texts


def test_special_tokens():
    assert (TOKENIZER.bos_token, TOKENIZER.eos_token, TOKENIZER.pad_token) == (END, END, PAD)
    assert len({TOKENIZER.eos_token_id, TOKENIZER.pad_token_id}) == 2
    assert TOKENIZER.convert_tokens_to_ids(END) == TOKENIZER.eos_token_id


def test_vocabulary_is_at_most_what_was_asked_for():
    assert len(SMALL) == SMALLEST
    assert SMALLEST < len(TOKENIZER) <= 320
    assert len(train_tokenizer(["ab"], 2000)) == SMALLEST + 1  # no more pairs than there are


def test_most_frequent_pair_is_merged_first():
    tokenizer = train_tokenizer(["xy\n" * 5 + "xz\n" * 3], SMALLEST + 1)
    assert len(tokenizer.encode("xy")) == 1 and len(tokenizer.encode("xz")) == 2


def test_numbers_are_spelt():
    assert len(TOKENIZER.encode("2024", add_special_tokens=False)) == 4


def test_same_texts_same_tokenizer():
    again = train_tokenizer(TEXTS, 320)
    assert again.backend_tokenizer.to_str() == TOKENIZER.backend_tokenizer.to_str()


def test_survives_its_files(tmp_path):
    from transformers import AutoTokenizer

    TOKENIZER.save_pretrained(tmp_path)
    loaded = AutoTokenizer.from_pretrained(tmp_path, local_files_only=True)
    text = "def delta(\N{SNOWMAN}):\n\treturn  3.14 \n"
    assert loaded.encode(text) == TOKENIZER.encode(text)
    assert loaded.decode(loaded.encode(text)) == text
    assert loaded.eos_token_id == TOKENIZER.eos_token_id


def test_too_small_a_vocabulary():
    with pytest.raises(ConfigError, match=f"{SMALLEST - 1} is too small; take at least {SMALLEST}"):
        train_tokenizer(TEXTS, SMALLEST - 1)
