"""The loss, the candidates and the noise of training."""

import numpy as np
import pytest
import torch

from common.graphs.events import EventStream
from projects.dggen import DGGen
from projects.dggen.config import DGGenConfig
from projects.dggen.encoding import Batch, Encoding
from projects.dggen.network import Candidates, Network
from projects.dggen.training import NoiseSchedule, check_memory, normalised_loss, train

CONFIG = DGGenConfig(
    embedding_dim=8, memory_dim=6, time_dim=4, feats_dim=8, num_neighbors=3, batch_size=10, epochs=1
)


def stream(events=40, nodes=30, seed=0):
    rng = np.random.default_rng(seed)
    return EventStream.of(
        {
            "src": rng.integers(0, 10, events),
            "dst": rng.integers(10, nodes, events),
            "t": np.cumsum(rng.integers(0, 9, events)),
            "msg_0": rng.normal(size=events),
        }
    )


def network(config=CONFIG, seed=0):
    torch.manual_seed(seed)
    encoding = Encoding.fit(stream(), 30, config)
    net = Network(config, 30, encoding.laws, encoding.scaling)
    return net, encoding.batch(stream(), None, "cpu")


def test_the_loss_divides_by_one_plus_the_number_of_terms():
    """B = 2 events with F = 1: 1 + B + B + B (1 + F) = 9."""
    terms = [torch.tensor([-1.0, -2.0]), torch.tensor([-3.0, -4.0]), torch.full((2, 2), -0.5)]
    assert float(normalised_loss(terms)) == pytest.approx(12 / 9)


def test_the_first_epoch_reports_the_loss_of_the_paper():
    """One batch, no step before it: its loss is that of the terms of the untrained network."""
    config = CONFIG.model_copy(update={"batch_size": 40, "dropout": 0.0})
    net, batch = network(config)
    net.train()
    net.tgn.reset()
    ids = [batch.src.unique(), batch.dst.unique()]
    terms = net.terms(batch, *(Candidates.all_of(i) for i in ids))
    expected = [-float(term.detach().sum()) / 40 for term in terms]
    fresh, batch = network(config)
    (metrics,) = train(fresh, batch, *ids, config)
    assert [metrics[name] for name in ("src", "dst", "columns")] == pytest.approx(expected)
    assert metrics["loss"] == pytest.approx(sum(expected) * 40 / (1 + 40 * 4))


def test_terms_are_those_of_a_loop_over_all_candidates():
    net, batch = network()
    net.eval()
    net.update(batch[:20])
    part, sources, destinations = batch[20:30], torch.arange(10), torch.arange(10, 30)
    with torch.no_grad():
        terms = net.terms(part, Candidates.all_of(sources), Candidates.all_of(destinations))
        z = net.tgn.embed(torch.arange(30))
        for i, (u, v) in enumerate(zip(part.src.tolist(), part.dst.tolist(), strict=True)):
            s = torch.stack([net.reshape(z[[w]])[0] for w in range(10)])
            assert torch.allclose(terms[0][i], s[u] - s.logsumexp(0), atol=1e-5)
            s = torch.stack([net.product(z[[u]], z[[w]])[0, 0] for w in range(10, 30)])
            assert torch.allclose(terms[1][i], s[v - 10] - s.logsumexp(0), atol=1e-5)
            columns = net.columns.log_prob(net.merge(z[[u]], z[[v]]), part.x[[i]])
            assert torch.allclose(terms[2][i], columns[0], atol=1e-5)


# -- candidates ----------------------------------------------------------------------------


def test_sampled_candidates_hold_the_positives_and_distinct_others():
    ids, positives = torch.arange(100, 200), torch.tensor([150, 110, 150])
    drawn = Candidates.sample(ids, positives, 20, "logq")
    assert len(drawn) == 22 and len(drawn.ids.unique()) == 22
    assert (drawn.ids[1:] > drawn.ids[:-1]).all() and torch.isin(drawn.ids, ids).all()
    at = drawn.place(positives)
    assert torch.equal(drawn.ids[at], positives)
    assert (drawn.log_weight[at] == 0).all()
    others = torch.ones(22, dtype=torch.bool)
    others[at] = False
    assert torch.allclose(drawn.log_weight[others], torch.tensor(np.log(98 / 20)).float())
    assert (Candidates.sample(ids, positives, 20, "none").log_weight == 0).all()
    assert torch.equal(Candidates.sample(ids, positives, 98, "logq").ids, ids)


