import json
import re

import numpy as np
import pytest

from projects.jlmetric import compare
from projects.jlmetric.command import BAD_INPUT, main
from tests.projects.jlmetric.dense import make_stream, rewired


@pytest.fixture
def files(tmp_path):
    stream = make_stream()
    other = rewired(stream, 0.4)
    paths = [tmp_path / "real.csv", tmp_path / "fake.csv"]
    for events, path in zip((stream, other), paths, strict=True):
        events.to_frame().to_csv(path, index=False)
    return stream, other, [str(path) for path in paths]


def test_json_holds_the_score_and_what_it_is(files, capsys):
    stream, other, paths = files
    options = ["--score", "rows", "--align", "activity", "--normalise", "reference", "--json"]
    assert main([*paths, *options]) == 0
    found = json.loads(capsys.readouterr().out)
    expected = compare(stream, other, score="rows", align="activity", normalise="reference")
    assert found["jl_metric"] == pytest.approx(expected, abs=1e-9)
    assert found["standard_error"] is None and found["p_value"] is None
    assert found["reference"]["events"] == 60 and found["generated"]["features"] == 2
    assert (found["score"], found["align"], found["seed"]) == ("rows", "activity", 42)


def test_seeds_and_split_half(files, capsys):
    _, _, paths = files
    small = ["--node-dim", "10", "--graph-dim", "10"]
    assert main([*paths, *small, "--seeds", "3", "--split-half", "19"]) == 0
    out = capsys.readouterr().out
    assert "standard error, 3 seeds" in out and "split-half p-value" in out
    assert main([*paths, *small, "--seeds", "3", "--split-half", "9", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert len(found["scores"]) == 3
    assert found["jl_metric"] == pytest.approx(np.mean(found["scores"]))
    assert found["p_value"] in [place / 10 for place in range(1, 11)]


def test_plain_output_names_score_and_files(files, capsys):
    stream, other, paths = files
    assert main(paths) == 0
    out = capsys.readouterr().out
    assert out.startswith(f"JL-Metric  {compare(stream, other):.6f}\n")
    assert "60 events" in out and "score frobenius, align id" in out


def test_help_says_what_files_have_to_hold(capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["--help"])
    out = capsys.readouterr().out
    assert stopped.value.code == 0
    for text in ("src, dst", "msg_0", "--split-half", "higher is better", "exit codes", "sinkhorn"):
        assert text in out


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("src,dst,t\n", "has no events"),
        ("src,dst\n0,1\n", "no column t"),
        ("src,dst,t\n0,-1,2\n", "negative node id"),
        ("src,dst,t\n0,1.5,2\n", "integers"),
        ("src,dst,t\n0,x,2\n", "integers"),
        ("src,dst,t,msg_0,msg_1\n0,1,2,,3\n", "not finite in 1 events"),
        ("src,dst,t\n0,1,2\n", r"2 feature.* generated graph 0"),
        ("", "not a CSV file"),
    ],
)
def test_bad_files_are_exit_code_2_with_a_reason(files, tmp_path, capsys, content, message):
    _, _, paths = files
    bad = tmp_path / "bad.csv"
    bad.write_text(content)
    assert main([paths[0], str(bad), "--json"]) == BAD_INPUT == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("jlmetric: ")
    assert len(captured.err.splitlines()) == 1
    assert re.search(message, captured.err)


def test_bad_options_are_exit_code_2(files, tmp_path, capsys):
    _, _, paths = files
    assert main([paths[0], str(tmp_path / "absent.csv")]) == 2
    assert "there is no file" in capsys.readouterr().err
    assert main([*paths, "--node-dim", "0"]) == 2
    assert "node_dim must be at least 1" in capsys.readouterr().err
    assert main([*paths, "--seeds", "0"]) == 2
    for wrong in (["--score", "cosine"], ["--align", "name"], ["--seeds", "many"]):
        with pytest.raises(SystemExit) as stopped:
            main([*paths, *wrong])
        assert stopped.value.code == 2


def test_unsorted_files_warn_or_stop(tmp_path, capsys):
    path = tmp_path / "unsorted.csv"
    path.write_text("src,dst,t\n0,1,5\n1,2,3\n")
    assert main([str(path), str(path)]) == 0
    captured = capsys.readouterr()
    assert "warning: times go back at event 1" in captured.err
    assert captured.out.startswith("JL-Metric  1.000000")
    assert main([str(path), str(path), "--strict"]) == 2
    assert "unsorted.csv: times go back" in capsys.readouterr().err


def test_unmatched_files_warn(tmp_path, capsys):
    for name, ids in (("a.csv", "0,1"), ("b.csv", "7,8")):
        (tmp_path / name).write_text(f"src,dst,t\n{ids},0\n{ids},3\n")
    assert main([str(tmp_path / "a.csv"), str(tmp_path / "b.csv")]) == 0
    assert "align='activity'" in capsys.readouterr().err
