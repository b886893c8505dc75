"""Frame-, file- and context-level accuracy, always together (section 2.7); events and gates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from common.errors import known
from projects.watchhar.data import CONTEXTS, EVENT_SAMPLES, IMU_HZ
from projects.watchhar.detector import Hysteresis
from projects.watchhar.open_set import softmax

POOLS = ("probabilities", "logits")


@dataclass(frozen=True)
class Scores:
    """Balanced accuracy of one participant's recordings at three levels.

    Attributes
    ----------
    frame : float
        Every window for itself.
    file : float
        One answer per recording, from the sum over its windows.
    context : float
        The same, with the answer sought among the classes of the recording's context alone:
        the published headline, and the easiest of the three. NaN without any known context.
    by_context : dict of str to float
        The last one per context.
    """

    frame: float
    file: float
    context: float
    by_context: dict[str, float]

    @property
    def levels(self) -> dict[str, float]:
        """All three, by name."""
        return {"frame": self.frame, "file": self.file, "context": self.context}


def balanced_accuracy(labels: np.ndarray, predicted: np.ndarray) -> float:
    """Mean over the classes present of the share that was recognised.

    Examples
    --------
    >>> balanced_accuracy(np.array([0, 0, 0, 1]), np.array([0, 0, 0, 0]))
    0.5
    """
    if not len(labels):
        raise ValueError("balanced accuracy of nothing: there is no window")
    present = np.unique(labels)
    return float(np.mean([(predicted[labels == name] == name).mean() for name in present]))


def evaluate(
    logits: np.ndarray,
    labels: np.ndarray,
    recordings: np.ndarray,
    classes: Sequence[str],
    *,
    pool: str = "probabilities",
    contexts: Mapping[str, Sequence[str]] = CONTEXTS,
) -> Scores:
    """Score the windows of one participant at all three levels.

    Parameters
    ----------
    logits : ndarray, shape (windows, classes)
        Outputs of the model.
    labels : ndarray of int, shape (windows,)
        True classes.
    recordings : ndarray, shape (windows,)
        Which recording each window is from.
    classes : sequence of str
        Names of the outputs.
    pool : {"probabilities", "logits"}
        What is summed over a recording. Released are logits, documented as probabilities (trap 5):
        one confident window can outvote all the others.
    contexts : mapping
        Classes of each context. Recordings of a class without one ("Other") are left out of the
        context level, as released.

    Returns
    -------
    Scores
        Of this participant; average over participants yourself.

    Raises
    ------
    ValueError
        If a recording has two classes, or shapes differ.

    Examples
    --------
    >>> logits = np.array([[2.0, 0.0, 3.0], [2.0, 0.0, 1.0]])
    >>> scores = evaluate(
    ...     logits, np.array([0, 0]), np.array(["r", "r"]), ("Chopping", "Grating", "Sanding")
    ... )
    >>> scores.frame, scores.file, scores.context
    (0.5, 0.0, 1.0)
    """
    known(pool, POOLS, "pool")
    if logits.shape != (len(labels), len(classes)) or len(recordings) != len(labels):
        raise ValueError(
            f"logits {logits.shape}, labels {labels.shape}, recordings {recordings.shape} and "
            f"{len(classes)} classes do not go together"
        )
    frame = balanced_accuracy(labels, logits.argmax(axis=1))
    truth, pooled = pool_recordings(logits, labels, recordings, pool)
    by_context = {}
    for context, names in contexts.items():
        allowed = [place for place, name in enumerate(classes) if name in names]
        inside = np.isin(truth, allowed)
        if inside.any():
            answer = np.array(allowed)[pooled[inside][:, allowed].argmax(axis=1)]
            by_context[context] = balanced_accuracy(truth[inside], answer)
    context = float(np.mean(list(by_context.values()))) if by_context else float("nan")
    file = balanced_accuracy(truth, pooled.argmax(axis=1))
    return Scores(frame, file, context, by_context)


def pool_recordings(
    logits: np.ndarray, labels: np.ndarray, recordings: np.ndarray, pool: str = "probabilities"
) -> tuple[np.ndarray, np.ndarray]:
    """Class and summed outputs per recording, (recordings,) and (recordings, classes)."""
    outputs = softmax(logits) if pool == "probabilities" else logits
    names, place = np.unique(recordings, return_inverse=True)
    pooled = np.zeros((len(names), logits.shape[1]))
    np.add.at(pooled, place, outputs)
    truth = np.zeros(len(names), dtype=np.int64)
    truth[place] = labels
    if (mixed := truth[place] != labels).any():
        name = str(recordings[np.argmax(mixed)])
        raise ValueError(f"recording {name!r} has windows of two classes")
    return truth, pooled


def confusion(labels: np.ndarray, predicted: np.ndarray, num_classes: int) -> np.ndarray:
    """Counts, true class by predicted class, shape (num_classes, num_classes)."""
    counts = np.bincount(labels * num_classes + predicted, minlength=num_classes**2)
    return counts.reshape(num_classes, num_classes)


# -- events --------------------------------------------------------------------------------


def threshold_for_recall(scores: np.ndarray, events: np.ndarray, recall: float) -> float:
    """Largest threshold at which at least ``recall`` of the events score as high.

    Examples
    --------
    >>> threshold_for_recall(np.array([0.1, 0.4, 0.6, 0.9]), np.array([1, 1, 1, 1]), 0.75)
    0.4
    """
    of_events = np.sort(scores[events == 1])
    if not len(of_events):
        raise ValueError("no event to choose a threshold with")
    return float(of_events[int(np.floor((1 - recall) * len(of_events) + 1e-9))])


def detection(events: np.ndarray, detected: np.ndarray) -> dict[str, float]:
    """Recall, specificity, precision, F1 and balanced accuracy of windows; share switched on.

    Parameters
    ----------
    events, detected : ndarray of bool, shape (windows,)
        What was, and what the detector said.
    """
    events, detected = events.astype(bool), detected.astype(bool)
    hits = float((events & detected).sum())
    nan = float("nan")
    recall = hits / events.sum() if events.any() else nan
    specificity = float((~detected[~events]).mean()) if (~events).any() else nan
    return {
        "recall": recall,
        "specificity": specificity,
        "precision": hits / detected.sum() if detected.any() else nan,
        "f1": 2 * hits / (events.sum() + detected.sum()) if events.any() else nan,
        "balanced_accuracy": (recall + specificity) / 2,
        "duty_cycle": float(detected.mean()),
    }


def auroc(positive: np.ndarray, scores: np.ndarray) -> float:
    """Probability that a positive scores above a negative, ties half; NaN without either.

    Examples
    --------
    >>> auroc(np.array([0, 0, 1, 1]), np.array([0.1, 0.4, 0.35, 0.8]))
    0.75
    """
    positive = positive.astype(bool)
    count, others = int(positive.sum()), int((~positive).sum())
    if not count or not others:
        return float("nan")
    ordered = np.sort(scores)
    below, upto = (np.searchsorted(ordered, scores, side) for side in ("left", "right"))
    ranks = (below + upto + 1) / 2  # ties share their mean rank
    return float((ranks[positive].sum() - count * (count + 1) / 2) / (count * others))


def gating(events: np.ndarray, scores: np.ndarray, recordings: np.ndarray) -> dict[str, float]:
    """What the switch of section 2.1 makes of a detector's scores, recording by recording.

    Parameters
    ----------
    events : ndarray of bool, shape (windows,)
        Whether there was activity at the end of each window, in order of time.
    scores : ndarray, shape (windows,)
        Probability of an event; on at 0.5, off after two windows below 0.3.
    recordings : ndarray, shape (windows,)
        Which recording each window is from.

    Returns
    -------
    dict of str to float
        ``gate_duty_cycle``, share of time with the microphone on; ``gate_idle_off``, share of idle
        time with it off; ``gate_event_on``; ``event_recall``, share of uninterrupted stretches of
        activity during which it came on; ``interruptions``, how often it went off meanwhile.

    Examples
    --------
    >>> found = gating(np.array([0, 1, 1]), np.array([0.1, 0.4, 0.9]), np.array(["r", "r", "r"]))
    >>> found["event_recall"], found["gate_event_on"], found["gate_idle_off"]
    (1.0, 0.5, 1.0)
    """
    events, on = events.astype(bool), switched(scores, recordings)
    stretches, caught, interrupted = 0, 0, 0
    for name in dict.fromkeys(recordings):
        gate = on[recordings == name]
        for begin, end in uninterrupted(events[recordings == name]):
            stretches, caught = stretches + 1, caught + int(gate[begin:end].any())
            interrupted += int((np.diff(gate[begin:end].astype(int)) == -1).sum())
    nan = float("nan")
    return {
        "gate_duty_cycle": float(on.mean()),
        "gate_idle_off": float((~on[~events]).mean()) if (~events).any() else nan,
        "gate_event_on": float(on[events].mean()) if events.any() else nan,
        "event_recall": caught / stretches if stretches else nan,
        "interruptions": interrupted / stretches if stretches else nan,
    }


def switched(scores: np.ndarray, recordings: np.ndarray) -> np.ndarray:
    """Whether the switch of section 2.1 is on after each window, anew in every recording."""
    on = np.zeros(len(scores), dtype=bool)
    for name in dict.fromkeys(recordings):
        switch, place = Hysteresis(), recordings == name
        on[place] = [switch.update(float(score)) for score in scores[place]]
    return on


def uninterrupted(event: np.ndarray) -> np.ndarray:
    """First sample of every stretch of activity and the one behind its last, shape (n, 2).

    Examples
    --------
    >>> uninterrupted(np.array([False, True, True, False, True])).tolist()
    [[1, 3], [4, 5]]
    """
    steps = np.diff(event.astype(int), prepend=0, append=0)
    return np.stack([np.flatnonzero(steps == 1), np.flatnonzero(steps == -1)], axis=1)


def detection_delays(event: np.ndarray, on: np.ndarray, hop: int) -> np.ndarray:
    """Seconds from the onset of each stretch of activity to the first decision that it is one.

    Parameters
    ----------
    event : ndarray of bool, shape (samples,)
        State of every sample of one recording at 50 Hz.
    on : ndarray of bool, shape (windows,)
        Whether the switch is on after each window of three seconds.
    hop : int
        Samples between windows; a delay is at most this much coarser than that of a switch that
        decides with every sample.

    Returns
    -------
    ndarray, shape (stretches,)
        0 where the switch was on already, NaN where it stayed off until the stretch was over.

    Examples
    --------
    >>> event = np.arange(400) >= 200
    >>> detection_delays(event, np.array([False, False, False, True, True]), hop=50).tolist()
    [1.98]
    """
    last = EVENT_SAMPLES - 1 + hop * np.arange(len(on))  # newest sample of each window
    delays = []
    for begin, end in uninterrupted(event):
        before = on[last < begin]
        found = last[(last >= begin) & (last < end) & on]
        late = (found[0] - begin) / IMU_HZ if len(found) else np.nan
        delays.append(0.0 if len(before) and before[-1] else late)
    return np.array(delays)
