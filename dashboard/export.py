"""Downloads: CSV, PNG and a LaTeX table, made when they are asked for."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import TYPE_CHECKING

import streamlit as st

from common.plotting import VERDICT_COLOURS, VERDICT_SYMBOLS

if TYPE_CHECKING:
    import pandas as pd

# What LaTeX reads as its own; a backslash first, since the others bring one.
_LATEX = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "≥": r"$\geq$",
    "≤": r"$\leq$",
    "≈": r"$\approx$",
    "×": r"$\times$",
    "±": r"$\pm$",
    "↓": r"$\downarrow$",
    "✓": r"\checkmark{}",
    "✗": r"$\times$",
    "–": "--",
    "µ": r"\textmu{}",
}


def csv(table: pd.DataFrame, name: str, *, index: bool = False) -> None:
    """Button that downloads a table as CSV."""
    _button("CSV", lambda: table.to_csv(index=index), f"{name}.csv", "text/csv")


def latex(table: pd.DataFrame, name: str) -> None:
    """Button that downloads a table as LaTeX (booktabs, amssymb)."""
    _button("LaTeX table", lambda: latex_table(table), f"{name}.tex", "text/x-tex")


def png(draw: Callable[[], bytes], name: str) -> None:
    """Button that downloads an image."""
    _button("PNG", draw, f"{name}.png", "image/png")


def _button(label: str, make: Callable[[], str | bytes], name: str, mime: str) -> None:
    st.download_button(label, make, name, mime, on_click="ignore", key=f"download-{name}")


def latex_table(table: pd.DataFrame) -> str:
    r"""Table in LaTeX, with every text as it stands.

    Examples
    --------
    >>> import pandas as pd
    >>> print(latex_table(pd.DataFrame({"share_%": ["≥ 1"]})))
    % needs \usepackage{booktabs,amssymb}
    \begin{tabular}{l}
    \toprule
    share\_\% \\
    \midrule
    $\geq$ 1 \\
    \bottomrule
    \end{tabular}
    <BLANKLINE>
    """
    lines = [_latex_row(row) for row in table.itertuples(index=False, name=None)]
    head = [r"\begin{tabular}{" + "l" * table.shape[1] + "}", r"\toprule"]
    body = [_latex_row(tuple(table.columns)), r"\midrule", *lines, r"\bottomrule"]
    needs = r"% needs \usepackage{booktabs,amssymb}"
    return "\n".join([needs, *head, *body, r"\end{tabular}", ""])


def _latex_row(values: tuple[object, ...]) -> str:
    cells = ("".join(_LATEX.get(sign, sign) for sign in str(value)) for value in values)
    return " & ".join(cells) + r" \\"


def intervals_png(table: pd.DataFrame, xlabel: str, labels: tuple[str, str]) -> bytes:
    """Means with intervals, one row per method and series, in the figures' style."""
    from common.plotting import dot_interval, figure, label_figure

    names = table["method"] + " @ " + table["series"]
    fig, ax = figure(height=1 + 0.3 * len(table))
    dot_interval(ax, table.assign(variant=names), xlabel=xlabel)
    return _bytes(label_figure(fig, *labels))


def claims_png(claims: pd.DataFrame, title: str) -> bytes:
    """Claims of a paper by verdict: estimate and interval over the accepted range's scale.

    Each line is drawn on its own scale, on which the accepted range is shaded.
    """
    from common.plotting import figure
    from dashboard.claim_bar import scale

    fig, axes = figure(len(claims), 1, width=8, height=0.6 + 0.42 * len(claims), squeeze=False)
    fig.suptitle(title, x=0.01, ha="left", weight="bold")
    for ax, claim in zip(axes[:, 0], claims.to_dict("records"), strict=True):
        ax.set_yticks([])
        ax.grid(visible=False)
        ax.spines["left"].set_visible(False)
        verdict = claim["verdict"]
        text = f"{VERDICT_SYMBOLS.get(verdict, '?')} {claim['title']}"
        ax.set_ylabel(text, rotation=0, ha="right", va="center", fontsize=8)
        span = scale(claim)
        if span is None:
            ax.set_xticks([])
            continue
        first, last, low, high = span
        ax.set_xlim(first, last)
        ax.tick_params(labelsize=6)
        ax.axvspan(low, high, color=VERDICT_COLOURS["reproduced"], alpha=0.18, linewidth=0)
        colour = VERDICT_COLOURS.get(verdict, "#555555")
        ax.plot([claim["low"], claim["high"]], [0, 0], color=colour, linewidth=2.4)
        ax.plot([claim["estimate"]], [0], "o", color=colour)
    return _bytes(fig)


def _bytes(fig: object) -> bytes:
    buffer = io.BytesIO()
    fig.savefig(buffer, format="png")
    return buffer.getvalue()
