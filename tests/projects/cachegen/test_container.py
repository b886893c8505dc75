"""The container: ranges, refusals, and a fuzz whose only allowed answers are its errors."""

import contextlib
import json
import struct
import zlib
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from projects.cachegen.codecs import codec
from projects.cachegen.container import Container, codec_of, encode_context, pack
from projects.cachegen.errors import (
    CorruptStreamError,
    IncompatibleProfileError,
    IncompatibleStreamError,
)
from projects.cachegen.header import (
    MAGIC,
    MAX_HEADER,
    PREFIX,
    header_bytes,
    read_header,
    read_record,
)
from projects.cachegen.tensors import Geometry

REFUSALS = (CorruptStreamError, IncompatibleStreamError)


@pytest.fixture(scope="module")
def small() -> bytes:
    """Three chunks at two levels, under 3 KB."""
    kv = np.random.default_rng(0).normal(size=(1, 2, 13, 1, 3)).astype(np.float16)
    made = codec("lmcache", schedule=4)
    return encode_context(kv, made, levels=("high", "low"), chunk_tokens=6, fingerprint="tiny")


def reheaded(stream: bytes, change) -> bytes:
    """The same stream with another header text and a right checksum."""
    end = header_bytes(stream[:10])
    header = json.loads(stream[PREFIX.size : end - 4])
    change(header)
    text = json.dumps(header, separators=(",", ":")).encode()
    head = PREFIX.pack(MAGIC, 1, len(text)) + text
    return head + struct.pack("<I", zlib.crc32(head)) + stream[end:]


def opened(stream: bytes) -> None:
    whole = Container(stream)
    whole.verify()
    whole.decode()


def test_chunks_decode_alone_and_together(fitted, make_cache):
    made, profile = fitted("cachegen")
    kv = make_cache(1, tokens=47)
    stream = Container(
        encode_context(kv, made, chunk_tokens=20, fingerprint="model", profile=profile)
    )
    header = stream.header
    assert [entry.tokens for entry in header.chunks] == [20, 20, 7]
    assert header.levels == made.levels and header.geometry == Geometry(3, 2, 8)
    assert header.profile == profile.id and header.file_bytes == len(stream.data)
    parts = [made.decode(stream.chunk(i, "low"), profile=profile) for i in range(3)]
    whole = stream.decode("low", profile=profile)
    assert (np.concatenate(parts, axis=2) == whole).all()
    alone = made.encode(kv[:, :, 20:40], level="low", profile=profile, place="middle")
    assert alone == stream.chunk(1, "low")
    mixed = stream.decode(["high", "low", "medium"], profile=profile)
    assert (mixed[:, :, 20:40] == parts[1]).all()


def test_a_client_needs_the_header_and_one_range(fitted, make_cache):
    made, profile = fitted("nodelta")
    data = encode_context(make_cache(2), made, chunk_tokens=25, profile=profile)
    size = header_bytes(data[:10])
    header = read_header(data[:size])
    begin, end = header.span(1, "low")
    assert end - begin == header.size(1, "low")
    chunk = read_record(header, 1, "low", data[begin:end])
    assert chunk == Container(data).chunk(1, "low")
    assert codec_of(header).options == made.options


@pytest.mark.parametrize("name", ["lmcache", "cachegen", "kvtc", "h2o+auto", "kivi2", "fp16"])
def test_a_header_names_the_codec_with_its_options(name, make_cache):
    options = {"lmcache": {"schedule": 12}, "cachegen": {"tables": 3, "group": 4}}.get(name, {})
    made = codec(name, **options)
    profile = made.fit([make_cache(3, tokens=100)])
    stream = Container(encode_context(make_cache(4), made, profile=profile))
    assert codec_of(stream.header).options == made.options
    assert stream.decode(profile=profile).shape == (3, 2, 50, 2, 8)


def test_exact_ends_are_those_of_the_context(make_cache):
    """KIVI's exact window stands at the end of the last chunk alone."""
    kv = make_cache(5, tokens=128, dtype=np.float32)
    made = codec("kivi2", residual=32)
    back = Container(encode_context(kv, made, chunk_tokens=64)).decode()
    exact = (back == kv).all(axis=(0, 1, 3, 4))
    assert exact[96:].all() and not exact[:96].any()


def test_other_model_chunk_size_shape_and_profile(fitted, make_cache):
    made, profile = fitted("cachegen")
    stream = Container(
        encode_context(make_cache(0), made, chunk_tokens=25, fingerprint="model", profile=profile)
    )
    header = stream.header
    header.require(
        fingerprint="model", chunk_tokens=25, geometry=Geometry(3, 2, 8), profile=profile
    )
    for wrong, message in (
        ({"fingerprint": "other"}, "fingerprint is model, expected other"),
        ({"chunk_tokens": 1500}, "chunk size is 25, expected 1500"),
        ({"geometry": Geometry(3, 1, 8)}, "shape"),
    ):
        with pytest.raises(IncompatibleStreamError, match=message):
            header.require(**wrong)
    refitted = made.fit([make_cache(8)], fingerprint="model")
    with pytest.raises(IncompatibleProfileError, match="was coded with profile"):
        stream.decode(profile=refitted)
    with pytest.raises(IncompatibleProfileError, match="needs a profile"):
        stream.decode()


