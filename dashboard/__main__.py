"""Streamlit with the tracking store's reader warm: ``python -m dashboard run app.py``.

MLflow and plotly take seconds to import, and MLflow to look over its database. That happens while
the server starts and the reader's browser opens, so that the first page does not have to wait.
"""

from __future__ import annotations

import contextlib
import gc
import threading

from streamlit.web.cli import main

from common.errors import RepriseError


def warm_up() -> None:
    """Read the store once and import what pages need; a page says what is wrong with a store."""
    # Streamlit collects garbage after every page, and Python as objects come into being: among all
    # that MLflow brings along, each of it would cost 0.2 s in which nobody gets an answer.
    gc.disable()
    from dashboard import data
    from dashboard.session import moment, uri

    store = None
    with contextlib.suppress(RepriseError):
        store = data.load(uri(), moment())
        for run in store.runs.drop_duplicates("paper").itertuples():
            data.declaration(uri(), run)
    from dashboard import compare, pictures  # noqa: F401

    gc.collect()
    gc.freeze()
    gc.enable()
    if store:
        compare.ahead(store)


if __name__ == "__main__":
    threading.Thread(target=warm_up, daemon=True).start()
    main(prog_name="streamlit")
