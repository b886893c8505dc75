"""Mirrors, the cache, verification and what is said when the data is nowhere."""

import gzip
import hashlib
import os
import pickle

import pytest

from common.data import DataUnavailable, inspection, resolve, store
from common.errors import ConfigError, DataError

CONTENT = b"start,end\n1,2\n" * 500
NOWHERE = {"base_url": "http://127.0.0.1:9/"}


@pytest.fixture
def toy(world, monkeypatch):
    """One registered file, on no mirror yet, and no network."""
    monkeypatch.setenv("REPRISE_OFFLINE", "1")
    world.register("toy", [world.file("a.csv", CONTENT)], **NOWHERE)
    return world


def test_plain_file_of_a_mirror_is_used_where_it_lies(toy):
    path = toy.hold("toy", "a.csv", CONTENT)
    found = resolve("toy")
    assert found.files == {"a.csv": path}
    assert (found.source, found.label, found.licence) == ("mirror", "original", "CC0-1.0")
    assert found.sha256 == {"a.csv": hashlib.sha256(CONTENT).hexdigest()}
    assert not toy.cache.exists()


def test_gz_file_of_a_mirror_is_unpacked_once(toy, monkeypatch):
    toy.hold("toy", "a.csv.gz", gzip.compress(CONTENT))
    found = resolve("toy")
    assert found.source == "mirror"
    assert found.files["a.csv"].read_bytes() == CONTENT
    assert found.files["a.csv"].is_relative_to(toy.cache)
    monkeypatch.setattr(store, "unpack", lambda *_: pytest.fail("unpacked twice"))
    assert resolve("toy").files == found.files


def test_the_first_mirror_wins_and_the_second_fills_up(world, tmp_path, monkeypatch):
    world.register("toy", [world.file("a", b"A"), world.file("b", b"B")], **NOWHERE)
    world.hold("toy", "b", b"B")
    first = tmp_path / "first" / "toy"
    first.mkdir(parents=True)
    (first / "a").write_bytes(b"A")
    path = os.pathsep.join([str(tmp_path / "first"), "", str(world.mirror)])
    monkeypatch.setenv("REPRISE_DATA", path)
    found = resolve("toy")
    assert found.files == {"a": first / "a", "b": world.mirror / "toy" / "b"}


def test_files_in_folders(world):
    world.register("toy", [world.file("train/hat/1.jpg", b"J")], **NOWHERE)
    world.hold("toy", "train/hat/1.jpg.gz", gzip.compress(b"J"))
    assert resolve("toy").files["train/hat/1.jpg"].read_bytes() == b"J"


def test_only_the_files_asked_for(world):
    world.register("toy", [world.file("a", b"A"), world.file("b", b"B")], **NOWHERE)
    world.hold("toy", "b", b"B")
    found = resolve("toy", files=["b"])
    assert list(found.files) == list(found.sha256) == ["b"]
    with pytest.raises(DataError, match="None means all"):
        resolve("toy", files=[])


@pytest.mark.parametrize("content", [CONTENT[:-1] + b"X", CONTENT[:-1], CONTENT + b"\n", b""])
@pytest.mark.parametrize("packed", [False, True])
def test_corrupted_mirror_is_an_error_that_names_file_and_digests(toy, content, packed):
    name = "a.csv.gz" if packed else "a.csv"
    path = toy.hold("toy", name, gzip.compress(content) if packed else content)
    with pytest.raises(DataError) as caught:
        resolve("toy")
    assert not isinstance(caught.value, DataUnavailable)
    message = str(caught.value)
    assert str(path) in message
    assert hashlib.sha256(CONTENT).hexdigest() in message
    if len(content) <= len(CONTENT):
        assert f"found {hashlib.sha256(content).hexdigest()}" in message
    else:
        assert f"more than the registered {len(CONTENT)} bytes" in message
    assert toy.cached("toy") == []


def test_a_good_second_mirror_does_not_hide_a_corrupted_first(toy, tmp_path, monkeypatch):
    toy.hold("toy", "a.csv", CONTENT)
    bad = tmp_path / "bad" / "toy"
    bad.mkdir(parents=True)
    (bad / "a.csv").write_bytes(b"?" * len(CONTENT))
    path = f"{tmp_path / 'bad'}{os.pathsep}{toy.mirror}"
    monkeypatch.setenv("REPRISE_DATA", path)
    with pytest.raises(DataError, match="is corrupted"):
        resolve("toy")


@pytest.mark.parametrize(
    "damaged",
    [b"not gzip at all", gzip.compress(CONTENT)[:-12], gzip.compress(CONTENT)[:-8] + b"\0" * 8],
    ids=["text", "cut", "wrong_trailer"],  # the bytes hold the time: workers would not agree
)
def test_damaged_gz(toy, damaged):
    toy.hold("toy", "a.csv.gz", damaged)
    with pytest.raises(DataError, match=r"a\.csv\.gz is corrupted.*nothing readable"):
        resolve("toy")
    assert toy.cached("toy") == []


def test_a_gz_bomb_is_read_no_further_than_registered(toy, monkeypatch):
    """A hundred megabytes of zeros: never more than one byte beyond the size is produced."""
    toy.hold("toy", "a.csv.gz", gzip.compress(bytes(100_000_000), compresslevel=9))
    read = []
    true_content = store._content

    def counted(*arguments):
        for chunk in true_content(*arguments):
            read.append(len(chunk))
            yield chunk

    monkeypatch.setattr(store, "_content", counted)
    with pytest.raises(DataError, match=f"more than the registered {len(CONTENT)} bytes"):
        resolve("toy")
    assert sum(read) == len(CONTENT) + 1
    assert toy.cached("toy") == []


