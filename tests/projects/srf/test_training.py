"""Folds, selection of the epoch, and training, on cases worked out by hand."""

import numpy as np
import pytest
import torch
from torch_geometric.data import Data

from common.data import resolve
from common.errors import DataError
from projects.srf.features import injection
from projects.srf.graph_sets import GraphSet
from projects.srf.models import LayeredNetwork
from projects.srf.training import (
    History,
    Split,
    folds,
    pair_folds,
    published_folds,
    released_selection,
    train,
)

LABELS = torch.arange(60) % 3


def parts(split):
    return [set(part.tolist()) for part in (split.train, split.val, split.test)]


def test_folds_are_stratified_and_every_graph_is_tested_once():
    splits = folds(LABELS, 5, seed=1)
    assert sorted(np.concatenate([split.test for split in splits])) == list(range(60))
    for split in splits:
        fit, val, test = parts(split)
        assert not fit & val and not fit & test and not val & test
        assert fit | val | test == set(range(60))
        for part in (split.train, split.val, split.test):
            counts = torch.bincount(LABELS[part], minlength=3)
            assert counts.max() - counts.min() <= 1
    assert not torch.equal(splits[0].test, folds(LABELS, 5, seed=2)[0].test)


def test_pairs_stay_in_one_part():
    splits = pair_folds(4, 10, seed=0)
    assert sorted(np.concatenate([split.test for split in splits])) == list(range(20))
    for split in splits:
        assert set.union(*parts(split)) == set(range(20))
        for part in parts(split):
            assert {number ^ 1 for number in part} == part


def published(order):
    """Two folds of 20 graphs, of which the even ones are of class 0, in the given numbering."""
    cuts = {"test": slice(0, 10), "train": slice(10, 16), "validation": slice(16, 20)}
    found = []
    for turned in (order, np.roll(order, 10)):
        part = {name: turned[cut].tolist() for name, cut in cuts.items()}
        test = part.pop("test")
        found.append({"test": test, "model_selection": [part]})
    return found


def test_published_folds_are_taken_when_they_fit_the_labels():
    y = torch.arange(20) % 2
    splits = published_folds(published(np.arange(20)), y)
    assert splits[0].test.tolist() == list(range(10)) and splits[1].train.tolist() == [*range(6)]


def test_published_folds_in_another_order_are_refused():
    y = (torch.arange(20) >= 10).long()
    with pytest.raises(DataError, match="not in the same order"):
        published_folds(published(np.arange(20)), y)


def test_published_folds_hold_every_graph_once():
    twice = np.arange(20)
    twice[19] = 17
    with pytest.raises(DataError, match="fold 0"):
        published_folds(published(twice), torch.arange(20) % 2)


@pytest.mark.data
def test_published_folds_of_reddit_agree_with_the_order_of_the_text():
    import json

    from projects.srf.data import REDDIT_FOLDS, tu_set

    file = "REDDIT-BINARY.zip"
    found = resolve("graph-classification", files=[file, REDDIT_FOLDS]).files
    graphs = tu_set(found[file], "REDDIT-BINARY")
    splits = published_folds(json.loads(found[REDDIT_FOLDS].read_text()), graphs.y)
    assert sorted(np.concatenate([split.test for split in splits])) == list(range(2000))


def test_nested_selection_does_not_look_at_the_test_curve():
    history = History(val=[0.2, 0.9, 0.9, 0.1], test=[1.0, 0.3, 0.8, 1.0])
    assert history.selected() == 0.3  # the first of the best validation epochs


def test_released_selection_takes_one_epoch_for_all_folds_by_their_mean_test():
    curves = [History(test=[0.1, 0.9, 0.5]), History(test=[0.2, 0.3, 0.8])]
    assert released_selection(curves) == [0.5, 0.8]
    # It is never below what any common epoch would have given.
    assert np.mean(released_selection(curves)) == max(np.mean([h.test for h in curves], axis=0))


def shapes(count=40):
    """Class 0: cycles, class 1: complete graphs; told apart by their degrees."""
    graphs = []
    for number in range(count):
        n = 5 + number % 3
        if number % 2:
            edges = torch.nonzero(~torch.eye(n, dtype=torch.bool)).T
        else:
            node = torch.arange(n)
            half = torch.stack([node, (node + 1) % n])
            edges = torch.cat([half, half.flip(0)], dim=1)
        graphs.append(Data(x=torch.ones(n, 1), edge_index=edges, y=number % 2))
    return GraphSet.of("shapes", graphs)


def trained(variant="plain", seed=0, epochs=3, batch_size=8):
    graphs = shapes()
    injected = injection(graphs, variant, width=4, sketches=2)
    torch.manual_seed(seed)
    network = LayeredNetwork(1, 8, 2, 2, z_width=injected.width)
    options = {"epochs": epochs, "batch_size": batch_size, "lr": 1e-2, "seed": seed}
    return train(network, graphs, injected, folds(graphs.y, 4, 0)[0], **options)


def test_what_can_be_learned_is_learned():
    history = trained(epochs=24)
    # While it trains, batch norm sees seven graphs at a time: single epochs may dip.
    assert history.selected() == history.test[-1] == max(history.train) == 1
    assert len(history.train) == len(history.val) == len(history.test) == 24


@pytest.mark.parametrize("variant", ["plain", "shared", "resampled", "rni"])
def test_a_seed_decides_the_whole_history(variant):
    assert trained(variant) == trained(variant)


def test_a_remainder_of_one_graph_is_no_batch_of_its_own():
    """27 training graphs in batches of 26: batch norm over one graph would be a trap."""
    graphs = shapes(30)
    every = torch.arange(30)
    split = Split(every[:27], every[27:28], every[28:])
    seen = []

    class Spy(LayeredNetwork):
        def logits(self, batch, z):
            if self.training:
                seen.append(len(batch.y))
            return super().logits(batch, z)

    plain = injection(graphs, "plain")
    train(Spy(1, 4, 1, 2), graphs, plain, split, epochs=1, batch_size=26)
    assert sum(seen) == 27 and min(seen) >= 13


def test_epochs_of_resampled_features_take_draws_of_their_own():
    graphs, drawn = shapes(12), []
    injected = injection(graphs, "resampled", width=4, sketches=2)
    spy = type(injected)(injected.width, lambda n: drawn.append(n) or injected.draw(n), True)
    network = LayeredNetwork(1, 4, 1, 2, z_width=4)
    train(network, graphs, spy, folds(graphs.y, 3, 0)[0], epochs=3)
    assert len(set(drawn)) == len(drawn) == 1 + 2 * 3
