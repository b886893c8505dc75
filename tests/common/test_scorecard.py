"""Scorecards as text: cells, tables, generated blocks of the documents."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from common import scorecard
from common.claims import VERDICTS_BEST_FIRST, Verdict
from common.plotting import VERDICT_SYMBOLS


def make(**changes):
    fields = dict.fromkeys(Verdict.__dataclass_fields__, "")
    fields |= {"paper": "toy", "claim": "c", "title": "A claim", "verdict": "reproduced", "n": 12}
    fields |= {"estimate": 0.12345, "low": 0.1, "high": 0.15, "unit": "[ms]", "paper_value": 0.2}
    fields |= {"data": "original", "measurement": "measured", "paper_unit": "ms"}
    return Verdict(**{**fields, **changes})


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0"), (-0.0, "0"), (2.0, "2"), (-0.5, "-0.5"), (99.96, "100"), (1.5e-6, "1.5e-06")],
)
def test_numbers(value, text):
    assert scorecard.number(value) == text


@given(st.floats(1e-3, 1e5))
def test_numbers_keep_three_digits(value):
    assert float(scorecard.number(value)) == pytest.approx(value, rel=5.1e-3)
    assert scorecard.number(-value) == f"-{scorecard.number(value)}"


def test_cells():
    assert scorecard.cells(make()) == (
        "toy",
        "A claim",
        "0.2 ms",
        "0.123 [0.1, 0.15] [ms]",
        "12",
        "✓ reproduced",
        "original",
        "measured",
    )
    none = make(verdict="untested", estimate=None, low=None, n=0, data="", measurement="")
    none = scorecard.cells(none)
    assert none[3:] == ("–", "–", "– untested", "–", "–")
    assert scorecard.paper_value(make(paper_value=None)) == "not available"
    assert scorecard.paper_value(make(paper_value=(2, 11), paper_unit="pp")) == "2 to 11 pp"
    assert scorecard.paper_value(make(paper_value=(2, 11), paper_unit="")) == "2 to 11"
    assert scorecard.estimate(make(low=None, high=None)) == "0.123 [ms]"
    assert len(set(VERDICT_SYMBOLS.values())) == len(VERDICTS_BEST_FIRST)


@pytest.mark.parametrize("name", VERDICTS_BEST_FIRST)
def test_terminal_table_takes_no_text_for_markup(name):
    stream = io.StringIO()
    Console(file=stream, width=200).print(scorecard.as_table([make(verdict=name)], "Title"))
    text = stream.getvalue()
    assert f"{VERDICT_SYMBOLS[name]} {name}" in text
    assert "0.123 [0.1, 0.15] [ms]" in text and "Title" in text


def test_markdown_cells_cannot_break_the_table():
    lines = scorecard.as_markdown([make(title="a | b\nc"), make()]).splitlines()
    assert len(lines) == 4
    assert r"| a \| b c |" in lines[2]
    columns = len(scorecard.COLUMNS)
    assert lines[1].count("---") == columns
    assert {line.replace(r"\|", "").count("|") for line in lines} == {columns + 1}


def test_summary_counts_best_first():
    verdicts = [make(verdict=name) for name in ("error", "weaker", "reproduced", "reproduced")]
    assert scorecard.summary(verdicts) == "2 reproduced, 1 weaker, 1 error"


def test_reasons_only_where_there_is_one():
    assert scorecard.reasons([make(), make(verdict="error", reason="why")]) == ["toy c: error: why"]


def test_stand_ins_are_named_once(shelf, lay, table, tmp_path):
    shelf.add()
    frame = table({"ours": [1.0]})
    for experiment in ("speed", "later"):
        lay(tmp_path, frame, experiment=experiment, stand_ins={"traces": "not here"})
    lay(tmp_path, frame, size="full", stand_ins={"others": "not here"})
    lines = scorecard.stand_ins(tmp_path, "quick", "cpu", ["toy"])
    assert lines == ["STAND-IN: toy ran without traces: not here"]
    (tmp_path / "quick/cpu/toy/speed/run.json").write_text("{")  # its claims are errors already
    assert scorecard.stand_ins(tmp_path, "quick", "cpu", ["toy"]) == lines


def test_overview_counts_the_verdicts_of_each_paper():
    papers = {"toy": ["weaker", "reproduced", "reproduced"], "other": ["error"]}
    lines = scorecard.as_overview(papers).splitlines()
    assert lines[0] == "| paper | claims | ✓ reproduced | ↓ weaker | ! error |"
    assert lines[2:] == [
        "| [toy](projects/toy/README.md#claims-and-verdicts) | 3 | 2 | 1 |  |",
        "| [other](projects/other/README.md#claims-and-verdicts) | 1 |  |  | 1 |",
    ]


@pytest.mark.parametrize(
    ("low", "high", "text"), [(0.1, None, "≥ 0.1 s"), (None, 2, "≤ 2 s"), (-1, 1, "-1 to 1 s")]
)
def test_accepted_range(low, high, text, claim):
    assert scorecard.accepted(make(accept_low=low, accept_high=high, unit="s")) == text
    assert scorecard.claim_range(claim(accept={"low": low, "high": high}, unit="s")) == text
