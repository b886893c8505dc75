"""The copy report, by hand and against a loop."""

import math

import numpy as np
import pytest

from common.graphs.events import EventStream
from projects.dggen import copy_report


def test_a_copy_is_all_copied():
    rng = np.random.default_rng(0)
    events = {"src": rng.integers(0, 5, 50), "dst": rng.integers(5, 9, 50), "t": np.arange(50)}
    events["msg_0"] = rng.normal(size=50)
    report = copy_report(events, events)
    assert report["copied_pairs"] == report["copied_events"] == report["copied_exactly"] == 1
    assert report["nearest_time"] == 0


def test_by_hand():
    train = {"src": [0, 0, 1, 0], "dst": [5, 5, 6, 6], "t": [0, 10, 20, 30]}
    train["msg_0"] = [1.0, 2.0, 3.0, 4.0]
    new = {"src": [0, 0, 1, 1], "dst": [5, 5, 6, 5], "t": [3, 12, 20, 21]}
    new["msg_0"] = [1.0, 9.0, 3.0, 1.0]
    report = copy_report(train, new)
    assert report["copied_pairs"] == 3 / 4
    assert report["copied_pairs_train"] == 1 / 4
    assert report["copied_events"] == 2 / 4  # (0, 5, 1.0) and (1, 6, 3.0)
    assert report["copied_exactly"] == 1 / 4
    assert report["nearest_time"] == 1.5  # distances 3 and 0


def test_against_a_loop():
    rng = np.random.default_rng(1)

    def draw(n):
        columns = {"src": rng.integers(0, 4, n), "dst": rng.integers(4, 8, n)}
        columns |= {"t": np.sort(rng.integers(0, 99, n)), "msg_0": rng.integers(0, 2, n)}
        return EventStream.of(columns)

    train, new = draw(60), draw(40)
    distances = []
    for u, v, t, m in zip(new.src, new.dst, new.t, new.msg[:, 0], strict=True):
        same = (train.src == u) & (train.dst == v) & (train.msg[:, 0] == m)
        distances.append(np.abs(train.t[same] - t).min() if same.any() else np.inf)
    distances = np.array(distances)
    report = copy_report(train, new)
    assert report["copied_events"] == pytest.approx(np.isfinite(distances).mean())
    assert report["copied_exactly"] == pytest.approx((distances == 0).mean())
    assert report["nearest_time"] == np.median(distances[np.isfinite(distances)])


def test_nothing_copied_and_what_cannot_be_compared():
    one = EventStream.of({"src": [0], "dst": [1], "t": [0]})
    report = copy_report(one, {"src": [1], "dst": [0], "t": [0]})
    assert report["copied_pairs"] == 0 and math.isnan(report["nearest_time"])
    with pytest.raises(ValueError, match="0 features, generated ones 1"):
        copy_report(one, {"src": [1], "dst": [0], "t": [0], "msg_0": [1.0]})
    with pytest.raises(ValueError, match="no events"):
        copy_report(one, one[:0])
