"""KV caches: whatever is cached, the model says what it says without a cache."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from transformers import DynamicCache

from common.llm.kv import (
    continuation_logits,
    continuation_loss,
    from_cache,
    greedy,
    prefill,
    to_cache,
)
from common.llm.loading import load

TOKENS = np.random.default_rng(0).integers(2, 97, 40)
KINDS = [
    ("llama", {}),
    ("llama", {"num_key_value_heads": 1}),
    ("mistral", {}),
    ("mistral", {"sliding_window": 7}),
    ("qwen2", {}),
    ("qwen3", {}),
]


@pytest.fixture(scope="module", params=KINDS, ids=lambda kind: "-".join(map(str, kind)))
def model(request, random_folder):
    kind, changes = request.param
    return load(random_folder(kind, **changes))


@pytest.fixture(scope="module")
def llama(random_folder):
    return load(random_folder("llama"))


def full(model, tokens):
    """Logits of one pass without any cache."""
    with torch.no_grad():
        return model.network(torch.as_tensor(tokens)[None], use_cache=False).logits[0]


@pytest.mark.parametrize("cut", [1, 13, 39])
def test_continuation_is_one_forward_pass(model, cut):
    kv = prefill(model, TOKENS[:cut])
    assert tuple(kv.shape) == (model.layers, 2, cut, model.kv_heads, model.head_dim)
    logits = continuation_logits(model, kv, TOKENS[cut:])
    assert logits.shape == (40 - cut, 97) and logits.dtype == torch.float32
    torch.testing.assert_close(logits, full(model, TOKENS)[cut:], atol=2e-4, rtol=1e-4)


def test_keys_and_values_are_the_projections(llama):
    """Of the first layer, computed by hand: normalisation, projection, rotation of the keys."""
    network, config = llama.network, llama.network.config
    layer = network.model.layers[0]
    with torch.no_grad():
        hidden = network.model.embed_tokens(torch.as_tensor(TOKENS))
        scale = (hidden.pow(2).mean(-1, keepdim=True) + config.rms_norm_eps).rsqrt()
        normed = hidden * scale * layer.input_layernorm.weight
        keys = (normed @ layer.self_attn.k_proj.weight.T).reshape(40, 2, 2, 4).double()
        values = (normed @ layer.self_attn.v_proj.weight.T).reshape(40, 2, 8)
    # Channels i and i + 4 turn by the position over theta ** (i / 4), theta = 10000.
    angle = torch.arange(40)[:, None] * 10_000.0 ** -(torch.arange(4) / 4).double()
    turned = torch.complex(keys[:, :, 0], keys[:, :, 1]) * torch.polar(
        torch.ones_like(angle), angle
    ).unsqueeze(1)
    expected = torch.cat([turned.real, turned.imag], -1).float()
    kv = prefill(llama, TOKENS)
    torch.testing.assert_close(kv[0, 0], expected, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(kv[0, 1], values, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("cuts", [[20], [1, 2, 39], list(range(1, 40))])
def test_prefill_in_parts(model, cuts):
    whole, kv = prefill(model, TOKENS), None
    for part in np.split(TOKENS, cuts):
        new = prefill(model, part, kv)
        assert new.shape[2] == len(part)  # of the new tokens alone, which keep no other alive
        assert new.untyped_storage().nbytes() == 4 * new.numel()
        kv = new if kv is None else torch.cat([kv, new], dim=2)
    torch.testing.assert_close(kv, whole, atol=2e-4, rtol=1e-4)


def test_round_trip(model):
    kv = prefill(model, TOKENS)
    cache = to_cache(kv, model)
    assert cache.get_seq_length() == 40 and len(cache.layers) == model.layers
    assert torch.equal(from_cache(cache), kv)
    assert torch.equal(cache.layers[1].values[0, -1, 7], kv[1, 1, 7, -1])
    for other in (kv.numpy(), kv.double(), kv.numpy().astype(np.float64)):
        assert torch.equal(from_cache(to_cache(other, model)), kv)
    half = kv.to(torch.float16)
    assert torch.equal(from_cache(to_cache(half, model)), half.float())


def test_same_cache_as_transformers(model):
    with torch.no_grad():
        output = model.network(torch.as_tensor(TOKENS)[None], past_key_values=DynamicCache())
    torch.testing.assert_close(from_cache(output.past_key_values), prefill(model, TOKENS))


def test_what_is_given_stays_as_it_is(llama):
    kv = prefill(llama, TOKENS[:30])
    before = kv.clone()
    continuation_logits(llama, kv, TOKENS[30:])
    greedy(llama, kv, TOKENS[30:31], 4)
    prefill(llama, TOKENS[30:], kv)
    cache = to_cache(kv, llama)
    cache.layers[0].keys.zero_()
    assert torch.equal(kv, before)
    # An ordinary tensor, that a codec may change and use with gradients.
    assert not kv.is_inference() and not kv.requires_grad
    kv.mul_(2).requires_grad_()


def test_the_cache_matters(llama):
    kv = prefill(llama, TOKENS[:30])
    spoilt = kv.clone()
    spoilt[:, :, :5] = 0
    one, two = (continuation_logits(llama, cache, TOKENS[30:]) for cache in (kv, spoilt))
    assert (one - two).abs().max() > 0.01


def test_nothing_cached(llama):
    empty = np.zeros((3, 2, 0, 2, 8), np.float32)
    logits = continuation_logits(llama, empty, TOKENS)
    torch.testing.assert_close(logits, full(llama, TOKENS), atol=2e-4, rtol=1e-4)
    torch.testing.assert_close(prefill(llama, TOKENS, empty), prefill(llama, TOKENS))
    assert from_cache(to_cache(empty, llama)).shape == empty.shape


def test_loss_is_a_cross_entropy(model):
    scores = torch.log_softmax(full(model, TOKENS).double(), -1).numpy()
    # Token 13 is given, tokens 14 to 39 are scored.
    by_hand = -np.mean([scores[i - 1, TOKENS[i]] for i in range(14, 40)])
    kv = prefill(model, TOKENS[:13])
    assert continuation_loss(model, kv, TOKENS[13:]) == pytest.approx(by_hand, abs=1e-4)


def test_loss_needs_two_tokens(llama):
    kv = prefill(llama, TOKENS[:5])
    assert continuation_loss(llama, kv, TOKENS[:2]) > 0
    with pytest.raises(ValueError, match="at least two tokens"):
        continuation_loss(llama, kv, TOKENS[:1])


@pytest.mark.parametrize("last", [1, 6])
def test_greedy_is_generate(model, last):
    prompt = TOKENS[:20]
    made = greedy(model, prefill(model, prompt[:-last]), prompt[-last:], 24)
    whole = model.network.generate(
        torch.as_tensor(prompt)[None], do_sample=False, max_new_tokens=24, pad_token_id=0
    )
    assert made == whole[0, 20:].tolist()


@pytest.mark.parametrize("several", [False, True])
def test_greedy_stops_at_the_end(llama, monkeypatch, several):
    kv = prefill(llama, TOKENS[:19])
    monkeypatch.setattr(llama.network.generation_config, "eos_token_id", None)
    free = greedy(llama, kv, TOKENS[19:20], 12)
    assert len(free) == 12
    end = free[5]
    ends = [96, end] if several else end
    monkeypatch.setattr(llama.network.generation_config, "eos_token_id", ends)
    stopped = greedy(llama, kv, TOKENS[19:20], 12)
    assert stopped == free[: free.index(end) + 1]


def test_greedy_makes_at_least_one(llama):
    kv = prefill(llama, TOKENS[:5])
    assert len(greedy(llama, kv, TOKENS[5:6], 1)) == 1
    with pytest.raises(ValueError, match="n=0"):
        greedy(llama, kv, TOKENS[5:6], 0)


def test_low_precision(random_folder, llama):
    rough = load(random_folder("llama"), dtype="bfloat16")
    kv = prefill(rough, TOKENS[:30])
    assert kv.dtype == torch.bfloat16
    logits = continuation_logits(rough, prefill(llama, TOKENS[:30]), TOKENS[30:])
    assert logits.dtype == torch.float32 and logits.isfinite().all()


@pytest.mark.parametrize(
    "shape",
    [
        (2, 2, 5, 2, 8),  # layers
        (3, 1, 5, 2, 8),  # keys alone
        (3, 2, 5, 4, 8),  # heads of the queries
        (3, 2, 5, 2, 16),
        (3, 2, 2, 5, 8),  # heads before tokens
        (3, 2, 5, 2),
        (3, 2, 5, 2, 8, 1),
        (),
    ],
)
def test_other_shapes_are_named(llama, shape):
    for use in (
        lambda kv: to_cache(kv, llama),
        lambda kv: continuation_logits(llama, kv, TOKENS),
        lambda kv: prefill(llama, TOKENS, kv),
        lambda kv: greedy(llama, kv, TOKENS, 1),
    ):
        with pytest.raises(ValueError) as caught:
            use(np.zeros(shape, np.float32))
        assert str(shape) in str(caught.value) and "(3, 2, any, 2, 8)" in str(caught.value)


@pytest.mark.parametrize(
    ("tokens", "message"),
    [
        ([], r"shape \(0,\)"),
        ([[1, 2]], r"shape \(1, 2\)"),
        ([1, 97], "from 1 to 97 for a vocabulary of 97"),
        ([-1, 5], "from -1 to 5 for a vocabulary of 97"),
        ([1.5, 2.0], "whole numbers"),
    ],
)
def test_tokens_that_are_none(llama, tokens, message):
    kv = np.zeros((3, 2, 4, 2, 8), np.float32)
    for use in (
        lambda: prefill(llama, tokens),
        lambda: continuation_logits(llama, kv, tokens),
        lambda: greedy(llama, kv, tokens, 2),
        lambda: continuation_loss(llama, kv, tokens),
    ):
        with pytest.raises(ValueError, match=message):
            use()


def test_tokens_in_any_form(llama):
    expected = prefill(llama, TOKENS)
    for form in (TOKENS.tolist(), tuple(TOKENS.tolist()), TOKENS.astype(np.int32)):
        assert torch.equal(prefill(llama, form), expected)
    assert torch.equal(prefill(llama, torch.as_tensor(TOKENS)), expected)


def test_caches_that_hold_no_sequence(llama):
    with torch.no_grad():
        two = llama.network(torch.tensor([[3, 4], [5, 6]]), use_cache=True).past_key_values
    with pytest.raises(ValueError, match="holds 2 sequences"):
        from_cache(two)
    for empty in (DynamicCache(), DynamicCache(config=llama.network.config)):
        with pytest.raises(ValueError, match="empty"):
            from_cache(empty)
