import numpy as np

from projects.nurd.bench import benchmarks, checkpoint_problem, decide, decide_plainly, regressors


def test_a_checkpoint_is_half_finished_and_half_running():
    problem = checkpoint_problem(200, 15)
    assert problem.X_finished.shape == problem.X_running.shape == (100, 15)
    assert problem.y_finished.max() <= problem.y_running.min()
    assert (problem.y_running >= problem.threshold).sum() == 20


def test_the_plain_implementation_is_the_same_algorithm():
    """The same regressor in both: every decision agrees, up to the propensity's tolerance."""
    problem = checkpoint_problem(300)
    ours = decide(problem, regressors()["sklearn GradientBoosting"]())
    assert np.mean(ours == decide_plainly(problem)) > 0.98


def test_peers_reach_the_same_f1():
    for benchmark in benchmarks()[:2]:
        agreed = benchmark.agreement(benchmark.ours(), benchmark.peer())
        assert abs(agreed["F1 ours"] - agreed["F1 peer"]) <= 0.02
        assert benchmark.sizes == {"tasks": 1000, "features": 15}
