"""The results browser's entry: ``streamlit run dashboard/app.py``, or ``reprise dashboard``."""

import html
from pathlib import Path

import streamlit as st

from common.tracking.connection import shown
from dashboard.session import address, uri

# Streamlit's own spacing and titles are made for wide screens alone. Colours that are not of the
# palette are those of the text around, so that they fit light and dark.
STYLE = """<style>
[data-testid="stMainBlockContainer"] {padding-top: 3.5rem; padding-bottom: 3rem}
[data-testid="stMainBlockContainer"] h1 {font-size: clamp(1.6rem, 5vw, 2.5rem)}
[data-testid="stMainBlockContainer"] h2 {font-size: clamp(1.35rem, 4vw, 1.9rem)}
[data-testid="stMainBlockContainer"] h3 {font-size: 1.15rem}
[data-testid="stMainBlockContainer"] a:focus-visible {outline: 3px solid #E69F00 !important;
  outline-offset: 2px}
[data-testid="stCaptionContainer"] {opacity: 0.8}
.js-plotly-plot :is([class$="tick"], .infolayer) text {fill: currentColor !important}
[data-testid="stMultiSelect"] [data-tag] {background-color: #0072B2 !important}
.small {font-size: 0.85rem; opacity: 0.8; margin: 0}
.papers {display: grid; grid-template-columns: minmax(13rem, 20rem) 1fr; gap: 1rem 1.5rem;
  margin: 0.6rem 0 1rem}
@media (max-width: 60rem) {.papers {grid-template-columns: 1fr; gap: 0.4rem}
  .papers > :nth-child(odd) {margin-top: 0.6rem}}
.tiles {display: flex; flex-wrap: wrap; gap: 0.7rem; margin: 0.1rem 0 0.4rem}
.tiles a {width: 1.8rem; height: 1.8rem; display: flex; align-items: center;
  justify-content: center; border-radius: 0.35rem; font-weight: 700}
[data-testid="stMainBlockContainer"] .tiles a {color: #111111; text-decoration: none}
.figures {display: grid; gap: 1.5rem;
  grid-template-columns: repeat(auto-fit, minmax(min(100%, 26rem), 1fr))}
.figures figure {margin: 0; max-width: 48rem}
.figures img {width: 100%; border-radius: 0.35rem}
.figures figcaption {font-size: 0.85rem; opacity: 0.8}
.claims {display: grid; gap: 1rem;
  grid-template-columns: repeat(auto-fit, minmax(min(100%, 26rem), 1fr))}
.claims article, [data-testid="stHtml"] details {border: 1px solid rgba(138, 138, 138, 0.4);
  border-radius: 0.5rem}
/* Claims out of sight are laid out when they come into it. */
.claims article {padding: 1rem; content-visibility: auto; contain-intrinsic-size: auto 17rem}
[data-testid="stMainBlockContainer"] .claims h3 {margin: 0; padding: 0 0 0.6rem}
[data-testid="stHtml"] details {padding: 0.5rem 1rem; margin: 0 0 0.5rem}
[data-testid="stHtml"] details > :not(summary) {margin: 0.7rem 0 0.3rem}
[data-testid="stHtml"] summary {cursor: pointer}
[data-testid="stHtml"] table {display: block; overflow-x: auto; font-size: 0.85rem;
  border-collapse: collapse}
[data-testid="stHtml"] :is(th, td) {border: 1px solid rgba(138, 138, 138, 0.4);
  padding: 0.2rem 0.5rem; text-align: left}
.facts {display: grid; gap: 0 1.5rem;
  grid-template-columns: repeat(auto-fit, minmax(min(100%, 24rem), 1fr))}
.facts > * {min-width: 0}
.facts .wide {grid-column: 1 / -1}
.facts table {max-height: 26rem; overflow-y: auto; border-bottom: 1px solid #8A8A8A}
[data-testid="stMainBlockContainer"] .facts h3 {margin: 0; padding: 1.2rem 0 0.4rem}
@media (max-width: 40rem) {.facts .wide tbody {display: table; width: max-content}
  .facts .wide td {max-width: 15rem}}
.said {margin: 0.5rem 0}
.claim-bar {position: relative; height: 3.1rem; margin: 0.5rem 0 0.2rem;
  border-bottom: 1px solid #8A8A8A; margin-bottom: 1.5rem}
.claim-bar i {position: absolute; display: block}
.claim-bar .range {top: 0; bottom: 0; background: #009E73; opacity: 0.25}
.claim-bar .between {top: 0.95rem; height: 2px; background: #8A8A8A}
.claim-bar .paper {top: 0.6rem; width: 0.7rem; height: 0.7rem; margin-left: -0.35rem;
  background: #8A8A8A; transform: rotate(45deg)}
.claim-bar .interval {top: 2.1rem; height: 4px; margin-top: -2px; min-width: 2px}
.claim-bar .here {top: 2.1rem; width: 0.9rem; height: 0.9rem; margin: -0.45rem 0 0 -0.45rem;
  border-radius: 50%; border: 1px solid #8A8A8A}
.claim-bar b {position: absolute; top: 100%; transform: translateX(-50%); font-size: 0.75rem;
  font-weight: 400; white-space: nowrap; opacity: 0.8}
</style>"""

# The megabytes that draw charts and grids, taken in while the reader looks at the first page: two
# seconds after it, so that they do not stand in its way.
STATIC = Path(st.__file__).with_name("static")
AHEAD = "".join(
    f"<script>setTimeout(() => import('./{found.relative_to(STATIC)}'), 2000)</script>"
    for kind in ("PlotlyChart", "DataFrame")
    for found in STATIC.glob(f"static/js/{kind}.*.js")
)

st.set_page_config(page_title="Reprise", page_icon=":material/replay:", layout="wide")
page = st.navigation(
    [
        st.Page("overview.py", title="Overview", icon=":material/dashboard:", default=True),
        st.Page("paper.py", title="Paper", icon=":material/article:"),
        st.Page("explore.py", title="Explore", icon=":material/query_stats:"),
        st.Page("compare.py", title="Compare", icon=":material/compare_arrows:"),
        st.Page("runs.py", title="Runs", icon=":material/list:"),
    ]
)
st.html(STYLE)
with address():
    page.run()
# As HTML: Markdown would make a link of a server's address.
st.sidebar.html(f'<p class="small">store: {html.escape(shown(uri()))}</p>')
if AHEAD:
    st.sidebar.html(AHEAD, unsafe_allow_javascript=True)
