"""The paper's codec against its definition, hand-worked cases and the theory of AR(1) data."""

import numpy as np
import pytest

from projects.cachegen.codecs import codec
from projects.cachegen.entropy import decode_section, read_section
from projects.cachegen.errors import IncompatibleProfileError
from projects.cachegen.predict import PREDICTORS, quantise_previous
from projects.cachegen.profile import Profile
from projects.cachegen.stepping import LEVELS, layer_steps
from projects.cachegen.tables import clustered


def test_three_layer_groups():
    assert layer_steps(6)[::2].tolist() == [0.5, 0.5, 1, 1, 1.5, 1.5]
    assert layer_steps(32)[::2].tolist() == [0.5] * 11 + [1] * 11 + [1.5] * 10
    assert layer_steps(2)[::2].tolist() == [0.5, 1]
    assert layer_steps(1).tolist() == [0.5, 0.5]


@pytest.mark.parametrize("name", ["cachegen", "nodelta", "previous"])
@pytest.mark.parametrize("level", list(LEVELS))
def test_error_is_at_most_half_a_step(name, level, make_cache):
    """Nothing clips and no error adds up: closed loop, escapes carry what is far."""
    made = codec(name)
    kv = make_cache(0, tokens=203, rho=0.8, dtype=np.float32)
    profile = made.fit([kv])
    kv[0, 0, 5, 0, 0] += 100
    back = made.decode(made.encode(kv, level=level, profile=profile), profile=profile)
    error = np.abs(back - kv).reshape(6, 203, 16)
    std = make_cache(0, tokens=203, rho=0.8, dtype=np.float32).std(axis=2).reshape(6, 16)
    step = std * LEVELS[level] * layer_steps(3)[:, None]
    bound = np.repeat(step[:, None] / 2, 203, axis=1)
    if name == "cachegen":
        bound[:, ::10] = (profile.arrays["anchor_step"] / 2)[:, None]
    assert (error <= bound * 1.0001 + 1e-5).all()


