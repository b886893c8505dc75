"""The registry: what it accepts, and how it says what it does not."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import common
from common.data import list_datasets, load_entry
from common.data.registry import parse_index
from common.data.safepath import safe_relative
from common.errors import ConfigError, DataError

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def test_every_registered_dataset_loads_and_is_pinned():
    assert {"google-2011-straggler-jobs", "wfinstances-tasks"} <= set(list_datasets())
    for name in list_datasets():
        entry = load_entry(name)
        for file in entry.files:
            url = entry.url_of(file)
            assert url is not None or entry.manual
            if url and "githubusercontent" in url:
                assert re.search("/[0-9a-f]{40}/", url)


def test_google_jobs_name_every_task():
    entry = load_entry("google-2011-straggler-jobs")
    assert {file.name: len(file.parts.indices) for file in entry.files} == {
        "job_6266469130.csv": 1000,
        "job_6274140245.csv": 189,
        "job_6308689702.csv": 350,
        "job_6343048076.csv": 152,
    }
    for file in entry.files:
        job = file.name.removeprefix("job_").removesuffix(".csv")
        assert file.parts.url_of(7).endswith(f"/timeseriesspecsixtotal/{job}/7")


def test_unknown_dataset_names_the_closest():
    with pytest.raises(DataError, match="did you mean 'wfinstances-tasks'"):
        load_entry("wfinstance-task")


def test_unknown_key_names_file_key_and_closest(world):
    world.register("toy", [world.file("a", b"x", url="https://example.org/a")], licens="MIT")
    with pytest.raises(ConfigError, match=r"toy\.yaml.*'licens'.*did you mean 'licence'"):
        load_entry("toy")


def test_unknown_key_of_a_file(world):
    world.register("toy", [world.file("a", b"x", ulr="https://example.org/a")])
    with pytest.raises(ConfigError, match=r"toy\.yaml.*ulr.*did you mean 'url'"):
        load_entry("toy")


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"url": "http://example.org/a"}, "only https"),
        ({"url": "file:///etc/passwd"}, "only https"),
        ({"url": "http://127.0.0.1@example.org/a"}, "only https"),
        ({"url": "https://me:secret@example.org/a"}, "user name"),
        ({"url": "https://raw.githubusercontent.com/o/r/main/a"}, "not pinned"),
        ({"url": "https://github.com/o/r/raw/v1.0/a"}, "not pinned"),
        ({"path": "x/a"}, "no base_url"),
        ({}, "no address"),
        ({"url": "https://example.org/a", "name": "../a"}, "climbs out"),
        ({"url": "https://example.org/a", "name": "/a"}, "absolute"),
        ({"url": "https://example.org/a", "name": ".lock"}, "leading dots"),
        ({"url": "https://example.org/a", "name": "x//a"}, "plain relative"),
        ({"url": "https://example.org/a", "sha256": "abc"}, "sha256"),
        ({"url": "https://example.org/a", "bytes": -1}, "bytes"),
        ({"parts": {"url": "https://example.org/", "index": "0"}}, "does not hold"),
        ({"parts": {"url": "https://example.org/{index}", "index": "3,1"}}, "does not increase"),
        ({"parts": {"url": "https://example.org/{index}", "index": "0-9999999"}}, "more than"),
        (
            {
                "url": "https://example.org/a",
                "parts": {"url": "https://example.org/{index}", "index": "0"},
            },
            "one of url, path, parts",
        ),
    ],
)
def test_a_bad_file_entry_is_refused(world, keys, message):
    world.register("toy", [{**world.file("a", b"x"), **keys}])
    with pytest.raises(ConfigError, match=message):
        load_entry("toy")


@pytest.mark.parametrize("pair", [("a", "a"), ("a", "a.gz"), ("a.gz", "a")])
def test_a_file_stands_once(world, pair):
    world.register("toy", [world.file(name, b"x") for name in pair], manual="ask")
    with pytest.raises(ConfigError, match="stands twice"):
        load_entry("toy")


def test_the_name_must_be_the_files(world):
    world.register("toy", [world.file("a", b"x")], manual="ask")
    (world.registry / "toy.yaml").rename(world.registry / "other.yaml")
    with pytest.raises(ConfigError, match="'toy' must be the file's name, 'other'"):
        load_entry("other")


def test_addresses(world):
    base = f"https://raw.githubusercontent.com/o/r/{COMMIT}/data/"
    files = [
        world.file("a.csv", b"x"),
        world.file("b.csv", b"y", path="deep/b 1.csv"),
        world.file("c.csv", b"z", url="https://example.org/c"),
    ]
    world.register("toy", files, base_url=base)
    entry = load_entry("toy")
    addresses = [entry.url_of(file) for file in entry.files]
    assert addresses == [f"{base}a.csv", f"{base}deep/b%201.csv", "https://example.org/c"]
    assert entry.bytes == 3


def test_unknown_file_names_the_closest(world):
    world.register("toy", [world.file("train.csv", b"x")], manual="ask")
    with pytest.raises(DataError, match=r"no file 'trian\.csv'; did you mean 'train\.csv'"):
        load_entry("toy").select(["trian.csv"])


@given(st.sets(st.integers(0, 300), min_size=1))
def test_index_ranges_round_trip(indices):
    ordered = sorted(indices)
    runs: list[list[int]] = []
    for index in ordered:
        if runs and runs[-1][1] == index - 1:
            runs[-1][1] = index
        else:
            runs.append([index, index])
    text = ",".join(str(a) if a == b else f"{a}-{b}" for a, b in runs)
    assert parse_index(text) == ordered


@pytest.mark.parametrize("text", ["", "a", "1-", "-1", "2-1", "1,1", "1-3,3", "1;2"])
def test_bad_index_ranges(text):
    with pytest.raises(ValueError, match="index"):
        parse_index(text)


PIECES = st.sampled_from(["..", ".", "/", "a", "b.c", "\\", "C:", "\0", "~", " ", "é"])


@given(st.lists(PIECES, max_size=8).map("".join))
def test_a_safe_name_stays_in_its_folder(name):
    root = Path("/srv/data")
    try:
        path = safe_relative(name)
    except ValueError:
        return
    joined = (root / path).resolve()
    assert joined.is_relative_to(root)
    assert joined != root


def test_importing_the_door_and_the_commands_is_light():
    code = (
        "import sys, common.data, common.data.cli; "
        "print([m for m in ('pydantic', 'pooch', 'requests', 'yaml', 'numpy') if m in sys.modules])"
    )
    root = Path(common.__file__).parents[1]
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root
    )
    assert done.stdout.strip() == "[]"
