"""Charts that papers declare: the numbers behind them, computed by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from common.errors import ConfigError
from common.explorers import Explorer
from common.schema import validate
from dashboard import pictures


def explorer(**changes: object) -> Explorer:
    told = {"title": "T", "caption": "C.", "experiment": "e", **changes}
    return validate(told, Explorer, "here")


def observed(*rows: tuple, columns: str = "variant level metric value") -> pd.DataFrame:
    return pd.DataFrame(rows, columns=columns.split())


def test_curve_pairs_two_metrics_along_a_column():
    rows = observed(
        ("a", "low", "bits", 1.0),
        ("a", "low", "loss", 8.0),
        ("a", "low", "loss", 10.0),
        ("a", "high", "bits", 4.0),
        ("a", "high", "loss", 2.0),
        ("b", "low", "bits", 2.0),  # without a loss: no point
    )
    chart = explorer(kind="curve", metrics=["loss"], x="bits", along="level")
    table = pictures.table(chart, rows, "loss")
    assert table.values.tolist() == [["a", 1.0, 9.0, "low"], ["a", 4.0, 2.0, "high"]]
    assert len(pictures.draw(chart, table, "loss", {"bits": "bit"}).data) == 1


def test_names_of_one_colour_have_symbols_of_their_own():
    rows = observed(*((f"m{i}", 1, "f1", i) for i in range(16)))
    chart = explorer(kind="curve", metrics=["f1"], x="level")
    traces = pictures.draw(chart, pictures.table(chart, rows, "f1"), "f1", {}).data
    assert len({(trace.line.color, trace.marker.symbol) for trace in traces}) == 16


def test_lines_split_by_a_column_are_in_order_of_its_numbers():
    levels = [("a", 16, 0, "f1", 1.0), ("a", 2, 0, "f1", 2.0), ("b", np.nan, 0, "f1", 3.0)]
    rows = observed(*levels, columns="variant level item metric value")
    chart = explorer(kind="curve", metrics=["f1"], x="item", split=["level"])
    table = pictures.table(chart, rows, "f1")
    assert table["line"].tolist() == ["a, level=2", "a, level=16", "b, level=nan"]


def test_dots_are_means_with_their_intervals_largest_first():
    columns = "variant dataset item metric value"
    numbers = [("a", "d", i, "f1", v) for i, v in enumerate((0.0, 0.2))]
    numbers += [("b", "d", i, "f1", 0.5) for i in range(2)] + [("b", "d", 0, "other", 9.0)]
    chart = explorer(kind="dots", metrics=["f1", "other"], rows="variant")
    table = pictures.table(chart, observed(*numbers, columns=columns), "f1")
    # of two units, a tenth of the resamples and more lie at either end
    assert table.values.tolist() == [["b", 0.5, 0.5, 0.5, 2], ["a", 0.1, 0.0, 0.2, 2]]
    dots = pictures.draw(chart, table, "f1", {"f1": "share"}).data[0]
    assert list(dots.x) == [0.5, 0.1]


def test_timeline_is_in_order_of_numbers_and_shades_what_is_busy():
    columns = "item metric value"
    numbers = [(str(i), m, v) for i in range(12) for m, v in (("mu", i), ("sd", 1), ("on", i > 9))]
    chart = explorer(kind="timeline", x="item", panels=[["mu"]], bands={"mu": "sd"}, shade="on")
    table = pictures.table(chart, observed(*numbers, columns=columns), "")
    assert table["x"].tolist() == table["mu"].tolist() == list(range(12))
    figure = pictures.draw(chart, table, "", {})
    assert [(shape.x0, shape.x1) for shape in figure.layout.shapes] == [(10, 11)]
    upper = next(trace for trace in figure.data if trace.fill)
    assert list(upper.y) == list(range(1, 13))


def test_confusion_has_its_diagonal_and_shares():
    rows = observed(
        ("run", "run", "windows", 3),
        ("run", "walk", "windows", 1),
        ("sit", "walk", "windows", 2),
        ("walk", "walk", "windows", 5),
        columns="truth answer metric value",
    )
    heat = {"kind": "heat", "metrics": ["windows"], "rows": "truth", "columns": "answer"}
    table = pictures.table(explorer(**heat, share=True), rows, "")
    assert list(table.index) == list(table.columns) == ["run", "sit", "walk"]
    assert table.to_numpy().tolist() == [[0.75, 0, 0.25], [0, 0, 1], [0, 0, 1]]


def test_spans_tell_who_crosses_the_limit_and_when_they_were_marked():
    rows = observed(
        ("t1", "end", 9.0),
        ("t1", "flag", 4.0),
        ("t2", "end", 5.0),
        ("t2", "flag", np.nan),
        (None, "limit", 8.0),
        columns="task metric value",
    )
    chart = explorer(kind="spans", metrics=["end", "flag", "limit"], rows="task")
    table = pictures.table(chart, rows, "")
    assert table["row"].tolist() == ["t2", "t1"] and table["end"].tolist() == [5.0, 9.0]
    late, early, marks = pictures.draw(chart, table, "", {"end": "s"}).data
    assert late.x[1] == 9.0 and early.x[1] == 5.0 and list(marks.x) == [4.0]


@pytest.mark.parametrize(
    ("told", "message"),
    [
        ({"kind": "curve", "metrics": ["f1"]}, "needs 'x'"),
        ({"kind": "dots", "metrics": ["f1"]}, "needs 'rows'"),
        ({"kind": "spans", "metrics": ["end"], "rows": "task"}, "needs 3 in 'metrics'"),
        ({"kind": "heat", "metrics": ["n"], "row": "a"}, "unknown key 'row'; did you mean 'rows'"),
    ],
)
def test_a_mistake_in_a_declaration_is_said(told, message):
    with pytest.raises(ConfigError, match=message):
        explorer(**told)


def test_what_observations_lack_is_named():
    chart = explorer(kind="curve", metrics=["f1"], x="alpha")
    assert chart.missing(observed(("a", 1, "f2", 0.0))) == ["metric 'f1'", "column 'alpha'"]
