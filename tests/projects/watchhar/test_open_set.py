import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.distance import cdist
from scipy.special import logsumexp
from scipy.special import softmax as scipy_softmax

from projects.watchhar.open_set import (
    Mahalanobis,
    calibration_error,
    energy,
    fit_temperature,
    rejection_threshold,
    softmax,
)

RNG = np.random.default_rng(0)
LOGITS = RNG.normal(0, 30, (50, 7))


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_energy_and_softmax_equal_scipys(temperature):
    expected = -temperature * logsumexp(LOGITS / temperature, axis=1)
    assert np.allclose(energy(LOGITS, temperature), expected, atol=1e-9)
    assert np.allclose(softmax(LOGITS, temperature), scipy_softmax(LOGITS / temperature, axis=1))


@given(st.floats(-1e4, 1e4))
def test_energy_moves_with_the_logits(shift):
    assert np.allclose(energy(LOGITS + shift), energy(LOGITS) - shift, atol=1e-6)


def test_mahalanobis_equals_scipys_distance():
    labels = np.repeat([0, 1, 2], 40)
    features = RNG.normal(size=(120, 5)) @ RNG.normal(size=(5, 5)) + 4 * labels[:, None]
    scorer = Mahalanobis(shrinkage=0.0).fit(features, labels)
    means = np.stack([features[labels == k].mean(0) for k in range(3)])
    inverse = np.linalg.inv(np.cov((features - means[labels]).T, bias=True))
    distances = cdist(features, means, "mahalanobis", VI=inverse).min(axis=1) ** 2
    assert np.allclose(scorer.score(features), distances, rtol=1e-8)


def test_whole_shrinkage_is_the_euclidean_distance():
    features = RNG.normal(size=(30, 4))
    scorer = Mahalanobis(shrinkage=1.0).fit(features, np.zeros(30))
    centred = features - features.mean(0)
    assert np.allclose(scorer.score(features), (centred**2).sum(1) / centred.var(0).mean())


def test_fewer_samples_than_features_need_shrinkage():
    features = RNG.normal(size=(5, 10))
    with pytest.raises(ValueError, match="raise the shrinkage"):
        Mahalanobis(shrinkage=0.0).fit(features, np.zeros(5))
    assert np.isfinite(Mahalanobis().fit(features, np.zeros(5)).score(features)).all()
    with pytest.raises(ValueError, match="allowed is 0 to 1"):
        Mahalanobis(shrinkage=2)


def test_threshold_accepts_the_part_that_was_asked_for():
    scores = RNG.permutation(np.arange(100.0))
    assert (scores <= rejection_threshold(scores, 0.9)).mean() == 0.9
    with pytest.raises(ValueError, match="above 0 and at most 1"):
        rejection_threshold(scores, 0)


def test_temperature_of_two_classes_in_closed_form():
    # A share s of samples has the right class ahead by d: the best T solves sigmoid(d / T) = s.
    logits = np.tile([4.0, 0.0], (1000, 1))
    labels = np.r_[np.zeros(800, int), np.ones(200, int)]
    assert fit_temperature(logits, labels) == pytest.approx(4 / np.log(4), rel=1e-3)


def test_temperature_of_calibrated_logits_is_one_and_scales_with_them():
    logits = RNG.normal(0, 2, (20_000, 4))
    labels = (softmax(logits).cumsum(1) > RNG.random((20_000, 1))).argmax(1)
    assert fit_temperature(logits, labels) == pytest.approx(1, abs=0.05)
    assert fit_temperature(5 * logits, labels) == pytest.approx(5, abs=0.25)
    assert calibration_error(softmax(logits), labels) < 0.02
    assert calibration_error(softmax(5 * logits), labels) > 0.1
