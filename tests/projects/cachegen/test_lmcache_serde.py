"""Chunks as LMCache holds them: there and back with every codec, damage refused."""

from types import SimpleNamespace

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from projects.cachegen.codecs import codec, codec_names
from projects.cachegen.container import encode_context
from projects.cachegen.errors import (
    CorruptStreamError,
    IncompatibleProfileError,
    IncompatibleStreamError,
)
from projects.cachegen.lmcache_serde import create_serde

METADATA = SimpleNamespace(kv_shape=(3, 2, 256, 2, 8), model_name="model")
WITHOUT_PROFILE = [name for name in codec_names() if not codec(name).needs_profile]
WITH_PROFILE = [name for name in codec_names() if codec(name).needs_profile]


def chunk_of(kv: np.ndarray) -> torch.Tensor:
    """LMCache's order, made index by index."""
    layers, _, tokens, heads, dim = kv.shape
    out = np.empty((2, layers, tokens, heads * dim), kv.dtype)
    for layer in range(layers):
        for which in range(2):
            for head in range(heads):
                out[which, layer, :, head * dim : (head + 1) * dim] = kv[layer, which, :, head]
    return torch.from_numpy(out)


def test_the_lists_are_not_empty():
    assert "fp16" in WITHOUT_PROFILE and "nodelta" in WITH_PROFILE


@pytest.mark.parametrize("name", [*WITHOUT_PROFILE, *WITH_PROFILE])
def test_every_codec_decodes_to_what_it_decodes_outside(name, make_cache, fitted):
    kv = make_cache(3, tokens=37)
    coder, profile = fitted(name)
    chunk = chunk_of(kv)
    serializer, deserializer = create_serde(name, METADATA, profile=profile)
    back = deserializer.from_bytes(serializer.serialize(chunk))
    assert back.shape == chunk.shape and back.dtype == torch.float16 and back.is_contiguous()
    expected = coder.decode(coder.encode(kv, profile=profile), profile=profile)
    assert torch.equal(back, chunk_of(expected))
    relative = (back.float() - chunk.float()).norm() / chunk.float().norm()
    assert relative < 0.7


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_without_loss_every_bit_comes_back(dtype):
    chunk = torch.randn(2, 3, 11, 16, generator=torch.Generator().manual_seed(0)).to(dtype)
    serializer, deserializer = create_serde("fp16", METADATA)
    back = deserializer.deserialize(serializer.to_bytes(chunk))
    assert back.dtype == dtype and torch.equal(back, chunk)


def test_objects_of_lmcache_in_and_out():
    chunk = torch.ones(2, 3, 4, 16)
    metadata = SimpleNamespace(**vars(METADATA), kv_dtype=torch.bfloat16)
    serializer, deserializer = create_serde(
        "uniform8",
        metadata,
        config=object(),
        wrap_bytes=lambda data: SimpleNamespace(byte_array=memoryview(data)),
        wrap_tensor=lambda tensor: SimpleNamespace(tensor=tensor),
    )
    memory = serializer.serialize(SimpleNamespace(tensor=chunk))
    back = deserializer.deserialize(memory).tensor
    assert back.dtype == torch.bfloat16 and torch.equal(back, chunk.bfloat16())


def test_a_finer_level_is_nearer_and_larger(make_cache, fitted):
    chunk = chunk_of(make_cache(5, tokens=64))
    coder, profile = fitted("nodelta")
    sizes, errors = [], []
    for level in coder.levels:
        serializer, deserializer = create_serde("nodelta", METADATA, profile=profile, level=level)
        data = serializer.serialize(chunk)
        sizes.append(len(data))
        errors.append(float((deserializer.from_bytes(data).float() - chunk.float()).norm()))
    assert sizes == sorted(sizes, reverse=True) and errors == sorted(errors)


def test_wrong_chunks_and_metadata():
    serializer, _ = create_serde("uniform8", METADATA)
    for shape in [(3, 2, 5, 16), (2, 3, 5, 2, 8), (2, 3, 5, 15)]:
        with pytest.raises(ValueError, match=r"\[2, 3, tokens, 16\]"):
            serializer.serialize(torch.ones(shape))
    with pytest.raises(ValueError, match="at least one token"):
        serializer.serialize(torch.ones(2, 3, 0, 16))
    with pytest.raises(ValueError, match="NaN"):
        serializer.serialize(torch.full((2, 3, 5, 16), float("nan")))
    with pytest.raises(TypeError, match="int64"):
        serializer.serialize(torch.ones(2, 3, 5, 16, dtype=torch.int64))
    with pytest.raises(ValueError, match="kv_shape"):
        create_serde("uniform8", SimpleNamespace(kv_shape=(3, 256, 16)))
    with pytest.raises(ValueError, match="unknown codec"):
        create_serde("cachegem", METADATA)
    with pytest.raises(ValueError, match="drops tokens"):
        create_serde("h2o+uniform8", METADATA)
    with pytest.raises(IncompatibleProfileError, match="needs a profile"):
        create_serde("nodelta", METADATA)


def test_every_flipped_byte_and_other_models_are_refused():
    serializer, deserializer = create_serde("uniform8", METADATA)
    data = serializer.serialize(torch.ones(2, 3, 2, 16))
    for place in range(len(data)):
        damaged = bytearray(data)
        damaged[place] ^= 0x10
        with pytest.raises((CorruptStreamError, IncompatibleStreamError)):
            deserializer.from_bytes(bytes(damaged))
    other = SimpleNamespace(kv_shape=METADATA.kv_shape, model_name="other")
    with pytest.raises(IncompatibleStreamError, match="fingerprint"):
        create_serde("uniform8", other)[1].from_bytes(data)
    kv = torch.ones(3, 2, 5, 2, 8, dtype=torch.float16)
    dropped = encode_context(kv, codec("h2o+uniform8"), fingerprint="model")
    with pytest.raises(IncompatibleStreamError, match="dropped tokens"):
        deserializer.from_bytes(dropped)
    shaped = SimpleNamespace(kv_shape=(3, 2, 256, 4, 4), model_name="model")
    with pytest.raises(IncompatibleStreamError, match="shape"):
        create_serde("uniform8", shaped)[1].from_bytes(data)
