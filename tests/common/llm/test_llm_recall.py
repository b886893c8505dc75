"""The recall task against a reader that looks at the text alone."""

from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from common.errors import ConfigError
from common.llm.recall import Question, Recall, accuracy, by_prompt, lengths
from common.llm.tokenizer import END, train_tokenizer


@pytest.fixture(scope="module")
def recall(tokenizer):
    return Recall(tokenizer, ":")


def repeated_values(pieces):
    """For each token the value that an earlier line of the document gives, or None."""
    expected, known, line = [], {}, ""
    for piece in pieces:
        key, colon, rest = line.partition(":")
        asked = bool(colon) and not rest and key in known
        expected.append(known[key] if asked else None)
        if piece == END:
            known, line = {}, ""
        elif piece == "\n":
            known.setdefault(key, rest)
            line = ""
        else:
            line += piece
    return expected


@pytest.mark.parametrize(("tokens", "pairs"), [(32, 2), (128, 2), (128, 4), (128, 8), (500, 12)])
def test_answers_follow_from_the_row(recall, tokenizer, tokens, pairs):
    for seed in range(20):
        row, answers = recall.row(np.random.default_rng(seed), tokens, pairs)
        assert row.shape == answers.shape == (tokens,) and answers.dtype == bool
        pieces = [tokenizer.decode([token]) for token in row]
        expected = repeated_values(pieces)
        assert [value is not None for value in expected] == answers.tolist()
        for piece, value in zip(pieces, expected, strict=True):
            assert value is None or piece == value


def test_rows_are_what_the_tokenizer_makes_of_their_text(recall, tokenizer):
    row, _ = recall.row(np.random.default_rng(0), 300, 8)
    assert tokenizer.encode(tokenizer.decode(row.tolist()), add_special_tokens=False) == list(row)


def test_keys_of_a_document_are_distinct(recall):
    keys, values = recall.pairs(np.random.default_rng(0), len(recall.keys))
    assert sorted(keys) == sorted(recall.keys)
    assert set(values) <= set(recall.values)


def test_words_are_those_of_the_texts(recall, tokenizer, sources):
    known = set(" ".join(sources.texts()).split())
    keys = {tokenizer.decode([key]) for key in recall.keys}
    values = {tokenizer.decode([value]).removeprefix(" ") for value in recall.values}
    assert {"alpha", "omega"} <= keys and {"alpha", "omega"} <= values
    # Parts of words are words as well, if they are tokens: "lambda" has "amb" in it.
    assert all(any(part in word for word in known) for part in keys | values)


def test_lines_read_as_key_colon_value(recall, tokenizer):
    text = tokenizer.decode(recall.lines(recall.keys[:2], recall.values[:2]).tolist())
    first, second, rest = text.split("\n")
    assert rest == ""
    for line, key, value in zip((first, second), recall.keys, recall.values, strict=False):
        assert line == f"{tokenizer.decode([key])}:{tokenizer.decode([value])}"
        assert line.count(":") == 1 and ": " in line


def read_aloud(tokenizer):
    """Answers a question by reading its text, as a person would."""

    def answer(question):
        *lines, asked = tokenizer.decode(question.prompt.tolist()).removeprefix(END).split("\n")
        pairs = dict(line.split(":") for line in lines)
        return tokenizer.encode(pairs[asked.removesuffix(":")], add_special_tokens=False)[0]

    return answer


def test_questions_can_be_answered(recall, tokenizer):
    questions = recall.questions(np.random.default_rng(3), 50, 8)
    assert accuracy(read_aloud(tokenizer), questions) == 1.0
    for question in questions:
        assert len(question.context) == 1 + recall.pair * 8
        assert question.prompt.tolist() == [*question.context, *question.query]
        assert question.context[0] == tokenizer.eos_token_id
    contexts = {question.context.tobytes() for question in questions}
    assert len(contexts) == len(questions)


def test_guessing_is_right_as_often_as_chance(recall):
    rng = np.random.default_rng(1)
    questions = recall.questions(np.random.default_rng(2), 20_000, 2)
    share = accuracy(lambda _: rng.choice(recall.values), questions)
    assert recall.chance == 1 / len(recall.values)
    spread = np.sqrt(recall.chance * (1 - recall.chance) / 20_000)
    assert share == pytest.approx(recall.chance, abs=4 * spread)


def test_every_line_is_asked_about(recall):
    questions = recall.questions(np.random.default_rng(0), 400, 4)
    places = [list(q.context[1 :: recall.pair]).index(q.query[0]) for q in questions]
    counts = np.bincount(places, minlength=4)
    assert counts.min() > 60  # 100 each on average; 60 is more than four deviations off


