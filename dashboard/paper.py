"""One paper: its claims against what was measured here, and what stands behind each number."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING, Any

import streamlit as st
from streamlit.runtime import get_instance

from common.claims import VERDICTS_BEST_FIRST
from dashboard import data, export, words
from dashboard.claim_bar import bar
from dashboard.session import ANY, choose, choose_place, snapshot, uri

if TYPE_CHECKING:
    import pandas as pd


def main() -> None:
    store = snapshot()
    slug, size, target, runs, verdicts = _selection(store)
    newest = runs.iloc[0]
    declared = data.declaration(uri(), newest)
    card = data.card(uri(), newest)
    _identity(store.papers[store.papers["paper"] == slug].iloc[0])
    st.caption(f"{size} size on {target} · {_machines(runs)}")
    _scoreboard(runs, verdicts)
    _explorers(slug, size, target, declared)
    _claims(verdicts, data.claim_notes(uri(), newest))
    _exports(slug, verdicts)
    _figures(runs, declared)
    _card(card)
    _provenance(runs)


def _selection(
    store: data.Snapshot,
) -> tuple[str, str, str, pd.DataFrame, pd.DataFrame]:
    """Paper, size and target of the address, with their newest runs and verdicts."""
    runs, verdicts = store.runs, store.verdicts
    titles = dict(zip(store.papers["paper"], store.papers["title"], strict=True))
    with st.sidebar:
        slug = choose("Paper", list(titles), "paper", shown_as=lambda s: f"{s}: {titles.get(s)}")
        runs = runs[runs["paper"] == slug]
        size, target, machine, runs = choose_place(runs)
    if machine != ANY:
        runs = runs[runs["machine"] == machine]
        verdicts = verdicts[verdicts["machine"] == machine]
    verdicts = verdicts[
        (verdicts["paper"] == slug) & (verdicts["size"] == size) & (verdicts["target"] == target)
    ]
    verdicts = data.current(verdicts, across_machines=machine == ANY)
    return slug, size, target, data.latest(runs, ("experiment",)), verdicts


def _identity(paper: pd.Series) -> None:
    st.title(words.plain(paper["title"]), anchor=False)
    where = ", ".join(part for part in (paper["venue"], paper["year"]) if part)
    address = paper["url"]
    link = ""
    if address.startswith(("https://", "http://")):
        link = " · " + words.anchor(address, "paper", new_tab=True)
    st.html(f"<p>{html.escape(paper['authors'])}<br>{html.escape(where)}{link}</p>")
    if paper["summary"]:
        st.markdown(words.plain(paper["summary"]))


def _machines(runs: pd.DataFrame) -> str:
    return " and ".join(dict.fromkeys(runs["machine_label"]))


def _scoreboard(runs: pd.DataFrame, verdicts: pd.DataFrame) -> None:
    counts = verdicts["verdict"].value_counts()
    st.html(
        words.row(
            *(
                words.verdict_chip(verdict, int(counts[verdict]))
                for verdict in VERDICTS_BEST_FIRST
                if verdict in counts
            )
        )
    )
    for run in runs.itertuples():
        if run.status == "failed":
            st.error(f"**{words.plain(run.experiment)} failed**: {words.plain(run.reason)}")
        elif run.status == "skipped":
            st.warning(f"**{words.plain(run.experiment)} skipped**: {words.plain(run.reason)}")
        if run.stand_ins:
            names = words.plain(run.stand_ins)
            st.warning(f"{words.plain(run.experiment)} ran on stand-in data for {names}.")
        if run.skipped:
            left_out = run.skipped.splitlines()
            with st.expander(words.plain(f"{run.experiment} left out {len(left_out)}")):
                st.html(f"<ul>{''.join(f'<li>{html.escape(told)}</li>' for told in left_out)}</ul>")


# -- claims --------------------------------------------------------------------------------


def _claims(verdicts: pd.DataFrame, notes: dict[str, str]) -> None:
    st.header("Claims", anchor=False)
    if not len(verdicts):
        st.info("No claim has been judged on this selection: run `reprise verdicts`, then track.")
    st.caption(
        "Shaded: what counts as reproduced. Dot: measured here, with its 95 % interval. "
        "Diamond: the paper's own number."
    )
    claims = verdicts.sort_values(["place", "claim"]).to_dict("records")
    # The claim that a link names comes first: a jump within the page would end before it is there.
    wanted = st.query_params.get("claim")
    claims.sort(key=lambda claim: claim["claim"] != wanted)
    # One element for all: the browser takes a second to lay out as many of Streamlit's own.
    cards = (_claim(claim, notes.get(claim["claim"], "")) for claim in claims)
    st.html(f'<div class="claims">{"".join(cards)}</div>')


def _claim(claim: dict[str, Any], note: str) -> str:
    chips = words.row(
        words.verdict_chip(claim["verdict"]),
        words.label_chips(claim["data"], claim["measurement"]),
    )
    return (
        f'<article id="{html.escape(claim["claim"])}"><h3>{html.escape(claim["title"])}</h3>{chips}'
        f'<p class="said">{html.escape(claim["statement"])} '
        f"<i>{html.escape(claim['source'])}</i></p>{bar(claim)}{_claim_facts(claim, note)}"
        "</article>"
    )


def _claim_facts(claim: dict[str, Any], note: str) -> str:
    """Numbers in words, and the way back to the run, configuration, commit, machine and data."""
    here = "no estimate"
    if not words.missing(claim["estimate"]):
        here = words.with_unit(words.number(claim["estimate"]), claim["unit"])
        here += f" {words.interval(claim['low'], claim['high'])}, n = {claim['n']:.0f}"
    facts = {
        "here": here,
        "paper": words.paper_value(claim["paper_value"], claim["paper_unit"]),
        "accepted": words.with_unit(
            words.accepted(claim["accept_low"], claim["accept_high"]), claim["unit"]
        ),
        "why": claim["reason"],
        "note": note,
    }
    text = " · ".join(f"<b>{name}:</b> {html.escape(fact)}" for name, fact in facts.items() if fact)
    run = words.anchor(words.link("runs", run=claim["run_id"]), f"run of {claim['experiment']}")
    stamp = words.commit(claim["commit"], claim["dirty"])
    place = html.escape(f"{claim['kind']} on {claim['machine_label']}, commit {stamp}, from the ")
    return f'<p style="margin:0">{text}</p><p class="small">{place}{run}</p>'


def _explorers(slug: str, size: str, target: str, declared: dict[str, Any]) -> None:
    """Ways to the charts that can be turned over."""
    told = declared.get("explorers")
    if isinstance(told, dict) and told:
        links = [
            words.anchor(
                words.link("explore", paper=slug, chart=name, size=size, target=target),
                str(item.get("title", name)),
            )
            for name, item in told.items()
            if isinstance(item, dict)
        ]
        st.html(f"<p><b>Explore:</b> {' · '.join(links)}</p>")


def _exports(slug: str, verdicts: pd.DataFrame) -> None:
    claims = verdicts.sort_values(["place", "claim"])
    if len(claims):
        with st.container(horizontal=True):
            export.csv(claims, f"{slug}-claims")
            export.png(lambda: export.claims_png(claims, slug), f"{slug}-claims")
            export.latex(words.claims_table(claims), f"{slug}-claims")


# -- figures, card, provenance -------------------------------------------------------------


def _figures(runs: pd.DataFrame, declared: dict[str, Any]) -> None:
    """Images as they are: Streamlit's own element would scale and encode each one anew.

    They travel beside the page, not in its HTML, which the browser takes apart.
    """
    images = data.figures(uri(), runs, declared)
    if not images:
        return
    st.header("Figures", anchor=False)
    shown = (_figure(name, declared["figures"][name], image) for name, image in images.items())
    st.html(f'<div class="figures">{"".join(shown)}</div>')


def _figure(name: str, told: dict[str, Any], image: bytes) -> str:
    title, caption = (html.escape(str(told.get(key, ""))) for key in ("title", "caption"))
    place = get_instance().media_file_mgr.add(image, "image/png", f"figure-{name}")
    source = html.escape(place.removeprefix("/"))  # relative, as links are
    return (
        f'<figure><a href="{source}" target="_blank"><img src="{source}" alt="{title}" '
        'loading="lazy"></a>'
        f"<figcaption><b>{title}.</b> {caption}</figcaption></figure>"
    )


def _card(card: str) -> None:
    if not card:
        return
    for title, word in (("Deviations", "deviation"), ("Data and licences", "licence")):
        section = data.card_section(card, word)
        if section:
            st.header(title, anchor=False)
            st.markdown(section)
    _whole_card(card)


@st.fragment
def _whole_card(card: str) -> None:
    folder = st.expander("The whole paper card", key="card", on_change="rerun")
    if folder.open:
        folder.markdown(card)


def _provenance(runs: pd.DataFrame) -> None:
    st.header("Provenance", anchor=False)
    st.html("".join(_run(run, data.record(uri(), run)) for run in runs.itertuples()))


def _run(run: Any, record: dict[str, Any]) -> str:
    """What a run rests on, folded up."""
    title = f"{run.experiment}: {run.status}, {run.started.replace('T', ' ')[:16]}"
    facts = {
        "machine": run.machine_label,
        "commit": words.commit(run.commit, run.dirty),
        "took": f"{words.duration(run.seconds)}, CPU time {words.duration(run.cpu_seconds)}",
        "peak memory": f"{words.number(run.peak_memory_mb)} MB",
        "energy": run.energy or "no meter",
        "data": run.data or "none",
        "measurement": run.measurement or "none",
    }
    text = "<br>".join(f"<b>{name}:</b> {html.escape(fact)}" for name, fact in facts.items())
    datasets = record.get("datasets") or {}
    rows = [{"dataset": name, **_flat(told)} for name, told in datasets.items()]
    address = words.link("runs", run=run.run_id)
    link = words.anchor(address, "configuration, versions and measurements of this run")
    return (
        f"<details><summary>{html.escape(title)}</summary>"
        f"<p>{text}</p>{words.table(rows)}<p>{link}</p></details>"
    )


def _flat(facts: Any) -> dict[str, str]:
    if not isinstance(facts, dict):
        return {"facts": str(facts)}
    return {name: str(fact) for name, fact in facts.items()}


if __name__ == "__main__":
    main()
