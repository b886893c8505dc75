"""Hugging Face caches: exact round trip without loss, same tokens from a decoded cache."""

import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from projects.cachegen.codecs import codec
from projects.cachegen.errors import CorruptStreamError, IncompatibleStreamError
from projects.cachegen.hf import cache_of, compress, decompress, kv_of


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=64,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
    )
    return transformers.LlamaForCausalLM(config).eval()


@pytest.fixture(scope="module")
def prefilled(model):
    tokens = torch.randint(0, 64, (1, 23), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        return tokens, model(tokens, use_cache=True).past_key_values


def logits_from(model, cache, tokens):
    with torch.no_grad():
        return model(tokens, past_key_values=cache).logits


def test_shape_and_order(model, prefilled):
    kv = kv_of(prefilled[1])
    assert kv.shape == (3, 2, 23, 2, 8)
    layer = prefilled[1].layers[1]
    assert torch.equal(kv[1, 0, 5, 1], layer.keys[0, 1, 5])
    assert torch.equal(kv[1, 1, 7, 0], layer.values[0, 0, 7])


def test_a_cache_survives_without_loss(model, prefilled):
    more = torch.tensor([[3, 1, 4]])
    again = cache_of(kv_of(prefilled[1]))
    reference = model(torch.cat([prefilled[0], more], dim=1)).logits[:, -3:]
    torch.testing.assert_close(logits_from(model, again, more), reference, atol=1e-4, rtol=1e-4)


def test_generation_goes_on_from_a_decoded_cache(model, prefilled):
    tokens, cache = prefilled
    data = compress(cache, "fp16", chunk_tokens=7, fingerprint="tiny")
    decoded = decompress(data, fingerprint="tiny", dtype=torch.float32)
    more = torch.tensor([[3, 1, 4, 1, 5]])
    reference = model(torch.cat([tokens, more], dim=1)).logits[:, -5:]
    ours = logits_from(model, decoded, more)
    assert (ours.argmax(dim=-1) == reference.argmax(dim=-1)).all()
    torch.testing.assert_close(ours, reference, atol=2e-2, rtol=2e-2)


def test_coarser_codecs_move_the_logits_more(model, prefilled):
    more = torch.tensor([[3, 1, 4, 1, 5]])
    reference = model(torch.cat([prefilled[0], more], dim=1)).logits[:, -5:]
    errors = []
    for name in ("fp16", "uniform8", "uniform4", "uniform3"):
        cache = decompress(compress(prefilled[1], codec(name)), dtype=torch.float32)
        errors.append(float((logits_from(model, cache, more) - reference).abs().mean().detach()))
    assert errors == sorted(errors) and errors[0] < 1e-4 < errors[-1]


def test_damage_and_other_models_give_no_cache(prefilled):
    data = compress(prefilled[1], "uniform8", fingerprint="tiny")
    with pytest.raises(CorruptStreamError):
        decompress(data[:-1])
    with pytest.raises(IncompatibleStreamError, match="fingerprint"):
        decompress(data, fingerprint="other")


def test_caches_that_cannot_be_stacked(model):
    two = transformers.DynamicCache()
    two.update(torch.ones(2, 2, 3, 4), torch.ones(2, 2, 3, 4), 0)
    with pytest.raises(ValueError, match="2 sequences"):
        kv_of(two)
    uneven = cache_of(torch.ones(2, 2, 3, 2, 4))
    uneven.layers[1].keys = torch.ones(1, 2, 5, 4)
    uneven.layers[1].values = torch.ones(1, 2, 5, 4)
    with pytest.raises(ValueError, match="different shapes"):
        kv_of(uneven)
