"""Runs: each one with its machine, cost and state; a failed one is shown as failed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import streamlit as st

from dashboard import data, words
from dashboard.session import choose, snapshot, uri

if TYPE_CHECKING:
    import pandas as pd

MARKS = {"done": "✓ done", "skipped": "– skipped", "failed": "✗ failed"}


def main() -> None:
    st.title("Runs", anchor=False)
    runs = snapshot().runs
    failed = runs[runs["status"] == "failed"]
    st.caption(f"{len(runs)} runs, {len(failed)} failed, newest first")
    with st.sidebar:
        every = ["all", *sorted(runs["paper"].unique())]
        slug = choose("Paper", every, "of_paper")
        state = choose("State", ["all", *MARKS], "status")
    shown = runs if slug == "all" else runs[runs["paper"] == slug]
    shown = shown if state == "all" else shown[shown["status"] == state]
    if not len(shown):
        st.info("No run fits this selection.")
        return
    event = st.dataframe(
        _table(shown),
        hide_index=True,
        width="stretch",
        on_select="rerun",
        selection_mode="single-row",
        key="table",
        column_config={
            "took": st.column_config.TextColumn(help="Wall clock of the whole run."),
            "CPU time": st.column_config.TextColumn(
                help="User and system time of the process and its children, from getrusage."
            ),
            "memory": st.column_config.TextColumn(
                help="Peak resident memory of the process, from getrusage."
            ),
            "energy": st.column_config.TextColumn(help="Total over all regions, with its meter."),
        },
    )
    picked = event.selection.rows
    if picked and st.session_state.get("last_picked") != picked:
        st.session_state["last_picked"] = picked
        st.session_state["run"] = shown.iloc[picked[0]]["run_id"]
    names = {run.run_id: _name(run) for run in shown.itertuples()}
    chosen = choose("Run", list(names), "run", shown_as=lambda run_id: names.get(run_id, run_id))
    _detail(next(run for run in shown.itertuples() if run.run_id == chosen))


def _name(run: Any) -> str:
    where = f"{run.size} on {run.target}, {run.machine_label}"
    return f"{run.paper} {run.experiment}: {run.status}, {where}, {_moment(run.started)}"


def _moment(text: str) -> str:
    return text.replace("T", " ")[:16]


def _table(runs: pd.DataFrame) -> pd.DataFrame:
    import pandas as pd

    return pd.DataFrame(
        {
            "status": runs["status"].map(lambda status: MARKS.get(status, status)),
            "paper": runs["paper"],
            "experiment": runs["experiment"],
            "size": runs["size"],
            "target": runs["target"],
            "reason": runs["reason"],
            "data": runs["data"],
            "measurement": runs["measurement"],
            "took": runs["seconds"].map(words.duration),
            "CPU time": runs["cpu_seconds"].map(words.duration),
            "memory": [words.with_unit(words.number(mb), "MB") for mb in runs["peak_memory_mb"]],
            "energy": runs["energy"].replace("", "no meter"),
            "machine": runs["machine_label"],
            "processor": runs["cpu"],
            "GPU": runs["gpus"].replace("", "none"),
            "recorded": runs["recorded"],
            "commit": [words.commit(run.commit, run.dirty) for run in runs.itertuples()],
            "started": runs["started"].map(_moment),
        }
    )


def _detail(run: Any) -> None:
    st.subheader(words.plain(f"{run.paper} / {run.experiment}"), anchor=False)
    if run.status == "failed":
        st.error(f"**failed**: {words.plain(run.reason)}")
    elif run.status == "skipped":
        st.warning(f"**skipped**: {words.plain(run.reason)}")
    if run.dirty:
        st.warning("The working tree differed from the commit: the commit alone cannot repeat it.")
    st.html(words.row(words.label_chips(run.data, run.measurement)))
    record = data.record(uri(), run)
    if not record:
        st.info("The store does not hold this run's run.json.")
        return
    datasets = record.get("datasets") or {}
    order = ("region", "quantity", "total", "unit", "count", "meter", "measurement")
    parts = (
        _pairs("Configuration", record.get("config")),
        _pairs("Versions", record.get("versions")),
        _pairs("Machine", record.get("machine")),
        _pairs("Code", record.get("git")),
        _pairs("Stand-ins", record.get("stand_ins")),
        _rows("Measurements", record.get("measurements"), order),
        _rows("Data", [{"dataset": name, **_fields(facts)} for name, facts in datasets.items()]),
        _rows("Left out", record.get("skipped")),
    )
    # As HTML: the browser draws a grid of Streamlit's in the time of a hundred such tables.
    st.html(f'<div class="facts">{"".join(parts)}</div>')
    _whole_record(record)


def _fields(facts: Any) -> dict[str, str]:
    return {str(k): str(v) for k, v in facts.items()} if isinstance(facts, dict) else {}


def _pairs(title: str, content: Any) -> str:
    if not isinstance(content, dict):
        return ""
    return _titled(title, [{"name": name, "value": str(content[name])} for name in content])


def _rows(title: str, content: Any, order: tuple[str, ...] = ()) -> str:
    rows = [{name: _text(row.get(name, "")) for name in order or row} for row in content or ()]
    return _titled(title, rows, "wide")


def _titled(title: str, rows: list[dict[str, str]], kind: str = "") -> str:
    return f'<div class="{kind}"><h3>{title}</h3>{words.table(rows)}</div>' if rows else ""


def _text(value: Any) -> str:
    return words.number(value) if isinstance(value, float) else str(value)


@st.fragment
def _whole_record(record: dict[str, Any]) -> None:
    folder = st.expander("run.json", key="whole_record", on_change="rerun")
    if folder.open:
        folder.json(record)


if __name__ == "__main__":
    main()
