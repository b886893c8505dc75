"""Names of stored chunks, and of the model that they belong to."""

import pytest

from projects.cachegen.chunk_store import chunk_names, longest_stored, model_fingerprint


def test_names_depend_on_all_tokens_before_and_on_the_seed():
    names = chunk_names([1, 2, 3, 4, 5, 6, 7, 8, 9], "model", 4)
    assert list(names) == [4, 8]
    assert chunk_names([1, 2, 3, 4, 5, 6, 7, 9, 9], "model", 4)[4] == names[4]
    assert chunk_names([1, 2, 3, 4, 5, 6, 7, 9, 9], "model", 4)[8] != names[8]
    assert chunk_names([2, 1, 3, 4, 5, 6, 7, 8, 9], "model", 4)[8] != names[8]
    assert chunk_names([1, 2, 3, 4, 5], "other", 4)[4] != names[4]
    assert chunk_names([1, 2, 3, 4], "model", 4) == {} == chunk_names([], "model", 4)


@pytest.mark.parametrize(
    ("there", "expected"),
    [
        ([], 0),
        ([8, 16, 20], 20),
        ([8, 16], 16),
        ([8, 12], 12),
        ([4], 4),
        ([16, 20], 0),
        ([8, 20], 8),
    ],
)
def test_the_longest_stored_prefix(there, expected):
    names = {end: str(end) for end in range(4, 21, 4)}
    assert longest_stored(names, 8, lambda name: int(name) in there, 4) == expected


def test_the_fingerprint_sees_configuration_and_weights(tmp_path):
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(bytes(300_000))
    first = model_fingerprint("config", tmp_path)
    assert model_fingerprint("config", tmp_path) == first
    assert model_fingerprint("another", tmp_path) != first
    weights.write_bytes(bytes(299_999) + b"\1")
    assert model_fingerprint("config", tmp_path) != first
    (tmp_path / "README.md").write_text("not a weight")
    assert model_fingerprint("config", None) != first
