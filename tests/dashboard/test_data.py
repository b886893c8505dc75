"""The store as the pages read it, and the words and comparisons they show."""

from __future__ import annotations

import doctest
import importlib
import re

import numpy as np
import pandas as pd
import pytest

from common.claims import VERDICTS_BEST_FIRST
from common.results import COLUMNS
from common.tracking import TrackingError
from dashboard import changes, claim_bar, comparison, data, export, words


@pytest.fixture(scope="module")
def snapshot(store) -> data.Snapshot:
    return data.load(store)


def test_snapshot_holds_every_run_and_paper(snapshot):
    assert list(snapshot.papers["paper"]) == ["alpha", "beta"]
    assert len(snapshot.runs) == 8
    failed = snapshot.runs[snapshot.runs["status"] == "failed"].iloc[0]
    assert (failed["paper"], failed["experiment"]) == ("beta", "cost")
    assert failed["reason"] == "ValueError: 3 is not <b>2</b>" and failed["dirty"]
    recorded = snapshot.runs[snapshot.runs["recorded"] == "g100"].iloc[0]
    assert recorded["energy"].endswith("J (NVML, measured)") and "G100" in recorded["gpus"]


def test_verdicts_keep_their_labels_intervals_and_gaps(snapshot):
    now = data.current(snapshot.verdicts)
    now = now.set_index(["paper", "claim", "size", "target"])
    gain = now.loc[("alpha", "f1-gain", "quick", "cpu")]
    assert gain["verdict"] == "reproduced" and gain["low"] >= gain["accept_low"] == 0.05
    assert gain["paper_value"] == [0.05, 0.15]
    assert now.loc[("alpha", "error-floor", "quick", "cpu"), "paper_value"] is None
    energy = now.loc[("alpha", "energy", "quick", "cpu")]
    assert (energy["verdict"], energy["measurement"]) == ("consistent", "modelled")
    assert now.loc[("alpha", "energy", "quick", "gpu"), "verdict"] == "reproduced"
    assert now.loc[("beta", "f1-gain", "quick", "cpu"), "data"] == "synthetic"
    error = now.loc[("beta", "energy", "quick", "cpu")]
    assert error["verdict"] == "error" and np.isnan(error["estimate"])
    assert not now.index.duplicated().any()


def test_claims_keep_the_order_of_the_paper(snapshot):
    now = data.current(snapshot.verdicts)
    quick = now[(now["paper"] == "alpha") & (now["size"] == "quick") & (now["target"] == "cpu")]
    ordered = list(quick.sort_values("place")["claim"])
    assert ordered == ["f1-gain", "error-floor", "energy", "scales"]


def test_the_claims_own_run_speaks_before_a_newer_one_that_carries_it():
    rows = pd.DataFrame(
        [
            ["p", "c", "quick", "cpu", "m1", "untested", False],
            ["p", "c", "quick", "cpu", "m1", "reproduced", True],
            ["p", "c", "quick", "cpu", "m1", "weaker", True],
            ["p", "c", "quick", "cpu", "m2", "consistent", True],
        ],
        columns=["paper", "claim", "size", "target", "machine", "verdict", "own"],
    )
    assert list(data.current(rows)["verdict"]) == ["reproduced", "consistent"]
    assert list(data.current(rows, across_machines=True)["verdict"]) == ["reproduced"]


def test_artifacts_of_a_run(store, snapshot):
    run = next(
        row
        for row in snapshot.runs.itertuples()
        if (row.paper, row.experiment, row.size) == ("alpha", "prediction", "quick")
    )  # the newest
    rows = data.observations(store, run)
    assert len(rows) == 120 and set(COLUMNS) <= set(rows)
    assert data.record(store, run)["config"] == {"alpha": 0.1, "seeds": 2}
    assert data.declaration(store, run)["slug"] == "alpha"
    assert "histogram" in data.card_section(data.card(store, run), "deviation")
    assert data.card_section(data.card(store, run), "licence") == "Traces under CC BY 4.0."
    images = data.figures(store, snapshot.runs, data.declaration(store, run))
    assert list(images) == ["f1_by_method"] and images["f1_by_method"].startswith(b"\x89PNG")
    assert data.artifact(store, run, "no/such.file") is None


def test_reading_an_absent_store_makes_none(tmp_path):
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    empty = data.load(uri)
    assert not len(empty.runs) and not len(empty.verdicts) and not len(empty.papers)
    assert list(tmp_path.iterdir()) == []


