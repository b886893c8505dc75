"""Overview: which papers stood, in ten seconds."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING, Any

import streamlit as st

from common.claims import VERDICTS_BEST_FIRST
from common.plotting import VERDICT_SYMBOLS, WARNING
from common.results import DATA_LABELS
from dashboard import changes, data, export, words
from dashboard.session import ANY, choose, choose_place, snapshot, uri

if TYPE_CHECKING:
    import pandas as pd

_ON_A_TILE = (
    *("paper", "size", "target", "claim", "title", "verdict", "estimate", "unit", "data"),
    "measurement",
)


def main() -> None:
    st.title("Which claims stood?")
    store = snapshot()
    verdicts, where = _filtered(store)
    st.caption(where)
    if not len(verdicts):
        st.info("No claim has been judged for this selection; choose another in the sidebar.")
        _failures(store.runs)
        return
    st.html(_headline(verdicts))
    _failures(store.runs)
    _changes(store, verdicts)
    st.html(_matrix(verdicts, store.papers))
    _table(verdicts)


def _filtered(store: data.Snapshot) -> tuple[pd.DataFrame, str]:
    """Verdicts of the chosen size, target, machine and data label, and the choice in words."""
    verdicts = store.verdicts
    with st.sidebar:
        size, target, machine, here = choose_place(store.runs)
        label = choose("Data", [ANY, *DATA_LABELS], "data", shown_as=lambda name: f"{name} data")
    verdicts = verdicts[(verdicts["size"] == size) & (verdicts["target"] == target)]
    if machine != ANY:
        verdicts = verdicts[verdicts["machine"] == machine]
    if label != ANY:
        verdicts = verdicts[verdicts["data"] == label]
    verdicts = data.current(verdicts, across_machines=machine == ANY)
    names = dict(zip(here["machine"], here["machine_label"], strict=True))
    name = names.get(machine, "newest run of any machine")
    return verdicts, f"{size} size on {target} · {name} · {label} data"


def _headline(verdicts: pd.DataFrame) -> str:
    counts = verdicts["verdict"].value_counts()
    papers = verdicts["paper"].nunique()
    stood = int(counts.get("reproduced", 0))
    text = (
        f"{stood} of {len(verdicts)} claims reproduced in {papers} "
        f"{'paper' if papers == 1 else 'papers'}"
    )
    chips = [
        words.verdict_chip(verdict, int(counts[verdict]))
        for verdict in VERDICTS_BEST_FIRST
        if verdict in counts
    ]
    return (
        f'<p style="font-size:1.5rem;font-weight:700;margin:0 0 0.5rem">{text}</p>'
        f"{words.row(*chips)}"
    )


def _failures(runs: pd.DataFrame) -> None:
    newest = data.latest(runs, ("paper", "experiment", "size", "target", "machine"))
    failed = newest[newest["status"] == "failed"]
    if len(failed):
        names = ", ".join(f"{run.paper} {run.experiment}" for run in failed.itertuples())
        st.error(f"{len(failed)} of {len(newest)} newest runs failed: {words.plain(names)}.")
        st.page_link("runs.py", label="Show the failed runs", query_params={"status": "failed"})


def _matrix(verdicts: pd.DataFrame, papers: pd.DataFrame) -> str:
    """One row per paper, one tile per claim, best verdict first."""
    titles = dict(zip(papers["paper"], papers["title"], strict=True))
    rows = [
        _matrix_row(slug, titles.get(slug, ""), claims)
        for slug, claims in verdicts[list(_ON_A_TILE)].groupby("paper")
    ]
    legend = (
        f'<span style="border:2px dashed {WARNING};padding:0 0.3rem">dashed</span>'
        " synthetic data, or not measured. A tile leads to its claim."
    )
    return f'<div class="papers">{"".join(rows)}</div><p class="small">{legend}</p>'


def _matrix_row(slug: str, title: str, claims: pd.DataFrame) -> str:
    ranked = claims.sort_values(
        "verdict", key=lambda column: column.map(changes.rank), kind="stable"
    )
    first = ranked.iloc[0]
    address = words.link("paper", paper=slug, size=first["size"], target=first["target"])
    tiles = "".join(_tile(claim, address) for claim in ranked.to_dict("records"))
    counts = ranked["verdict"].value_counts(sort=False)
    summary = ", ".join(f"{count} {verdict}" for verdict, count in counts.items())
    return (
        f"<div><b>{words.anchor(address, slug)}</b> "
        f'<span class="small">{html.escape(title)}</span></div>'
        f'<div><div class="tiles">{tiles}</div>'
        f'<p class="small">{html.escape(summary)}</p></div>'
    )


def _tile(claim: dict, address: str) -> str:
    verdict = claim["verdict"]
    estimate = words.with_unit(words.number(claim["estimate"]), claim["unit"])
    parts = (claim["title"], verdict, estimate, f"{claim['data']} {claim['measurement']}".strip())
    hint = html.escape(": ".join(part for part in parts if part), quote=True)
    weak = claim["data"] == "synthetic" or claim["measurement"] not in ("", "measured")
    outline = f"outline:2px dashed {WARNING};outline-offset:2px;" if weak else ""
    return (
        f'<a href="{html.escape(address)}&claim={html.escape(claim["claim"])}" target="_self" '
        f'title="{hint}" aria-label="{hint}" '
        f'style="{outline}background:{words.verdict_colour(verdict)}">'
        f"{VERDICT_SYMBOLS.get(verdict, '?')}</a>"
    )


# -- what changed --------------------------------------------------------------------------


def _changes(store: data.Snapshot, verdicts: pd.DataFrame) -> None:
    """Verdicts that moved since the commit before, and away from the recorded ones."""
    here = verdicts[["size", "target"]].iloc[0]
    place = (store.verdicts["size"] == here["size"]) & (store.verdicts["target"] == here["target"])
    moved = changes.since_last_commit(store.verdicts[place])
    papers = store.runs.drop_duplicates("paper")
    recorded = {run.paper: data.recorded(uri(), run) for run in papers.itertuples()}
    st.html(
        _moved("since the commit before", moved)
        + _moved("away from the recorded verdicts", changes.since_recorded(verdicts, recorded))
    )


def _moved(since: str, moved: pd.DataFrame) -> str:
    if not len(moved):
        return f'<p class="small">No verdict moved {since}.</p>'
    up = sum(map(changes.better, moved["before"], moved["now"]))
    noun = "verdict" if len(moved) == 1 else "verdicts"
    head = (
        f"{len(moved)} {noun} moved {since}: {up} for the better, {len(moved) - up} for the worse"
    )
    items = "".join(f"<li>{_move(row)}</li>" for row in moved.itertuples())
    return (
        f"<details{' open' if len(moved) <= 3 else ''}><summary><b>{head}</b></summary>"
        f"<ul>{items}</ul></details>"
    )


def _move(row: Any) -> str:
    claim = words.anchor(_address(row), f"{row.paper}: {row.title}")
    before, now = words.verdict_chip(row.before), words.verdict_chip(row.now)
    since = "" if row.since == "recorded" else f" since {html.escape(row.since)}"
    return f"{claim} {before} → {now}{since}"


def _address(row: Any) -> str:
    """Where a claim is shown, first on its paper's page."""
    place = {"paper": row.paper, "size": row.size, "target": row.target}
    return words.link("paper", **place, claim=row.claim)


# -- all claims ----------------------------------------------------------------------------


@st.fragment
def _table(verdicts: pd.DataFrame) -> None:
    folder = st.expander("All claims as a table", key="all_claims", on_change="rerun")
    if folder.open:
        with folder:
            _claims(verdicts)


def _claims(verdicts: pd.DataFrame) -> None:
    ranked = verdicts.sort_values(["paper", "place", "claim"])
    table = words.claims_table(ranked)
    # Without colours: pandas and the browser would take as long for them as for all else here.
    st.dataframe(
        table.assign(reason=list(ranked["reason"]), page=list(map(_address, ranked.itertuples()))),
        hide_index=True,
        width="stretch",
        column_config={"page": st.column_config.LinkColumn("page", display_text="open")},
    )
    with st.container(horizontal=True):
        export.csv(ranked, "claims")
        export.latex(table, "claims")


if __name__ == "__main__":
    main()
