"""The vLLM connector: by hand against a stub of its base class, and once in vLLM itself."""

import enum
import importlib
import json
import logging
import os
import subprocess
import sys
import types
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from common.errors import ConfigError, MissingExtra
from projects.cachegen.codecs import codec
from projects.cachegen.container import Container, encode_context
from projects.cachegen.server import make_app, running
from projects.cachegen.tensors import Geometry
from projects.cachegen.vllm_settings import geometry_of
from tests.projects.cachegen.vllm_layouts import write_transposed

NAME = "projects.cachegen.vllm_connector"
BASE = "vllm.distributed.kv_transfer.kv_connector.v1"
LAYERS, HEADS, DIM, BLOCK, BLOCKS = 3, 2, 8, 4, 24
SHAPE = Geometry(LAYERS, HEADS, DIM)
LOG = "vllm.projects.cachegen"


def stub_of_vllm():
    """What the module imports, as small as the interface allows."""

    class Base:
        def __init__(self, vllm_config, role, kv_cache_config):
            self._vllm_config, self._orders_of_vllm = vllm_config, None

        def bind_connector_metadata(self, metadata):
            self._orders_of_vllm = metadata

        def _get_connector_metadata(self):
            return self._orders_of_vllm

    @dataclass
    class Stats:
        data: dict = field(default_factory=dict)

    class Metadata:
        pass

    role = enum.Enum("KVConnectorRole", "SCHEDULER WORKER")
    modules = {}
    parts = BASE.split(".")
    for depth in range(1, len(parts) + 1):
        name = ".".join(parts[:depth])
        modules[name] = types.ModuleType(name)
        modules[name].__path__ = []
    modules[f"{BASE}.base"] = base = types.ModuleType(f"{BASE}.base")
    base.KVConnectorBase_V1, base.KVConnectorMetadata, base.KVConnectorRole = Base, Metadata, role
    modules[f"{BASE}.metrics"] = metrics = types.ModuleType(f"{BASE}.metrics")
    metrics.KVConnectorStats = Stats
    return modules


@pytest.fixture(scope="module")
def module():
    with pytest.MonkeyPatch.context() as patch:
        for name, stub in stub_of_vllm().items():
            patch.setitem(sys.modules, name, stub)
        patch.delitem(sys.modules, NAME, raising=False)
        yield importlib.import_module(NAME)
        sys.modules.pop(NAME, None)


def test_without_vllm_the_import_says_what_to_do(monkeypatch):
    monkeypatch.setitem(sys.modules, "vllm", None)
    monkeypatch.delitem(sys.modules, NAME, raising=False)
    with pytest.raises(MissingExtra, match=r"sh envs/vllm-cpu\.sh"):
        importlib.import_module(NAME)


# --- Both sides by hand ------------------------------------------------------------------------


