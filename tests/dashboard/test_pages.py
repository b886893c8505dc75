"""Every page in Streamlit's own test bench: with results, without any, and with the store away."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

APP = Path(__file__).parents[2] / "dashboard" / "app.py"
PAGES = ["overview.py", "paper.py", "explore.py", "compare.py", "runs.py"]


@pytest.fixture
def show(monkeypatch):
    """Open a page of the browser on a store."""

    def open_page(uri: str, page: str = "overview.py", **query: str) -> AppTest:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
        bench = AppTest.from_file(str(APP), default_timeout=60)
        for name, value in query.items():
            bench.query_params[name] = value
        if page != "overview.py":
            bench.switch_page(page)
        bench.run()
        assert not bench.exception, bench.exception
        return bench

    return open_page


def text(bench: AppTest) -> str:
    """Everything that the page says, widgets apart."""
    parts = [bench.title, bench.header, bench.subheader, bench.markdown, bench.caption]
    parts += [bench.error, bench.warning, bench.info, bench.code]
    said = [element.value for kind in parts for element in kind]
    return "\n".join([*said, *(element.proto.body for element in bench.get("html"))])


def titles(said: str) -> list[str]:
    """Claims in the order in which the page shows them."""
    return re.findall(r"<article id=[^>]*><h3>([^<]*)</h3>", said)


@pytest.mark.parametrize("page", PAGES)
def test_page_opens(show, store, page):
    said = text(show(store, page))
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


def test_overview_counts_claims_and_names_failures(show, store):
    bench = show(store)
    said = text(bench)
    assert "1 of 8 claims reproduced in 2 papers" in said
    assert "3 ✗ not reproduced" in said and "1 ! error" in said
    assert "1 of 7 newest runs failed: beta cost" in said
    table = bench.dataframe[0].value
    assert list(table["in the paper"])[:2] == ["0.05 to 0.15", "not available"]
    assert "synthetic" in set(table["data"]) and "modelled" in set(table["measurement"])
    assert table["page"].iloc[0] == "paper?paper=alpha&size=quick&target=cpu&claim=f1-gain"


def test_overview_says_what_changed(show, store):
    said = text(show(store))
    assert "1 verdict moved since the commit before: 1 for the better, 0 for the worse" in said
    assert (
        "1 verdict moved away from the recorded verdicts: 0 for the better, 1 for the worse" in said
    )


def test_explore_toggles_lines_and_names_its_run(show, store):
    bench = show(store, "explore.py", paper="alpha", size="quick", target="cpu")
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
    means, ratios, claims = (element.value for element in bench.dataframe)
    assert len(means) == 6  # two methods; two sizes on one machine, one on the other
    assert any("G100" in series for series in means["series"])
    assert "modelled" in text(bench)
    baseline = bench.selectbox(key="baseline")
    trees = next(name for name in baseline.options if name.startswith("trees @ Other"))
    baseline.select(trees).run()
    ratios = bench.dataframe[1].value.set_index(["method", "series"])["ratio of fit_energy"]
    assert float(ratios[("ours", trees.partition(" @ ")[2])]) == pytest.approx(1 / 3, abs=0.02)
    assert claims["in the paper"]["F1 of at least 0.9"] == "not available"
    bench.selectbox(key="metric").select("fit_wall_time").run()
    assert "modelled" not in text(bench)


def test_compare_can_be_left_with_nothing(show, store):
    bench = show(store, "compare.py", paper="alpha", experiment="cost")
    bench.multiselect[0].set_value([]).run()
    assert not bench.exception and "Nothing is left" in text(bench)


def test_runs_show_a_failure_as_failed(show, store):
    bench = show(store, "runs.py", of_paper="beta", status="failed")
    table = bench.dataframe[0].value
    assert list(table["status"]) == ["✗ failed"] and set(table["commit"]) == {"c0ffee00 (dirty)"}
    said = text(bench)
    assert "failed" in bench.error[0].value and "working tree differed" in said
    config = bench.dataframe[1].value
    assert dict(zip(config["name"], config["value"], strict=True)) == {"alpha": "0.1", "seeds": "2"}


def test_runs_name_their_meters(show, store):
    table = show(store, "runs.py").dataframe[0].value
    energy = set(table["energy"])
    assert "no meter" in energy
    assert any(text.endswith("(NVML, measured)") for text in energy)
    assert any(text.endswith("(time times 7 W, modelled)") for text in energy)
