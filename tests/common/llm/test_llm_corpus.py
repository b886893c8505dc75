"""The corpus: what counts is content, and the three parts share nothing."""

import hashlib
import os
import shutil
from collections import Counter

import pytest

from common.errors import ConfigError, DataError
from common.llm import corpus as module
from common.llm.corpus import SPLITS, corpus, split_of


def write(folder, contents):
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in contents.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content)
    return folder


@pytest.fixture
def many(tmp_path):
    return write(tmp_path / "many", {f"m{i}.py": f"x = {i}\n" for i in range(300)})


def contents(part):
    return sorted(file.read_bytes() for file in part.files)


def test_splits_are_disjoint_and_whole(many):
    whole = corpus(roots=[many])
    parts = [whole.split(name) for name in SPLITS]
    assert all(part.files for part in parts)
    assert sorted(f for part in parts for f in part.files) == sorted(many.glob("*.py"))
    assert len({d for part in parts for d in part.digests}) == sum(len(p.files) for p in parts)
    for part in parts:
        for file, digest in zip(part.files, part.digests, strict=True):
            assert digest == hashlib.sha256(file.read_bytes()).hexdigest()


def test_names_and_places_do_not_matter(many, tmp_path):
    before = corpus(roots=[many])
    for number, file in enumerate(sorted(many.glob("*.py"))):
        place = tmp_path / "other" / f"d{number % 7}" / f"{number * 31 % 1000}"
        place.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, place / f"z{999 - number}.py")
    after = corpus(roots=[tmp_path / "other"])
    assert after.digest == before.digest
    for name in SPLITS:
        assert contents(after.split(name)) == contents(before.split(name))
        assert after.split(name).digest == before.split(name).digest


def test_another_file_moves_no_other(many):
    before = {name: set(corpus(roots=[many]).split(name).files) for name in SPLITS}
    digest = corpus(roots=[many]).digest
    (many / "a_new.py").write_text("new = True\n")
    after = corpus(roots=[many])
    assert after.digest != digest
    new = {many / "a_new.py"}
    assert all(set(after.split(name).files) - new == before[name] for name in SPLITS)


def test_shares_are_those_promised():
    digests = (hashlib.sha256(str(i).encode()).hexdigest() for i in range(20_000))
    counts = Counter(map(split_of, digests))
    assert counts["train"] / 20_000 == pytest.approx(0.9, abs=0.01)
    assert counts["validation"] / 20_000 == pytest.approx(0.05, abs=0.006)
    assert counts["evaluation"] / 20_000 == pytest.approx(0.05, abs=0.006)


@pytest.mark.parametrize(
    ("start", "split"),
    [
        ("0ccccccc", "evaluation"),  # 2**32 / 20 = 0xccccccc.c
        ("0ccccccd", "validation"),
        ("19999999", "validation"),  # 2**32 / 10 = 0x19999999.9
        ("1999999a", "train"),
    ],
)
def test_limits_of_the_splits(start, split):
    assert split_of(start + "0" * 56) == split_of(start + "f" * 56) == split


def test_every_content_once(tmp_path):
    write(tmp_path / "a", {"x.py": "same\n", "y.py": "same\n", "z.py": "other\n"})
    write(tmp_path / "b", {"w.py": "same\n", "v.py": "third\n", "note.txt": "no source\n"})
    found = corpus(roots=[tmp_path / "a", tmp_path / "b"])
    assert sorted(found.texts()) == ["other\n", "same\n", "third\n"]
    assert len(set(found.digests)) == len(found.digests) == 3


def test_what_is_skipped(tmp_path):
    files = {
        "kept.py": "kept",
        "deep/er/kept.py": "kept too",
        "testing.py": "kept as well: tests by name of the folder alone",
        "test/a.py": "1",
        "x/tests/a.py": "2",
        "idlelib/a.py": "3",
        "encodings/a.py": "4",
        "site-packages/p/a.py": "installed",
    }
    # The folder above may be called what it likes.
    root = write(tmp_path / "tests", files)
    found = {str(file.relative_to(root)) for file in corpus(roots=[root]).files}
    assert found == {"kept.py", "deep/er/kept.py", "testing.py"}
    with_installed = {f.name for f in corpus("environment", [root]).files}
    assert len(corpus("environment", [root]).files) == 4 and "a.py" in with_installed


def test_installed_packages_on_request(tmp_path, monkeypatch):
    paths = {"stdlib": write(tmp_path / "std", {"s.py": "s"})}
    paths["purelib"] = write(tmp_path / "site", {"p.py": "p"})
    paths["platlib"] = paths["purelib"]
    monkeypatch.setattr(module.sysconfig, "get_path", lambda name: str(paths[name]))
    assert corpus().texts() == ["s"]
    assert corpus("environment").texts() == ["s", "p"]


def test_this_interpreter():
    names = {str(file) for file in corpus().files}
    assert any(name.endswith("/textwrap.py") for name in names)
    assert not any("site-packages" in name or "/test/" in name for name in names)
    assert os.__file__ in names


def test_bytes_that_are_no_text(tmp_path):
    (tmp_path / "latin.py").write_bytes(b"# caf\xe9\n")
    assert corpus(roots=[tmp_path]).texts() == ["# caf\N{REPLACEMENT CHARACTER}\n"]


def test_names_that_are_no_files(tmp_path):
    write(tmp_path, {"real.py": "x", "folder.py/inner.py": "y"})
    (tmp_path / "dangling.py").symlink_to(tmp_path / "nowhere.py")
    assert sorted(corpus(roots=[tmp_path]).texts()) == ["x", "y"]


@pytest.mark.parametrize("roots", [lambda t: [t], lambda t: [t / "missing"], lambda t: []])
def test_no_sources(tmp_path, roots):
    with pytest.raises(DataError, match="no Python sources"):
        corpus(roots=roots(tmp_path))


def test_unknown_names(many):
    with pytest.raises(ConfigError, match="did you mean 'stdlib'"):
        corpus("stdlb")
    with pytest.raises(ConfigError, match="did you mean 'validation'"):
        corpus(roots=[many]).split("validaton")
    with pytest.raises(ConfigError, match="'no digest'"):
        split_of("no digest")
