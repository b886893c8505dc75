"""The candidates that a scheduler gets: trained, held out honestly, reproducible."""

import numpy as np
import pytest
import torch

from projects.osgd.data import Split
from projects.osgd.pretrained import candidates
from projects.osgd.training import Recipe


def coloured(seed, n):
    """Images whose class is their brightest channel: any network learns this at once."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 3, n)
    x = rng.normal(size=(n, 3, 16, 16)).astype("f4")
    x[np.arange(n), y] += 1
    return x, y


@pytest.fixture(scope="module")
def split():
    parts = [coloured(seed, n) for seed, n in enumerate((256, 100, 100))]
    return Split(*parts[0], *parts[1], *parts[2], "coloured", 3)


def make(split):
    recipe = Recipe(epochs=3, batch=32, lr=0.1)
    return candidates(split, widths=(4, 8), strides=(4, 2), alone=(4, 8), recipe=recipe)


def test_candidates_learn_and_are_named(split):
    found = make(split)
    assert [c.name for c in found] == ["anytime-8", "traditional-4", "traditional-8"]
    assert [c.anytime for c in found] == [True, False, False]
    assert [len(c.accuracies) for c in found] == [2, 1, 1]
    assert min(min(c.accuracies) for c in found) > 0.9
    assert all(c.input_shape == (3, 16, 16) for c in found)
    assert not any(c.model.training for c in found)


def test_accuracies_are_those_of_the_validation_images(split):
    first = make(split)[0]
    with torch.no_grad():
        logits = first.model(torch.from_numpy(split.val_x))
    truth = torch.from_numpy(split.val_y)
    expected = [float((found.argmax(1) == truth).float().mean()) for found in logits]
    assert first.accuracies == pytest.approx(expected)


def test_same_seed_same_networks(split):
    for one, other in zip(make(split), make(split), strict=True):
        for name, value in one.model.state_dict().items():
            assert torch.equal(value, other.model.state_dict()[name])
