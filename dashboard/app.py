"""The results browser's entry: ``streamlit run dashboard/app.py``, or ``reprise dashboard``."""

import streamlit as st

from common.tracking.connection import shown
from dashboard.session import uri

# Streamlit's own spacing and titles are made for wide screens alone.
STYLE = """<style>
[data-testid="stMainBlockContainer"] {padding-top: 3.5rem; padding-bottom: 3rem}
[data-testid="stMainBlockContainer"] h1 {font-size: clamp(1.6rem, 5vw, 2.5rem)}
</style>"""

st.set_page_config(page_title="Reprise", page_icon=":material/replay:", layout="wide")
page = st.navigation(
    [
        st.Page("overview.py", title="Overview", icon=":material/dashboard:", default=True),
        st.Page("paper.py", title="Paper", icon=":material/article:"),
        st.Page("compare.py", title="Compare", icon=":material/compare_arrows:"),
        st.Page("runs.py", title="Runs", icon=":material/list:"),
    ]
)
st.html(STYLE)
page.run()
st.sidebar.caption(f"store: {shown(uri())}")
