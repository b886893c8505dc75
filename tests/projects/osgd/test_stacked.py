"""Networks side by side against the same networks one by one."""

import numpy as np
import pytest
import torch

from projects.osgd.data import Split
from projects.osgd.masked import MaskedWidthNested
from projects.osgd.stacked import APART, stackable, train_together
from projects.osgd.training import Alone, Recipe, seeded, train
from projects.osgd.width import WidthNestedCNN, WidthNestedMLP

RECIPE = Recipe(epochs=2, batch=8, weight_decay=1e-2)
SEEDS, RATES = (3, 4, 5), (0.1, 0.3, 0.05)


def split(seed):
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=(20, 6)).astype(np.float32), rng.integers(0, 3, 20)
    return Split(x, y, x, y, x, y, "noise", 3)


def perceptron():
    return MaskedWidthNested(WidthNestedMLP(6, (4, 8), depth=2, num_classes=3))


def alone():
    return Alone([MaskedWidthNested(WidthNestedMLP(6, (w,), num_classes=3)) for w in (4, 8)])


@pytest.mark.parametrize("method", APART)
def test_every_network_ends_where_it_would_alone(method):
    make = alone if method == "stand-alone" else perceptron
    splits = [split(seed) for seed in SEEDS]
    together = train_together(make, splits, method, RECIPE, RATES, SEEDS)
    for model, part, rate, seed in zip(together, splits, RATES, SEEDS, strict=True):
        options = {**vars(RECIPE), "lr": rate}
        expected = train(make, part, method, Recipe(**options), seed).state_dict()
        untouched = seeded(make, seed).state_dict()
        for name, value in model.state_dict().items():
            if "num_batches" not in name:
                torch.testing.assert_close(value, expected[name], atol=1e-5, rtol=1e-4)
        moved = [not torch.equal(value, untouched[name]) for name, value in expected.items()]
        assert sum(moved) > len(moved) / 2


@pytest.mark.parametrize(
    ("method", "make"),
    [
        ("pcgrad", perceptron),
        ("adaloss", perceptron),
        ("osgd", lambda: WidthNestedMLP(6, (4, 8))),
        ("osgd", lambda: WidthNestedCNN(widths=(4, 8))),
        ("osgd", lambda: MaskedWidthNested(WidthNestedMLP(6, (4, 8), norm="none"))),
    ],
)
def test_what_would_mix_networks_is_refused(method, make):
    assert not stackable(method, make())
    with pytest.raises(ValueError, match=f"'{method}' on .* cannot train networks together"):
        train_together(make, [split(0)], method, RECIPE, [0.1], [0])
