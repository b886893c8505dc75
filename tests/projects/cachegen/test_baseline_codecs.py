"""Uniform, released, KIVI, rotation, transform and dropping against their definitions."""

import numpy as np
import pytest

from projects.cachegen.codecs import codec
from projects.cachegen.dropping import heavy_hitters, key_norm_scores
from projects.cachegen.packing import unpack
from projects.cachegen.released import Schedule, chunk_cdfs
from projects.cachegen.rotation import RotationCodec, lloyd_max
from projects.cachegen.transform import water_level
from projects.cachegen.uniform import symmetric, token_scale, unsymmetric
from projects.cachegen.window import ends


def plane(made, kv, number, profile=None, level=None):
    return made.opened(made.encode(kv, level=level, profile=profile), profile)[1][number]


def test_the_artefacts_quantiser_by_hand():
    """s = 4, M = 32 // 2 - 1 = 15: round(1 * 15 / 4) + 15 = 19, back (19 - 15) / 15 * 4."""
    x = np.array([[1.0, -4.0], [0.0, 0.0]], np.float32)
    s = token_scale(x)
    assert s.tolist() == [4, 1]
    q = symmetric(x, s, 15)
    assert q.tolist() == [[19, 0], [15, 15]]
    assert unsymmetric(q, s, 15)[0] == pytest.approx([16 / 15, -4])