def test_the_corrected_normaliser_is_unbiased_and_the_released_one_is_not():
    torch.manual_seed(0)
    ids, scores = torch.arange(50), torch.randn(50, dtype=torch.float64)
    total = float(scores.exp().sum())

    def normaliser(correction):
        drawn = Candidates.sample(ids, torch.tensor([3, 7]), 10, correction)
        return float((scores[drawn.ids] + drawn.log_weight).exp().sum())

    corrected = np.array([normaliser("logq") for _ in range(3000)])
    error = corrected.std() / np.sqrt(3000)
    assert corrected.mean() == pytest.approx(total, abs=5 * error)
    released = np.array([normaliser("none") for _ in range(300)])
    assert released.mean() < 0.5 * total


def test_sampling_all_others_is_the_exact_softmax():
    exact = train(*_arguments(CONFIG), CONFIG)
    sampled = CONFIG.model_copy(update={"num_sampled": 50})
    assert train(*_arguments(sampled), sampled) == exact


def _arguments(config):
    net, batch = network(config)
    torch.manual_seed(0)
    return net, batch, torch.arange(10), torch.arange(10, 30)


# -- noise ---------------------------------------------------------------------------------


def test_noise_is_on_continuous_features_only():
    """Recorded at the encoder: dt and levels are shown as they are."""
    events = stream()
    msg = np.column_stack([events.msg[:, 0], np.arange(40) % 3])
    events = EventStream(events.src, events.dst, events.t, msg)
    config = CONFIG.model_copy(update={"noise": 0.5, "columns": ("gmm", 3)})
    encoding = Encoding.fit(events, 30, config)
    net, batch = Network(config, 30, encoding.laws, encoding.scaling), None
    batch, shown = encoding.batch(events, None, "cpu"), []
    update = net.update
    net.update = lambda part: (shown.append(part.x), update(part))
    train(net, batch, torch.arange(10), torch.arange(10, 30), config)
    moved = torch.cat(shown) - batch.x
    assert (moved[:, [0, 2]] == 0).all()
    assert 0.3 < float(moved[:, 1].std()) < 0.8


def test_noise_waits_for_its_patience_and_stops_at_a_hundredth():
    schedule = NoiseSchedule(2.0, threshold=0.2, patience=3)
    losses = [10, 9.5, 9, 8.5, 8.4, 8.3, 8.2, 8.2, 8.2, 8.2, 8.2, 8.2]
    values = [schedule.step(loss) for loss in losses]
    assert values[:3] == [2.0] * 3
    assert values[3] == pytest.approx(0.2)  # 10 -> 8.5 is less than a fifth
    assert values[4:6] == [values[3]] * 2
    assert values[-1] == pytest.approx(0.02)
    falling = NoiseSchedule(2.0, threshold=0.2, patience=1)
    assert [falling.step(0.5**n) for n in range(5)] == [2.0] * 5


# -- memory --------------------------------------------------------------------------------


def test_the_estimate_of_memory_grows_with_candidates_and_sampling_lowers_it():
    wikipedia = DGGenConfig.preset("wikipedia", memory_limit=4.0)
    with pytest.raises(ValueError, match=r"over 9227 candidates .* memory_limit=4 GiB"):
        check_memory(wikipedia, 9227, 10**6, 13)
    check_memory(wikipedia, 9227, 10**5, 13)  # the last neighbours are not full yet
    check_memory(DGGenConfig.preset("wikipedia", num_sampled=100), 9227, 10**6, 13)
    check_memory(DGGenConfig(), 9227, 10**6, 1)


def test_features_of_a_batch_stay_with_their_events():
    _, batch = network()
    parts = batch.split(7)
    assert [len(part) for part in parts] == [7, 7, 7, 7, 7, 5]
    whole = Batch(
        *(torch.cat([getattr(p, f) for p in parts]) for f in ("src", "dst", "ticks", "x"))
    )
    assert torch.equal(whole.x, batch.x) and torch.equal(whole.ticks, batch.ticks)


def test_sampled_and_exact_training_reach_similar_likelihoods():
    """A batch holds fewer ids than there are, so that sampling leaves some of them out."""
    rng = np.random.default_rng(0)
    src = rng.integers(0, 24, 400)
    events = EventStream.of({"src": src, "dst": 24 + src, "t": np.arange(400)})
    settings = {"embedding_dim": 16, "memory_dim": 8, "time_dim": 4, "feats_dim": 4}
    settings |= {"batch_size": 10, "epochs": 4, "learning_rate": 1e-2, "identity_dim": 8}
    reached = []
    for sampled in (None, 4):
        model = DGGen(**settings, num_sampled=sampled).fit(events[:350], progress=False)
        reached.append(-float(model.log_prob(events[350:])["dst"].mean()))
    assert max(reached) < 1.0 < np.log(24)
    assert reached[0] != reached[1], "nothing was left out"