def test_anchor_stream_by_hand(make_cache):
    """The sections hold the anchors' symbols and the differences to the dequantised anchors."""
    made = codec("cachegen", group=4)
    kv = make_cache(2, tokens=10, dtype=np.float32)
    profile = made.fit([kv])
    chunk = made.encode(kv, level="medium", profile=profile)
    task, parts = made.opened(chunk, profile)
    a, x = profile.arrays, kv.reshape(6, 10, 16)
    for plane in (0, 3, 5):
        qa, q = np.empty((3, 16), np.int16), np.empty((7, 16), np.int16)
        middle = decode_section(parts[plane], 0, qa, task.tools.anchor_tables, plane)
        decode_section(parts[plane], middle, q, task.tools.tables, plane)
        wide = a["anchor_step"][plane]
        assert np.abs(qa - (x[plane, [0, 4, 8]] - a["mean"][plane]) / wide).max() <= 0.501
        anchor = a["mean"][plane] + qa * wide
        rest = [t for t in range(10) if t % 4]
        step = a["scale"][plane] * layer_steps(3)[plane]
        exact = (x[plane, rest] - anchor[[t // 4 for t in rest]]) / step
        assert np.abs(q - exact).max() <= 0.501
        assert np.abs(qa).max() <= 127


def test_groups_do_not_cross_chunks(fitted, make_cache):
    made, profile = fitted("cachegen")
    kv = make_cache(3, tokens=40)
    whole = made.decode(made.encode(kv, profile=profile), profile=profile)
    for begin in (10, 20):  # at a group's border a cut changes nothing
        part = made.encode(kv[:, :, begin:], profile=profile)
        assert (made.decode(part, profile=profile) == whole[:, :, begin:]).all()


def test_previous_token_by_hand():
    x = np.array([[1.0], [1.4], [0.2], [0.2]], np.float32)
    q = np.empty((4, 1), np.int16)
    quantise_previous(x, np.zeros(1, np.float32), np.ones(1, np.float32), q)
    assert q[:, 0].tolist() == [1, 0, -1, 0]


def bits(name, kv, other):
    made = codec(name, steps=(0.05,), clip=127)
    profile = made.fit([other])
    return made.encode(kv, level="medium", profile=profile).bits_per_element


@pytest.mark.parametrize("rho", [0.0, 0.81, 0.99])
def test_residual_variance_of_an_autoregressive_process_decides(rho, make_cache):
    """Fine steps: bits differ by half the log of the variance ratio, whatever the coder.

    var(x_t - x_{t-k}) = 2 (1 - rho^k) var, so the 10-token anchor loses at rho = 0.81 (brief 8).
    """
    shape = {"layers": 1, "heads": 1, "head_dim": 8, "rho": rho}
    kv, other = make_cache(1, tokens=3000, **shape), make_cache(2, tokens=6000, **shape)
    none, previous, anchor = (bits(name, kv, other) for name in ("nodelta", "previous", "cachegen"))
    assert previous - none == pytest.approx(np.log2(2 * (1 - rho)) / 2, abs=0.15)
    distances = 1 - rho ** np.arange(1, 10)
    expected = 0.9 * np.mean(np.log2(2 * distances)) / 2
    # An anchor's step is 8 deviations / 256 instead of 0.05.
    expected += 0.1 * np.log2(0.05 * 256 / 8)
    assert anchor - none == pytest.approx(expected, abs=0.25)
    assert (anchor < none) == (rho == 0.99)


def test_auto_takes_the_best_of_three_in_each_plane(make_cache):
    """K smooth, V not: previous for K, none for V; never larger than any fixed choice."""
    kv, other = (
        np.concatenate(
            [make_cache(s, tokens=800, rho=0.95)[:, :1], make_cache(s + 9, tokens=800)[:, 1:]],
            axis=1,
        )
        for s in (1, 2)
    )
    sizes, auto = {}, codec("auto")
    for name in ("cachegen", "nodelta", "previous", "auto"):
        made = codec(name)
        sizes[name] = made.encode(kv, profile=made.fit([other])).nbytes
    chosen = [PREDICTORS[i] for i in auto.fit([other]).arrays["predictor"]]
    assert chosen == ["previous", "none"] * 3
    assert sizes["auto"] < min(sizes["cachegen"], sizes["nodelta"], sizes["previous"])


def test_finer_grouping_of_tables_is_smaller(make_cache):
    """Lanes of one plane have different shapes here: normal, uniform, two-point, ..."""
    rng = np.random.default_rng(0)

    def draw():
        x = rng.normal(size=(2, 2, 3000, 1, 6))
        x[..., 1] = rng.uniform(-1, 1, x.shape[:-1])
        x[..., 2] = rng.choice([-1, 1], x.shape[:-1])
        x[..., 3] = rng.standard_t(3, x.shape[:-1])
        return x.astype(np.float32)

    kv, other, size = draw(), draw(), {}
    for tables in ("channel", 8, "plane", "all"):
        made = codec("nodelta", tables=tables)
        size[tables] = made.encode(kv, profile=made.fit([other])).nbytes
    assert size["channel"] < size["plane"] < size["all"]
    assert size["channel"] < 1.01 * size[8] < 1.02 * size["channel"]


def test_clusters_of_equal_lanes_lose_nothing():
    rng = np.random.default_rng(0)
    kinds = rng.integers(0, 3, 60)
    shapes = np.array([[90, 5, 5, 0], [10, 80, 10, 0], [5, 5, 90, 0]])
    tables = clustered(shapes[kinds].reshape(6, 10, 4), 3)
    index = tables.index.reshape(-1)
    for kind in range(3):
        assert len(set(index[kinds == kind])) == 1
    assert len(set(index)) == 3


def test_a_channel_that_never_moved_in_the_profile(make_cache):
    made = codec("nodelta")
    kv = make_cache(0)
    kv[..., 0] = 1
    profile = made.fit([kv])
    kv[..., 0] = 3
    back = made.decode(made.encode(kv, profile=profile), profile=profile)
    assert np.abs(back[..., 0].astype(float) - 3).max() < 0.01


def test_a_profile_is_stored_without_pickle(tmp_path, fitted, make_cache):
    made, profile = fitted("auto")
    loaded = Profile.load(profile.save(tmp_path / "deep" / "profile.npz"))
    assert loaded.id == profile.id and loaded.fingerprint == "model"
    kv = make_cache(0)
    assert made.encode(kv, profile=loaded) == made.encode(kv, profile=profile)
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["profile.npz"]


def test_files_that_are_no_profiles(tmp_path, fitted):
    path = tmp_path / "profile.npz"
    with pytest.raises(FileNotFoundError, match="no such profile"):
        Profile.load(path)
    fitted("nodelta")[1].save(path)
    whole = path.read_bytes()
    np.savez(tmp_path / "other.npz", a=np.zeros(3))
    np.savez(tmp_path / "object.npz", header=np.array([{}], object))
    for data in (b"", b"text", whole[: len(whole) // 2]):
        path.write_bytes(data)
        with pytest.raises(IncompatibleProfileError, match="not a profile"):
            Profile.load(path)
    for name in ("other.npz", "object.npz"):
        with pytest.raises(IncompatibleProfileError, match="not a profile"):
            Profile.load(tmp_path / name)


def test_a_profile_whose_tables_were_tampered_with(fitted, make_cache):
    made, profile = fitted("nodelta")
    for name, array in (
        ("medium_frequencies", np.zeros_like(profile.arrays["medium_frequencies"])),
        ("medium_index", profile.arrays["medium_index"] + 10**6),
    ):
        broken = Profile(
            profile.codec, profile.options, profile.geometry, "", {**profile.arrays, name: array}
        )
        with pytest.raises(IncompatibleProfileError, match="damaged"):
            made.encode(make_cache(0), profile=broken)
        assert broken.id != profile.id


def test_sections_of_one_plane_are_two_with_anchors_one_without(fitted, make_cache):
    for name, sections in (("cachegen", [5, 45]), ("nodelta", [50]), ("previous", [50])):
        made, profile = fitted(name)
        _, parts = made.opened(made.encode(make_cache(0), profile=profile), profile)
        end = 0
        for tokens in sections:
            _, end = read_section(parts[0], end, tokens, 16)
        assert end == len(parts[0])
