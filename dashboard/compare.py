"""Compare: machines, commits, sizes, targets and methods side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from common.plotting import weakest
from dashboard import charts, comparison, data, export, words
from dashboard.session import choose, snapshot, uri

if TYPE_CHECKING:
    import pandas as pd

# Ten thousand resamples of every method: worth keeping from one visit to the next.
_means = st.cache_data(max_entries=32, show_spinner=False)(comparison.means)
_ratios = st.cache_data(max_entries=32, show_spinner=False)(comparison.ratios)
NEWEST = ("experiment", "size", "target", "machine")


def ahead(store: data.Snapshot) -> None:
    """Work out what the page shows first, so that its first reader need not wait for it."""
    runs = store.runs[store.runs["status"] == "done"]
    if len(runs):
        runs = runs[runs["paper"] == runs["paper"].min()]
        runs = runs[runs["experiment"] == runs["experiment"].min()]
        rows = _observations(data.latest(runs, NEWEST))
        if len(rows):
            rows = rows[rows["metric"] == rows["metric"].min()]
            rows = rows.assign(method=comparison.method_names(rows, []))
            table = _means(rows)
            _ratios(rows, (table["method"].iloc[0], table["series"].iloc[0]))


def main() -> None:
    st.title("Compare", anchor=False)
    store = snapshot()
    titles = dict(zip(store.papers["paper"], store.papers["title"], strict=True))
    with st.sidebar:
        slug = choose("Paper", list(titles), "paper", shown_as=lambda s: f"{s}: {titles.get(s)}")
    st.caption(f"{slug}: {titles[slug]}")
    runs = store.runs[(store.runs["paper"] == slug) & (store.runs["status"] == "done")]
    if not len(runs):
        st.info("This paper has no finished run to compare; Runs tells what happened.")
    else:
        _numbers(runs)
    _verdicts(store.verdicts[store.verdicts["paper"] == slug])


# -- numbers -------------------------------------------------------------------------------


def _numbers(runs: pd.DataFrame) -> None:
    with st.sidebar:
        experiment = choose("Experiment", sorted(runs["experiment"].unique()), "experiment")
    runs = runs[runs["experiment"] == experiment]
    every = st.sidebar.toggle("Older runs too", help="One run per machine, size and target else.")
    runs = runs if every else data.latest(runs, NEWEST)
    rows = _observations(runs)
    if not len(rows):
        st.info("The store holds no observations of this experiment.")
        return
    with st.sidebar:
        metric = choose("Metric", sorted(rows["metric"].unique()), "metric")
    rows = _narrowed(rows[rows["metric"] == metric])
    if not len(rows):
        st.info("Nothing is left of this selection; choose more series or data sets.")
        return
    _show(rows, metric)


def _observations(runs: pd.DataFrame) -> pd.DataFrame:
    """Observations of all runs, with the name of each run's series."""
    import pandas as pd

    runs = runs.assign(
        stamp=[words.commit(run.commit, run.dirty) for run in runs.itertuples()],
        digest=runs["digest"].str[:6],
    )
    runs = runs.assign(series=comparison.series_names(runs))
    frames = [data.observations(uri(), run).assign(series=run.series) for run in runs.itertuples()]
    frames = [frame for frame in frames if len(frame)]
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame()


def _narrowed(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows of the series, data sets and parameters that the reader asks for."""
    series, datasets = list(rows["series"].unique()), sorted(rows["dataset"].unique())
    if len(series) > 1:
        chosen = st.multiselect("Machines, sizes, targets, commits", series, default=series)
        rows = rows[rows["series"].isin(chosen)]
    if len(datasets) > 1:
        chosen = st.multiselect("Data sets", datasets, default=datasets)
        rows = rows[rows["dataset"].isin(chosen)]
    parameters = comparison.parameter_columns(rows)
    split = st.multiselect("Split by", parameters) if parameters else []
    return rows.assign(method=comparison.method_names(rows, split))


def _show(rows: pd.DataFrame, metric: str) -> None:
    units = rows["unit"].unique()
    unit = str(units[0]) if len(units) == 1 else ""
    labels = weakest(rows)
    st.html(words.row(words.label_chips(*labels)))
    table = _means(rows)
    axis = words.with_unit(metric, f"({unit})" if unit else "")
    st.plotly_chart(charts.interval_chart(table, axis), config=charts.CONFIG, key="means")
    _table(table, metric, "mean", labels)
    st.subheader("Ratio to a baseline", anchor=False)
    pairs = {f"{row.method} @ {row.series}": (row.method, row.series) for row in table.itertuples()}
    name = choose("Baseline", list(pairs), "baseline")
    ratios = _ratios(rows, pairs[name])
    ratios = ratios.set_index(["method", "series"]).loc[list(pairs.values())].reset_index()
    chart = charts.interval_chart(ratios, f"{metric}: ratio to the baseline", reference=1.0)
    st.plotly_chart(chart, config=charts.CONFIG, key="ratios")
    _table(ratios, metric, "ratio", labels)


def _table(table: pd.DataFrame, metric: str, what: str, labels: tuple[str, str]) -> None:
    import pandas as pd

    title = f"{what} of {metric}"
    shown = pd.DataFrame(
        {
            "method": table["method"],
            "series": table["series"],
            title: [words.number(value) for value in table["value"]],
            "95 % interval": [words.interval(row.low, row.high) for row in table.itertuples()],
            "n": table["n"],
        }
    )
    st.html(words.table(shown.astype(str).to_dict("records")))
    with st.container(horizontal=True):
        export.csv(table, f"{metric}-{what}")
        export.png(lambda: export.intervals_png(table, title, labels), f"{metric}-{what}")
        export.latex(shown, f"{metric}-{what}")


# -- verdicts ------------------------------------------------------------------------------


def _verdicts(verdicts: pd.DataFrame) -> None:
    """One row per claim: the paper's number, then each machine, size and target."""
    if not len(verdicts):
        return
    st.subheader("Claims side by side", anchor=False)
    newest = data.current(verdicts).sort_values(["place", "claim"])
    table: dict[str, dict[str, str]] = {}
    for row in newest.itertuples():
        stated = {
            "claim": row.title,
            "in the paper": words.paper_value(row.paper_value, row.paper_unit),
        }
        place = f"{row.machine_label} · {row.size} · {row.target}"
        table.setdefault(row.claim, stated)[place] = _cell(row)
    st.html(words.table(list(table.values())))


def _cell(claim: object) -> str:
    parts = [words.verdict_text(claim.verdict)]
    if not words.missing(claim.estimate):
        parts.append(words.with_unit(words.number(claim.estimate), claim.unit))
        parts.append(words.interval(claim.low, claim.high))
        parts.append(f"({claim.data}, {claim.measurement})")
    return " ".join(parts)


if __name__ == "__main__":
    main()
