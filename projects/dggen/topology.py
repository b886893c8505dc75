"""Do generated graphs look like the real ones? Errors of ten statistics (section 2.8)."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from common.errors import known
from common.graphs.events import EventStream
from common.graphs.snapshots import (
    TIGGER_TEN,
    edge_overlap,
    median_errors,
    windows_by_count,
    windows_by_time,
)

WINDOWS = ("time", "count")


def topology_errors(
    real: EventStream,
    generated: EventStream,
    windows: str,
    *,
    width: float = 500.0,
    origin: float = 0.0,
) -> dict[str, float]:
    """Return the median over windows of |real - generated| for the ten statistics.

    Parameters
    ----------
    real, generated : EventStream
        The test part and what was generated in its place.
    windows : {"time", "count"}
        Windows of ``width`` units of time from ``origin`` on, the paper's; or of ``width`` events,
        which do not depend on the unit of time nor on generated times (T14).
    width : float
        500 in the paper, whatever the unit.
    origin : float
        Begin of the first window in time.

    Returns
    -------
    dict
        The ten statistics, ``transitivity``, and ``edge_overlap``: the median share of a generated
        window's edges that the real window has too.
    """
    known(windows, WINDOWS, "kind of windows")
    if windows == "count":
        ours, theirs = (windows_by_count(stream, int(width)) for stream in (real, generated))
    else:
        # Windows after the last real event have no partner.
        generated = generated[generated.t < real.t[-1] + width]
        ours, theirs = (windows_by_time(s, width, origin) for s in (real, generated))
    errors = median_errors(ours, theirs)
    shares = [edge_overlap(a, b) for a, b in zip(ours, theirs, strict=False) if len(a)]
    shares = [share for share in shares if np.isfinite(share)]
    return {**errors, "edge_overlap": float(np.median(shares)) if shares else float("nan")}


def wins(errors: Mapping[str, float], rival: Mapping[str, float]) -> dict[str, int]:
    """Count on how many of the ten statistics errors are smaller than a rival's.

    Ties are no wins: a bipartite graph has no triangles, and no generator that keeps it bipartite
    can be wrong about that.

    Returns
    -------
    dict
        ``wins``, ``ties`` and ``losses``. A statistic that has no value for one side counts for
        the other, for neither as a tie.

    Examples
    --------
    >>> nothing = dict.fromkeys(TIGGER_TEN, 0.0)
    >>> wins({**nothing, "num_components": 1.0}, {**nothing, "mean_degree": 1.0})
    {'wins': 1, 'ties': 8, 'losses': 1}
    """
    ours, theirs = (
        np.array([np.inf if np.isnan(side[name]) else side[name] for name in TIGGER_TEN])
        for side in (errors, rival)
    )
    better, worse = int((ours < theirs).sum()), int((ours > theirs).sum())
    return {"wins": better, "ties": len(TIGGER_TEN) - better - worse, "losses": worse}
