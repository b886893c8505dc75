"""The hot path beside its peers: one checkpoint decision."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from common.bench import Benchmark
from projects.nurd.boosting import BoostedTrees
from projects.nurd.estimator import NURDClassifier


@dataclass(frozen=True)
class Problem:
    """One checkpoint: half of the tasks have finished, half are running.

    ``X_finished`` and ``X_running`` have shapes (n/2, d), the latencies (n/2,) [s].
    """

    X_finished: np.ndarray
    y_finished: np.ndarray
    X_running: np.ndarray
    y_running: np.ndarray
    threshold: float


def checkpoint_problem(n: int, d: int = 15, seed: int = 0) -> Problem:
    """Draw tasks like those of the generator's far-tail jobs and halve them at the median.

    Latency is log-normal with a tenth of stragglers two to eight times slower; six columns
    carry it, the rest are noise.
    """
    rng = np.random.default_rng(seed)
    slowness = np.exp(rng.normal(0, 0.25, n))
    stragglers = rng.permutation(n)[: n // 10]
    slowness[stragglers] *= rng.uniform(2, 8, len(stragglers))
    X = rng.normal(size=(n, d))
    X[:, :6] = np.log(slowness)[:, None] * rng.uniform(0.5, 1.5, 6) + rng.normal(0, 0.5, (n, 6))
    latency = 100 * slowness
    order = np.argsort(latency)
    done, running = order[: n // 2], order[n // 2 :]
    threshold = float(np.sort(latency)[int(0.9 * n)])
    return Problem(X[done], latency[done], X[running], latency[running], threshold)


def regressors() -> dict[str, Callable[[], Any]]:
    """The latency models that are set beside each other, by name."""
    from sklearn.ensemble import GradientBoostingRegressor, HistGradientBoostingRegressor

    models = {
        "nurd": BoostedTrees,
        "sklearn GradientBoosting": partial(GradientBoostingRegressor, random_state=42),
        "sklearn HistGradientBoosting": partial(HistGradientBoostingRegressor, random_state=42),
    }
    try:
        from lightgbm import LGBMRegressor
    except ImportError:
        return models
    settings = {"n_jobs": 1, "verbose": -1, "max_depth": 3, "num_leaves": 8}
    return {**models, "LightGBM": partial(LGBMRegressor, **settings)}


def decide(problem: Problem, regressor: Any) -> np.ndarray:
    """Refit, weigh and flag: one whole decision, shape (n_R,)."""
    model = NURDClassifier(problem.threshold, regressor=regressor)
    model.fit(problem.X_finished, problem.y_finished, problem.X_running)
    return model.predict(problem.X_running)


def decide_plainly(problem: Problem) -> np.ndarray:
    """The same algorithm written with scikit-learn's defaults: the reference implementation."""
    from sklearn.ensemble import GradientBoostingRegressor
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import MinMaxScaler

    scaler = MinMaxScaler().fit(np.concatenate([problem.X_finished, problem.X_running]))
    finished, running = scaler.transform(problem.X_finished), scaler.transform(problem.X_running)
    h = GradientBoostingRegressor(random_state=42).fit(finished, problem.y_finished)
    label = np.repeat([0, 1], [len(finished), len(running)])
    propensity = LogisticRegression(random_state=42).fit(np.concatenate([finished, running]), label)
    z = propensity.predict_proba(running)[:, 0]
    gap = finished.mean(axis=0) - running.mean(axis=0)
    rho = (finished.mean(axis=0) ** 2).sum() / (gap**2).sum()
    w = np.clip(z + 1 / (1 + rho) - 0.2, 0.05, 1)
    origin = problem.y_finished.min()
    return (h.predict(running) - origin) / w >= problem.threshold - origin


def benchmarks() -> list[Benchmark]:
    """One decision at n = 1,000 tasks and d = 15 features, beside each peer."""
    from sklearn.metrics import f1_score

    n, d = 1000, 15
    problem = checkpoint_problem(n, d)
    slow = problem.y_running >= problem.threshold

    def agreement(ours: np.ndarray, peer: np.ndarray) -> dict[str, float]:
        return {"F1 ours": f1_score(slow, ours), "F1 peer": f1_score(slow, peer)}

    def against(peer_name: str, peer: Callable[[], np.ndarray]) -> Benchmark:
        ours = partial(decide, problem, None)
        sizes = {"tasks": n, "features": d}
        return Benchmark("checkpoint decision", ours, peer, peer_name, sizes, agreement)

    rest = {name: make for name, make in regressors().items() if name != "nurd"}
    return [
        against("plain scikit-learn (lbfgs, GradientBoosting)", partial(decide_plainly, problem)),
        *(
            against(f"NURD on {name}", partial(decide, problem, make()))
            for name, make in rest.items()
        ),
    ]
