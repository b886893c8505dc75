"""Downloads, against a server on the loopback."""

import gzip
import hashlib
import logging
import lzma
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import common
from common.data import DataUnavailable, download, network, resolve, store
from common.errors import DataError

ROOT = Path(common.__file__).parents[1]
CONTENT = bytes(range(256)) * 1000


@pytest.fixture
def toy(world, server):
    """One registered file that the server has."""
    world.register("toy", [world.file("a.bin", CONTENT)], base_url=server.url)
    server.content["a.bin"] = CONTENT
    return world


def test_download_then_cache(toy, server):
    found = resolve("toy")
    assert found.source == "download"
    assert found.files["a.bin"].read_bytes() == CONTENT
    assert resolve("toy").source == "cache"
    assert server.paths() == ["a.bin"]


def test_many_files_and_equal_files(world, server):
    contents = {f"d/{i}.txt": b"%d" % (i % 7) * 50 for i in range(40)}
    world.register("toy", [world.file(n, c) for n, c in contents.items()], base_url=server.url)
    server.content |= contents
    found = resolve("toy")
    assert {name: path.read_bytes() for name, path in found.files.items()} == contents
    assert sorted(server.paths()) == sorted(contents)


@pytest.mark.parametrize(("form", "pack"), [("gz", gzip.compress), ("xz", lzma.compress)])
def test_a_compressed_address(world, server, form, pack):
    served = pack(CONTENT)
    digest = hashlib.sha256(served).hexdigest()
    packed = {"format": form, "sha256": digest, "bytes": len(served)}
    url = f"{server.url}a.bin.{form}"
    world.register("toy", [world.file("a.bin", CONTENT, url=url, packed=packed)])
    server.content[f"a.bin.{form}"] = served
    assert resolve("toy").files["a.bin"].read_bytes() == CONTENT
    assert list(store.partial_folder("toy").iterdir()) == []


def test_a_download_that_is_not_the_file(toy, server):
    server.content["a.bin"] = wrong = CONTENT[::-1]
    with pytest.raises(DataError) as caught:
        resolve("toy")
    assert not isinstance(caught.value, DataUnavailable)
    assert hashlib.sha256(CONTENT).hexdigest() in str(caught.value)
    assert hashlib.sha256(wrong).hexdigest() in str(caught.value)
    assert toy.cached("toy") == []
    server.content["a.bin"] = CONTENT
    assert resolve("toy").source == "download"


def test_a_download_longer_than_registered_is_cut_short(toy, server):
    server.content["a.bin"] = CONTENT + bytes(5_000_000)
    with pytest.raises(DataError, match=f"more than the registered {len(CONTENT)} bytes"):
        resolve("toy")
    assert [path for path in toy.cache.rglob("*") if path.is_file() and path.stat().st_size] == []


def test_a_broken_connection_is_continued(toy, server):
    server.cut["a.bin"] = 70_000
    assert resolve("toy").files["a.bin"].read_bytes() == CONTENT
    assert server.asked == [("a.bin", None), ("a.bin", f"bytes={download.CHUNK}-")]


def test_a_partial_file_that_does_not_fit_is_dropped(toy, server):
    """Bytes of something else before the cut: the digest says so, the next attempt is clean."""
    server.cut["a.bin"] = 70_000
    resolve("toy")
    (toy.cache / "data" / "toy" / "a.bin").unlink()
    partial = (
        store.partial_folder("toy") / f"a.bin.{hashlib.sha256(CONTENT).hexdigest()[:16]}.partial"
    )
    partial.write_bytes(b"?" * 1000)
    with pytest.raises(DataError, match="does not serve the registered file"):
        resolve("toy")
    assert resolve("toy").files["a.bin"].read_bytes() == CONTENT


def test_missing_on_the_server(toy, server):
    server.content.clear()
    with pytest.raises(DataUnavailable, match=r"a\.bin: HTTP 404 Not Found"):
        resolve("toy")


@pytest.mark.parametrize("elsewhere", ["http://localhost:1/a", "http://example.org/a", "ftp://x/a"])
def test_redirects_stay_on_https(toy, server, elsewhere):
    server.redirects["a.bin"] = elsewhere
    with pytest.raises(DataUnavailable, match="only https"):
        resolve("toy")


def test_a_corrupted_cache_is_replaced_and_said(toy, caplog):
    cached = toy.cache / "data" / "toy" / "a.bin"
    cached.parent.mkdir(parents=True)
    cached.write_bytes(b"?" * len(CONTENT))
    found = resolve("toy")
    assert found.source == "download"
    assert found.files["a.bin"].read_bytes() == CONTENT
    assert [record.message for record in caplog.records if "corrupted" in record.message]


def test_four_at_once_download_once(toy, server):
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: resolve("toy"), range(4)))
    assert all(one.files["a.bin"].read_bytes() == CONTENT for one in found)
    assert sorted(one.source for one in found).count("download") == 1
    assert server.paths() == ["a.bin"]


