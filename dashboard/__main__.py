"""Streamlit with the tracking store's reader warm: ``python -m dashboard run app.py``.

MLflow takes seconds to import and to look over its database. That happens while the server starts
and the reader's browser opens, so that the first page does not have to wait for it.
"""

from __future__ import annotations

import contextlib
import threading

from streamlit.web.cli import main

from common.errors import RepriseError


def warm_up() -> None:
    """Read the store once; a page says what is wrong where this fails."""
    from dashboard import data
    from dashboard.session import moment, uri

    with contextlib.suppress(RepriseError):
        data.load(uri(), moment())


if __name__ == "__main__":
    threading.Thread(target=warm_up, daemon=True).start()
    main(prog_name="streamlit")
