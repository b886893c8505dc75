"""What coding does to a model, on a random Llama written by the test; claims on made-up numbers."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

transformers = pytest.importorskip("transformers")

from common.llm import load, prefill
from common.llm.kv import continuation_logits
from projects.cachegen.attention import attention_received, unrotated_keys
from projects.cachegen.claims import size_at_quality
from projects.cachegen.codecs import codec
from projects.cachegen.data import random_rates, read_trace, text_contexts
from projects.cachegen.quality import Coded, Judge, answered, coded
from projects.cachegen.retrieval import is_right


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("llama")
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=300,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=256,
        initializer_range=0.3,
    )
    transformers.LlamaForCausalLM(config).save_pretrained(folder)
    return load(folder)


@pytest.fixture(scope="module")
def tokens():
    return np.random.default_rng(0).integers(0, 300, 60)


def test_attention_of_every_query_adds_up_to_one(model, tokens):
    received = attention_received(model, tokens)
    assert received.sum() == pytest.approx(3 * 4 * 60, rel=1e-5)
    assert (received > 0).all()


def test_last_token_gets_attention_from_itself_alone(model, tokens):
    """The weights themselves, from transformers' own output."""
    network = model.network
    before = network.config._attn_implementation
    received = attention_received(model, tokens)
    assert network.config._attn_implementation == before
    network.set_attn_implementation("eager")
    output = network(torch.as_tensor(tokens)[None], output_attentions=True)
    network.set_attn_implementation(before)
    expected = sum(layer[0].double().sum(dim=(0, 1)) for layer in output.attentions)
    np.testing.assert_allclose(received, expected.detach(), rtol=1e-5)


def test_keys_before_rotation_are_what_the_projection_gives(model, tokens):
    seen = {}
    layer = model.network.model.layers[1].self_attn.k_proj
    hook = layer.register_forward_hook(lambda _m, _i, output: seen.update(keys=output[0]))
    kv = prefill(model, tokens)
    hook.remove()
    found = unrotated_keys(model, kv)[1].reshape(60, -1)
    np.testing.assert_allclose(found, seen["keys"].detach(), atol=1e-4)


def test_exact_cache_changes_nothing_and_noise_does(model, tokens):
    kv = prefill(model, tokens[:40]).numpy()
    judge = Judge(model, kv, tokens[40:])
    same = judge.compare(Coded(kv, 16.0))
    assert same["agreement"] == 1 and same["perplexity_rise"] == pytest.approx(0, abs=1e-4)
    assert same["divergence"] == pytest.approx(0, abs=1e-6)
    noise = np.random.default_rng(0).normal(size=kv.shape).astype(np.float32)
    worse = judge.compare(Coded(kv + noise, 16.0))
    assert worse["divergence"] > 0.01 and worse["agreement"] < 1


def test_loss_equals_one_forward_pass(model, tokens):
    """The judge's loss is that of the whole text, without any cache."""
    kv = prefill(model, tokens[:40]).numpy()
    found = Judge(model, kv, tokens[40:]).compare(Coded(kv, 16.0))["loss"]
    logits = model.network(torch.as_tensor(tokens)[None]).logits[0, 40:-1]
    expected = torch.nn.functional.cross_entropy(logits, torch.as_tensor(tokens[41:]))
    assert found == pytest.approx(expected.item(), abs=1e-4)


def test_dropped_tokens_are_those_an_attention_mask_hides(model, tokens):
    kv = prefill(model, tokens[:40]).numpy()
    kept = np.ones(40, bool)
    kept[[3, 17, 30]] = False
    found = continuation_logits(model, kv[:, :, kept], tokens[40:], position=40)
    mask = torch.ones(1, 60)
    mask[0, :40] = torch.as_tensor(kept)
    # Masked from the continuation alone: the context itself saw all tokens.
    from common.llm.kv import to_cache

    places = torch.arange(40, 60)[None]
    output = model.network(
        torch.as_tensor(tokens[40:])[None],
        past_key_values=to_cache(kv, model),
        attention_mask=mask,
        position_ids=places,
    )
    np.testing.assert_allclose(found, output.logits[0].detach(), atol=2e-4)


