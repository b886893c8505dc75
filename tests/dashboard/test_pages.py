"""Every page in Streamlit's own test bench: with results, without any, and with the store away."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest.mock import Mock
from xml.etree import ElementTree

import pandas as pd
import pytest
import streamlit as st
from streamlit.components.v2.component_manager import BidiComponentManager
from streamlit.testing.v1 import AppTest

from dashboard import compare, comparison, data

APP = Path(__file__).parents[2] / "dashboard" / "app.py"
PAGES = ["overview.py", "paper.py", "explore.py", "compare.py", "runs.py"]


@pytest.fixture(scope="module")
def show() -> Iterator[Callable[..., AppTest]]:
    """Open a page of the browser on a store."""
    with pytest.MonkeyPatch.context() as patch:
        # The bench would look through all installed packages for components at every run.
        patch.setattr(BidiComponentManager, "discover_and_register_components", Mock())

        def open_page(uri: str, page: str = "overview.py", **query: str) -> AppTest:
            patch.setenv("MLFLOW_TRACKING_URI", uri)
            bench = AppTest.from_file(str(APP), default_timeout=60)
            for name, value in query.items():
                bench.query_params[name] = value
            if page != "overview.py":
                bench.switch_page(page)
            bench.run()
            assert not bench.exception, bench.exception
            return bench

        yield open_page


@pytest.fixture(scope="module")
def opened(show, store) -> Callable[[str], AppTest]:
    """A page as it opens, without a choice made; the tests share it and change nothing."""
    return functools.cache(lambda page: show(store, page))


def text(bench: AppTest) -> str:
    """Everything that the page says, widgets apart."""
    parts = [bench.title, bench.header, bench.subheader, bench.markdown, bench.caption]
    parts += [bench.error, bench.warning, bench.info, bench.code]
    said = [element.value for kind in parts for element in kind]
    return "\n".join([*said, *(element.proto.body for element in bench.get("html"))])


def tables(bench: AppTest) -> list[pd.DataFrame]:
    """Tables that the page shows as HTML."""
    found = re.findall(r"<table>.*?</table>", text(bench))
    rows = [[[cell.text or "" for cell in row] for row in ElementTree.fromstring(t)] for t in found]
    return [pd.DataFrame(lines, columns=head) for head, *lines in rows]


def titles(said: str) -> list[str]:
    """Claims in the order in which the page shows them."""
    return re.findall(r"<article id=[^>]*><h3>([^<]*)</h3>", said)


@pytest.mark.parametrize("page", PAGES)
def test_page_opens(opened, page):
    said = text(opened(page))
    assert "<b>bold</b> $name$" not in said  # names from the store are text, not markup


@pytest.mark.parametrize("page", PAGES)
def test_empty_store_says_what_to_run(show, tmp_path, page):
    said = text(show(f"sqlite:///{tmp_path / 'mlflow.db'}", page))
    assert "make reproduce" in said
    assert not (tmp_path / "mlflow.db").exists()


@pytest.mark.parametrize("page", PAGES)
def test_unreachable_server_is_a_message(show, closed_port, page):
    bench = show(f"http://127.0.0.1:{closed_port}", page)
    assert "does not answer" in bench.error[0].value
    assert f"127.0.0.1:{closed_port}" in bench.error[0].value


def test_overview_counts_claims_and_names_failures(opened):
    bench = opened("overview.py")
    said = text(bench)
    assert "1 of 8 claims reproduced in 2 papers" in said
    assert "3 ✗ not reproduced" in said and "1 ! error" in said
    assert "1 of 7 newest runs failed: beta cost" in said
    assert not bench.dataframe  # the table is folded up, and not even sent


def test_overview_has_a_table_of_all_claims(show, store):
    bench = show(store)
    bench.session_state["all_claims"] = True
    table = bench.run().dataframe[0].value
    assert list(table["in the paper"])[:2] == ["0.05 to 0.15", "not available"]
    assert "synthetic" in set(table["data"]) and "modelled" in set(table["measurement"])
    assert table["page"].iloc[0] == "paper?paper=alpha&size=quick&target=cpu&claim=f1-gain"


def test_overview_says_what_changed(opened):
    said = text(opened("overview.py"))
    assert "1 verdict moved since the commit before: 1 for the better, 0 for the worse" in said
    assert (
        "1 verdict moved away from the recorded verdicts: 0 for the better, 1 for the worse" in said
    )


def test_explore_toggles_lines_and_names_its_run(show, store):
    bench = show(store, "explore.py", paper="alpha", size="quick", target="cpu")
    assert not bench.dataframe  # numbers are folded up, and not even sent
    bench.session_state["numbers"] = True
    bench.run()
    assert bench.selectbox(key="chart").options == ["F1 job by job", "Energy against time"]
    numbers = bench.dataframe[0].value
    assert set(numbers["line"]) == {"ours", "trees"}
    assert "the run behind this chart" in text(bench)
    bench.selectbox(key="chart").select("joules").run()
    numbers = bench.dataframe[0].value
    assert not bench.exception and len(numbers) == 40 and (numbers["y"] / numbers["x"]).gt(0).all()


def test_overview_filters(show, store):
    bench = show(store)
    bench.selectbox(key="data").select("synthetic").run()
    assert "0 of 2 claims reproduced in 1 paper" in text(bench)
    bench.selectbox(key="data").select("any").run()
    bench.selectbox(key="size").select("full").run()
    assert "1 of 4 claims reproduced in 1 paper" in text(bench)
    bench.selectbox(key="size").select("quick").run()
    bench.selectbox(key="target").select("gpu").run()
    assert "1 of 4 claims" in text(bench)
    bench.selectbox(key="data").select("synthetic").run()
    assert "No claim has been judged for this selection" in text(bench)


def test_paper_deep_link(show, store):
    bench = show(store, "paper.py", paper="beta", size="quick", target="cpu")
    said = text(bench)
    assert bench.title[0].value.startswith("Beta")
    assert "cost failed" in said and "3 is not" in said
    assert "stand\\-in data" in said or "stand-in data" in said
    assert "data: synthetic" in said
    assert "<b>paper:</b> not available" in said
    assert "Trees are **histogram** trees here" in said and "CC BY 4.0" in said
    assert titles(said)[0] == "Better F1 than every baseline"
    assert said.count('class="claim-bar"') == 4  # three claims with a paper value, one estimate
    assert said.count('href="runs?run=') >= 4  # every number leads to its run
    assert 'alt="F1 by method"' in said
    assert "c0ffee00 (dirty)" in said


def test_a_link_to_a_claim_shows_it_first(show, store):
    place = {"paper": "alpha", "size": "quick", "target": "cpu"}
    bench = show(store, "paper.py", **place, claim="energy")
    assert titles(text(bench))[:2] == [
        "Uses a third of the energy",
        "Better F1 than every baseline",
    ]


def test_paper_deep_link_to_the_unknown_says_what_there_is(show, store):
    bench = show(store, "paper.py", paper="gamma")
    assert "'gamma' is not here. There is: alpha, beta" in text(bench)
    assert bench.title[0].value.startswith("Alpha")


def test_compare_machines_and_baseline(show, store):
    bench = show(store, "compare.py", paper="alpha", experiment="cost", metric="fit_energy")
    means, ratios, claims = tables(bench)
    assert len(means) == 6  # two methods; two sizes on one machine, one on the other
    assert any("G100" in series for series in means["series"])
    assert ">modelled</span>" in text(bench)
    baseline = bench.selectbox(key="baseline")
    trees = next(name for name in baseline.options if name.startswith("trees @ Other"))
    baseline.select(trees).run()
    ratios = tables(bench)[1].set_index(["method", "series"])["ratio of fit_energy"]
    assert float(ratios[("ours", trees.partition(" @ ")[2])]) == pytest.approx(1 / 3, abs=0.02)
    claims = claims.set_index("claim")
    assert claims.loc["F1 of at least 0.9", "in the paper"] == "not available"
    assert claims.loc["Uses a third of the energy"].str.contains("✓ reproduced").sum() == 1
    bench.selectbox(key="metric").select("fit_wall_time").run()
    assert ">modelled</span>" not in text(bench)


def test_compare_can_be_left_with_nothing(show, store):
    bench = show(store, "compare.py", paper="alpha", experiment="cost")
    bench.multiselect[0].set_value([]).run()
    assert not bench.exception and "Nothing is left" in text(bench)


def test_what_compare_shows_first_is_worked_out_ahead(show, store, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store)
    st.cache_data.clear()
    compare.ahead(data.load(store))
    monkeypatch.delattr(comparison, "interval_table")
    monkeypatch.delattr(comparison, "ratio")
    assert len(tables(show(store, "compare.py"))) == 3


def test_runs_show_a_failure_as_failed(show, store):
    bench = show(store, "runs.py", of_paper="beta", status="failed")
    table = bench.dataframe[0].value
    assert list(table["status"]) == ["✗ failed"] and set(table["commit"]) == {"c0ffee00 (dirty)"}
    said = text(bench)
    assert "failed" in bench.error[0].value and "working tree differed" in said
    config = tables(bench)[0]
    assert dict(zip(config["name"], config["value"], strict=True)) == {"alpha": "0.1", "seeds": "2"}


def test_runs_name_their_meters(opened):
    table = opened("runs.py").dataframe[0].value
    energy = set(table["energy"])
    assert "no meter" in energy
    assert any(text.endswith("(NVML, measured)") for text in energy)
    assert any(text.endswith("(time times 7 W, modelled)") for text in energy)