def test_cache_hit(toy):
    toy.hold("toy", "a.csv.gz", gzip.compress(CONTENT))
    resolve("toy")
    (toy.mirror / "toy" / "a.csv.gz").unlink()
    assert resolve("toy").source == "cache"


def test_corrupted_cache_is_not_used(toy):
    cached = toy.cache / "data" / "toy" / "a.csv"
    cached.parent.mkdir(parents=True)
    cached.write_bytes(b"?" * len(CONTENT))
    with pytest.raises(DataUnavailable, match=r"the cache, .*a\.csv corrupted"):
        resolve("toy")
    toy.hold("toy", "a.csv.gz", gzip.compress(CONTENT))
    assert resolve("toy").files["a.csv"].read_bytes() == CONTENT


def test_unwritable_cache_says_what_to_set(toy, tmp_path, monkeypatch):
    toy.hold("toy", "a.csv.gz", gzip.compress(CONTENT))
    blocker = tmp_path / "file"
    blocker.write_bytes(b"")
    monkeypatch.setenv("REPRISE_CACHE", str(blocker))
    with pytest.raises(DataError, match="set REPRISE_CACHE"):
        resolve("toy")


def test_unavailable_names_every_place_and_what_to_do(toy, tmp_path, monkeypatch):
    missing = tmp_path / "missing"
    monkeypatch.setenv("REPRISE_DATA", f"{toy.mirror}{os.pathsep}{missing}")
    with pytest.raises(DataUnavailable) as caught:
        resolve("toy")
    message = str(caught.value)
    assert f"{toy.mirror / 'toy'}: lacks a.csv" in message
    assert f"{missing / 'toy'}: no such folder" in message
    assert f"{toy.cache / 'data' / 'toy'}: lacks a.csv" in message
    assert "REPRISE_OFFLINE" in message
    assert "Set REPRISE_DATA" in message and "reprise data fetch toy" in message
    assert str(tmp_path) not in caught.value.reason
    assert str(pickle.loads(pickle.dumps(caught.value))) == message


def test_offline_argument_beats_the_environment(toy, monkeypatch):
    monkeypatch.setenv("REPRISE_OFFLINE", "0")
    with pytest.raises(DataUnavailable, match="the network is forbidden"):
        resolve("toy", offline=True)
    monkeypatch.setenv("REPRISE_OFFLINE", "maybe")
    with pytest.raises(ConfigError, match="REPRISE_OFFLINE is 'maybe'"):
        resolve("toy")


def test_synthetic_never_looks(toy, monkeypatch):
    toy.hold("toy", "a.csv", CONTENT)
    monkeypatch.setattr(store, "find", lambda *_: pytest.fail("looked"))
    with pytest.raises(DataUnavailable, match="synthetic data was asked for"):
        resolve("toy", mode="synthetic")


def test_unknown_mode(toy):
    with pytest.raises(ConfigError, match="did you mean 'real'"):
        resolve("toy", mode="reel")


def test_by_hand(world):
    text = "Agree to the licence at https://example.org/ and download a.zip there."
    world.register("toy", [world.file("a.zip", b"Z")], manual=text)
    with pytest.raises(DataUnavailable) as caught:
        resolve("toy")
    assert text in str(caught.value)
    assert f"put the files into {world.cache / 'data' / 'toy'}" in str(caught.value)
    folder = world.cache / "data" / "toy"
    folder.mkdir(parents=True)
    (folder / "a.zip").write_bytes(b"Z")
    assert resolve("toy").source == "cache"


def test_provenance_names_no_machine_path(toy, tmp_path):
    toy.hold("toy", "a.csv", CONTENT)
    found = resolve("toy")
    assert str(tmp_path) not in repr(found.provenance())
    assert found.provenance()["sha256"] == found.sha256


def test_verify_reports_every_copy(world):
    files = [world.file("a", b"A"), world.file("b", b"B"), world.file("c", b"C")]
    world.register("toy", files, **NOWHERE)
    world.hold("toy", "a.gz", gzip.compress(b"A"))
    resolve("toy", files=["a"])
    bad = world.hold("toy", "b", b"?")
    rows = {(row.file, row.place): row for row in inspection.verify("toy")}
    states = {key: row.status for key, row in rows.items()}
    assert states == {
        ("a", "mirror"): "ok",
        ("a", "cache"): "ok",
        ("b", "mirror"): "corrupted",
        ("c", ""): "absent",
    }
    assert rows["b", "mirror"].path == str(bad)
    assert hashlib.sha256(b"?").hexdigest() in rows["b", "mirror"].detail


def test_presence_and_cache_status(world):
    world.register("toy", [world.file("a", b"A"), world.file("b", b"BB")], **NOWHERE)
    assert inspection.presence("toy") == "no"
    world.hold("toy", "a.gz", gzip.compress(b"A"))
    assert inspection.presence("toy") == "partly"
    world.hold("toy", "b.gz", gzip.compress(b"BB"))
    assert inspection.presence("toy") == "mirror"
    resolve("toy")
    partial = store.partial_folder("toy")
    partial.mkdir()
    (partial / "x").write_bytes(b"12345")
    status = inspection.cache_status()
    assert (status.files, status.bytes, status.unfinished) == (2, 3, 5)


def test_an_interrupted_write_leaves_nothing(tmp_path):
    target = tmp_path / "a"
    target.write_bytes(b"old")
    with pytest.raises(KeyboardInterrupt), store.atomic_write(target) as stream:
        stream.write(b"half")
        raise KeyboardInterrupt
    assert target.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [target]