def test_same_generator_same_questions(recall):
    one, two, other = (recall.questions(np.random.default_rng(s), 5, 4) for s in (7, 7, 8))
    same = [np.array_equal(a.prompt, b.prompt) for a, b in zip(one, two, strict=True)]
    assert all(same) and not np.array_equal(one[0].prompt, other[0].prompt)


def test_by_prompt_takes_the_most_likely_token():
    class Network:
        device = "cpu"

        def __call__(self, tokens, use_cache, logits_to_keep):
            logits = torch.zeros(1, tokens.shape[1], 50)
            logits[0, torch.arange(tokens.shape[1]), (tokens[0] + 1) % 50] = 1.0
            return SimpleNamespace(logits=logits[:, -logits_to_keep:])

    question = Question(np.array([0, 5, 1, 9, 2]), np.array([5, 41]), 42)
    assert by_prompt(Network())(question) == 42


def test_by_prompt_is_a_full_forward_pass(recall, random_folder):
    from transformers import AutoModelForCausalLM

    folder = random_folder("llama", vocab_size=400)
    network = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    for question in recall.questions(np.random.default_rng(0), 5, 2):
        with torch.no_grad():
            logits = network(torch.tensor(question.prompt)[None]).logits
        assert by_prompt(network)(question) == int(logits[0, -1].argmax())


@given(st.integers(1, 20_000), st.sampled_from([3, 4]))
def test_lengths_are_the_powers_of_two_that_fit(context, pair):
    found = lengths(context, pair)
    assert found == [n for n in (2**k for k in range(1, 12)) if 1 + 2 * n * pair <= context]


def test_without_a_separator_the_value_follows_its_key(tokenizer):
    recall = Recall(tokenizer)
    row, answers = recall.row(np.random.default_rng(0), 1 + 2 * 3 * 8, 8)
    lines = row[1:].reshape(16, 3)
    value_of = dict(lines[:8, :2].tolist())
    assert len(value_of) == 8 and (lines[:, 2] == lines[0, 2]).all()
    assert [value_of[key] for key in lines[8:, 0]] == lines[8:, 1].tolist()
    assert np.flatnonzero(answers).tolist() == [1 + 3 * line + 1 for line in range(8, 16)]
    question = recall.questions(np.random.default_rng(0), 1, 8)[0]
    assert question.query.shape == (1,)
    asked = question.context[1:].reshape(8, 3)
    assert dict(asked[:, :2].tolist())[question.query[0]] == question.answer


@pytest.mark.parametrize("tokens", [20, 128, 300])
def test_lists_are_read_twice(recall, tokenizer, tokens):
    """A list's length is told by the text: where its first word comes again."""
    row, answers = recall.repetition(np.random.default_rng(0), tokens)
    assert row.shape == answers.shape == (tokens,)
    begins = [*np.flatnonzero(row == tokenizer.eos_token_id), tokens]
    lengths_seen = set()
    for begin, end in pairwise(begins):
        words, asked = row[begin + 1 : end], answers[begin + 1 : end]
        again = np.flatnonzero(words[1:] == words[0]) + 1
        if not len(again):  # cut off before the second reading
            assert end == tokens and not asked.any()
            continue
        length = again[0]
        lengths_seen.add(length)
        assert len(set(words[:length])) == length
        assert (words[length:] == words[: len(words) - length]).all()
        assert not asked[: length + 1].any() and asked[length + 1 :].all()
    assert tokens < 300 or len(lengths_seen) > 3


@pytest.mark.parametrize("count", [0, -1, 10_000])
def test_impossible_numbers_of_pairs(recall, count):
    with pytest.raises(ConfigError, match=f"1 to {len(recall.keys)} are possible"):
        recall.pairs(np.random.default_rng(0), count)


def test_tokenizer_without_words():
    with pytest.raises(ConfigError, match="larger vocabulary"):
        Recall(train_tokenizer(["alpha beta"], 258))


def test_tokenizer_that_splits_lines_otherwise():
    class Odd:
        """Knows words but joins colon and space."""

        eos_token_id = 0
        words = ["<end>", "alpha", "beta", " gamma", " delta", ":", "\n", ": "]

        def __len__(self):
            return len(self.words)

        def decode(self, ids):
            return "".join(self.words[i] for i in ids)

        def encode(self, text, add_special_tokens):
            return [1, 7, 3, 4, 6]

    with pytest.raises(ConfigError, match="into 5 tokens, not 4"):
        Recall(Odd(), ":")


def test_no_questions():
    with pytest.raises(ValueError, match="at least one"):
        accuracy(lambda _: 0, [])
