"""The published setting on the real jobs: reference values, and an independent implementation."""

import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import GradientBoostingRegressor
from sklearn.linear_model import LogisticRegression

from projects.nurd import data
from projects.nurd.boosting import BoostedTrees
from projects.nurd.evaluation import metrics, run_method
from projects.nurd.methods import NURD
from projects.nurd.protocol import Protocol, replay

pytestmark = pytest.mark.data
AUTHORS = Protocol("authors", clean=True)
# Section 3 of the brief: job, rho, F1 of NURD at alpha 0.2, F1 of GBTR; dropped by cleaning.
REFERENCE = [
    ("6266469130", 2.854, 0.21, 0.55, 159),
    ("6274140245", 0.320, 0.62, 0.62, 62),
    ("6308689702", 0.135, 1.00, 0.90, 18),
    ("6343048076", 15.056, 0.79, 0.00, 21),
]


class GBTR:
    """The bare latency model, refitted at every checkpoint."""

    def __call__(self, checkpoint):
        model = BoostedTrees().fit(checkpoint.X_finished, checkpoint.y_finished)
        return model.predict(checkpoint.X_running) / checkpoint.threshold


@pytest.mark.parametrize(("name", "rho", "nurd", "gbtr", "dropped"), REFERENCE)
def test_values_of_the_brief(google, name, rho, nurd, gbtr, dropped):
    job = google(name)
    method = NURD()
    outcome = run_method(job, method, AUTHORS)
    assert method.model.rho_ == pytest.approx(rho, abs=1e-2)
    assert metrics(outcome)["f1"] == pytest.approx(nurd, abs=0.02)
    assert outcome.dropped == dropped
    assert metrics(run_method(job, GBTR(), AUTHORS))["f1"] == pytest.approx(gbtr, abs=0.02)


def test_a_larger_alpha_costs_f1_on_one_job(google):
    outcome = run_method(google("6308689702"), NURD(alpha=0.5), AUTHORS)
    assert metrics(outcome)["f1"] == pytest.approx(0.40, abs=0.02)


# -- the algorithm once more, on a plain frame, with nothing of this project ----------------


def padded_features(frame):
    """Latencies, record counts and the released code's features, shape (n, most records, 15)."""
    frame = frame.assign(dt=(frame["ET"] - frame["ST"]) / 1e6)
    tasks = [group.sort_values("ET", kind="stable") for _, group in frame.groupby("TI")]
    latency = np.array([task["dt"].sum() for task in tasks])
    count = np.array([len(task) for task in tasks])
    features = np.zeros((len(tasks), count.max(), len(data.GOOGLE_FEATURES)))
    for i, task in enumerate(tasks):
        usage = task[list(data.GOOGLE_FEATURES)].to_numpy()
        features[i, : count[i]] = np.cumsum(task[["dt"]].to_numpy() * usage, axis=0) / latency[i]
    return latency, count, features


def plain_nurd(frame, alpha=0.2, eps=0.05):
    """Flags of every task, test mask and rho under the released protocol with cleaning."""
    y, count, features = padded_features(frame)
    n = len(y)
    final = features[np.arange(n), count - 1]
    low, span = final.min(axis=0), np.ptp(final, axis=0)
    scaled = (features - low) / np.where(span > 0, span, 1.0) * (span > 0)
    final = scaled[np.arange(n), count - 1]
    tau, target = np.sort(y)[int(0.9 * n)], (y - y.min()) / np.ptp(y)
    slow, train = y >= tau, y < np.sort(y)[int(0.04 * n)]
    test = ~train
    few = slow & (count < count[test & slow].mean() - 1)
    many = ~slow & (count > count[test & ~slow].mean() + 1)
    test &= ~few & ~many
    flags, first_rho = np.zeros(n, dtype=bool), None
    for k in range(2, count[slow & test].max() - 1):
        running = test & (count > k)
        rows, done = scaled[running, k], final[train]
        h = GradientBoostingRegressor(random_state=42).fit(done, target[train]).predict(rows)
        label = np.r_[np.zeros(len(done)), np.ones(len(rows))]
        model = LogisticRegression(random_state=42, max_iter=1000).fit(np.r_[done, rows], label)
        if first_rho is None:
            gap = done.mean(axis=0) - rows.mean(axis=0)
            first_rho = (done.mean(axis=0) ** 2).sum() / (gap**2).sum()
        delta = 1 / (1 + first_rho) - alpha
        weight = np.clip(model.predict_proba(rows)[:, 0] + delta, eps, 1)
        flags[running] |= h / weight >= (tau - y.min()) / np.ptp(y)
        train |= test & (count == k + 1)
    return flags, test, first_rho


@pytest.mark.parametrize("name", ["6308689702", "6343048076"])
def test_a_plain_implementation_flags_the_same_tasks(google, mirrored, name):
    path = mirrored(data.GOOGLE)[f"job_{name}.csv"]
    flags, test, rho = plain_nurd(pd.read_csv(path, header=None, names=data.GOOGLE_COLUMNS))
    method = NURD(regressor=GradientBoostingRegressor(random_state=42))
    outcome = run_method(google(name), method, AUTHORS)
    assert np.array_equal(outcome.test, test)
    assert method.model.rho_ == pytest.approx(rho, rel=1e-9)
    assert np.flatnonzero(outcome.flagged & test).tolist() == np.flatnonzero(flags & test).tolist()


def test_the_published_look_ahead_shows_in_the_features(google):
    """Tasks of one checkpoint: the released features differ from means by age over latency."""
    job = google("6308689702")
    ahead = next(replay(job, AUTHORS))
    fair = next(replay(job, Protocol("warm_start", clean=True)))
    assert np.array_equal(ahead.running, fair.running)
    assert np.array_equal(ahead.y_finished, fair.y_finished)
    assert not np.allclose(ahead.X_running, fair.X_running)
