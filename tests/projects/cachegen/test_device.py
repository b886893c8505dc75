"""Decoders for a device give the host's values bit by bit."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from projects.cachegen import rans_torch
from projects.cachegen.codecs import codec
from projects.cachegen.device import decode_on
from projects.cachegen.entropy import decode_section, encode_section, read_section
from projects.cachegen.errors import CorruptStreamError
from projects.cachegen.interface import EncodedChunk
from projects.cachegen.tables import count, per_channel


def problem(tokens=70, channels=37):
    rng = np.random.default_rng(0)
    q = np.rint(rng.normal(size=(tokens, channels)) * 3).astype(np.int16)
    q[rng.random(q.shape) < 0.01] = -20_000
    counts = np.zeros((1, channels, 16), np.int64)
    count(q, 7, counts[0])
    tables = per_channel(counts)
    data = memoryview(encode_section(q, tables, 0))
    return q, tables, data


def arguments(tables, lanes, tokens, device):
    move = rans_torch.as_tensor
    return (
        move(lanes.words, device),
        move(lanes.starts, device),
        move(lanes.lengths, device),
        move(tables.index[0], device),
        move(tables.frequencies.astype(np.int64), device),
        tables.clip,
        tokens,
    )


def test_torch_lanes_equal_the_compiled_ones():
    q, tables, data = problem()
    out = np.empty_like(q)
    decode_section(data, 0, out, tables, 0)
    lanes, _ = read_section(data, 0, *q.shape)
    assert not lanes.raw.any()
    values, damaged = rans_torch.decode_lanes(*arguments(tables, lanes, len(q), "cpu"))
    assert damaged == 0
    assert (values.numpy() == out).all() and (out == q).all()


def test_torch_counts_damaged_lanes():
    q, tables, data = problem()
    lanes, _ = read_section(data, 0, *q.shape)
    lanes.words[lanes.starts[5] + 3] ^= 1
    _, damaged = rans_torch.decode_lanes(*arguments(tables, lanes, len(q), "cpu"))
    assert damaged == 1


@pytest.mark.parametrize("name", ["cachegen", "nodelta", "previous", "auto"])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_a_chunk_decodes_to_the_same_tensor(name, dtype, fitted, make_cache):
    made, profile = fitted(name)
    kv = torch.from_numpy(make_cache(3, tokens=33, rho=0.9, dtype=np.float32)).to(dtype)
    kv[1, 1, :, 0, 0] = 0  # a raw lane
    kv[0, 0, 5, 1, 2] = 900
    chunk = made.encode(kv, profile=profile)
    host = torch.from_numpy(made.decode(chunk, profile=profile))
    there = decode_on(made, chunk, profile=profile)
    assert there.dtype == dtype and there.shape == kv.shape
    assert (there.float() == host.float()).all()


def test_damage_is_noticed_on_the_device(fitted, make_cache):
    made, profile = fitted("nodelta")
    chunk = made.encode(make_cache(0), profile=profile)
    noisy = bytearray(chunk.payload)
    noisy[-9] ^= 255
    broken = EncodedChunk(**{**vars(chunk), "payload": bytes(noisy)})
    with pytest.raises(CorruptStreamError):
        decode_on(made, broken, profile=profile)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_cuda_asked_but_absent(fitted, make_cache):
    made, profile = fitted("nodelta")
    chunk = made.encode(make_cache(0), profile=profile)
    with pytest.raises(RuntimeError, match="pass device='cpu'"):
        decode_on(made, chunk, profile=profile, device="cuda")


@pytest.mark.gpu
@pytest.mark.parametrize("name", ["cachegen", "auto"])
def test_triton_equals_the_host(name, make_cache):
    pytest.importorskip("triton")
    made = codec(name)
    profile = made.fit([make_cache(1, tokens=400)])
    for tokens in (1, 33, 200):
        kv = make_cache(2, tokens=tokens)
        kv[0, 0, 0, 1, 2] = 900
        chunk = made.encode(kv, profile=profile)
        host = torch.from_numpy(made.decode(chunk, profile=profile))
        assert (decode_on(made, chunk, profile=profile, device="cuda").cpu() == host).all()


@pytest.mark.gpu
def test_triton_counts_damaged_lanes():
    pytest.importorskip("triton")
    from projects.cachegen.rans_triton import decode_lanes

    q, tables, data = problem()
    lanes, _ = read_section(data, 0, *q.shape)
    values, damaged = decode_lanes(*arguments(tables, lanes, len(q), "cuda"))
    assert damaged == 0 and (values.cpu().numpy() == q).all()
    lanes.words[lanes.starts[5] + 3] ^= 1
    assert decode_lanes(*arguments(tables, lanes, len(q), "cuda"))[1] == 1
