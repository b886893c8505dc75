"""Verdicts that moved: since the commit before, and away from the recorded ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from common.claims import VERDICTS_BEST_FIRST

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = ("paper", "claim", "title", "size", "target", "before", "now", "since")
_PLACE = ["paper", "claim", "size", "target", "machine"]


def since_last_commit(verdicts: pd.DataFrame) -> pd.DataFrame:
    """Verdicts of the newest commit that differ from those of the commit before.

    Only runs of the claim's own experiment on the same machine are set side by side.

    Parameters
    ----------
    verdicts : DataFrame
        ``Snapshot.verdicts``, newest first.

    Returns
    -------
    DataFrame
        Columns ``COLUMNS``; ``since`` is the earlier commit, shortened.
    """
    own = verdicts[verdicts["own"].astype(bool)]
    newest = own.drop_duplicates(_PLACE)
    older = own.merge(newest[[*_PLACE, "commit"]], on=_PLACE, suffixes=("", "_now"))
    older = older[older["commit"] != older["commit_now"]].drop_duplicates(_PLACE)
    pairs = newest.merge(older[[*_PLACE, "verdict", "commit"]], on=_PLACE, suffixes=("", "_before"))
    return _moved(
        pairs.assign(
            before=pairs["verdict_before"],
            now=pairs["verdict"],
            since=pairs["commit_before"].str[:8],
        )
    )


def since_recorded(verdicts: pd.DataFrame, recorded: dict[str, list[Any]]) -> pd.DataFrame:
    """Current verdicts that differ from the recorded ones on the same data.

    Parameters
    ----------
    verdicts : DataFrame
        Current verdicts.
    recorded : dict
        Per paper the entries of its ``recorded/verdicts.json``.
    """
    place = ("claim", "size", "target", "data")
    known = {
        (slug, *(entry.get(name) for name in place)): entry["verdict"]
        for slug, entries in recorded.items()
        for entry in entries
        if isinstance(entry, dict) and "verdict" in entry
    }
    places = verdicts[["paper", "claim", "size", "target", "data"]].itertuples(
        index=False, name=None
    )
    before = [known.get(place) for place in places]
    found = verdicts.assign(before=before, now=verdicts["verdict"], since="recorded")
    return _moved(found[found["before"].notna()])


def better(before: str, now: str) -> bool:
    """Whether a verdict is the better one of two.

    Examples
    --------
    >>> better("weaker", "reproduced"), better("reproduced", "error")
    (True, False)
    """
    return rank(now) < rank(before)


def rank(verdict: str) -> int:
    """Place of a verdict, best first; one of another version comes last."""
    known = verdict in VERDICTS_BEST_FIRST
    return VERDICTS_BEST_FIRST.index(verdict) if known else len(VERDICTS_BEST_FIRST)


def _moved(pairs: pd.DataFrame) -> pd.DataFrame:
    return pairs.loc[pairs["before"] != pairs["now"], list(COLUMNS)].reset_index(drop=True)
