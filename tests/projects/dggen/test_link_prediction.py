"""The protocol never shows an event before it was scored, and its numbers are those of hand."""

import numpy as np
import pytest

from common.graphs.events import EventStream
from common.graphs.streams import edit_stream
from projects.dggen.baselines import DGGenLinks, EdgeBankLinks, TGNLinks, link_scorers
from projects.dggen.counts import CountModel
from projects.dggen.link_prediction import ap_auc, evaluate_links
from projects.dggen.model import DGGen

STREAM = edit_stream(np.random.default_rng(0), 400, pages=30)
HISTORY, TEST = STREAM.split(0.75)
DESTINATIONS = np.unique(STREAM.dst)
SMALL = {"embedding_dim": 8, "memory_dim": 8, "time_dim": 8, "num_neighbors": 4}


class Spy:
    """Notes the order of calls; knows the truth of what it was shown alone."""

    def __init__(self):
        self.shown, self.asked = 0, []

    def scores(self, src, dst, t):
        self.asked.append((self.shown, len(src), t))
        return np.zeros(len(src))

    def observe(self, events):
        self.shown += len(events)


def test_a_batch_is_scored_before_it_is_shown():
    spy = Spy()
    found = evaluate_links(
        {"spy": spy}, HISTORY, TEST, DESTINATIONS, np.random.default_rng(0), batch_size=30
    )
    assert [shown for shown, _, _ in spy.asked] == [0, 30, 60, 90]
    assert [count for _, count, _ in spy.asked] == [120, 120, 120, 40]  # three negatives each
    assert (spy.asked[1][2][:30] == TEST.t[30:60]).all() and spy.shown == len(TEST)
    assert {kind for _, kind in found} == {"random", "historical", "inductive"}
    assert all(found["spy", kind]["auc"] == 0.5 for kind in ("random", "historical"))


class Oracle:
    """Scores 1 for the pairs of the test that it was given."""

    def __init__(self, events):
        self.pairs = set(zip(events.src.tolist(), events.dst.tolist(), strict=True))

    def scores(self, src, dst, t):
        return np.array([(u, v) in self.pairs for u, v in zip(src, dst, strict=True)], float)

    def observe(self, events):
        pass


def test_who_knows_the_test_is_fooled_by_its_other_pairs_only():
    """A memory of all test pairs is right about the past, and says yes to inductive negatives."""
    found = evaluate_links(
        {"oracle": Oracle(TEST)}, HISTORY, TEST, DESTINATIONS, np.random.default_rng(0), 20
    )
    tested = {(u, v) for u, v in zip(TEST.src, TEST.dst, strict=True)}
    past = {(u, v) for u, v in zip(HISTORY.src, HISTORY.dst, strict=True)}
    assert tested - past  # some pairs are new
    assert found["oracle", "inductive"]["auc"] < found["oracle", "random"]["auc"]
    assert found["oracle", "random"]["auc"] > 0.85


def test_new_nodes_are_those_that_the_history_lacks():
    history = EventStream.of({"src": [0, 1], "dst": [5, 6], "t": [0, 1]})
    test = EventStream.of({"src": [0, 9, 1], "dst": [6, 5, 7], "t": [2, 3, 4]})

    class High(Spy):
        def scores(self, src, dst, t):
            return (src == 9).astype(float)

    rng, all_dst = np.random.default_rng(0), np.array([5, 6, 7])
    found = evaluate_links({"high": High()}, history, test, all_dst, rng)
    # New are (9, 5) and (1, 7). Historical negatives have the sources 0 and 1: one of two wins,
    # the other ties with its negatives.
    assert found["high", "historical"]["auc_new"] == pytest.approx(0.75)
    known = EventStream.of({"src": [0], "dst": [6], "t": [2]})
    found = evaluate_links({"high": High()}, history, known, all_dst, rng)
    assert np.isnan(found["high", "random"]["auc_new"])


def test_ap_auc_by_hand():
    # Ranked: + - + -. Precision at the hits 1 and 2/3; three of four pairs in order.
    ap, auc = ap_auc(np.array([4.0, 2.0]), np.array([3.0, 1.0]))
    assert ap == pytest.approx((1 + 2 / 3) / 2) and auc == 0.75
    assert ap_auc(np.array([-5.0]), np.array([-np.inf])) == (1.0, 1.0)


def test_nan_scores_are_an_error():
    class Broken(Spy):
        def scores(self, src, dst, t):
            return np.full(len(src), np.nan)

    with pytest.raises(ValueError, match="broken: 400 scores are NaN"):
        evaluate_links(
            {"broken": Broken()}, HISTORY, TEST, DESTINATIONS, np.random.default_rng(0), 100
        )


@pytest.fixture(scope="module")
def fitted():
    train, val = HISTORY[:240], HISTORY[240:]
    model = DGGen(epochs=2, batch_size=40, learning_rate=1e-2, **SMALL)
    ends = {"sources": np.unique(STREAM.src), "destinations": DESTINATIONS}
    return model.fit(train, val, progress=False, **ends), train, val


@pytest.mark.parametrize("name", ["dggen", "counts", "edgebank", "tgn"])
def test_no_score_depends_on_its_own_event_or_later_ones(fitted, name):
    """Other events from number 40 on change no score before them (T9)."""
    model, train, val = fitted

    def scorer():
        if name == "dggen":
            return DGGenLinks(model.reset().observe(train).observe(val))
        if name == "tgn":
            made = TGNLinks(train, STREAM.num_nodes, epochs=1, batch_size=40, **SMALL)
        else:
            made = EdgeBankLinks() if name == "edgebank" else None
        made = made or CountModel(np.unique(STREAM.src), DESTINATIONS)
        if name != "tgn":
            made.observe(train)
        made.observe(val)
        return made

    def scores(test):
        asked, judge = [], scorer()
        for begin in range(0, 80, 20):
            batch = test[begin : begin + 20]
            asked.append(judge.scores(batch.src, batch.dst, batch.t))
            judge.observe(batch)
        return np.concatenate(asked)

    order = np.arange(len(TEST))
    order[40:] = order[40:][::-1]
    other = EventStream(TEST.src[order], TEST.dst[order], TEST.t, TEST.msg)
    first, second = scores(TEST), scores(other)
    assert np.allclose(first[:40], second[:40], atol=1e-6)
    assert not np.allclose(first[60:80], second[60:80], atol=1e-6)


def test_all_scorers_stand_at_the_end_of_the_history(fitted):
    model, train, val = fitted
    model.reset().observe(train).observe(val)
    counts = CountModel(np.unique(STREAM.src), DESTINATIONS)
    counts.observe(HISTORY)
    scorers = link_scorers(
        model, counts, train, val, 1e9, STREAM.num_nodes, tgn={"epochs": 1, **SMALL}
    )
    assert list(scorers) == ["dggen", "counts", "edgebank", "edgebank-window", "tgn"]
    last = HISTORY[-5:]
    for name in ("edgebank", "edgebank-window"):
        assert (scorers[name].scores(last.src, last.dst, last.t) == 1).all()
    assert scorers["tgn"]._tgn.num_events == len(HISTORY) == model.num_events_
    assert scorers["tgn"].scores(last.src, last.dst, last.t).shape == (5,)
