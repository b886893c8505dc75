"""Accuracy at three levels, events and gates, against scikit-learn and by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from projects.watchhar.data import CLASSES
from projects.watchhar.evaluation import (
    auroc,
    balanced_accuracy,
    confusion,
    detection,
    detection_delays,
    evaluate,
    gating,
    pool_recordings,
    threshold_for_recall,
)


def random_case(seed, n=200, classes=5):
    rng = np.random.default_rng(seed)
    return rng.integers(0, classes, n), rng.integers(0, classes, n), rng.normal(size=n)


@pytest.mark.parametrize("seed", range(5))
def test_metrics_equal_scikit_learns(seed):
    metrics = pytest.importorskip("sklearn.metrics")
    truth, answer, scores = random_case(seed)
    scores = scores.round(1)  # with ties
    assert balanced_accuracy(truth, answer) == pytest.approx(
        metrics.balanced_accuracy_score(truth, answer)
    )
    np.testing.assert_array_equal(
        confusion(truth, answer, 5), metrics.confusion_matrix(truth, answer, labels=range(5))
    )
    events = truth > 2
    assert auroc(events, scores) == pytest.approx(metrics.roc_auc_score(events, scores))
    found = detection(events, scores > 0)
    assert found["f1"] == pytest.approx(metrics.f1_score(events, scores > 0))
    assert found["precision"] == pytest.approx(metrics.precision_score(events, scores > 0))
    assert found["recall"] == pytest.approx(metrics.recall_score(events, scores > 0))
    assert found["specificity"] == pytest.approx(metrics.recall_score(~events, scores <= 0))


@given(
    st.lists(st.floats(-5, 5), min_size=1, max_size=30),
    st.floats(0.01, 1),
)
def test_threshold_is_the_largest_that_keeps_the_recall(values, recall):
    scores, events = np.array(values), np.ones(len(values), int)
    threshold = threshold_for_recall(scores, events, recall)
    assert (scores >= threshold).mean() >= recall - 1e-9
    higher = scores[scores > threshold]
    if len(higher):
        assert (scores >= higher.min()).mean() < recall


def logits_of(answers, confidence=5.0):
    made = np.zeros((len(answers), len(CLASSES)))
    made[np.arange(len(answers)), [CLASSES.index(name) for name in answers]] = confidence
    return made


def test_levels_by_hand():
    truth = ["Chopping"] * 3 + ["Sanding"] * 3 + ["Other"] * 2
    answers = [
        "Chopping",
        "Chopping",
        "Sanding",
        "Chopping",
        "Chopping",
        "Sanding",
        "Other",
        "Other",
    ]
    labels = np.array([CLASSES.index(name) for name in truth])
    recordings = np.array(["a"] * 3 + ["b"] * 3 + ["c"] * 2)
    scores = evaluate(logits_of(answers), labels, recordings, CLASSES)
    assert scores.frame == pytest.approx((2 / 3 + 1 / 3 + 1) / 3)
    assert scores.file == pytest.approx((1 + 0 + 1) / 3)
    # Among the classes of the workshop alone, chopping is no answer; Other does not take part.
    assert scores.by_context == {"Kitchen": 1.0, "Workshop": 1.0}
    assert scores.context == 1.0


def test_summed_logits_let_one_window_outvote_the_rest():
    logits = np.array([[9.0, 0.0], [0.0, 3.0], [0.0, 3.0]])
    labels, recordings = np.array([1, 1, 1]), np.array(["r", "r", "r"])
    classes = ("Chopping", "Grating")
    assert evaluate(logits, labels, recordings, classes).file == 1.0
    assert evaluate(logits, labels, recordings, classes, pool="logits").file == 0.0


@given(st.permutations(range(12)))
def test_order_of_windows_does_not_matter(order):
    rng = np.random.default_rng(0)
    logits, recordings = rng.normal(size=(12, 3)), np.repeat(["a", "b", "c", "d"], 3)
    labels, classes = np.repeat([0, 1, 2, 0], 3), ("Chopping", "Grating", "Sanding")
    order = list(order)
    assert evaluate(logits, labels, recordings, classes) == evaluate(
        logits[order], labels[order], recordings[order], classes
    )


def test_one_window_per_recording_makes_file_equal_frame():
    rng = np.random.default_rng(1)
    labels = rng.integers(0, 3, 30)
    classes = ("Chopping", "Grating", "Sanding")
    scores = evaluate(rng.normal(size=(30, 3)), labels, np.arange(30).astype(str), classes)
    assert scores.file == scores.frame


def test_bad_input():
    logits, labels, recordings = np.zeros((2, 3)), np.array([0, 1]), np.array(["r", "r"])
    with pytest.raises(ValueError, match="'r' has windows of two classes"):
        pool_recordings(logits, labels, recordings)
    with pytest.raises(ValueError, match="do not go together"):
        evaluate(logits, labels, recordings, ("Chopping", "Grating"))
    with pytest.raises(ValueError, match="of nothing"):
        balanced_accuracy(np.array([]), np.array([]))
    with pytest.raises(ValueError, match="no event"):
        threshold_for_recall(np.array([1.0]), np.array([0]), 0.9)
    with pytest.raises(Exception, match="did you mean 'logits'"):
        evaluate(logits, labels, recordings, ("a", "b", "c"), pool="logit")


def test_gate_by_hand():
    events = np.array([0, 0, 1, 1, 1, 1, 1, 1, 0, 0, 0])
    scores = np.array([0.4, 0.1, 0.6, 0.2, 0.2, 0.1, 0.7, 0.9, 0.9, 0.2, 0.2])
    #                  off  off  on   on   off  off  on   on   on   on   off
    found = gating(events, scores, np.repeat("r", 11))
    assert found["gate_duty_cycle"] == pytest.approx(6 / 11)
    assert found["gate_event_on"] == pytest.approx(4 / 6)
    assert found["gate_idle_off"] == pytest.approx(3 / 5)
    assert found["event_recall"] == 1
    assert found["interruptions"] == 1


def test_the_gate_starts_anew_with_every_recording():
    events, scores = np.array([1, 1]), np.array([0.9, 0.4])
    together = gating(events, scores, np.array(["r", "r"]))
    apart = gating(events, scores, np.array(["r", "s"]))
    assert (together["gate_event_on"], apart["gate_event_on"]) == (1.0, 0.5)
    assert (together["event_recall"], apart["event_recall"]) == (1.0, 0.5)


def test_delays_by_hand():
    event = np.zeros(700, dtype=bool)
    event[160:300], event[400:420], event[600:] = True, True, True
    # windows end at samples 149, 199, ...: the second is the first that sees the first event
    on = np.zeros(12, dtype=bool)
    on[2:4], on[9:] = True, True  # newest samples 249 and 299; from 599 on
    found = detection_delays(event, on, hop=50)
    assert found[0] == pytest.approx((249 - 160) / 50)
    assert np.isnan(found[1])  # shorter than a hop, and never noticed
    assert found[2] == 0  # on already


@given(st.integers(0, 200), st.integers(1, 25))
def test_a_perfect_gate_is_late_by_less_than_a_hop(onset, hop):
    event = np.arange(500) >= 150 + onset
    on = event[149 + hop * np.arange((500 - 150) // hop + 1)]
    (late,) = detection_delays(event, on, hop)
    assert 0 <= late < hop / 50