def test_every_single_bit_flip_is_refused(small):
    for bit in range(8 * len(small)):
        flipped = bytearray(small)
        flipped[bit // 8] ^= 1 << (bit % 8)
        with pytest.raises(REFUSALS):
            opened(bytes(flipped))


def test_every_truncation_and_any_tail_is_refused(small):
    for end in range(len(small)):
        with pytest.raises(CorruptStreamError):
            opened(small[:end])
    with pytest.raises(CorruptStreamError):
        opened(small + b"\0")


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_noise_is_never_data(data, small):
    noisy = bytearray(small)
    for _ in range(data.draw(st.integers(1, 6))):
        at = data.draw(st.integers(0, len(noisy) - 1))
        run = data.draw(st.binary(min_size=1, max_size=8))
        noisy[at : at + len(run)] = run
    if bytes(noisy) == small:
        return
    with pytest.raises(REFUSALS):
        opened(bytes(noisy))


@given(st.binary(max_size=200))
def test_arbitrary_bytes_are_no_stream(data):
    with pytest.raises(REFUSALS):
        opened(data)
    with pytest.raises(REFUSALS):
        opened(MAGIC + b"\1\0" + data)


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_a_header_with_a_right_checksum_is_still_checked(data, small):
    """Any one entry replaced: an error of ours, or a header that decodes to the right shape."""
    junk = st.one_of(
        st.none(), st.booleans(), st.integers(-(2**70), 2**70), st.text(max_size=4), st.just([]),
        st.just({}), st.floats(),
    )  # fmt: skip

    def change(header):
        key = data.draw(st.sampled_from([*header, "more"]))
        if key == "chunks" and data.draw(st.booleans()):
            record = data.draw(st.sampled_from(header["chunks"]))["records"][0]
            record[data.draw(st.sampled_from(["bytes", "crc"]))] = data.draw(junk)
        else:
            header[key] = data.draw(junk)

    with contextlib.suppress(REFUSALS):
        opened(reheaded(small, change))


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda h: h.update(layers=2**20, head_dim=2**20), IncompatibleStreamError, "at most"),
        (lambda h: h.update(dtype="int4"), IncompatibleStreamError, "unknown type 'int4'"),
        (lambda h: h.update(codec="zip"), IncompatibleStreamError, "unknown codec 'zip'"),
        (lambda h: h.update(options={"bits": 3}), IncompatibleStreamError, "bits"),
        (lambda h: h["options"].update(threads=10**6), IncompatibleStreamError, "options"),
        (lambda h: h.update(levels=["high", "x"]), IncompatibleStreamError, "levels"),
        (lambda h: h.update(levels=["high", "high"]), CorruptStreamError, "levels twice"),
        (lambda h: h.update(chunks=[]), CorruptStreamError, "no chunk"),
        (lambda h: h.update(tokens=14), CorruptStreamError, "cannot hold 14"),
        (lambda h: h.update(chunk_tokens=5), CorruptStreamError, "cannot hold"),
        (lambda h: h.update(layers=0), CorruptStreamError, "layers"),
        (lambda h: h["chunks"][0]["records"].pop(), CorruptStreamError, "as many records"),
        (lambda h: h["chunks"].reverse(), CorruptStreamError, "cannot hold|checksum"),
    ],
)
def test_headers_that_contradict_themselves(change, error, message, small):
    with pytest.raises(error, match=message):
        opened(reheaded(small, change))


def test_records_cannot_change_places(small):
    header = read_header(small)
    (a, b), (c, d) = header.span(0, "high"), header.span(1, "high")
    with pytest.raises(CorruptStreamError):
        read_record(header, 1, "high", small[a:b])
    assert (a, b, c, d) == tuple(sorted((a, b, c, d)))


@pytest.mark.parametrize(
    ("prefix", "error", "message"),
    [
        (b"KVG1", CorruptStreamError, "prefix alone has 10"),
        (PREFIX.pack(b"KVG2", 1, 5), CorruptStreamError, "KVG2"),
        (PREFIX.pack(MAGIC, 2, 5), IncompatibleStreamError, "version 2, known is 1"),
        (PREFIX.pack(MAGIC, 1, MAX_HEADER + 1), CorruptStreamError, "at most"),
    ],
)
def test_prefixes_that_are_refused_before_anything_is_read(prefix, error, message):
    with pytest.raises(error, match=message):
        header_bytes(prefix)


def test_pack_refuses_what_does_not_belong_together(make_cache):
    made = codec("uniform8")
    a, b = made.encode(make_cache(0)), made.encode(make_cache(0, layers=2))
    keep = {"codec": made, "fingerprint": "", "chunk_tokens": 50}
    with pytest.raises(ValueError, match="at least one chunk"):
        pack([], **keep)
    with pytest.raises(ValueError, match="chunk 1"):
        pack([{"medium": a}, {"medium": b}], **keep)
    with pytest.raises(ValueError, match="chunk 1 has the levels"):
        pack([{"medium": a}, {"high": a}], **keep)
    with pytest.raises(CorruptStreamError, match="cannot hold"):
        pack([{"medium": a}], codec=made, fingerprint="", chunk_tokens=10)
    with pytest.raises(ValueError, match="chunk_tokens=0"):
        encode_context(make_cache(0), made, chunk_tokens=0)
    with pytest.raises(ValueError, match="levels for"):
        Container(pack([{"medium": a}], **keep)).decode(["medium"] * 2)
    with pytest.raises(ValueError, match="no level 'best'"):
        Container(pack([{"medium": a}], **keep)).decode("best")
    assert replace(a, tokens=1) != a


def test_a_file_is_read_back(tmp_path, small):
    path = tmp_path / "context.kvg"
    path.write_bytes(small)
    assert (Container.open(path).decode() == Container(small).decode()).all()


def test_nothing_is_unpickled():
    import pathlib

    import projects.cachegen.container as module

    folder = pathlib.Path(module.__file__).parent
    for path in folder.glob("*.py"):
        text = path.read_text()
        assert "pickle.load" not in text and "allow_pickle=True" not in text, path
