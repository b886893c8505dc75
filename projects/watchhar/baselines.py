"""What the paper compares against, all called alike: ``fit(train, validation)``, ``predict_proba``.

Each takes :class:`projects.watchhar.data.Windows`. ``predict_proba`` has one column per class.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from projects.watchhar.data import ACC, IMU_HZ, Windows
from projects.watchhar.normalisation import Normaliser
from projects.watchhar.open_set import softmax

if TYPE_CHECKING:
    from torch import nn

    from projects.watchhar.training import Settings

SPREAD_SAMPLES = 5  # 100 ms


class Classifier(Protocol):
    """What an experiment asks of a method."""

    def fit(self, train: Windows, validation: Windows) -> Classifier:
        """Learn from some participants; others say when to stop."""

    def predict_proba(self, windows: Windows) -> np.ndarray:
        """Probability of every class, shape (windows, classes)."""


def energy(imu: np.ndarray) -> np.ndarray:
    """Mean over a window of the standard deviation of |acceleration| in 100 ms, shape (windows,).

    Examples
    --------
    >>> energy(np.ones((1, 150, 6))).tolist()
    [0.0]
    """
    norm = np.linalg.norm(imu[:, :, ACC], axis=2)
    whole = norm.shape[1] // SPREAD_SAMPLES * SPREAD_SAMPLES
    return norm[:, :whole].reshape(len(norm), -1, SPREAD_SAMPLES).std(axis=2).mean(axis=1)


class EnergyThreshold:
    """Logistic regression on the logarithm of one number: how much the acceleration shakes.

    The logarithm and the regression change no order, so at matched recall this is a threshold.
    """

    def fit(self, train: Windows, validation: Windows) -> EnergyThreshold:
        """Fit slope and offset."""
        from sklearn.linear_model import LogisticRegression

        self._model = LogisticRegression(class_weight="balanced")
        self._model.fit(self._features(train), train.labels)
        return self

    def predict_proba(self, windows: Windows) -> np.ndarray:
        """Probabilities of idle and event."""
        return self._model.predict_proba(self._features(windows))

    @staticmethod
    def _features(windows: Windows) -> np.ndarray:
        return np.log(energy(windows.imu) + 1e-6)[:, None]


def statistics(imu: np.ndarray) -> np.ndarray:
    """Statistics of every channel and of both norms in every second of a window.

    Mean, standard deviation, smallest, median, largest, interquartile range, mean absolute step.

    Parameters
    ----------
    imu : ndarray, shape (windows, samples, 6)
        At 50 Hz.

    Returns
    -------
    ndarray, shape (windows, seconds * 56)
    """
    norms = np.linalg.norm(imu.reshape(*imu.shape[:2], 2, 3), axis=3)
    channels = np.concatenate([imu, norms], axis=2)
    seconds = max(1, imu.shape[1] // IMU_HZ)
    parts = np.array_split(channels, seconds, axis=1)
    low, quarter, half, upper, high = (0, 25, 50, 75, 100)
    found = []
    for part in parts:
        q = np.percentile(part, [low, quarter, half, upper, high], axis=1)
        step = np.abs(np.diff(part, axis=1)).mean(axis=1)
        found += [part.mean(axis=1), part.std(axis=1), q[0], q[2], q[4], q[3] - q[1], step]
    return np.concatenate(found, axis=1)


class WindowForest:
    """Random forest on window statistics."""

    def __init__(self, *, trees: int = 100, seed: int = 0) -> None:
        self.trees, self.seed = trees, seed

    def fit(self, train: Windows, validation: Windows) -> WindowForest:
        """Grow the forest."""
        from sklearn.ensemble import RandomForestClassifier

        self._classes = train.num_classes
        self._model = RandomForestClassifier(
            self.trees, class_weight="balanced", min_samples_leaf=2, random_state=self.seed
        )
        self._model.fit(statistics(train.imu), train.labels)
        return self

    def predict_proba(self, windows: Windows) -> np.ndarray:
        """Share of the trees' votes."""
        votes = np.zeros((len(windows), self._classes))
        votes[:, self._model.classes_] = self._model.predict_proba(statistics(windows.imu))
        return votes


class Network:
    """A network, trained by the recipe of section 2.6 on motion, sound or both.

    Parameters
    ----------
    build : callable
        Returns a fresh network.
    settings : Settings
        How to train.
    inputs : str
        What ``forward`` takes: ``"imu"``, ``"audio"`` or ``"imu audio"``.
    normalise : {"standard", "released"}
        Scaling of the motion.
    population : Windows, optional
        Whose motion the scaling is fitted on, instead of the training participants'. The released
        code takes everybody, the participant under test included (trap 3).
    seed : int
        Of the initial weights and the training.
    device : str
        Where to compute.
    """

    def __init__(
        self,
        build: Callable[[], nn.Module],
        settings: Settings,
        *,
        inputs: str = "imu audio",
        normalise: str = "standard",
        population: Windows | None = None,
        seed: int = 0,
        device: str = "cpu",
    ) -> None:
        self.build, self.settings, self.inputs = build, settings, inputs.split()
        self.normalise, self.population = normalise, population
        self.seed, self.device = seed, device

    def fit(self, train: Windows, validation: Windows) -> Network:
        """Scale, build and train."""
        import torch

        from projects.watchhar.training import Part, fit

        population = train if self.population is None else self.population
        self.scale = Normaliser.fit(population.imu, self.normalise)
        with torch.random.fork_rng([]):
            torch.manual_seed(self.seed)
            self.model = self.build()
        parts = (Part.of(part.labels, *self._arrays(part)) for part in (train, validation))
        self.losses = fit(self.model, *parts, self.settings, seed=self.seed, device=self.device)
        return self

    def logits(self, windows: Windows) -> np.ndarray:
        """Outputs of the network, shape (windows, classes) or (windows,) for events."""
        return self._run(self.model, windows)

    def features(self, windows: Windows) -> np.ndarray:
        """Fused features before the head, shape (windows, size)."""
        return self._run(self.model.features, windows)

    def predict_proba(self, windows: Windows) -> np.ndarray:
        """Softmax of the outputs, or a sigmoid's two sides."""
        logits = self.logits(windows)
        if logits.ndim == 1:
            logits = np.stack([np.zeros_like(logits), logits], axis=1)
        return softmax(logits)

    def deployed(self) -> nn.Module:
        """Return the trained network with its scaling in front, for export and the runtime."""
        from projects.watchhar.imu_encoder import Normalised

        return Normalised(self.model, self.scale.scale, self.scale.shift).eval()

    def _run(self, what: Callable[..., Any], windows: Windows) -> np.ndarray:
        from projects.watchhar.training import Part, predict

        inputs = Part.of(windows.labels, *self._arrays(windows)).inputs
        return predict(what, inputs, device=self.device).numpy()

    def _arrays(self, windows: Windows) -> list[np.ndarray]:
        arrays = {"imu": self.scale(windows.imu), "audio": windows.audio}
        return [arrays[name] for name in self.inputs]
