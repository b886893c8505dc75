"""How far a score can be trusted: its spread over seeds, and a test against split halves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from common.graphs.events import EventStream
from projects.jlmetric.fingerprint import Settings
from projects.jlmetric.scores import Against, comparable, known_score, limits_for


@dataclass(frozen=True)
class Calibration:
    """A score with what is known about its error.

    Attributes
    ----------
    mean : float
        Mean score over the seeds of the random maps.
    standard_error : float
        Of that mean; NaN for a single seed.
    scores : tuple of float
        One per seed.
    p_value : float or None
        Of the split-half test; None if it was not asked for.
    """

    mean: float
    standard_error: float
    scores: tuple[float, ...]
    p_value: float | None = None


def calibrate(
    reference: Any,
    generated: Any,
    *,
    seeds: int = 10,
    permutations: int = 0,
    score: str = "frobenius",
    align: str = "id",
    normalise: str = "own",
    node_dim: int = 100,
    graph_dim: int = 100,
    seed: int = 42,
    partner: bool = False,
    projection: str = "gaussian",
    device: Any = "cpu",
) -> Calibration:
    """Score with K independent maps and test the distance against halves of the reference.

    Parameters
    ----------
    reference, generated : EventStream, TemporalData, DataFrame, mapping or path of a CSV file
        Streams of events with the same feature columns.
    seeds : int
        K; the maps have seeds ``seed, ..., seed + K - 1``.
    permutations : int
        Permutations of the split-half test (:func:`split_half_test`); 0 leaves it out, 199 is
        usual.
    score, align, normalise, node_dim, graph_dim, seed, partner, projection, device
        As in ``compare``.

    Returns
    -------
    Calibration

    Raises
    ------
    ValueError
        If ``seeds < 1`` or ``permutations < 0``; see also ``compare``.

    Examples
    --------
    >>> events = {"src": [0, 0, 2], "dst": [1, 2, 1], "t": [0, 4, 9]}
    >>> result = calibrate(events, events, seeds=3)
    >>> round(result.mean, 6), result.standard_error < 1e-9
    (1.0, True)
    """
    known_score(score)
    if seeds < 1 or permutations < 0:
        raise ValueError(
            f"seeds must be at least 1 and permutations at least 0, got {seeds} and {permutations}"
        )
    settings = [
        Settings(node_dim, graph_dim, seed + k, align, partner, projection, device)
        for k in range(seeds)
    ]
    reference, generated = comparable(reference, generated, align)
    limits = limits_for(reference, normalise)
    values = np.array(
        [Against(reference, one, score=score, limits=limits)(generated) for one in settings]
    )
    error = float(values.std(ddof=1) / seeds**0.5) if seeds > 1 else float("nan")
    p_value = None
    if permutations:
        p_value = split_half_test(
            reference,
            generated,
            settings[0],
            permutations=permutations,
            score=score,
            normalise=normalise,
        )
    return Calibration(float(values.mean()), error, tuple(values.tolist()), p_value)


def split_half_test(
    reference: EventStream,
    generated: EventStream,
    settings: Settings,
    *,
    permutations: int = 199,
    score: str = "frobenius",
    normalise: str = "own",
) -> float:
    """Test whether ``generated`` is further from the reference than the reference from itself.

    The events of the reference are dealt at random into halves A and B, and as many events G as B
    has are drawn from the generated graph. The statistic is s(A, B) - s(A, G). Under the null
    hypothesis the events of B and of G are exchangeable, so they are pooled and dealt again.

    Parameters
    ----------
    reference, generated : EventStream
        At least four events in the reference and two in the generated graph.
    settings : Settings
        Of the maps; the seed also fixes the dealing.
    permutations : int
        Number of dealings P; the smallest p-value is 1 / (P + 1).
    score, normalise : str
        As in ``compare``.

    Returns
    -------
    float
        (1 + number of dealings with a statistic at least as large) / (1 + P): one-sided, so a
        copy of the reference is not found far.

    Raises
    ------
    ValueError
        If a graph has too few events.

    Notes
    -----
    Single events are dealt, not blocks of them. Where events of a node depend on each other
    (bursts, repeated pairs), two independent streams of one source differ more than two halves of
    one stream, and the p-value says so: the test asks about this reference, not about its source.
    """
    half = min(len(reference) // 2, len(generated))
    if len(reference) < 4 or half < 2:
        raise ValueError(
            f"the split-half test needs 4 events in the reference and 2 in the generated graph, "
            f"got {len(reference)} and {len(generated)}: pass longer streams or permutations=0"
        )
    rng = np.random.default_rng(settings.seed)
    limits = limits_for(reference, normalise)
    dealt = rng.permutation(len(reference))
    kept = reference[np.sort(dealt[: len(reference) - half])]
    other = reference[np.sort(dealt[len(reference) - half :])]
    drawn = generated[np.sort(rng.choice(len(generated), half, replace=False))]
    pool = pooled(other, drawn)
    is_other = pool.in_first
    near = Against(kept, settings, score=score, limits=limits)

    def statistic(first: np.ndarray) -> float:
        return near(pool.events[first]) - near(pool.events[~first])

    observed = statistic(is_other)
    shuffled = (statistic(rng.permutation(is_other)) for _ in range(permutations))
    larger = sum(value >= observed for value in shuffled)
    return (1 + larger) / (1 + permutations)


@dataclass(frozen=True)
class Pool:
    """The events of two streams in one, in the order of time, and which came from the first."""

    events: EventStream
    in_first: np.ndarray


def pooled(first: EventStream, second: EventStream) -> Pool:
    """Merge two streams; at equal times the first stream's events come first."""
    joined = {
        name: np.concatenate([getattr(first, name), getattr(second, name)])
        for name in ("src", "dst", "t", "msg")
    }
    order = np.argsort(joined["t"], kind="stable")
    events = EventStream(**{name: values[order] for name, values in joined.items()})
    return Pool(events, order < len(first))
