"""Client and store together on loopback: levels, resuming, damage, and a paced link."""

from contextlib import contextmanager

import numpy as np
import pytest

from projects.cachegen.client import StoreClient, StoreError, request_for
from projects.cachegen.codecs import codec
from projects.cachegen.container import encode_context
from projects.cachegen.errors import IncompatibleStreamError
from projects.cachegen.link import Link
from projects.cachegen.policy import TEXT, Adaptive, Fixed
from projects.cachegen.server import make_app, running
from projects.cachegen.simulation import simulate

KV = np.random.default_rng(0).normal(size=(2, 2, 40, 2, 8)).astype(np.float16)
LEVELS = ("high", "medium", "low")


@pytest.fixture(scope="module")
def stream():
    coder = codec("nodelta")
    profile = coder.fit([KV])
    packed = encode_context(
        KV, coder, levels=LEVELS, chunk_tokens=10, profile=profile, fingerprint="m"
    )
    return packed, coder, profile


@contextmanager
def serving(app):
    with running(app) as url:
        yield StoreClient(url, timeout=5)


@pytest.fixture
def store(tmp_path, stream):
    (tmp_path / "c.kvg").write_bytes(stream[0])
    return tmp_path


def test_every_level_arrives_as_it_was_stored(store, stream):
    packed, coder, profile = stream
    with serving(make_app(store)) as client:
        assert client.contexts() == {"c": len(packed)}
        for number, _ in enumerate(LEVELS):
            loaded = client.load(
                "c", Fixed(number), slo=60, decode=lambda c: coder.decode(c, profile=profile)
            )
            assert loaded.choices == (number,) * 4 and not loaded.violated
            decoded = np.concatenate(loaded.results, axis=2)
            assert decoded.shape == KV.shape
            error = np.abs(decoded.astype(float) - KV.astype(float)).mean()
            assert error < (0.2, 0.4, 0.6)[number]


def test_text_and_wrong_model(store):
    with serving(make_app(store)) as client:
        loaded = client.load("c", Fixed(TEXT), slo=60)
        assert loaded.results == (None,) * 4 and loaded.sent == 0
        with pytest.raises(IncompatibleStreamError, match="fingerprint"):
            client.load("c", Fixed(0), slo=60, fingerprint="other")
        with pytest.raises(StoreError, match="status 404"):
            client.load("none", Fixed(0), slo=60)


def test_a_damaged_chunk_is_left_to_be_computed(store, stream):
    from projects.cachegen.header import read_header

    begin, _ = read_header(stream[0]).span(2, "medium")
    damaged = bytearray(stream[0])
    damaged[begin + 20] ^= 1
    (store / "c.kvg").write_bytes(damaged)
    with serving(make_app(store)) as client:
        loaded = client.load("c", Fixed(1), slo=60)
    assert loaded.choices == (1, 1, TEXT, 1) and loaded.results[2] is None


class Breaking:
    """Passes requests on, but breaks the connection after some bytes of every other answer."""

    def __init__(self, app, after):
        self.app, self.after, self.count = app, after, 0

    async def __call__(self, scope, receive, send):
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        self.count += 1
        left = self.after if self.count % 2 else 1 << 60

        async def sent(message):
            nonlocal left
            body = message.get("body", b"")
            if len(body) > left:
                await send({**message, "body": body[:left], "more_body": True})
                raise ConnectionError("broken on purpose")
            left -= len(body)
            await send(message)

        return await self.app(scope, receive, sent)


def test_a_broken_connection_is_taken_up_where_it_broke(store, stream):
    app = Breaking(make_app(store), after=7)
    with serving(app) as client:
        loaded = client.load("c", Fixed(0), slo=60)
        assert loaded.resumed >= 4 and loaded.choices == (0,) * 4
        assert client.read("c", 0, len(stream[0])) == stream[0]


def test_a_store_that_is_gone_is_an_error_that_says_so():
    client = StoreClient("http://127.0.0.1:9", attempts=1, timeout=1)
    with pytest.raises(StoreError, match="2 attempts"):
        client.header("c")


def test_one_policy_drives_simulation_and_client(store, stream):
    """On a link of constant rate both choose the same levels."""
    rate = len(stream[0]) * 0.8
    with serving(make_app(store, Link.constant(rate))) as client:
        header = client.header("c")
        request = request_for(header, 1.0, None, 0.0)
        expected = simulate(request, Link.constant(rate), Adaptive(), prior_throughput=rate)
        loaded = client.load("c", Adaptive(), slo=1.0, throughput=rate)
    assert loaded.choices[0] == expected.choices[0]
    assert set(loaded.choices) <= {0, 1, 2}