def test_coding_in_chunks_gives_the_same_values_and_more_bytes(model, tokens):
    kv = prefill(model, tokens).numpy().astype(np.float16)
    coder = codec("nodelta")
    profile = coder.fit([kv])
    whole = coded(kv, coder, level="high", profile=profile)
    parts = coded(kv, coder, level="high", profile=profile, chunk_tokens=16)
    np.testing.assert_array_equal(whole.kv, parts.kv)
    assert parts.bits > whole.bits


def test_dropping_by_attention_keeps_the_heavy_and_the_recent(model, tokens):
    kv, scores = prefill(model, tokens).numpy().astype(np.float16), np.zeros(60)
    scores[5] = 1
    made = coded(kv, codec("h2o+uniform8", keep=0.1), scores=scores)
    assert made.kept.sum() == 6 and made.kept[5] and made.kept[-3:].all()


def test_an_answer_needs_its_cache(model):
    """A question whose answer is whatever the model says with the exact cache."""
    tokens = np.random.default_rng(1).integers(0, 300, 40)
    kv = prefill(model, tokens).numpy()
    said = int(continuation_logits(model, kv, [1, 2])[-1].argmax())
    question = SimpleNamespace(query=np.array([1, 2]), answer=said)
    assert answered(model, question, Coded(kv, 16.0))
    assert not answered(model, question, Coded(-3 * kv, 16.0))


class Words:
    """A model of 40 tokens whose tokens are the words of a text."""

    context = 40

    def encode(self, text):
        return list(range(len(text.split())))


def test_contexts_fit_the_model_and_do_not_overlap_their_continuation(tmp_path):
    run = SimpleNamespace(rng=lambda *key: np.random.default_rng(0))
    contexts = text_contexts(run, Words(), "evaluation", 3, 1000, 8)
    assert len({context.name for context in contexts}) == 3
    for context in contexts:
        assert len(context.tokens) == 32 and len(context.continuation) == 8
        assert context.continuation[0] == context.tokens[-1] + 1
    with pytest.raises(ValueError, match="takes 40 tokens"):
        text_contexts(run, Words(), "evaluation", 3, 1000, 40)


def test_trace_errors_name_file_and_row(tmp_path):
    bad = tmp_path / "trace"
    bad.write_text("0 1\n1 -2\n2 1\n")
    with pytest.raises(ValueError, match="trace: piece 1"):
        read_trace(bad)
    bad.write_text("0 1\n0 2\n")
    with pytest.raises(ValueError, match="row 1"):
        read_trace(bad)
    bad.write_text("time rate\n")
    with pytest.raises(ValueError, match="trace"):
        read_trace(bad)


def test_random_rates_are_the_papers():
    rates = random_rates(np.random.default_rng(0), 2000).rates * 8 / 1e9
    assert 0.1 <= rates.min() < 0.2 and 9.9 < rates.max() <= 10
    assert rates.mean() == pytest.approx(5.05, rel=0.05)


def observations(rises):
    """Two contexts: 8 bits against levels of 4, 2 and 1 bits with the given rises [%]."""
    rows = [("uniform8", "medium", 8.0, 0.0)]
    levels = ("high", "medium", "low")
    rows += [
        ("cachegen", level, bits, rise)
        for level, bits, rise in zip(levels, (4.0, 2.0, 1.0), rises, strict=True)
    ]
    columns = ["variant", "level", "value", "rise"]
    frame = pd.DataFrame(rows, columns=columns).assign(dataset="python-sources")
    return pd.concat([frame.assign(item="a"), frame.assign(item="b")], ignore_index=True)


@pytest.mark.parametrize(
    ("rises", "gain"), [((0.1, 0.5, 3.0), 4), ((0.1, 2.0, 3.0), 2), ((0.1, 0.2, 0.3), 8)]
)
def test_gain_is_that_of_the_coarsest_level_that_is_good_enough(rises, gain):
    assert size_at_quality(observations(rises)).value == gain


def test_no_level_good_enough_is_no_value():
    assert np.isnan(size_at_quality(observations((2.0, 3.0, 4.0))).value)


def test_only_the_first_number_of_an_answer_counts():
    assert is_right("<2416> or 9", 2416)
    assert not is_right("9 or 2416", 2416) and not is_right("", 2416)