def test_killed_in_the_middle(toy, server):
    """SIGKILL while bytes arrive: no file is there; the next process continues."""
    server.cut["a.bin"] = 200_000
    server.hold.clear()
    code = (
        "import pathlib, sys, common.data.registry as registry\n"
        "registry.REGISTRY = pathlib.Path(sys.argv[1])\n"
        "from common.data import resolve; resolve('toy')"
    )
    child = subprocess.Popen([sys.executable, "-c", code, str(toy.registry)], cwd=ROOT)
    try:
        deadline = time.monotonic() + 60
        while not _unfinished(toy) and time.monotonic() < deadline and child.poll() is None:
            time.sleep(0.02)
    finally:
        child.send_signal(signal.SIGKILL)
        child.wait()
        server.hold.set()
    assert toy.cached("toy") == []
    have = _unfinished(toy)
    assert have
    assert resolve("toy").files["a.bin"].read_bytes() == CONTENT
    assert server.asked[-1] == ("a.bin", f"bytes={have}-")


def _unfinished(world) -> int:
    return sum(path.stat().st_size for path in world.cache.rglob("*.partial") if path.is_file())


# -- parts ------------------------------------------------------------------------------------


PARTS = {0: b"0,a\n", 1: b"1,b", 2: b"", 10: b"10,c\n10,d", 11: b"11,e\n"}
JOINED = b"0,a\n1,b\n10,c\n10,d\n11,e\n"


@pytest.fixture
def job(world, server):
    """A file kept in five parts, some without a final newline, one empty."""
    parts = {"url": server.url + "job/{index}", "index": "0-2,10-11"}
    world.register("toy", [world.file("job.csv", JOINED, parts=parts)])
    server.content |= {f"job/{index}": content for index, content in PARTS.items()}
    return world


def test_parts_are_joined_in_increasing_index(job, server):
    found = resolve("toy")
    assert found.files["job.csv"].read_bytes() == JOINED
    assert found.source == "download"
    assert sorted(server.paths()) == sorted(f"job/{index}" for index in PARTS)
    assert resolve("toy").source == "cache"


def test_parts_resume(job, server, monkeypatch):
    monkeypatch.setattr(download, "WORKERS", 1)
    del server.content["job/10"]
    with pytest.raises(DataUnavailable, match="job/10: HTTP 404"):
        resolve("toy")
    assert job.cached("toy") == []
    assert {"job/0", "job/1", "job/2"} <= set(server.paths())
    server.content["job/10"] = PARTS[10]
    server.asked.clear()
    assert resolve("toy").files["job.csv"].read_bytes() == JOINED
    assert not {"job/0", "job/1", "job/2"} & set(server.paths())
    assert "job/10" in server.paths()


def test_a_part_cut_off_is_never_taken_for_the_part(job, server):
    server.cut["job/10"] = 5
    assert resolve("toy").files["job.csv"].read_bytes() == JOINED
    assert server.asked.count(("job/10", None)) == 2


def test_wrong_part(job, server):
    server.content["job/0"] = b"0,z\n"
    with pytest.raises(DataError, match="is corrupted: expected sha256") as caught:
        resolve("toy")
    assert not isinstance(caught.value, DataUnavailable)
    assert job.cached("toy") == []
    server.content["job/0"] = PARTS[0]
    assert resolve("toy").source == "download"


# -- no network -------------------------------------------------------------------------------


@pytest.fixture
def two_sets(world):
    """Two datasets on one https host."""
    for name in ("one", "two"):
        url = f"https://data.example/{name}"
        world.register(
            name, [world.file("a", b"A", url=url), world.file("b", b"B", url=f"{url}/b")]
        )
    return world


def test_a_missing_network_is_noticed_and_said_once(two_sets, monkeypatch, caplog):
    tried = []

    def refuse(address, timeout):
        tried.append(address)
        raise OSError("Network is unreachable")

    monkeypatch.setattr(socket, "create_connection", refuse)
    with caplog.at_level(logging.INFO):
        for name in ("one", "two", "one"):
            with pytest.raises(DataUnavailable, match=r"cannot reach data\.example:443"):
                resolve(name)
    assert tried == [("data.example", 443)]
    said = [record for record in caplog.records if "no network" in record.message]
    assert len(said) == 1
    assert not two_sets.cache.exists()


def test_a_silent_name_server_is_not_waited_for(two_sets, monkeypatch):
    release = threading.Event()

    def silent(*_):
        release.wait(30)
        raise OSError("Name or service not known")

    monkeypatch.setattr(network, "CONNECT_SECONDS", 0.05)
    monkeypatch.setattr(socket, "create_connection", silent)
    with pytest.raises(DataUnavailable, match=r"no answer in 0\.05 s"):
        resolve("one")
    release.set()


def test_the_first_hop_is_the_proxy(two_sets, monkeypatch):
    monkeypatch.delenv("NO_PROXY")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example:3128")
    assert network._first_hop("https://data.example/one") == ("proxy.example", 3128)


def test_offline_opens_no_connection(two_sets, monkeypatch):
    monkeypatch.setenv("REPRISE_OFFLINE", "1")
    monkeypatch.setattr(socket, "create_connection", lambda *_: pytest.fail("connected"))
    with pytest.raises(DataUnavailable, match="the network is forbidden"):
        resolve("one")