def test_state_changes_with_the_store(tmp_path):
    path = tmp_path / "mlflow.db"
    uri = f"sqlite:///{path}"
    assert data.state(uri) == "absent"
    path.write_bytes(b"1")
    first = data.state(uri)
    path.write_bytes(b"12")
    assert data.state(uri) != first
    assert data.state("http://server:5000") == ""


def test_a_spoilt_tag_is_left_out():
    class Info:
        run_id = "r"
        artifact_uri = "file:///nowhere"

    class Data:
        tags = {"claim.a": "not json", "claim.b": "[1]", "claim.c": '{"claim": "c"}'}
        metrics: dict = {}

    class Run:
        info, data = Info, Data

    assert data._verdict_rows(Run, data._run_row(Run)) == []


def test_an_unreachable_server_is_an_error_that_says_so(closed_port):
    with pytest.raises(TrackingError, match="MLFLOW_TRACKING_URI"):
        data.load(f"http://127.0.0.1:{closed_port}")


# -- words and charts ----------------------------------------------------------------------


@pytest.mark.parametrize("name", ["dashboard.words", "dashboard.data", "common.plotting"])
def test_docstring_examples(name):
    outcome = doctest.testmod(importlib.import_module(name))
    assert outcome.attempted and not outcome.failed


def test_html_never_carries_text_of_the_store_as_markup():
    evil = '<img src=x onerror="x">'
    for text in (words.chip(evil, "#000"), words.verdict_chip(evil), words.label_chips(evil, evil)):
        assert "<img" not in text and "&lt;img" in text
    assert words.link("paper", paper="a&b", size="") == "paper?paper=a%26b"


def luminance(colour: str) -> float:
    values = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in values]
    return sum(v * weight for v, weight in zip(linear, (0.2126, 0.7152, 0.0722), strict=True))


@pytest.mark.parametrize("verdict", [*VERDICTS_BEST_FIRST, "unknown"])
@pytest.mark.parametrize("measurement", ["measured", "modelled"])
def test_chips_are_legible_whatever_the_theme(verdict, measurement):
    """The formula of WCAG 2.2; a chip brings its own background. The browser checks all else."""
    drawn = words.verdict_chip(verdict) + words.label_chips("original", measurement)
    chips = re.findall(r"background:(#\w{6});color:(#\w{6})", drawn)
    assert len(chips) == 3
    for pair in chips:
        dark, light = sorted(map(luminance, pair))
        assert (light + 0.05) / (dark + 0.05) >= 4.5, pair


def test_weak_labels_are_loud():
    assert words.WARNING in words.label_chips("synthetic", "measured")
    assert words.WARNING in words.label_chips("original", "modelled")
    assert words.WARNING not in words.label_chips("original", "measured")


def claim(**changes: object) -> dict:
    base = {
        "estimate": 0.5,
        "low": 0.4,
        "high": 0.7,
        "n": 9.0,
        "accept_low": 0.3,
        "accept_high": np.nan,
        "paper_value": None,
        "paper_unit": "",
        "unit": "",
        "verdict": "reproduced",
    }
    return {**base, **changes}


def test_claim_bar_draws_interval_range_and_the_papers_value():
    first, last, low, high = claim_bar.scale(claim(paper_value=[0.45, 0.6]))
    assert (low, high) == (0.3, last) and first < 0.3 and last > 0.7
    drawn = claim_bar.bar(claim(paper_value=[0.45, 0.6]))
    places = dict(re.findall(r'class="(range|interval|here)" style="left:([\d.]+)%', drawn))
    share = {name: first + float(left) / 100 * (last - first) for name, left in places.items()}
    assert share == pytest.approx({"range": 0.3, "interval": 0.4, "here": 0.5}, abs=1e-3)
    assert drawn.count('class="paper"') == 2
    assert "here 0.5 [0.4, 0.7], accepted ≥ 0.3, paper 0.45 to 0.6" in drawn


def test_claim_bar_without_paper_value_or_estimate():
    assert 'class="paper"' not in claim_bar.bar(claim())
    nothing = {"estimate": np.nan, "low": np.nan, "high": np.nan}
    assert claim_bar.bar(claim(**nothing)) == ""
    assert 'class="here"' not in claim_bar.bar(claim(**nothing, paper_value=2.0))


# -- what changed --------------------------------------------------------------------------


