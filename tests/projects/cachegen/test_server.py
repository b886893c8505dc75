"""The store over HTTP: ranges, bounds, bad requests, and the rate of the emulated link."""

import asyncio

import numpy as np
import pytest
from starlette.testclient import TestClient

from common.errors import ConfigError
from projects.cachegen.link import Link
from projects.cachegen.pacing import Pacer
from projects.cachegen.server import make_app, serve

CONTENT = bytes(np.random.default_rng(0).integers(0, 256, 200_000, dtype=np.uint8))


@pytest.fixture
def store(tmp_path):
    (tmp_path / "a-context.kvg").write_bytes(CONTENT)
    (tmp_path / "secret.txt").write_text("not served")
    (tmp_path.parent / "outside.kvg").write_bytes(b"outside")
    return tmp_path


@pytest.fixture
def client(store):
    return TestClient(make_app(store))


def test_whole_file_and_list(client):
    assert client.get("/contexts").json() == {"contexts": {"a-context": len(CONTENT)}}
    whole = client.get("/contexts/a-context")
    assert (whole.status_code, whole.content) == (200, CONTENT)
    head = client.head("/contexts/a-context")
    assert int(head.headers["content-length"]) == len(CONTENT) and not head.content


@pytest.mark.parametrize(
    ("header", "part"),
    [
        ("bytes=0-9", CONTENT[:10]),
        ("bytes=150000-199999", CONTENT[150_000:]),
        ("bytes=199999-", CONTENT[-1:]),
        ("bytes=199990-999999", CONTENT[-10:]),
    ],
)
def test_ranges(client, header, part):
    answer = client.get("/contexts/a-context", headers={"Range": header})
    assert (answer.status_code, answer.content) == (206, part)
    first = CONTENT.rindex(part)
    expected = f"bytes {first}-{first + len(part) - 1}/{len(CONTENT)}"
    assert answer.headers["content-range"] == expected


@pytest.mark.parametrize(
    ("header", "status"),
    [
        ("bytes=200000-", 416),
        ("bytes=9-3", 416),
        ("bytes=0-1,5-6", 400),
        ("bytes=-5", 400),
        ("lines=1-2", 400),
        ("bytes=" + "9" * 400 + "-", 400),
    ],
)
def test_bad_ranges(client, header, status):
    assert client.get("/contexts/a-context", headers={"Range": header}).status_code == status


@pytest.mark.parametrize(
    "name",
    ["secret", "secret.txt", "..%2Foutside", "%2e%2e/outside", ".hidden", "a" * 200, "x%00y"],
)
def test_nothing_else_can_be_read(client, name):
    answer = client.get(f"/contexts/{name}")
    assert answer.status_code in (404, 307) and b"outside" not in answer.content


def test_nothing_can_be_written(client):
    for method in ("put", "post", "delete", "patch"):
        assert getattr(client, method)("/contexts/a-context").status_code == 405


def test_too_many_transfers(store):
    assert (
        TestClient(make_app(store, most_transfers=0)).get("/contexts/a-context").status_code == 503
    )


def test_transfers_are_counted_out_again(store):
    client = TestClient(make_app(store, most_transfers=1))
    for _ in range(3):
        assert client.get("/contexts/a-context").status_code == 200


def test_other_machines_must_be_asked_for(store):
    for host in ("0.0.0.0", "192.168.0.1", "::", "example.org"):
        with pytest.raises(ConfigError, match="allow-remote"):
            serve(store, host=host)
    with pytest.raises(ConfigError, match="no folder"):
        serve(store / "none")


class Clock:
    """Time that passes only in ``sleep``, a little late as on a real machine."""

    now = 100.0

    def __call__(self):
        return self.now

    async def sleep(self, seconds):
        self.now += seconds + 0.0005


def test_paced_senders_share_the_rate_of_the_link():
    link = Link(np.array([1.0, 1.0]), np.array([1e6, 2e5]))
    clock = Clock()
    pace = Pacer(link, clock=clock, sleep=clock.sleep)

    async def send():
        for sent in range(1, 101):
            await pace(10_000)
            passed = clock.now - 100.0
            assert sent * 10_000 <= link.sent_by(passed + 1e-9) + 1e-3
        return passed

    # 1 MB: the first second carries it all, late wake-ups are caught up on.
    assert asyncio.run(send()) == pytest.approx(1.0, abs=0.002)


def test_an_idle_link_saves_up_no_more_than_the_burst():
    clock = Clock()
    pace = Pacer(Link.constant(1000.0), burst_seconds=0.5, clock=clock, sleep=clock.sleep)

    async def send():
        await pace(100)
        clock.now += 60
        before = clock.now
        await pace(1500)
        return clock.now - before

    assert asyncio.run(send()) == pytest.approx(1.0, abs=0.001)
