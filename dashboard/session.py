"""What every page needs from Streamlit: the store read once, its absence explained, choices."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import streamlit as st

from common.errors import RepriseError
from common.papers import SIZES, TARGETS
from common.tracking.connection import shown, tracking_uri
from dashboard import data

if TYPE_CHECKING:
    import pandas as pd

ANY = "any"
log = logging.getLogger(__name__)
# A server cannot say that it changed; a local file is read again as soon as it does.
_SERVER_SECONDS = 20


def uri() -> str:
    """URI of the store that this browser shows."""
    return tracking_uri()


def moment() -> str:
    """Token that changes when the store has to be read again."""
    return data.state(uri()) or str(int(time.monotonic() // _SERVER_SECONDS))


def snapshot() -> data.Snapshot:
    """Return the store's content, or explain what is missing and end the page."""
    try:
        with st.spinner("Reading the tracking store…"):
            found = data.load(uri(), moment())
    except RepriseError as error:
        log.warning("%s", error)
        st.error(str(error), icon=":material/cloud_off:")
        st.caption("This page looks again when you reload it.")
        st.stop()
    if not len(found.runs):
        _explain_empty()
        st.stop()
    return found


def _explain_empty() -> None:
    st.info("No results yet: the tracking store is empty.", icon=":material/science:")
    st.markdown("Run all papers at the default size, track them, and come back:")
    st.code("make reproduce", language="bash")
    st.markdown("Or one paper alone, and what is already on disk:")
    st.code("snakemake nurd\nreprise track", language="bash")
    st.caption(
        f"store: {shown(uri())}. Set MLFLOW_TRACKING_URI to look at another one, "
        "such as a colleague's server."
    )


@contextlib.contextmanager
def address() -> Iterator[None]:
    """Put the choices that a page makes into its address, together: each change costs the browser.

    Every change is also a step of the browser's history, through which its reader goes back.
    """
    chosen = st.session_state["chosen"] = {}
    try:
        yield
    finally:
        if not chosen.items() <= st.query_params.to_dict().items():
            st.query_params.update(chosen)


def choose(
    label: str,
    options: Sequence[str],
    name: str,
    *,
    default: str | None = None,
    shown_as: Callable[[str], str] = str,
) -> str:
    """Select one option; the choice lives in the address, so that it can be shared.

    An address that names something unknown falls back to the default and says so.
    """
    options = list(options)
    wanted = st.query_params.get(name)
    if st.session_state.get(name) not in options:
        remembered = st.session_state.get(f"last_{name}")
        choices = (wanted, remembered, default, options[0])
        st.session_state[name] = next(choice for choice in choices if choice in options)
        if wanted and wanted not in options:
            listed = ", ".join(options[:12])
            st.warning(f"{label} {wanted!r} is not here. There is: {listed}.")
    chosen = st.selectbox(label, options, key=name, format_func=shown_as)
    st.session_state[f"last_{name}"] = chosen
    st.session_state["chosen"][name] = chosen
    return chosen


def choose_place(runs: pd.DataFrame) -> tuple[str, str, str, pd.DataFrame]:
    """Select size, target and machine (or any) among runs; return them and the runs there.

    The runs returned are those of the size and target, of every machine.
    """
    sizes = [size for size in SIZES if (runs["size"] == size).any()]
    size = choose("Size", sizes, "size", default="quick")
    runs = runs[runs["size"] == size]
    targets = [target for target in TARGETS if (runs["target"] == target).any()]
    target = choose("Target", targets, "target", default="cpu")
    runs = runs[runs["target"] == target]
    names = dict(zip(runs["machine"], runs["machine_label"], strict=True))
    machine = choose(
        "Machine",
        [ANY, *names],
        "machine",
        shown_as=lambda name: names.get(name, "newest of any machine"),
    )
    return size, target, machine, runs
