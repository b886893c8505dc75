"""Rejecting what no class stands for, and probabilities that mean what they say."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

TEMPERATURES = (0.05, 20.0)


def softmax(logits: ArrayLike, temperature: float = 1.0) -> np.ndarray:
    """Probabilities of shape (..., C)."""
    scaled = np.asarray(logits, float) / temperature
    powers = np.exp(scaled - scaled.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def energy(logits: ArrayLike, temperature: float = 1.0) -> np.ndarray:
    """Free energy, -T log sum exp(logits / T): high for what looks like no known class.

    W. Liu et al., Energy-based Out-of-distribution Detection, NeurIPS 2020, equation 4.

    Examples
    --------
    >>> energy([[0.0, 0.0]]).round(6).tolist() == [-round(float(np.log(2)), 6)]
    True
    """
    scaled = np.asarray(logits, float) / temperature
    top = scaled.max(axis=-1)
    return -temperature * (top + np.log(np.exp(scaled - top[..., None]).sum(axis=-1)))


class Mahalanobis:
    """Squared distance of features to the nearest class mean under one shared covariance.

    K. Lee et al., A Simple Unified Framework for Detecting Out-of-Distribution Samples, NeurIPS
    2018.

    Parameters
    ----------
    shrinkage : float
        Part of the mean variance that is mixed into the covariance, which keeps it invertible
        when there are fewer samples than features.

    Examples
    --------
    >>> scorer = Mahalanobis(shrinkage=0.0).fit([[-1, 0], [1, 0], [0, -1], [0, 1]], [0, 0, 0, 0])
    >>> scorer.score([[0, 0], [2, 0]]).round(9).tolist()
    [0.0, 8.0]
    """

    def __init__(self, shrinkage: float = 0.1) -> None:
        if not 0 <= shrinkage <= 1:
            raise ValueError(f"shrinkage is {shrinkage}; allowed is 0 to 1")
        self.shrinkage = shrinkage

    def fit(self, features: ArrayLike, labels: ArrayLike) -> Mahalanobis:
        """Estimate class means and the covariance within classes from (n, d) features."""
        features, labels = np.asarray(features, float), np.asarray(labels)
        classes, places = np.unique(labels, return_inverse=True)
        self.means_ = np.stack([features[labels == name].mean(axis=0) for name in classes])
        centred = features - self.means_[places]
        covariance = centred.T @ centred / len(features)
        level = np.trace(covariance) / len(covariance)
        mixed = (1 - self.shrinkage) * covariance
        mixed += self.shrinkage * level * np.eye(len(covariance))
        values, vectors = np.linalg.eigh(mixed)
        if values[0] <= 1e-12 * values[-1]:
            raise ValueError("the covariance within classes is singular; raise the shrinkage")
        self._whiten = vectors / np.sqrt(values)
        return self

    def score(self, features: ArrayLike) -> np.ndarray:
        """Squared distances of shape (n,); high for what looks like no known class."""
        samples = np.asarray(features, float) @ self._whiten
        means = self.means_ @ self._whiten
        squares = (samples**2).sum(1)[:, None] - 2 * samples @ means.T + (means**2).sum(1)
        return np.maximum(squares, 0).min(axis=1)


def rejection_threshold(known_scores: ArrayLike, acceptance: float = 0.95) -> float:
    """Score up to which the given part of known samples is accepted.

    Examples
    --------
    >>> rejection_threshold([1, 2, 3, 4], acceptance=0.5)
    2.0
    """
    if not 0 < acceptance <= 1:
        raise ValueError(f"acceptance is {acceptance}; allowed is above 0 and at most 1")
    return float(np.quantile(np.asarray(known_scores, float), acceptance, method="inverted_cdf"))


def fit_temperature(logits: ArrayLike, labels: ArrayLike) -> float:
    """Temperature with the smallest negative log-likelihood on held-out samples.

    C. Guo et al., On Calibration of Modern Neural Networks, ICML 2017.

    Parameters
    ----------
    logits : array_like, shape (n, C)
    labels : array_like of int, shape (n,)
    """
    from scipy.optimize import minimize_scalar

    logits, labels = np.asarray(logits, float), np.asarray(labels)
    right = logits[np.arange(len(labels)), labels]

    def loss(log_temperature: float) -> float:
        temperature = float(np.exp(log_temperature))
        return float(np.mean(-energy(logits, temperature) - right) / temperature)

    return float(np.exp(minimize_scalar(loss, bounds=np.log(TEMPERATURES), method="bounded").x))


def calibration_error(probabilities: ArrayLike, labels: ArrayLike, bins: int = 15) -> float:
    """Expected calibration error: mean gap between confidence and accuracy over equal bins.

    Examples
    --------
    >>> round(calibration_error([[0.8, 0.2], [0.8, 0.2]], [0, 1]), 6)
    0.3
    """
    probabilities, labels = np.asarray(probabilities, float), np.asarray(labels)
    confidence, correct = probabilities.max(axis=1), probabilities.argmax(axis=1) == labels
    places = np.minimum((confidence * bins).astype(int), bins - 1)
    gap = np.bincount(places, weights=correct - confidence, minlength=bins)
    return float(np.abs(gap).sum() / len(labels))
