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


@given(st.text(), st.text())
def test_block_is_replaced_and_nothing_else(before, after):
    text = f"{before}<!-- x -->\nold\n<!-- /x -->{after}"
    if "<!-- x -->" in before:
        return
    once = scorecard.write_block(text, "x", "new\n")
    assert once == f"{before}<!-- x -->\nnew\n<!-- /x -->{after}"
    assert scorecard.write_block(once, "x", "new") == once


@pytest.mark.parametrize("text", ["", "<!-- x -->", "<!-- /x --><!-- x -->"])
def test_text_without_the_block(text):
    with pytest.raises(ValueError, match="no block <!-- x -->"):
        scorecard.write_block(text, "x", "new")


def test_documents_get_their_own_scorecards(shelf):
    readme = shelf.root.parent / "README.md"
    readme.write_text("top\n<!-- scorecard -->\nkept\n<!-- /scorecard -->\nend\n")
    cards = {slug: shelf.write(slug) / "README.md" for slug in ("other", "toy")}
    for card in cards.values():
        card.write_text("# Card\n<!-- verdicts -->\n<!-- /verdicts -->\n")
    ours, theirs = make(title="Ours"), make(paper="other", title="Theirs")

    assert scorecard.write_docs([ours]) == [cards["toy"]]
    assert "kept" in readme.read_text()  # one paper's verdicts do not take the others' rows
    assert set(scorecard.write_docs([ours, theirs])) == {readme, *cards.values()}
    assert readme.read_text().startswith("top\n") and readme.read_text().endswith("\nend\n")
    for slug in cards:
        assert f"| [{slug}](projects/{slug}/README.md#claims-and-verdicts) | 1 | 1 |" in (
            readme.read_text()
        )
    assert "Ours" in cards["toy"].read_text() and "Theirs" not in cards["toy"].read_text()