def test_verdicts_that_moved_since_the_commit_before(snapshot):
    moved = changes.since_last_commit(snapshot.verdicts).set_index("claim")
    assert set(moved["paper"]) == {"alpha"} and set(moved["since"]) == {"beef0000"}
    assert moved.loc["f1-gain", ["before", "now"]].tolist() == ["not reproduced", "reproduced"]
    assert set(moved.index) == {"f1-gain"}  # the other claim of these runs stays as it was


def test_verdicts_away_from_the_recorded_ones(store, snapshot):
    run = snapshot.runs[snapshot.runs["paper"] == "alpha"].iloc[0]
    recorded = {"alpha": data.recorded(store, run)}
    now = data.current(snapshot.verdicts)
    moved = changes.since_recorded(now, recorded)
    assert list(moved["claim"]) == ["error-floor"]
    assert moved.loc[0, ["before", "now"]].tolist() == ["consistent", "not reproduced"]
    assert not len(changes.since_recorded(now, {"alpha": ["spoilt"]}))


# -- exports -------------------------------------------------------------------------------


def test_images_of_claims_and_intervals(snapshot):
    claims = data.current(snapshot.verdicts)
    assert export.claims_png(claims[claims["paper"] == "alpha"], "alpha").startswith(b"\x89PNG")
    table = pd.DataFrame(
        [["a", "m", 1.0, 0.5, 1.5], ["b", "m", 2.0, np.nan, np.nan]],
        columns=["method", "series", "value", "low", "high"],
    )
    labels = ("original", "measured")
    assert export.intervals_png(table, "x", labels).startswith(b"\x89PNG")


def test_latex_has_a_row_per_claim_and_no_bare_sign(snapshot):
    table = words.claims_table(snapshot.verdicts)
    text = export.latex_table(table)
    body = text.partition("\\midrule\n")[2].partition("\\bottomrule")[0]
    assert body.count("\\\\\n") == len(table)
    assert "95 \\% interval" in text and "✓" not in text


# -- comparison ----------------------------------------------------------------------------


def compared(values: dict[tuple[str, str], list[float]], items: str = "i") -> pd.DataFrame:
    rows = [
        ["d", f"{items}{i}", method, series, value]
        for (method, series), numbers in values.items()
        for i, value in enumerate(numbers)
    ]
    return pd.DataFrame(rows, columns=["dataset", "item", "method", "series", "value"])


def test_paired_ratio_of_proportional_units_is_exact():
    base = list(np.random.default_rng(0).uniform(1, 100, 30))
    rows = compared({("slow", "m"): base, ("fast", "m"): [v / 4 for v in base]})
    table = comparison.ratios(rows, ("slow", "m")).set_index("method")
    # units are drawn together: a constant factor has no spread, however wide the units are
    assert table.loc["fast", ["value", "low", "high"]].tolist() == pytest.approx([0.25] * 3)
    assert table.loc["fast", "n"] == 30


def test_ratio_without_shared_units_has_no_interval():
    rows = pd.concat(
        [compared({("a", "m1"): [2.0, 4.0]}), compared({("a", "m2"): [1.0, 1.0]}, items="other")]
    )
    table = comparison.ratios(rows, ("a", "m2")).set_index("series")
    assert table.loc["m1", "value"] == 3.0 and np.isnan(table.loc["m1", "low"])


def test_series_are_named_by_what_differs():
    base = {"machine_label": "m", "size": "quick", "target": "cpu", "stamp": "c1", "digest": "d1"}
    base |= {"started": "t1", "run_id": "r1"}

    def names(**other: str) -> list[str]:
        return comparison.series_names(pd.DataFrame([base, {**base, **other}]))

    assert names(size="full", started="t2", run_id="r2") == ["quick", "full"]
    assert names(stamp="c2", started="t2", run_id="r2") == ["c1", "c2"]
    assert names(started="t2", run_id="r2") == ["t1", "t2"]
    assert names(run_id="r2") == ["r1", "r2"]
    assert comparison.series_names(pd.DataFrame([base])) == ["m"]


def test_methods_split_by_parameters():
    rows = pd.DataFrame({"variant": ["a", "a"], "alpha": [0.1, 0.2], "beta": [1, 1]})
    assert comparison.parameter_columns(rows) == ["alpha"]
    assert list(comparison.method_names(rows, ["alpha"])) == ["a, alpha=0.1", "a, alpha=0.2"]
