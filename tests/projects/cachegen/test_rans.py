"""rANS beside three decoders that share no code with it, and the bounds of a section."""

import contextlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from projects.cachegen import arithmetic, rans
from projects.cachegen.entropy import (
    decode_lanes,
    decode_section,
    encode_section,
    largest_section,
    read_section,
)
from projects.cachegen.errors import CorruptStreamError
from projects.cachegen.tables import Tables, code_bits, count, per_channel, twelve_bits


def lanes(seed, tokens, channels, spread=2.0, clip=7, outliers=0.02):
    """Values, some beyond the clip, and tables of other data of the same kind."""
    rng = np.random.default_rng(seed)
    q = np.rint(rng.normal(size=(tokens, channels)) * spread).astype(np.int16)
    far = rng.random(q.shape) < outliers
    q[far] = rng.integers(-32768, 32768, far.sum())
    other = np.rint(rng.normal(size=(200, channels)) * spread).astype(np.int16)
    counts = np.zeros((1, channels, 2 * clip + 2), np.int64)
    count(other, clip, counts[0])
    return q, per_channel(counts)


def section(q, tables):
    data = memoryview(encode_section(q, tables, 0))
    out = np.full(q.shape, -9999, np.int16)
    assert decode_section(data, 0, out, tables, 0) == len(data)
    return data, out


def decode_with_python_integers(words, frequencies, tokens, clip):
    """The format as the docstring states it, one lane, in unbounded integers."""
    begins = np.cumsum(frequencies) - frequencies
    x, rest, values = int(words[0]) << 16 | int(words[1]), list(map(int, words[2:])), []
    for _ in range(tokens):
        s = int(np.searchsorted(begins, x % 4096, side="right")) - 1
        x = int(frequencies[s]) * (x // 4096) + x % 4096 - int(begins[s])
        if x < 2**16:
            x = x * 2**16 + rest.pop(0)
        if s == len(frequencies) - 1:
            word = rest.pop(0)
            values.append(word - 2**16 if word >= 2**15 else word)
        else:
            values.append(s - clip)
    return x, rest, values


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 2**31), st.integers(1, 33), st.integers(1, 130), st.sampled_from([0.1, 2, 9, 99])
)
def test_a_section_comes_back_and_keeps_its_bound(seed, tokens, channels, spread):
    q, tables = lanes(seed, tokens, channels, spread)
    data, out = section(q, tables)
    assert (out == q).all()
    assert len(data) <= largest_section(tokens, channels)


def test_the_bytes_are_the_documented_format():
    q, tables = lanes(1, 60, 5)
    data, _ = section(q, tables)
    parsed, _ = read_section(data, 0, *q.shape)
    assert not parsed.raw.any()
    for lane in range(5):
        words = parsed.words[parsed.starts[lane] :][: parsed.lengths[lane]]
        x, rest, values = decode_with_python_integers(words, tables.frequencies[lane], 60, 7)
        assert (x, rest, values) == (2**16, [], q[:, lane].tolist())


def test_a_state_worked_out_by_hand():
    """Probabilities 1/2, 1/2 less the two unused: x = 2^16 -> (x / f) 4096 + x mod f + begin."""
    frequencies = np.array([[2047, 2047, 1, 1]], np.uint16)
    q = np.array([[0]], np.int16)  # symbol 1, which begins at 2047
    buffer, lengths = np.zeros((1, 4), np.uint16), np.zeros(1, np.int64)
    rans.encode_lanes(
        q, np.zeros(1, np.int32), frequencies, 1, buffer, lengths, np.empty(1, np.bool_)
    )
    state = (65536 // 2047) * 4096 + 65536 % 2047 + 2047
    assert lengths[0] == 2
    assert buffer[0, 2:].tolist() == [state >> 16, state & 0xFFFF]


def test_arithmetic_coder_and_rans_agree_on_symbols():
    q, tables = lanes(3, 300, 12, outliers=0)
    symbols = np.clip(q + 7, 0, 15).astype(np.uint16)
    cdfs = np.zeros((12, 17), np.int64)
    cdfs[:, 1:] = np.cumsum(tables.frequencies, axis=1) * 16
    out, lengths = np.empty(12 * arithmetic.largest_stream(300), np.uint8), np.empty(12, np.int64)
    used = arithmetic.encode_lanes(symbols, cdfs, out, lengths)
    decoded = np.empty_like(symbols)
    arithmetic.decode_lanes(out[:used], lengths, cdfs, decoded)
    _, values = section((symbols.astype(np.int16) - 7), tables)
    assert (decoded.astype(np.int16) - 7 == values).all()
    # Both are within a state's width of the ideal code length of the same tables.
    counts = np.zeros((12, 16), np.int64)
    count(symbols.astype(np.int16) - 7, 7, counts)
    cost = -np.log2(tables.frequencies / 4096)
    ideal = (counts * cost).sum()
    assert ideal <= 8 * used <= ideal + 12 * 12
    words = read_section(
        memoryview(encode_section(symbols.astype(np.int16) - 7, tables, 0)), 0, 300, 12
    )
    assert ideal <= 16 * words[0].lengths.sum() <= ideal * 1.005 + 12 * 40


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 5), min_size=1, max_size=80), st.integers(0, 2**31))
def test_arithmetic_coder_round_trip_with_any_distribution(symbols, seed):
    edges = np.sort(np.random.default_rng(seed).choice(np.arange(1, 65536), 5, replace=False))
    cdf = np.concatenate([[0], edges, [65536]]).astype(np.int64)
    symbols = np.array(symbols, np.uint16)
    out = np.zeros(arithmetic.largest_stream(len(symbols)), np.uint8)
    used = arithmetic.encode(symbols, cdf, out)
    decoded = np.empty_like(symbols)
    arithmetic.decode(out[:used], cdf, decoded)
    assert (decoded == symbols).all()


