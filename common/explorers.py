"""Charts that the results browser lets a reader turn over, as ``paper.yaml`` declares them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from pydantic import model_validator

from common.schema import Model

if TYPE_CHECKING:
    import pandas as pd

_NEEDED = {
    "curve": ("metrics", "x"),
    "dots": ("metrics", "rows"),
    "timeline": ("panels", "x"),
    "heat": ("metrics", "rows", "columns"),
    "spans": ("metrics", "rows"),
}
_COUNT = {"heat": 1, "spans": 3}


class Explorer(Model):
    """One chart over the observations of an experiment.

    ``curve``
        One of ``metrics`` against ``x``, a line per value of ``lines``, and of the columns
        ``split``, that can be switched off; at first those of ``shown``, or all. ``x`` is a column,
        or, with ``along``, a metric: the values of that column pair the two.
    ``dots``
        One of ``metrics`` per value of ``rows``: the mean over data sets and items with its 95 %
        interval.
    ``timeline``
        One panel per list of metrics in ``panels`` over the column ``x``; grey where the metric
        ``shade`` is above zero; ``bands`` names the metric that is a metric's standard deviation.
    ``heat``
        One metric, summed, by the columns ``rows`` and ``columns``; with ``share`` each row sums
        to one.
    ``spans``
        A bar from 0 to the first metric per value of ``rows``, a mark at the second, a line at the
        third.

    ``where`` filters as in a claim; of each column of ``choose`` the reader picks one value.
    """

    kind: Literal["curve", "dots", "timeline", "heat", "spans"]
    title: str
    caption: str
    experiment: str
    metrics: tuple[str, ...] = ()
    where: dict[str, Any] = {}
    choose: tuple[str, ...] = ()
    x: str = ""
    along: str = ""
    lines: str = "variant"
    split: tuple[str, ...] = ()
    shown: tuple[str, ...] = ()
    log: tuple[Literal["x", "y"], ...] = ()
    panels: tuple[tuple[str, ...], ...] = ()
    bands: dict[str, str] = {}
    shade: str = ""
    rows: str = ""
    columns: str = ""
    share: bool = False

    @model_validator(mode="after")
    def _kind_has_its_fields(self) -> Explorer:
        for field in _NEEDED[self.kind]:
            if not getattr(self, field):
                raise ValueError(f"an explorer of kind {self.kind!r} needs {field!r}")
        count = _COUNT.get(self.kind, len(self.metrics))
        if len(self.metrics) != count:
            raise ValueError(f"an explorer of kind {self.kind!r} needs {count} in 'metrics'")
        return self

    @property
    def named_metrics(self) -> tuple[str, ...]:
        """All metrics that the chart draws."""
        of_panels = [metric for panel in self.panels for metric in panel]
        paired = [self.x] if self.along else []
        shade = [self.shade] if self.shade else []
        return (*self.metrics, *of_panels, *self.bands.values(), *paired, *shade)

    @property
    def named_columns(self) -> tuple[str, ...]:
        """All columns that the chart reads."""
        curve = [self.x]
        if self.kind == "curve":
            curve = [self.along or self.x, self.lines, *self.split]
        return tuple(
            name for name in (*self.where, *self.choose, *curve, self.rows, self.columns) if name
        )

    def missing(self, rows: pd.DataFrame) -> list[str]:
        """Metrics and columns that the chart needs and the observations lack."""
        metrics = set(rows["metric"])
        return [f"metric {name!r}" for name in self.named_metrics if name not in metrics] + [
            f"column {name!r}" for name in self.named_columns if name not in rows
        ]