class Engine:
    """Drives a scheduler and a worker connector as vLLM does; the "model" is a table.

    Keys and values of a token are a fixed function of all tokens up to it, so that a wrong or
    stale load shows.
    """

    def __init__(self, module, extra, role="kv_both", free=range(1, BLOCKS)):
        consumer, producer = role in ("kv_both", "kv_consumer"), role in ("kv_both", "kv_producer")
        transfer = SimpleNamespace(
            kv_connector_extra_config={"chunk_tokens": 8, **extra},
            is_kv_consumer=consumer,
            is_kv_producer=producer,
        )
        impl = SimpleNamespace(
            do_kv_cache_update=lambda layer, k, v, cache, slots: write_transposed(
                k, v, cache, slots
            )
        )
        # Names in an order that is not the layers'.
        self.names = [f"model.layers.{n}.self_attn.attn" for n in (10, 2, 1)]
        layers = {name: SimpleNamespace(impl=impl) for name in self.names}
        config = {"vocab_size": 50, "_name_or_path": "anywhere"}
        vllm_config = SimpleNamespace(
            kv_transfer_config=transfer,
            parallel_config=SimpleNamespace(tensor_parallel_size=1, pipeline_parallel_size=1),
            compilation_config=SimpleNamespace(static_forward_context=layers),
            model_config=SimpleNamespace(
                model="someone/model",
                dtype=torch.float16,
                hf_config=SimpleNamespace(to_dict=lambda: config),
            ),
        )
        spec = SimpleNamespace(
            num_kv_heads=HEADS, head_size=DIM, block_size=BLOCK, dtype=torch.float16
        )
        group = SimpleNamespace(kv_cache_spec=spec, layer_names=self.names)
        cache_config = SimpleNamespace(kv_cache_groups=[group])
        roles = sys.modules[f"{BASE}.base"].KVConnectorRole
        make = module.CacheGenConnector
        self.scheduler = make(vllm_config, roles.SCHEDULER, cache_config)
        self.worker = make(vllm_config, roles.WORKER, cache_config)
        self.caches = {
            name: torch.zeros(BLOCKS, HEADS, BLOCK, 2 * DIM, dtype=torch.float16)
            for name in self.names
        }
        self.worker.register_kv_caches(self.caches)
        self.free, self.count = list(free), 0

    def truth(self, tokens, layer):
        rng = np.random.default_rng(layer)
        table = rng.normal(size=(50, 2, HEADS, DIM))
        seen = (
            np.cumsum(table[list(tokens)], axis=0)
            / np.arange(1, len(tokens) + 1)[:, None, None, None]
        )
        return torch.from_numpy(seen.astype(np.float16)).transpose(0, 1)

    def compute(self, tokens, blocks, start, end):
        """The model: right only where everything before is right."""
        for name in self.names:
            layer = int(name.split(".")[2])
            kv = self.truth(tokens, layer)
            if start and not torch.equal(self.read(name, blocks, 0, start), kv[:, :start]):
                kv = kv + 1
            slots = [blocks[t // BLOCK] * BLOCK + t % BLOCK for t in range(start, end)]
            write_transposed(
                kv[0, start:end], kv[1, start:end], self.caches[name], torch.tensor(slots)
            )

    def read(self, name, blocks, start, end):
        out = torch.empty(2, end - start, HEADS, DIM, dtype=torch.float16)
        for t in range(start, end):
            run = self.caches[name][blocks[t // BLOCK]].reshape(HEADS, -1)
            for d in range(DIM):
                out[0, t - start, :, d] = run[:, d * BLOCK + t % BLOCK]
                out[1, t - start, :, d] = run[:, BLOCK * DIM + t % BLOCK * DIM + d]
        return out

    def admit(self, tokens, local=0, **others):
        self.count += 1
        request = SimpleNamespace(
            request_id=f"r{self.count}", prompt_token_ids=list(tokens), **others
        )
        matched, later = self.scheduler.get_num_new_matched_tokens(request, local)
        assert not later and matched == self.scheduler.get_num_new_matched_tokens(request, local)[0]
        blocks = [self.free.pop(0) for _ in range(-(-len(tokens) // BLOCK))]
        self.scheduler.update_state_after_alloc(request, None, matched)
        return request, blocks, local + matched

    def step(self, request, blocks, computed, scheduled, new, compute_from=None):
        """One step; ``new`` is how vLLM tells of the request, ``compute_from`` what it computes."""
        old = SimpleNamespace(
            req_ids=[], new_block_ids=[], num_computed_tokens=[], resumed_req_ids=set()
        )
        output = SimpleNamespace(
            scheduled_new_reqs=[],
            scheduled_cached_reqs=old,
            num_scheduled_tokens={request.request_id: scheduled},
        )
        if new == "new":
            output.scheduled_new_reqs.append(
                SimpleNamespace(
                    req_id=request.request_id, block_ids=(blocks,), num_computed_tokens=computed
                )
            )
        else:
            old.req_ids.append(request.request_id)
            old.num_computed_tokens.append(computed)
            old.new_block_ids.append((blocks,) if new == "resumed" else None)
            if new == "resumed":
                old.resumed_req_ids.add(request.request_id)
        return self.execute(
            self.scheduler.build_connector_meta(output),
            request.prompt_token_ids,
            blocks,
            computed,
            scheduled,
        )

    def execute(self, orders, tokens, blocks, computed, scheduled):
        self.worker.bind_connector_metadata(orders)
        self.worker.start_load_kv(None)
        self.compute(tokens, blocks, computed, min(computed + scheduled, len(tokens)))
        for name in self.names:
            self.worker.wait_for_layer_load(name)
            self.worker.save_kv_layer(name, self.caches[name], None)
        self.worker.wait_for_save()
        self.worker.flush()
        return self.worker.get_block_ids_with_load_errors()

    def run(self, tokens, **others):
        """A whole prompt in one step; recomputes what vLLM would, and returns what was matched."""
        request, blocks, matched = self.admit(tokens, **others)
        failed = self.step(request, blocks, matched, len(tokens) - matched, "new")
        again = None
        if failed:
            again = min(blocks.index(b) for b in failed) * BLOCK
            assert not self.step(request, blocks, again, len(tokens) - again, "running")
        self.right(tokens, blocks)
        assert self.scheduler.request_finished(request, blocks) == (False, None)
        self.free = blocks + self.free
        return matched, again

    def right(self, tokens, blocks):
        for name in self.names:
            kv = self.truth(tokens, int(name.split(".")[2]))
            assert torch.equal(self.read(name, blocks, 0, len(tokens)), kv)


PROMPT = list(np.random.default_rng(5).integers(0, 50, 23))


def files(store):
    return {Container.open(path).header.tokens: path for path in sorted(store.glob("*.kvg"))}


@pytest.fixture
def extra(tmp_path):
    return {"store": str(tmp_path), "codec": "fp16"}


def test_one_engine_stores_and_another_loads(module, extra, tmp_path):
    assert Engine(module, extra).run(PROMPT) == (0, None)
    # 22 tokens may be stored, 20 of them in whole blocks: chunks of 8, 8 and 4.
    stored = [Container.open(path).header for path in tmp_path.glob("*.kvg")]
    assert sorted(header.tokens for header in stored) == [4, 8, 8]
    assert {(h.layers, h.kv_heads, h.head_dim, h.dtype) for h in stored} == {(3, 2, 8, "float16")}
    other = Engine(module, extra, free=range(BLOCKS - 1, 0, -1))
    assert other.run(PROMPT) == (20, None)
    counted = other.worker.counters
    assert counted["loaded tokens"] == 20 and counted["stored chunks"] == 0
    news = other.worker.get_kv_connector_stats()
    assert news.reduce()["loaded chunks"] == 3 and not news.is_empty()
    assert other.worker.get_kv_connector_stats() is None
    total = other.worker.build_kv_connector_stats({"loaded chunks": 1}).aggregate(news)
    assert total.data["loaded chunks"] == 4


def test_stored_layers_are_in_the_models_order(module, extra, tmp_path):
    engine = Engine(module, extra)
    engine.run(PROMPT)
    (path,) = [p for p in tmp_path.glob("*.kvg") if Container.open(p).header.tokens == 4]
    kv = torch.from_numpy(Container.open(path).decode())
    for place, layer in enumerate((1, 2, 10)):
        assert torch.equal(kv[place], engine.truth(PROMPT, layer)[:, 16:20])


def test_prompts_share_their_beginning(module, extra):
    Engine(module, extra).run(PROMPT)
    engine = Engine(module, extra)
    assert engine.run([*PROMPT[:18], 1, 2, 3]) == (16, None)
    assert engine.run([*PROMPT[:21], 1, 2, 3, 4, 5, 6]) == (20, None)
    assert engine.run([49, *PROMPT[1:]]) == (0, None)
    assert engine.run(PROMPT[:8]) == (0, None)  # its whole block of 4 was stored by no one
    assert engine.run(PROMPT[:9]) == (8, None)


def test_only_what_is_not_computed_is_loaded(module, extra):
    Engine(module, extra).run(PROMPT)
    engine = Engine(module, extra)
    request, blocks, reached = engine.admit(PROMPT, local=12)
    assert reached == 20
    engine.compute(PROMPT, blocks, 0, 12)
    before = {name: engine.read(name, blocks, 0, 12) for name in engine.names}
    assert not engine.step(request, blocks, 20, 3, "new")
    assert all(torch.equal(engine.read(n, blocks, 0, 12), before[n]) for n in engine.names)
    engine.right(PROMPT, blocks)
    assert engine.worker.counters["loaded tokens"] == 8


def test_what_was_loaded_is_not_stored_again(module, extra, tmp_path):
    """It may have lost something on its way; a chunk is stored by who computes its end."""
    Engine(module, extra).run(PROMPT)
    engine = Engine(module, extra)
    compute = engine.compute

    def forget_and_compute(*step):
        for path in tmp_path.glob("*.kvg"):
            path.unlink()
        compute(*step)

    engine.compute = forget_and_compute
    longer = [*PROMPT[:21], *range(11)]
    assert engine.run(longer) == (20, None)
    names = engine.scheduler.schedule.names(SimpleNamespace(prompt_token_ids=longer))
    assert {path.stem for path in tmp_path.glob("*.kvg")} == {names[24], names[28]}


def test_chunks_know_their_place_in_the_prompt(module, tmp_path):
    options = {"group": 2, "residual": 4}
    coder = codec("kivi2", **options)
    engine = Engine(module, {"store": str(tmp_path), "codec": "kivi2", "options": options})
    engine.run(PROMPT)
    names = engine.scheduler.schedule.names(SimpleNamespace(prompt_token_ids=PROMPT))
    truth = torch.stack([engine.truth(PROMPT, layer) for layer in (1, 2, 10)])
    for start, end, place in ((0, 8, "first"), (8, 16, "middle"), (16, 20, "middle")):
        stream = Container.open(tmp_path / f"{names[end]}.kvg")
        (level,) = stream.header.levels
        expected = coder.encode(truth[:, :, start:end], level=level, place=place)
        assert stream.chunk(0, level).payload == expected.payload
    whole = coder.encode(truth[:, :, 8:16], place="whole").payload
    assert whole != coder.encode(truth[:, :, 8:16], place="middle").payload


def test_a_prompt_in_pieces_and_after_preemption(module, extra, tmp_path):
    engine = Engine(module, extra)
    request, blocks, _ = engine.admit(PROMPT)
    assert not engine.step(request, blocks, 0, 6, "new") and not files(tmp_path)
    assert not engine.step(request, blocks, 6, 5, "running") and list(files(tmp_path)) == [8]
    assert not engine.step(request, blocks, 11, 12, "running")
    assert sorted(Container.open(p).header.tokens for p in tmp_path.glob("*.kvg")) == [4, 8, 8]
    assert not engine.step(request, blocks, 23, 1, "running")  # a generated token
    matched, _ = engine.scheduler.get_num_new_matched_tokens(request, 0)
    others = [engine.free.pop() for _ in blocks]
    engine.scheduler.update_state_after_alloc(request, None, matched)
    assert not engine.step(request, others, matched, 3, "resumed")
    engine.right(PROMPT, others)
    assert engine.worker.counters["loaded tokens"] == 20


@pytest.mark.parametrize("place", ["first", "middle"])
def test_a_damaged_chunk_is_reported_computed_and_stored_anew(
    module, extra, tmp_path, place, caplog
):
    first = Engine(module, extra)
    first.run(PROMPT)
    names = first.scheduler.schedule.names(SimpleNamespace(prompt_token_ids=PROMPT))
    end = 8 if place == "first" else 16
    path = tmp_path / f"{names[end]}.kvg"
    sound = path.read_bytes()
    path.write_bytes(sound[:-40] + bytes([sound[-40] ^ 1]) + sound[-39:])
    engine = Engine(module, extra)
    with caplog.at_level(logging.WARNING, LOG):
        matched, again = engine.run(PROMPT)
    assert (matched, again) == (20, end - 8)
    assert "checksum" in caplog.text and f"tokens {end - 8} to 20" in caplog.text
    assert engine.worker.counters["failed tokens"] == 20 - (end - 8)
    assert path.read_bytes() == sound
    assert Engine(module, extra).run(PROMPT) == (20, None)


def test_nothing_that_follows_a_failed_load_is_stored(module, extra, tmp_path):
    """vLLM may run more steps of a request before it learns that a load failed."""
    first = Engine(module, extra)
    first.run(PROMPT[:9])
    (path,) = tmp_path.glob("*.kvg")
    path.write_bytes(path.read_bytes()[:-1])
    engine = Engine(module, extra)
    request, blocks, reached = engine.admit(PROMPT)
    assert reached == 8
    assert engine.step(request, blocks, 8, 9, "new") == set(blocks[:2])
    assert not engine.step(request, blocks, 17, 6, "running")
    assert list(tmp_path.glob("*.kvg")) == [path]
    assert not engine.step(request, blocks, 0, 10, "running")
    assert not engine.step(request, blocks, 10, 13, "running")
    engine.right(PROMPT, blocks)
    assert Engine(module, extra).run(PROMPT) == (20, None)


def test_a_chunk_that_went_missing_or_is_another_models(module, extra, tmp_path, caplog):
    engine = Engine(module, extra)
    engine.run(PROMPT)
    names = engine.scheduler.schedule.names(SimpleNamespace(prompt_token_ids=PROMPT))
    kv = np.ones((3, 2, 8, 2, 8), np.float16)
    wrong = {
        "fingerprint": encode_context(kv, codec("fp16"), chunk_tokens=8, fingerprint="other"),
        "shape": encode_context(
            kv[:2], codec("fp16"), chunk_tokens=8, fingerprint=engine.worker.fingerprint
        ),
        "7 tokens": encode_context(
            kv[:, :, :7], codec("fp16"), chunk_tokens=8, fingerprint=engine.worker.fingerprint
        ),
        "part of its tokens": encode_context(
            kv, codec("h2o+fp16"), chunk_tokens=8, fingerprint=engine.worker.fingerprint
        ),
        "begins with": b"not a stream at all",
        "No such file": None,
    }
    path = tmp_path / f"{names[8]}.kvg"
    for message, data in wrong.items():
        path.write_bytes(data or b"")
        other = Engine(module, extra)
        request, blocks, reached = other.admit(PROMPT)
        assert reached == 20
        if data is None:
            path.unlink()
        caplog.clear()
        with caplog.at_level(logging.WARNING, LOG):
            assert other.step(request, blocks, 20, 3, "new") == set(blocks[:5]), message
        assert message in caplog.text


def test_other_codecs_profiles_and_levels(module, tmp_path, caplog):
    engine = Engine(module, {"store": str(tmp_path)})
    layers = (1, 2, 10)
    coder = codec("nodelta")
    text = np.random.default_rng(8).integers(0, 50, 200)
    profile = coder.fit([torch.stack([engine.truth(text, layer) for layer in layers])])
    lossy = {
        "store": str(tmp_path),
        "codec": "nodelta",
        "level": "high",
        "profile": str(profile.save(tmp_path / "profile.npz")),
    }
    writer = Engine(module, lossy)
    writer.run(PROMPT)
    assert writer.worker.counters["stored chunks"] == 3
    assert {Container.open(p).header.levels for p in tmp_path.glob("*.kvg")} == {("high",)}
    # A reader is set to another codec, but has the profile.
    reader = Engine(module, {**lossy, "codec": "uniform8", "level": None})
    request, blocks, reached = reader.admit(PROMPT)
    assert reached == 20 and not reader.step(request, blocks, 20, 3, "new")
    loaded = torch.stack(
        [reader.read(f"model.layers.{n}.self_attn.attn", blocks, 0, 20) for n in layers]
    )
    truth = torch.stack([reader.truth(PROMPT, n)[:, :20] for n in layers])
    assert 0 < (loaded - truth).float().norm() / truth.float().norm() < 0.3
    chunk = coder.encode(truth[:, :, 8:16], level="high", profile=profile, place="middle")
    expected = torch.from_numpy(coder.decode(chunk, profile=profile))
    assert torch.equal(loaded[:, :, 8:16], expected)
    # Without the profile the text is computed.
    blind = Engine(module, {"store": str(tmp_path), "codec": "uniform8"})
    request, blocks, reached = blind.admit(PROMPT)
    with caplog.at_level(logging.WARNING, LOG):
        assert blind.step(request, blocks, reached, 3, "new") == set(blocks[:5])
    assert "profile" in caplog.text


def test_a_store_over_http_is_read_only(module, extra, tmp_path):
    Engine(module, extra).run(PROMPT)
    with running(make_app(tmp_path)) as url:
        engine = Engine(module, {"store": url, "codec": "fp16"})
        assert engine.run(PROMPT) == (20, None)
        assert engine.run([*PROMPT, *PROMPT]) == (20, None)
        assert engine.worker.counters["stored chunks"] == 0
    assert len(list(tmp_path.glob("*.kvg"))) == 3
    engine = Engine(module, {"store": url, "codec": "fp16", "timeout": 1})
    assert engine.run(PROMPT) == (0, None)  # nobody answers any more


def test_requests_that_are_more_than_their_tokens(module, extra, tmp_path):
    engine = Engine(module, extra)
    for others in ({"lora_request": object()}, {"mm_features": [1]}, {"prompt_embeds": PROMPT}):
        engine.run(PROMPT, **others)
    assert not list(tmp_path.glob("*.kvg"))
    assert engine.run(PROMPT, mm_features=[], cache_salt="a") == (0, None)
    assert Engine(module, extra).run(PROMPT, cache_salt="a") == (20, None)
    assert Engine(module, extra).run(PROMPT, cache_salt="b") == (0, None)
    again = Engine(module, extra)
    assert again.run(PROMPT, cache_salt="a", skip_reading_prefix_cache=True) == (0, None)


def test_roles(module, extra, tmp_path):
    assert Engine(module, extra, role="kv_consumer").run(PROMPT) == (0, None)
    assert not list(tmp_path.glob("*.kvg"))
    assert Engine(module, extra, role="kv_producer").run(PROMPT) == (0, None)
    assert len(list(tmp_path.glob("*.kvg"))) == 3
    assert Engine(module, extra, role="kv_producer").run(PROMPT) == (0, None)
    assert Engine(module, extra, role="kv_consumer").run(PROMPT) == (20, None)


def test_what_cannot_be_stored_does_not_fail_the_request(module, extra, tmp_path, caplog):
    engine = Engine(module, extra)
    request, blocks, _ = engine.admit(PROMPT)
    for cache in engine.caches.values():
        cache[:] = float("nan")
    engine.compute = lambda *_: None
    with caplog.at_level(logging.WARNING, LOG):
        assert not engine.step(request, blocks, 0, 23, "new")
    assert "NaN" in caplog.text and engine.worker.counters["unstored chunks"] == 3
    assert not list(tmp_path.glob("*.kvg"))
    engine.worker.shutdown()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"chunk_token": 8}, "known keys: store, codec"),
        ({"store": None}, "store: "),
        ({"chunk_tokens": 6}, "no multiple"),
        ({"codec": "nodelta"}, "needs profile=FILE"),
        ({"chunk_tokens": 0}, "chunk_tokens"),
        ({"codec": "h2o+fp16"}, "drops tokens"),
    ],
)
def test_wrong_settings(module, extra, change, message):
    with pytest.raises(ConfigError, match=message):
        Engine(module, {**extra, **change})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tensor_parallel_size": 2}, "several workers"),
        ({"dtype": torch.uint8}, "kv_cache_dtype=auto"),
        ({"sliding_window": 64}, "plain keys and values"),
        ({"num_kv_heads": None}, "plain keys and values"),
        ({"groups": 2}, "plain keys and values"),
    ],
)
def test_models_that_cannot_be_stored(change, message):
    parallel = {"tensor_parallel_size": 1, "pipeline_parallel_size": 1}
    spec = {"num_kv_heads": HEADS, "head_size": DIM, "block_size": BLOCK, "dtype": torch.float16}
    group = SimpleNamespace(kv_cache_spec=SimpleNamespace(**spec), layer_names=["a"])
    vllm_config = SimpleNamespace(parallel_config=SimpleNamespace(**parallel))
    cache_config = SimpleNamespace(kv_cache_groups=[group])
    assert geometry_of(vllm_config, cache_config) == (Geometry(1, HEADS, DIM), BLOCK, ["a"])
    for name, value in change.items():
        vars(vllm_config.parallel_config if name in parallel else group.kv_cache_spec)[name] = value
    cache_config.kv_cache_groups *= change.get("groups", 1)
    with pytest.raises(ConfigError, match=message):
        geometry_of(vllm_config, cache_config)


def test_unknown_codec_and_level(module, extra):
    with pytest.raises(ValueError, match="did you mean 'uniform8'"):
        Engine(module, {**extra, "codec": "uniform88"})
    with pytest.raises(ValueError, match="unknown level"):
        Engine(module, {**extra, "level": "best"})


# --- vLLM itself -------------------------------------------------------------------------------

ROOT = Path(__file__).parents[3]
SCRIPT = Path(__file__).with_name("vllm_round_trip.py")


@pytest.fixture(scope="module")
def vllm_python():
    python = os.environ.get("REPRISE_VLLM_PYTHON")
    if not python:
        pytest.skip("set REPRISE_VLLM_PYTHON to an interpreter that can import vLLM")
    return python


@pytest.fixture
def in_vllm(vllm_python, tmp_path):
    def call(task, **settings):
        settings = {"store": str(tmp_path / "store"), "chunk_tokens": 128, **settings}
        command = [vllm_python, str(SCRIPT), str(tmp_path), task, json.dumps(settings)]
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        done = subprocess.run(
            command, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=600
        )
        log = done.stdout + done.stderr
        results = [line for line in done.stdout.splitlines() if line.startswith("RESULT ")]
        assert done.returncode == 0 and results, log[-4000:]
        return json.loads(results[-1].removeprefix("RESULT ")), log

    return call


@pytest.mark.vllm
@pytest.mark.slow
def test_one_vllm_stores_and_another_loads(in_vllm, tmp_path):
    first, _ = in_vllm("engine", codec="fp16", batched=160)
    answers = [answer["tokens"] for answer in first["answers"]]
    assert first["answers"][0]["cached"] == 0 == first["counters"]["loaded tokens"]
    assert first["counters"]["stored chunks"] == 4 and all(len(set(a)) > 8 for a in answers)

    # What was stored are the model's keys and values, token by token, says another library. They
    # are those of 16-bit arithmetic there and of 32 bits here.
    errors, _ = in_vllm("compare")
    assert len(errors["relative errors"]) == 4 and max(errors["relative errors"]) < 0.03

    second, _ = in_vllm("engine", codec="fp16")
    assert [answer["tokens"] for answer in second["answers"]] == answers
    assert second["answers"][0]["cached"] == 352 == second["answers"][0]["prompt"] // 32 * 32
    assert second["counters"]["loaded tokens"] == 352 + 32
    assert second["counters"]["failed chunks"] == second["counters"]["stored chunks"] == 0

    path = next(p for p in (tmp_path / "store").glob("*.kvg") if p.stat().st_size < 60_000)
    sound = path.read_bytes()
    path.write_bytes(sound[:30_000] + bytes([sound[30_000] ^ 1]) + sound[30_001:])
    third, log = in_vllm("engine", codec="fp16")
    assert [answer["tokens"] for answer in third["answers"]] == answers
    assert third["counters"]["failed tokens"] == 96 and "the checksum of chunk 0" in log
    assert "Recovered from KV load failure" in log
    Container.open(path).verify()

    # The check of the check: with other keys and values of the same model the answers change.
    for path in (tmp_path / "store").glob("*.kvg"):
        stream = Container.open(path)
        size, fingerprint = stream.header.chunk_tokens, stream.header.fingerprint
        kv = torch.from_numpy(-stream.decode()).bfloat16()
        path.write_bytes(
            encode_context(kv, codec("fp16"), chunk_tokens=size, fingerprint=fingerprint)
        )
    fourth, _ = in_vllm("engine", codec="fp16")
    assert fourth["counters"]["loaded tokens"] == 384
    assert fourth["answers"][0]["tokens"] != answers[0]
