"""Halves against NumPy's conversions, packing and varints against plain arithmetic."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from projects.cachegen import halves, packing
from projects.cachegen.errors import CorruptStreamError

ALL = np.arange(65536, dtype=np.uint16)


def test_every_half_widens_as_numpy_says():
    single = np.empty(65536, np.float32)
    bad = halves.widen(ALL, single)
    finite = np.isfinite(ALL.view(np.float16))
    assert bad == (~finite).sum() == 2048
    expected = ALL.view(np.float16)[finite].astype(np.float32)
    assert (single[finite].view(np.uint32) == expected.view(np.uint32)).all()


def test_narrowing_rounds_as_numpy_but_saturates():
    rng = np.random.default_rng(0)
    finite = ALL.view(np.float16)[np.isfinite(ALL.view(np.float16))].astype(np.float64)
    between = np.concatenate([(finite[1:] + finite[:-1]) / 2, finite * (1 + 2**-12), finite])
    bits = rng.integers(0, 2**32, 300_000, dtype=np.uint64).astype(np.uint32)
    x = np.concatenate([between.astype(np.float32), bits.view(np.float32)])
    x = x[~np.isnan(x)]
    half = np.empty(len(x), np.uint16)
    halves.narrow(x, half)
    with np.errstate(over="ignore"):
        expected = x.astype(np.float16)
    inside = np.isfinite(expected)
    assert (half[inside] == expected.view(np.uint16)[inside]).all()
    assert (np.abs(half[~inside].view(np.float16)) == 65504).all()


def test_nan_stays_nan():
    half = np.empty(1, np.uint16)
    halves.narrow(np.array([np.nan], np.float32), half)
    assert np.isnan(half.view(np.float16))[0]


def test_bfloat16_rounds_as_torch():
    torch = pytest.importorskip("torch")
    x = np.random.default_rng(0).normal(size=10_000).astype(np.float32)
    expected = torch.from_numpy(x).to(torch.bfloat16).float().numpy()
    assert (halves.round_to_bfloat16(x) == expected).all()


@given(st.integers(1, 16), st.data())
def test_packed_symbols_are_the_digits_of_one_number(width, data):
    symbols = data.draw(st.lists(st.integers(0, 2**width - 1), max_size=40))
    packed = packing.pack(np.array(symbols, np.uint16), width)
    number = sum(s << (width * i) for i, s in enumerate(symbols))
    assert int.from_bytes(packed, "little") == number
    assert packing.unpack(packed, len(symbols), width).tolist() == symbols


@given(st.lists(st.integers(0, 2**40), max_size=40))
def test_varints_come_back(values):
    data = packing.write_varints(np.array(values, np.int64))
    assert packing.read_varints(data, len(values)).tolist() == values
    for end in range(len(data)):
        with pytest.raises(CorruptStreamError):
            packing.read_varints(data[:end], len(values))


@pytest.mark.parametrize("data", [b"\xff" * 12, b"\x01\x01", b""])
def test_bytes_that_are_not_one_varint(data):
    with pytest.raises(CorruptStreamError):
        packing.read_varints(data, 1)


def test_wrong_number_of_packed_bytes():
    with pytest.raises(CorruptStreamError, match="cannot hold"):
        packing.unpack(b"\x00", 9, 1)
