"""The column laws: densities that sum to one, torch.distributions, samples against densities."""

import numpy as np
import pytest
import torch
from scipy import integrate, stats

from projects.dggen.columns import (
    Categorical,
    ColumnModel,
    Exponential,
    LogNormalMixture,
    Mixture,
    Normal,
)

HEADS = {
    "exponential": lambda: Exponential(3),
    "normal": lambda: Normal(3),
    "gmm": lambda: Mixture(3, 4),
    "lognormal": lambda: LogNormalMixture(3, 4, offset=0.3),
    "categorical": lambda: Categorical(3, 5),
}
CONTINUOUS = [name for name in HEADS if name != "categorical"]


def head(name, seed=1):
    torch.manual_seed(seed)
    return HEADS[name]().double().requires_grad_(False)


def states(n=1, seed=2):
    return torch.randn(n, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def density(model, h):
    def at(x):
        values = torch.tensor(np.atleast_1d(x), dtype=torch.float64)
        return model.log_prob(h.expand(len(values), 3), values).exp().numpy()

    return at


@pytest.mark.parametrize("name", CONTINUOUS)
def test_densities_integrate_to_one(name):
    at = density(head(name), states())
    low = -np.inf if name in ("normal", "gmm") else 0.0
    total, _ = integrate.quad(lambda x: float(at(x)[0]), low, np.inf, limit=400)
    assert total == pytest.approx(1.0, abs=1e-6)
    if low == 0.0:
        assert at(-0.1)[0] == 0.0


def test_levels_sum_to_one():
    model, h = head("categorical"), states()
    mass = model.log_prob(h.expand(5, 3), torch.arange(5).double()).exp()
    assert float(mass.sum()) == pytest.approx(1.0)


@pytest.mark.parametrize("name", CONTINUOUS)
def test_samples_follow_the_density(name):
    """Kolmogorov and Smirnov against the numerically integrated density."""
    model, h = head(name), states()
    draws = model.sample(h.expand(4000, 3), torch.Generator().manual_seed(0)).numpy()
    at = density(model, h)
    low, high = (draws.min() - 20, draws.max() + 20) if name in ("normal", "gmm") else (0, 400)
    grid = np.unique(np.concatenate([np.linspace(low, high, 400001), np.sort(draws)]))
    cdf = integrate.cumulative_trapezoid(at(grid), grid, initial=0)
    result = stats.kstest(draws, lambda x: np.interp(x, grid, cdf))
    assert result.pvalue > 1e-3, result


def test_sampled_levels_follow_their_probabilities():
    model, h = head("categorical"), states()
    draws = model.sample(h.expand(4000, 3), torch.Generator().manual_seed(0)).long().numpy()
    expected = model.log_prob(h.expand(5, 3), torch.arange(5).double()).exp().numpy()
    counts = np.bincount(draws, minlength=5)
    assert stats.chisquare(counts, 4000 * expected).pvalue > 1e-3


@pytest.mark.parametrize("name", ["exponential", "normal", "gmm", "categorical"])
def test_heads_agree_with_torch_distributions(name):
    model, h = head(name), states(7)
    out = model.linear(h)
    softplus = torch.nn.functional.softplus
    x = torch.tensor([0.0, 1.0, 2.0, 0.0, 3.0, 4.0, 1.0], dtype=torch.float64)
    if name == "exponential":
        law = torch.distributions.Exponential(softplus(out[:, 0]) + 1e-8)
    elif name == "normal":
        law = torch.distributions.Normal(out[:, 0], softplus(out[:, 1]) + 1e-8)
    elif name == "gmm":
        mixture = torch.distributions.Categorical(logits=out[:, :4])
        parts = torch.distributions.Normal(out[:, 4:8], softplus(out[:, 8:]) + 1e-8)
        law = torch.distributions.MixtureSameFamily(mixture, parts)
    else:
        law = torch.distributions.Categorical(logits=out)
    assert torch.allclose(model.log_prob(h, x), law.log_prob(x), atol=1e-10)


def test_log_normal_mixture_is_the_truncated_shifted_one():
    model, h = head("lognormal"), states(5)
    out = model.linear(h)
    weight = out[:, :4].softmax(1).numpy()
    mean, std = out[:, 4:8].numpy(), torch.nn.functional.softplus(out[:, 8:]).numpy()
    x = np.array([0.0, 0.2, 1.0, 5.0, 30.0])
    law = stats.lognorm(s=std, scale=np.exp(mean))
    density = (weight * law.pdf(x[:, None] + 0.3)).sum(1) / (weight * law.sf(0.3)).sum(1)
    ours = model.log_prob(h, torch.tensor(x)).exp().numpy()
    assert ours == pytest.approx(density, rel=1e-5)


def test_a_limit_cuts_what_is_drawn_and_nothing_else():
    model, h = head("lognormal"), states()
    model.limit = 2.0
    draws = model.sample(h.expand(4000, 3), torch.Generator().manual_seed(0)).numpy()
    assert draws.max() <= 2.0
    at = density(model, h)
    grid = np.unique(np.concatenate([np.linspace(0, 2, 20001), draws]))
    cdf = integrate.cumulative_trapezoid(at(grid), grid, initial=0)
    assert cdf[-1] < 0.95
    result = stats.kstest(draws, lambda x: np.interp(x, grid, cdf / cdf[-1]))
    assert result.pvalue > 1e-3, result


def test_wide_log_normals_draw_finite_spans():
    torch.manual_seed(0)
    model = LogNormalMixture(3, 4, offset=1e-3, limit=100.0).requires_grad_(False)
    model.linear.bias[8:] = 50.0
    draws = model.sample(torch.zeros(1000, 3), torch.Generator().manual_seed(0))
    assert draws.isfinite().all() and float(draws.max()) <= 100


def test_a_floor_bounds_the_density():
    model = head("gmm")
    with torch.no_grad():
        model.linear.bias[8:] = -60.0
        model.linear.weight.zero_()
        model.linear.bias[4:8] = 0.0
    at_zero = model.log_prob(states(), torch.zeros(1, dtype=torch.float64), floor=1e-3)
    assert float(at_zero) == pytest.approx(np.log(1 / (1e-3 * np.sqrt(2 * np.pi))))


# -- the sequence of columns ---------------------------------------------------------------


LAWS = ("exponential", "gmm", 3, "gmm", "normal", 4)


def columns(laws=LAWS, hidden=5):
    torch.manual_seed(0)
    return ColumnModel(laws, hidden, num_components=3).double().requires_grad_(False)


def test_laws_of_a_type_share_a_head_and_levels_have_their_own():
    names = set(columns().heads)
    assert names == {"exponential", "gmm", "normal", "levels_2", "levels_5"}


def test_log_prob_is_that_of_a_gru_written_out():
    """Gates by hand (Cho et al. 2014, torch's order r, z, n), one column after the other."""
    model, h0 = columns(), torch.randn(4, 5, dtype=torch.float64)
    x = torch.rand(4, 6, dtype=torch.float64)
    x[:, 2], x[:, 5] = torch.tensor([0, 1, 2, 0]), torch.tensor([3, 2, 1, 0])
    gru, expected, state = model.gru, [], h0
    inputs = torch.cat([torch.ones(4, 1), x[:, :-1]], dim=1)
    for place, name in enumerate(model._names):
        i_r, i_z, i_n = (inputs[:, [place]] @ gru.weight_ih_l0.T + gru.bias_ih_l0).chunk(3, 1)
        h_r, h_z, h_n = (state @ gru.weight_hh_l0.T + gru.bias_hh_l0).chunk(3, 1)
        z = (i_z + h_z).sigmoid()
        state = (1 - z) * (i_n + (i_r + h_r).sigmoid() * h_n).tanh() + z * state
        expected.append(model.heads[name].log_prob(state, x[:, place]))
    assert torch.allclose(model.log_prob(h0, x), torch.stack(expected, 1), atol=1e-12)


def test_a_column_depends_on_those_before_it_and_on_none_after_it():
    model, h0 = columns(), torch.randn(1, 5, dtype=torch.float64)
    x = torch.tensor([[0.5, 0.1, 1.0, -0.3, 0.2, 2.0]], dtype=torch.float64)
    before = model.log_prob(h0, x)
    for place in range(6):
        changed = x.clone()
        changed[0, place] = 0.0 if place in (2, 5) else 0.9
        after = model.log_prob(h0, changed)
        assert torch.equal(after[:, :place], before[:, :place])
        if place < 5:
            assert not torch.allclose(after[:, place + 1 :], before[:, place + 1 :])


def test_ancestral_samples_follow_the_joint_density():
    """Where p is the joint density, E[exp(-log p)] over a box is the box's volume."""
    model = columns(("exponential", "normal", 3))
    h0 = torch.randn(1, 5, dtype=torch.float64).expand(60000, 5)
    draws = model.sample(h0, torch.Generator().manual_seed(1))
    inside = (draws[:, 0] < 2) & (draws[:, 1].abs() < 1)
    weight = (-model.log_prob(h0, draws).sum(1)).exp() * inside
    error = float(weight.std() / len(weight) ** 0.5)
    assert float(weight.mean()) == pytest.approx(2 * 2 * 3, abs=5 * error)
    assert error < 0.2


def test_given_values_are_kept_and_the_rest_is_drawn():
    model, h0 = columns(), torch.randn(50, 5, dtype=torch.float64)
    given = torch.full((50, 6), torch.nan, dtype=torch.float64)
    given[:, 2], given[:, 1] = 2.0, 0.25
    draws = model.sample(h0, torch.Generator().manual_seed(0), given)
    assert (draws[:, 2] == 2).all() and (draws[:, 1] == 0.25).all()
    assert not draws.isnan().any() and len(draws[:, 3].unique()) == 50
