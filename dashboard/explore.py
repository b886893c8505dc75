"""Explore: the charts that a paper lets its reader turn over."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING, Any

import streamlit as st

from common.errors import ConfigError
from common.explorers import Explorer
from common.plotting import weakest
from common.schema import validate
from dashboard import charts, data, export, pictures, words
from dashboard.session import ANY, choose, choose_place, snapshot, uri

if TYPE_CHECKING:
    import pandas as pd


def main() -> None:
    st.title("Explore", anchor=False)
    store = snapshot()
    titles = dict(zip(store.papers["paper"], store.papers["title"], strict=True))
    done = store.runs[store.runs["status"] == "done"]
    offered = {slug: _explorers(done[done["paper"] == slug]) for slug in titles}
    offered = {slug: found for slug, found in offered.items() if found}
    if not offered:
        st.info("No paper of this store declares a chart to explore and has a run that fills it.")
        return
    with st.sidebar:
        slug = choose("Paper", list(offered), "paper", shown_as=lambda s: f"{s}: {titles.get(s)}")
    st.caption(words.plain(f"{slug}: {titles[slug]}"))
    runs, found = done[done["paper"] == slug], offered[slug]
    name = choose("Chart", list(found), "chart", shown_as=lambda name: found[name].title)
    _show(slug, name, found[name], runs)


def _explorers(runs: pd.DataFrame) -> dict[str, Explorer]:
    """Explorers of the newest declaration whose experiment has been run."""
    if not len(runs):
        return {}
    declared = data.declaration(uri(), runs.iloc[0]).get("explorers")
    try:
        parsed = {
            name: validate(told, Explorer, f"explorer {name}")
            for name, told in (declared or {}).items()
        }
    except ConfigError as error:
        st.warning(f"The store's paper.yaml is of another version: {words.plain(str(error))}")
        return {}
    return {name: item for name, item in parsed.items() if item.experiment in set(runs.experiment)}


def _show(slug: str, name: str, explorer: Explorer, runs: pd.DataFrame) -> None:
    with st.sidebar:
        *_, machine, runs = choose_place(runs[runs["experiment"] == explorer.experiment])
    runs = runs if machine == ANY else runs[runs["machine"] == machine]
    run = next(runs.itertuples())
    rows = data.observations(uri(), run)
    if lacking := explorer.missing(rows) if len(rows) else ["its observations"]:
        st.info(f"This run lacks what the chart needs: {words.plain(', '.join(lacking))}.")
        return
    for column, value in explorer.where.items():
        rows = rows[rows[column] == value]
    rows = rows[rows["metric"].isin(explorer.named_metrics)]
    rows, metric = _chosen(explorer, rows)
    if not len(rows) or (metric and metric not in set(rows["metric"])):
        st.info("No observation fits this choice.")
        return
    st.html(words.row(words.label_chips(*weakest(rows))))
    found = pictures.table(explorer, rows, metric)
    if explorer.kind == "curve":
        found = _toggled(explorer, name, found)
    units = dict(rows.drop_duplicates("metric").set_index("metric")["unit"])
    figure = pictures.draw(explorer, found, metric, units)
    st.plotly_chart(figure, config=charts.CONFIG, key="picture")
    st.caption(words.plain(explorer.caption))
    _source(run)
    _numbers(found.reset_index() if explorer.kind == "heat" else found)
    export.csv(found, f"{slug}-{name}", index=explorer.kind == "heat")


@st.fragment
def _numbers(found: pd.DataFrame) -> None:
    folder = st.expander("Numbers", key="numbers", on_change="rerun")
    if folder.open:
        folder.dataframe(found, hide_index=True)


def _chosen(explorer: Explorer, rows: pd.DataFrame) -> tuple[pd.DataFrame, str]:
    """Rows of the values that the reader picks, and the metric of a curve or of dots."""
    metric = explorer.metrics[0] if explorer.metrics else ""
    picks = [*explorer.choose]
    if explorer.kind in ("curve", "dots") and len(explorer.metrics) > 1:
        picks.insert(0, "metric")
    slots = iter(st.columns(len(picks)) if picks else ())
    for column in picks:
        with next(slots):
            if column == "metric":
                metric = choose("Metric", explorer.metrics, "y")
                continue
            # What has no value of the column, such as a total, belongs to every choice.
            values = [str(value) for value in rows[column].dropna().unique()]
            if values:
                value = choose(column, values, f"by_{column}")
                rows = rows[rows[column].isna() | (rows[column].astype(str) == value)]
    return rows, metric


def _toggled(explorer: Explorer, name: str, found: pd.DataFrame) -> pd.DataFrame:
    lines = found["line"].astype(str)
    every = list(dict.fromkeys(lines))
    first = [line for line in every if line in explorer.shown] or every
    kept = st.pills("Lines", every, selection_mode="multi", default=first, key=f"lines-{name}")
    return found[lines.isin(kept)]


def _source(run: Any) -> None:
    facts = (run.machine_label, words.commit(run.commit, run.dirty), f"data: {run.data}")
    address = words.link("runs", run=run.run_id)
    link = words.anchor(address, "the run behind this chart")
    st.html(f'<p class="small">{link} · {html.escape(" · ".join(facts))}</p>')


if __name__ == "__main__":
    main()