@pytest.mark.parametrize("bits", [3, 4, 8])
def test_uniform_size_and_error(bits, make_cache):
    kv = make_cache(0, dtype=np.float32)
    made = codec(f"uniform{bits}")
    chunk = made.encode(kv)
    # Per plane: a length of 4 bytes, 50 scales of 4 bytes, 50 x 16 symbols.
    assert chunk.nbytes == 6 * (4 + 200 + 50 * 16 * bits // 8)
    error = np.abs(made.decode(chunk) - kv).reshape(6, 50, 16)
    step = np.abs(kv.reshape(6, 50, 16)).max(axis=2) / (2 ** (bits - 1) - 1)
    assert (error <= step[..., None] / 2 + 1e-6).all()


def test_raw_is_exact_in_two_bytes(make_cache):
    kv = make_cache(0)
    made = codec("fp16")
    chunk = made.encode(kv)
    assert (made.decode(chunk) == kv).all()
    assert chunk.nbytes == kv.nbytes + 6 * 4


def test_bins_by_layer():
    default = codec("lmcache", small_models=False)
    from projects.cachegen.tensors import Geometry

    bins = default.prepare("medium", Geometry(32, 8, 128), None)
    assert bins[0::2] == [32] * 10 + [16] * 22 and bins[1::2] == [32] * 2 + [16] * 30
    low = default.prepare("low", Geometry(32, 8, 128), None)
    assert low[0::2] == [16] * 20 + [12] * 12 and low[1::2] == [16] * 2 + [12] * 30
    small = codec("lmcache").prepare("medium", Geometry(9, 8, 128), None)
    assert set(small) == {32}
    assert Schedule(((0, 8),), ((0, 4),)).bins(7) == (8, 4)


def test_distributions_of_a_chunk_by_hand():
    """Counts 3, 1, 0, 0 of 4: cumulated, times (65535 - 4) / 4, plus the index."""
    cdf = chunk_cdfs(np.array([[0], [0], [1], [0]], np.uint16), 4)
    assert cdf.tolist() == [[0, 65531 * 3 // 4 + 1, 65531 + 2, 65531 + 3, 65536]]


def test_many_tokens_do_not_overflow_the_histogram():
    cdf = chunk_cdfs(np.zeros((70_000, 1), np.uint16), 4)
    assert (np.diff(cdf) > 0).all() and cdf[0, 1] == 65532


def test_the_distributions_in_the_stream_are_paid_for(make_cache):
    """33 entries of 2 bytes for each lane are 2.06 bits a value at 256 tokens, 0.125 of lengths."""
    kv = make_cache(0, tokens=256)
    made = codec("lmcache")
    part = plane(made, kv, 0)
    values = 256 * 16
    side = 256 * 2 + 16 * (66 + 4)
    lanes = np.frombuffer(part[256 * 2 + 16 * 66 :][: 16 * 4], "<u4")
    assert len(part) == side + lanes.sum()
    assert 16 * 66 * 8 / values == pytest.approx(2.06, abs=0.01)
    assert 16 * 4 * 8 / values == 0.125
    # The payload itself is the lanes' empirical entropy and a few bits to end each lane.
    x = kv[0, 0].reshape(256, 16).astype(np.float32)
    q = symmetric(x, token_scale(x), 15)
    entropy = 0.0
    for lane in q.T:
        p = np.bincount(lane) / 256
        entropy -= 256 * (p[p > 0] * np.log2(p[p > 0])).sum()
    assert entropy < 8 * lanes.sum() < entropy * 1.01 + 16 * 12


def test_sub_chunks_of_256_tokens_have_their_own_streams(make_cache):
    kv = make_cache(0, tokens=600)
    made = codec("lmcache", schedule=16)
    chunk = made.encode(kv)
    part = made.opened(chunk, None)[1][0]
    lanes = np.frombuffer(part[600 * 2 + 16 * 17 * 2 :][: 3 * 16 * 4], "<u4")
    assert len(part) == 600 * 2 + 16 * 17 * 2 + 3 * 16 * 4 + lanes.sum()
    assert np.abs(made.decode(chunk).astype(float) - kv).max() < 1


def test_kivi_groups_and_window(make_cache):
    """K: min and max of 32 tokens of a channel come back exactly; V: of 32 channels of a token."""
    kv = make_cache(1, tokens=200, heads=1, head_dim=64, layers=1, dtype=np.float32)
    made = codec("kivi2")
    chunk = made.encode(kv)
    back = made.decode(chunk)
    assert (back[:, :, 64:] == kv[:, :, 64:]).all()  # 200 - 128 = 72, two groups of 32 are 64
    for x, y in (
        (kv[0, 0, :64, 0].reshape(2, 32, 64), back[0, 0, :64, 0].reshape(2, 32, 64)),
        (
            kv[0, 1, :64, 0].reshape(64, 2, 32).transpose(0, 2, 1),
            back[0, 1, :64, 0].reshape(64, 2, 32).transpose(0, 2, 1),
        ),
    ):
        assert np.allclose(x.min(axis=1), y.min(axis=1), atol=1e-5)
        assert np.allclose(x.max(axis=1), y.max(axis=1), atol=1e-5)
        assert all(len(np.unique(y[g, :, c])) <= 4 for g in range(2) for c in range(2))
        step = (x.max(axis=1) - x.min(axis=1)) / 3
        assert (np.abs(x - y) <= step[:, None] / 2 + 1e-5).all()
    groups, exact = 64 * 64 // 32, 136 * 64
    assert chunk.nbytes == 2 * (4 + 8 + 4 * exact + 2 * 4 * groups + 64 * 64 * 2 // 8)


def test_the_gaussian_codebook():
    """Max (1960), table I."""
    assert lloyd_max(2) == pytest.approx([-0.7979, 0.7979], abs=1e-4)
    assert lloyd_max(4) == pytest.approx([-1.510, -0.4528, 0.4528, 1.510], abs=1e-3)
    assert lloyd_max(8)[4:] == pytest.approx([0.2451, 0.7560, 1.344, 2.152], abs=1e-3)
    assert lloyd_max(16)[8:11] == pytest.approx([0.1284, 0.3881, 0.6568], abs=1e-3)


@pytest.mark.parametrize(("bits", "distortion"), [(2, 0.1175), (3, 0.03454), (4, 0.009497)])
def test_rotation_reaches_the_distortion_of_the_codebook(bits, distortion):
    """Max (1960): mean squared error of a normal; a rotated vector is one, whatever it was."""
    rng = np.random.default_rng(0)
    kv = rng.exponential(size=(1, 2, 400, 1, 128)).astype(np.float32) * 50
    kv *= rng.random(kv.shape) < 0.03  # a few large values in places of their own
    kv[..., 0] += 1
    made = RotationCodec(bits=bits)
    back = made.decode(made.encode(kv))
    relative = ((back - kv) ** 2).sum(axis=-1) / (kv**2).sum(axis=-1)
    assert relative.mean() == pytest.approx(distortion, rel=0.06)


def test_rotation_of_a_head_size_that_is_no_power_of_two(make_cache):
    kv = make_cache(0, head_dim=12)
    made = codec("rotation4")
    chunk = made.encode(kv)
    assert np.abs(made.decode(chunk).astype(float) - kv).mean() < 0.15
    assert chunk.nbytes == 6 * (4 + 100 * 2 + 100 * 16 // 2)


def test_reverse_water_filling_spends_the_budget():
    rng = np.random.default_rng(0)
    for bits in (0.5, 1, 3):
        variances = np.exp(rng.normal(0, 3, 200))
        theta = water_level(variances, bits)
        assert np.maximum(0, np.log2(variances / theta) / 2).mean() == pytest.approx(bits)


def test_transform_coder_follows_its_budget_and_finds_a_subspace():
    """Sixteen directions among 32 channels: the rest is dropped and comes back all the same."""
    rng = np.random.default_rng(0)
    mix = np.linalg.qr(rng.normal(size=(32, 16)))[0].T * np.geomspace(1, 3, 16)[:, None]

    def draw():
        return (rng.normal(size=(1, 2, 6000, 16)) @ mix)[:, :, :, None].astype(np.float32)

    made = codec("kvtc", sinks=0, window=0)
    profile, kv = made.fit([draw()]), draw()
    for level, bits in (("medium", 2.0), ("lowest", 1.0)):
        chunk = made.encode(kv, level=level, profile=profile)
        back = made.decode(chunk, profile=profile)
        steps = made.prepare(level, chunk.geometry, profile).step
        assert (steps[0] < 1e29).sum() == 16
        # Entropy-coded uniform steps need 0.25 bit more than the bound on each component kept.
        assert chunk.bits_per_element == pytest.approx(bits + 0.25 * 16 / 32, abs=0.06)
        theta = steps[0].min() ** 2 / 12
        assert ((back - kv)[0, 0] ** 2).sum(axis=-1).mean() == pytest.approx(16 * theta, rel=0.1)


def test_transform_coder_caps_the_bits_of_a_component():
    """One direction among 32 channels cannot use 32 x 3 bits; eight are its most."""
    rng = np.random.default_rng(0)
    kv = (rng.normal(size=(1, 2, 3000, 1)) @ rng.normal(size=(1, 32)))[:, :, :, None]
    made = codec("kvtc", sinks=0, window=0, clip=127)
    profile = made.fit([kv.astype(np.float32)])
    step = made.prepare("high", profile.geometry, profile).step
    variance = profile.arrays["variance"][:, -1]
    assert step.min(axis=1) == pytest.approx(np.sqrt(12 * variance / 4**8), rel=1e-5)


def test_sinks_and_window_are_exact(make_cache):
    kv = make_cache(0, tokens=100, dtype=np.float32)
    made = codec("kvtc", window=10)
    profile = made.fit([kv])
    back = made.decode(made.encode(kv, profile=profile), profile=profile)
    exact = (back == kv).all(axis=(0, 1, 3, 4))
    assert np.flatnonzero(exact).tolist() == [*range(4), *range(90, 100)]
    assert ends(3, "whole", 4, 128) == (3, 0)
    assert ends(100, "first", 4, 128) == (4, 0)


def test_heavy_hitters_and_recent_tokens(make_cache):
    scores = np.arange(20.0)[::-1]
    mask = heavy_hitters(scores, 0.4)
    assert np.flatnonzero(mask).tolist() == [0, 1, 2, 3, 16, 17, 18, 19]
    made = codec("h2o+fp16", keep=0.4)
    kv = make_cache(0, tokens=20)
    chunk = made.encode(kv, scores=scores)
    assert (made.kept(chunk) == mask).all()
    assert (made.decode(chunk)[:, :, mask] == kv[:, :, mask]).all()
    inner = codec("fp16").encode(kv[:, :, mask])
    assert chunk.nbytes == inner.nbytes + 4 + 3  # a count, and a bit for each of 20 tokens


def test_without_scores_small_keys_are_kept(make_cache):
    kv = make_cache(0, tokens=30)
    kv[:, 0, 4] *= 0.01
    assert key_norm_scores(kv).argmax() == 4
    made = codec("h2o+uniform8", keep=0.2)
    assert made.kept(made.encode(kv))[4]


def test_scores_of_another_length(make_cache):
    with pytest.raises(ValueError, match="50 finite scores needed"):
        codec("h2o+uniform8").encode(make_cache(0), scores=np.ones(49))


def test_packed_uniform_symbols_are_readable(make_cache):
    kv = make_cache(0, dtype=np.float32)
    part = plane(codec("uniform4"), kv, 2)
    x = kv.reshape(6, 50, 16)[2]
    assert (unpack(part[200:], 800, 4).reshape(50, 16) == symmetric(x, token_scale(x), 7)).all()
