"""Loading: only from folders, only Llama-type, only whole, and told apart by content."""

import json
import shutil
import socket

import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from safetensors.torch import load_file, save_file

from common.errors import ConfigError, DataError, RepriseError
from common.llm import store
from common.llm.loading import ARCHITECTURES, fingerprint, load


@pytest.fixture(autouse=True)
def _no_network(monkeypatch):
    """Any attempt to reach another machine fails the test, whatever the library makes of it."""
    attempts = []

    def refuse(*arguments, **_):
        attempts.append(arguments)
        raise OSError("no network in tests")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    yield
    assert not attempts


@pytest.fixture
def folder(random_folder, tmp_path):
    """A copy that may be spoilt."""
    return shutil.copytree(random_folder("llama"), tmp_path / "model")


def edit(folder, **changes):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **changes}))


@pytest.mark.parametrize("kind", ARCHITECTURES)
def test_architectures(random_folder, kind):
    model = load(random_folder(kind))
    assert type(model.network).__name__ == ARCHITECTURES[kind]
    assert (model.layers, model.kv_heads, model.context) == (3, 2, 256)
    assert model.head_dim == (12 if kind == "qwen3" else 8)
    with torch.no_grad():
        cache = model.network(torch.tensor([[3, 4, 5]]), use_cache=True).past_key_values
    assert tuple(cache.layers[0].keys.shape) == (1, model.kv_heads, 3, model.head_dim)
    assert not model.network.training and model.tokenizer is None
    with pytest.raises(ConfigError, match=r"has no tokenizer; add its tokenizer\.json"):
        model.encode("text")


@pytest.mark.parametrize("kind", ARCHITECTURES)
def test_weights_are_those_of_the_folder(random_folder, kind):
    stored = load_file(random_folder(kind) / "model.safetensors")
    loaded = load(random_folder(kind)).network.state_dict()
    for name, weights in stored.items():
        assert torch.equal(loaded[name], weights), name


def test_a_model_has_its_tokenizer(random_folder, tokenizer, tmp_path):
    folder = shutil.copytree(random_folder("llama", vocab_size=400), tmp_path / "model")
    tokenizer.save_pretrained(folder)
    model = load(str(folder))
    text = "alpha beta\n"
    assert model.encode(text) == tokenizer.encode(text, add_special_tokens=False)
    assert model.path == folder and model.device.type == "cpu"


def test_dtype(random_folder):
    folder = random_folder("llama")
    assert load(folder).network.dtype == torch.float32
    for name in ("float32", "bfloat16", "float16"):
        assert load(folder, dtype=name).network.dtype == getattr(torch, name)
    with pytest.raises(ConfigError, match="unknown dtype 'float8'; did you mean 'float"):
        load(folder, dtype="float8")


def test_names_of_reference_models(random_folder, monkeypatch):
    monkeypatch.setattr(store, "reference_model", lambda name: random_folder("qwen2"))
    assert load("draft").fingerprint == fingerprint(random_folder("qwen2"))


def test_fingerprint_is_of_the_content(folder, tmp_path):
    before = fingerprint(folder)
    copied = shutil.copytree(folder, tmp_path / "elsewhere")
    assert fingerprint(copied) == before == load(copied).fingerprint
    (copied / "README.md").write_text("not part of the model")
    assert fingerprint(copied) == before


@pytest.mark.parametrize("place", [-1, -1000])
def test_fingerprint_changes_with_one_bit(folder, place):
    before = fingerprint(folder)
    weights = bytearray((folder / "model.safetensors").read_bytes())
    weights[place] ^= 1
    (folder / "model.safetensors").write_bytes(weights)
    assert fingerprint(folder) != before


def test_fingerprint_changes_with_the_configuration(folder):
    before = fingerprint(folder)
    edit(folder, rms_norm_eps=1e-5)
    assert fingerprint(folder) != before
    edit(folder, rms_norm_eps=1e-6)
    edit(folder, rope_parameters={"rope_type": "default", "rope_theta": 5e5})
    assert load(folder).fingerprint not in (before, "")


@pytest.fixture
def sharded(folder, tmp_path):
    load(folder).network.save_pretrained(tmp_path / "sharded", max_shard_size="20KB")
    return tmp_path / "sharded"


def test_shards(folder, sharded):
    assert len(list(sharded.glob("*.safetensors"))) > 2
    one, other = load(folder).network.state_dict(), load(sharded).network.state_dict()
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_missing_shard(sharded):
    gone = sorted(sharded.glob("*.safetensors"))[1]
    gone.unlink()
    for look in (load, fingerprint):
        with pytest.raises(DataError, match=f"lacks {gone.name}, which model.safetensors.index"):
            look(sharded)


def test_missing_index(sharded):
    (sharded / "model.safetensors.index.json").unlink()
    with pytest.raises(DataError, match="cannot be loaded"):
        load(sharded)


def test_missing_tensor(folder):
    weights = load_file(folder / "model.safetensors")
    del weights["model.layers.1.mlp.up_proj.weight"]
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(DataError, match=r"lacks model\.layers\.1\.mlp\.up_proj\.weight"):
        load(folder)


def test_tied_output_layer_is_not_missing(random_folder):
    folder = random_folder("llama", tie_word_embeddings=True)
    assert "lm_head.weight" not in load_file(folder / "model.safetensors")
    network = load(folder).network
    assert torch.equal(network.lm_head.weight, network.model.embed_tokens.weight)


def test_weights_of_another_shape(folder):
    edit(folder, intermediate_size=64)
    with pytest.raises(DataError, match="cannot be loaded"):
        load(folder)


def test_weights_cut_off(folder):
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(DataError, match="cannot be loaded"):
        load(folder)


def test_pickled_weights(folder):
    torch.save({}, folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    with pytest.raises(DataError, match="pickled weights are not read"):
        load(folder)
    (folder / "pytorch_model.bin").unlink()
    with pytest.raises(DataError, match=r"has no \*\.safetensors weights$"):
        fingerprint(folder)


@pytest.mark.parametrize(
    ("kind", "message"), [("gpt2", "'gpt2'"), ("mistrall", "'mistral'"), (None, "None")]
)
def test_other_architecture(folder, kind, message):
    edit(folder, model_type=kind)
    with pytest.raises(ConfigError, match=f"{message}.*allowed: llama, mistral, qwen2, qwen3"):
        load(folder)


def test_missing_folder(tmp_path):
    with pytest.raises(DataError, match="did you mean 'reference'.*nothing is downloaded"):
        load("referense")
    for look in (load, fingerprint):
        with pytest.raises(DataError, match="nothing is downloaded"):
            look("meta-llama/Llama-3.2-1B")
        with pytest.raises(DataError, match=r"no config\.json"):
            look(tmp_path)


@pytest.mark.parametrize("content", ["{", "[1]", ""])
def test_damaged_configuration(folder, content):
    (folder / "config.json").write_text(content)
    with pytest.raises(DataError, match=r"config\.json"):
        load(folder)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_no_gpu(random_folder):
    with pytest.raises(RepriseError, match="use device='cpu'"):
        load(random_folder("llama"), device="cuda")
