"""What holds for every codec: shapes, types, checks, levels, threads."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from projects.cachegen.codecs import codec, codec_names
from projects.cachegen.errors import (
    CorruptStreamError,
    IncompatibleProfileError,
    IncompatibleStreamError,
)
from projects.cachegen.tensors import Geometry, as_planes

NAMES = [*codec_names(), "h2o+nodelta", "h2o+uniform8"]
# Largest error of the finest level in units of the data's standard deviation, from the step
# sizes alone; a mistake in scale, order or place of the values exceeds it at once.
LOSSY = {"kivi2": 2.0, "uniform3": 2.5, "rotation3": 2.0, "kvtc": 1.5}


@pytest.mark.parametrize("name", NAMES)
def test_round_trip_has_shape_type_and_place(name, fitted, make_cache):
    made, profile = fitted(name)
    kv = make_cache(1, tokens=47)
    chunk = made.encode(kv, level=made.levels[0], profile=profile)
    back = made.decode(chunk, profile=profile)
    assert back.shape == kv.shape and back.dtype == np.float16
    error = np.abs(back.astype(float) - kv.astype(float))
    if name.startswith("h2o"):
        kept = made.kept(chunk)
        assert kept.sum() == round(0.45 * 47)
        assert (back[:, :, ~kept] == 0).all()
        error = error[:, :, kept]
    assert error.max() <= LOSSY.get(name, 1.0) * kv.astype(float).std()
    assert chunk.meta["tokens"] == 47 and chunk.nbytes == len(chunk.payload)


@pytest.mark.parametrize("name", NAMES)
def test_any_small_shape(name):
    @settings(max_examples=12, deadline=None)
    @given(st.integers(1, 33), st.integers(1, 130), st.integers(1, 3), st.integers(0, 999))
    def check(tokens, channels, layers, seed):
        rng = np.random.default_rng(seed)
        kv = rng.normal(size=(layers, 2, tokens, 1, channels)).astype(np.float32)
        made = codec(name)
        profile = made.fit([kv])
        chunk = made.encode(kv, profile=profile)
        back = made.decode(chunk, profile=profile)
        assert back.shape == kv.shape and np.isfinite(back).all() and back.dtype == np.float32
        planes = np.stack(list(made.decode_planes(chunk, profile=profile)))
        assert (planes.reshape(back.shape) == back).all()

    check()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("what", ["constant", "outliers", "zeros"])
def test_extreme_values_come_back_finite(name, what, fitted, make_cache):
    made, profile = fitted(name)
    kv = make_cache(2, tokens=40)
    if what == "constant":
        kv[..., 3] = 2.5
    elif what == "zeros":
        kv[:, :, :20] = 0
    else:
        kv[0, 0, ::7, 0, 0], kv[2, 1, 5, 1, :] = 65504, -65504
    back = made.decode(made.encode(kv, profile=profile), profile=profile)
    assert np.isfinite(back).all()


@pytest.mark.parametrize("name", ["cachegen", "nodelta", "previous", "auto", "kvtc", "lmcache"])
def test_a_coarser_level_is_smaller_and_worse(name, fitted, make_cache):
    made, profile = fitted(name)
    kv = make_cache(3, tokens=300)
    sizes, errors = [], []
    levels = ["high", "medium", "low"] + ["lowest"] * (name != "lmcache")
    if name == "lmcache":
        levels.remove("medium")  # 32 bins everywhere in a model of three layers
    for level in levels:
        chunk = made.encode(kv, level=level, profile=profile)
        sizes.append(chunk.nbytes)
        errors.append(np.abs(made.decode(chunk, profile=profile).astype(float) - kv).mean())
    assert sizes == sorted(sizes, reverse=True) and len(set(sizes)) == len(sizes)
    assert errors == sorted(errors)


@pytest.mark.parametrize("name", ["cachegen", "lmcache", "kivi2", "kvtc"])
def test_threads_change_nothing(name, fitted, make_cache):
    one, profile = fitted(name)
    two = codec(name, threads=2)
    kv = make_cache(4)
    chunk = two.encode(kv, profile=profile)
    assert chunk == one.encode(kv, profile=profile)
    assert (two.decode(chunk, profile=profile) == one.decode(chunk, profile=profile)).all()


def test_bfloat16_tensors_and_pairs(fitted):
    torch = pytest.importorskip("torch")
    made, profile = fitted("nodelta")
    kv = torch.randn(3, 2, 20, 2, 8).to(torch.bfloat16)
    chunk = made.encode(kv, profile=profile)
    assert chunk.dtype == "bfloat16"
    back = made.decode(chunk, profile=profile)
    assert (torch.from_numpy(back).to(torch.bfloat16).float().numpy() == back).all()
    pair = made.encode((kv[:, 0], kv[:, 1]), profile=profile)
    assert pair.payload == chunk.payload
    raw = codec("fp16")
    assert (raw.decode(raw.encode(kv)) == kv.float().numpy()).all()


def test_four_axes_are_the_same_cache(fitted, make_cache):
    made, profile = fitted("cachegen")
    kv = make_cache(5)
    flat = kv.reshape(3, 2, 50, 16)
    assert made.encode(flat, profile=profile) == made.encode(kv, profile=profile)


@pytest.mark.parametrize(
    ("kv", "error", "message"),
    [
        (np.zeros((2, 5, 4), np.float16), ValueError, r"layers, 2, tokens.*got \(2, 5, 4\)"),
        (np.zeros((2, 3, 5, 1, 4), np.float16), ValueError, "layers, 2, tokens"),
        (np.zeros((2, 2, 0, 1, 4), np.float16), ValueError, "at least one token"),
        (np.zeros((2, 2, 5, 1, 4)), TypeError, "float64; allowed: float16, bfloat16, float32"),
        (np.zeros((2, 2, 5, 1, 4), np.int8), TypeError, "int8"),
        ([[1.0]], ValueError, "same shape|shapes"),
        ("text", TypeError, "array or a tensor, got str"),
    ],
)
def test_what_is_no_cache(kv, error, message):
    if isinstance(kv, list):
        kv = (np.zeros((2, 5, 1, 4), np.float16), np.zeros((2, 6, 1, 4), np.float16))
        message = r"\(2, 5, 1, 4\) and \(2, 6, 1, 4\)"
    with pytest.raises(error, match=message):
        codec("uniform8").encode(kv)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_not_finite(value, dtype, make_cache):
    kv = make_cache(0, dtype=dtype)
    kv[1, 1, 4, 0, 2] = kv[2, 0, 1, 1, 1] = value
    with pytest.raises(ValueError, match=r"2 values .* first in layer 1 \(V\)"):
        codec("uniform8").encode(kv)


def test_another_models_shape(fitted, make_cache):
    made, profile = fitted("cachegen")
    with pytest.raises(ValueError, match="3 layers of 2 x 4, the model has 3 layers of 2 x 8"):
        made.encode(make_cache(0, head_dim=4), profile=profile)
    assert as_planes(make_cache(0), Geometry(3, 2, 8)).tokens == 50


@pytest.mark.parametrize("level", ["hihg", "", "1"])
def test_unknown_level(level, fitted, make_cache):
    made, profile = fitted("cachegen")
    with pytest.raises(ValueError, match="allowed: high, low, lowest, medium"):
        made.encode(make_cache(0), level=level, profile=profile)


def test_unknown_place(make_cache):
    with pytest.raises(ValueError, match="did you mean 'middle'"):
        codec("uniform8").encode(make_cache(0), place="midle")


@pytest.mark.parametrize("bins", [2, 3, 31, 64, 256])
def test_bins_out_of_range(bins):
    with pytest.raises(ValueError, match=rf"{bins} bins; allowed are 4, 6, .*, 62"):
        codec("lmcache", schedule=bins)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("cachgen", {}, "did you mean 'cachegen'"),
        ("h2o+none", {}, "unknown codec 'none'"),
        ("uniform8", {"bits": 1}, "allowed are 2 to 16"),
        ("uniform8", {"bitz": 4}, "bitz"),
        ("cachegen", {"group": 0}, "group=0"),
        ("cachegen", {"clip": 200}, "allowed are 1 to 127"),
        ("cachegen", {"predictor": "ancor"}, "did you mean 'anchor'"),
        ("cachegen", {"steps": (1, -1)}, "positive"),
        ("cachegen", {"tables": "lane"}, "channel, plane, all"),
        ("kivi2", {"group": 1}, "group at least 2"),
        ("rotation4", {"bits": 9}, "1 to 8"),
        ("kvtc", {"sinks": -1}, "at least 0"),
        ("h2o+uniform8", {"keep": 0}, "above 0"),
        ("uniform8", {"threads": 0}, "at least one"),
    ],
)
def test_options_that_a_codec_refuses(name, options, message):
    with pytest.raises(ValueError, match=message):
        codec(name, **options)


def test_a_profile_is_needed_and_must_fit(fitted, make_cache):
    made, profile = fitted("cachegen")
    kv = make_cache(0)
    with pytest.raises(IncompatibleProfileError, match="needs a profile"):
        made.encode(kv)
    with pytest.raises(IncompatibleProfileError, match="codec is cachegen, needed is nodelta"):
        codec("nodelta").encode(kv, profile=profile)
    with pytest.raises(IncompatibleProfileError, match="options"):
        codec("cachegen", clip=15).encode(kv, profile=profile)
    with pytest.raises(ValueError, match="at least one KV cache"):
        made.fit([])
    with pytest.raises(ValueError, match="the model has 3 layers"):
        made.fit([kv, make_cache(0, layers=2)])


def test_another_codecs_chunk(fitted, make_cache):
    made, profile = fitted("cachegen")
    with pytest.raises(IncompatibleStreamError, match="'uniform8'.*'cachegen'"):
        made.decode(codec("uniform8").encode(make_cache(0)), profile=profile)


@pytest.mark.parametrize("name", NAMES)
def test_damaged_payloads_end_in_one_kind_of_error(name, fitted, make_cache):
    """Without the container's checksum: truncation is always seen, noise never crashes."""
    from dataclasses import replace

    made, profile = fitted(name)
    chunk = made.encode(make_cache(0, tokens=12), profile=profile)
    rng = np.random.default_rng(0)
    for end in rng.integers(0, chunk.nbytes, 40):
        with pytest.raises(CorruptStreamError):
            made.decode(replace(chunk, payload=chunk.payload[:end]), profile=profile)
    with pytest.raises(CorruptStreamError):
        made.decode(replace(chunk, payload=chunk.payload + b"\0"), profile=profile)
    for _ in range(150):
        noisy = bytearray(chunk.payload)
        for place in rng.integers(0, len(noisy), 3):
            noisy[place] = rng.integers(0, 256)
        try:
            with np.errstate(all="ignore"):
                made.decode(replace(chunk, payload=bytes(noisy)), profile=profile)
        except CorruptStreamError:
            pass