def test_size_is_the_entropy_of_the_tables():
    q, _ = lanes(5, 4000, 8, outliers=0)
    counts = np.zeros((1, 8, 16), np.int64)
    count(q, 7, counts[0])
    tables = per_channel(counts)
    data, _ = section(q, tables)
    ideal = code_bits(counts[0], tables.frequencies).sum()
    entropy = -(counts[0] * np.log2(np.maximum(counts[0], 1) / 4000)).sum()
    assert entropy < ideal < 1.01 * entropy
    assert ideal < 8 * len(data) < 1.002 * ideal + 8 * 8 * 8


def test_a_table_that_does_not_fit_costs_a_raw_lane_at_most():
    """Every value escapes: 28 bits each by the coder, 16 at most by the fallback."""
    q = np.full((100, 3), 3000, np.int16)
    q[:, 1] = 0
    _, tables = lanes(0, 10, 3)
    data, out = section(q, tables)
    assert (out == q).all()
    assert read_section(data, 0, 100, 3)[0].raw.tolist() == [True, True, True]
    assert len(data) <= largest_section(100, 3)
    # 3000 needs 13 bits as zigzag: 1 + ceil(1300 / 16) words; zeros need their width alone.
    assert read_section(data, 0, 100, 3)[0].lengths.tolist() == [83, 1, 83]


def test_wrong_tables_are_noticed():
    q, tables = lanes(7, 200, 8, outliers=0)
    _, others = lanes(8, 200, 8, spread=0.4)
    data = memoryview(encode_section(q, tables, 0))
    with pytest.raises(CorruptStreamError, match="other tables"):
        decode_section(data, 0, np.empty_like(q), others, 0)


def test_every_truncation_is_noticed():
    q, tables = lanes(9, 20, 4)
    data = memoryview(encode_section(q, tables, 0))
    for end in range(len(data)):
        with pytest.raises(CorruptStreamError):
            decode_section(data[:end], 0, np.empty_like(q), tables, 0)


@settings(max_examples=80, deadline=None)
@given(st.data())
def test_noise_is_refused_or_decoded_without_a_crash(data):
    q, tables = lanes(9, 20, 6)
    stream = bytearray(encode_section(q, tables, 0))
    for _ in range(data.draw(st.integers(1, 8))):
        stream[data.draw(st.integers(0, len(stream) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(CorruptStreamError):
        decode_section(memoryview(stream), 0, np.empty_like(q), tables, 0)


def test_frequencies_sum_to_4096_and_none_is_zero():
    rng = np.random.default_rng(0)
    counts = rng.integers(0, 50, (5000, 64)) * (rng.random((5000, 64)) < 0.2)
    counts[0] = 0
    counts[1, 1:] = 0
    frequencies = twelve_bits(counts)
    assert (frequencies.sum(axis=1) == 4096).all() and frequencies.min() == 1
    assert (frequencies[0] == 64).all()
    assert frequencies[1, 0] == 4096 - 63 or counts[1, 0] == 0


@pytest.mark.parametrize(
    ("frequencies", "message"),
    [
        (np.full((1, 4), 1000), "sum to 4096"),
        (np.array([[4096, 0, 0, 0]]), "at least 1"),
        (np.full((1, 3), 1365), "even number"),
        (np.full((1, 512), 8), "even number"),
    ],
)
def test_tables_that_the_coder_cannot_use(frequencies, message):
    with pytest.raises(ValueError, match=message):
        Tables(frequencies.astype(np.uint16), np.zeros((1, 1), np.int32)).check()


def test_a_lane_without_table():
    with pytest.raises(ValueError, match="does not exist"):
        Tables(np.full((1, 4), 1024, np.uint16), np.ones((1, 1), np.int32)).check()


@pytest.mark.parametrize("channels", [1, 3, 4, 31, 32, 33, 70])
def test_lanes_of_every_kind_find_their_columns(channels):
    """Plain, escaped and raw lanes mixed, whole cache lines and remainders of them."""
    q, tables = lanes(11, 90, channels, outliers=0)
    q[:, ::5] = 12_345
    q[3, 1::7] = -30_000
    _, out = section(q, tables)
    assert (out == q).all()
    kinds = read_section(memoryview(encode_section(q, tables, 0)), 0, *q.shape)[0].kinds
    assert kinds[0] == 1
    if channels > 7:
        assert set(kinds) == {0, 1, 2}


def test_values_written_for_symbols():
    q, tables = lanes(12, 50, 9, outliers=0)
    q = np.clip(q, -7, 7)
    q[4, 2] = 900
    data = memoryview(encode_section(q, tables, 0))
    parsed, _ = read_section(data, 0, *q.shape)
    values = (np.arange(9)[:, None] * 100 + np.arange(16)).astype(np.int16)
    out = np.empty_like(q)
    left = decode_lanes(parsed, out, tables, 0, values)
    assert left[2] and (out[:, left] == q[:, left]).all()
    expected = np.arange(9) * 100 + q + 7
    assert (out[:, ~left] == expected[:, ~left]).all()
