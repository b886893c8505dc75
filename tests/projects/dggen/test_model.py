"""DGGen: a slow likelihood written out, strict state, every bad input of the brief."""

import numpy as np
import pandas as pd
import pytest
import torch

from common.errors import ConfigError
from common.graphs.events import EventStream
from projects.dggen import DGGen, NotFittedError
from projects.dggen.encoding import raw_columns

SMALL = {
    "embedding_dim": 8,
    "memory_dim": 6,
    "time_dim": 4,
    "feats_dim": 8,
    "num_components": 3,
    "num_neighbors": 3,
    "batch_size": 10,
    "epochs": 2,
    "learning_rate": 1e-2,
}
LAWS = ("gmm", 3)


def stream(events=60, users=6, pages=4, seed=0, features=True):
    rng = np.random.default_rng(seed)
    t = np.cumsum(rng.integers(0, 9, events))
    columns = {"src": rng.integers(0, users, events), "t": t}
    columns["dst"] = users + (columns["src"] + (rng.random(events) < 0.2)) % pages
    if features:
        columns["msg_size"] = rng.normal(50, 5, events)
        columns["msg_kind"] = rng.integers(0, 3, events)
    return EventStream.of(columns)


@pytest.fixture(scope="module")
def fitted():
    return DGGen(columns=LAWS, **SMALL).fit(stream()[:40], progress=False)


def plain(columns=None, **settings):
    return DGGen(**{**SMALL, "columns": columns, **settings})


# -- likelihood ----------------------------------------------------------------------------


def slow_log_prob(model, history, events, batch_size):
    """Every term of every event from a fresh state, all nodes embedded, no cache, no blocks."""
    network, encoding = model.network_, model.encoding_
    everything = EventStream.of(
        pd.concat([history.to_frame(), events.to_frame()]).reset_index(drop=True)
    )
    raw = raw_columns(everything, None)
    x = torch.tensor((raw - encoding.scaling.shift) / encoding.scaling.scale).float()
    ticks = torch.tensor(everything.t - everything.t[0]).long()
    src, dst = torch.tensor(everything.src), torch.tensor(everything.dst)
    network.eval().requires_grad_(False)
    rows, first = [], len(history)
    for i in range(first, len(everything)):
        network.tgn.reset()
        for begin, end, size in ((0, first, 10), (first, i, batch_size)):
            end = end if begin == 0 else begin + (end - begin) // size * size
            for at in range(begin, end, size):
                part = slice(at, min(at + size, end))
                network.tgn.update(src[part], dst[part], ticks[part], x[part])
        z = network.tgn.embed(torch.arange(network.num_nodes))
        u, v = int(src[i]), int(dst[i])
        scores = network.reshape(z[model.sources_])
        row = [float(network.reshape(z[u : u + 1])[0] - scores.logsumexp(0))]
        product = network.product

        def score(v, product=product, z=z, u=u):
            return product.last((product.source(z[u]) + product.destination(z[v])).relu())[0]

        all_scores = torch.stack([score(other) for other in model.destinations_.tolist()])
        row.append(float(score(v) - all_scores.logsumexp(0)))
        h0 = network.merge(z[u : u + 1], z[v : v + 1])
        terms = network.columns.log_prob(h0, x[[i]])[0].double().numpy()
        terms = terms - np.log(encoding.scaling.scale)
        rows.append([*row, terms[0], terms[1:].sum()])
    return np.array(rows)


@pytest.mark.parametrize("batch_size", [1, 7])
def test_log_prob_is_that_of_the_slow_reference(fitted, batch_size):
    history, events = stream()[:40], stream()[40:]
    model = DGGen(columns=LAWS, **SMALL).fit(history, progress=False)
    ours = model.log_prob(events, batch_size=batch_size)
    slow = slow_log_prob(model, history, events, batch_size)
    assert ours[["src", "dst", "time", "features"]].to_numpy() == pytest.approx(slow, abs=2e-4)
    assert ours["total"].to_numpy() == pytest.approx(slow.sum(1), abs=1e-3)


def test_the_softmaxes_sum_to_one(fitted):
    table, _ = fitted.history_.leave("history")
    assert float(table.log_p_sources().exp().sum()) == pytest.approx(1, abs=1e-5)
    sums = table.log_p_destinations(table.sources).exp().sum(dim=1)
    assert sums.numpy() == pytest.approx(1, abs=1e-5)


def test_densities_do_not_depend_on_the_units_of_the_features():
    """Ten times the features, standardised: densities a tenth, all else the same."""
    frame = stream().to_frame()
    tenfold = frame.assign(msg_size=10 * frame["msg_size"])
    one, two = (plain(LAWS).fit(f[:40], progress=False) for f in (frame, tenfold))
    a, b = one.log_prob(frame[40:]), two.log_prob(tenfold[40:])
    assert b["features"].to_numpy() == pytest.approx(a["features"] - np.log(10), abs=1e-3)
    assert b["dst"].to_numpy() == pytest.approx(a["dst"], abs=1e-3)


# With codes of nodes: embeddings alone need many more steps to tell a handful of nodes apart.
QUICK = {"epochs": 20, "batch_size": 25, "learning_rate": 1e-2, "identity_dim": 8}


@pytest.fixture(scope="module")
def learned():
    """A model of 300 events whose kind is their user's, and the 100 events after them."""
    events = stream(400)
    msg = np.column_stack([events.msg[:, 0], events.src % 3])
    events = EventStream(events.src, events.dst, events.t, msg)
    return plain(LAWS, **QUICK).fit(events[:300], progress=False), events[300:]


def test_training_learns_pairs_and_finds_the_strange_one(learned):
    """Pages follow users in 4 of 5 events, so dst must come well below the marginal's ln 4."""
    model, test = learned
    assert -model.log_prob(test)["dst"].mean() < 1.0 < np.log(4)
    strange = np.arange(100) % 10 == 0
    usual = 6 + test.src % 4
    dst = np.where(strange, 6 + (test.src + 2) % 4, usual)
    odd = EventStream(test.src, dst, test.t, test.msg, columns=test.columns)
    even = EventStream(test.src, usual, test.t, test.msg, columns=test.columns)
    more = model.anomaly_scores(odd)[strange] - model.anomaly_scores(even)[strange]
    assert np.mean(more > 0) >= 0.9 and more.mean() > 1


# -- the score of event i never depends on event i -----------------------------------------


def candidate_scores(model, events, batch_size):
    """Scores of all candidates before every batch, and h0 of all pairs."""
    table, past = model.history_.leave("history")
    batch = model.encoding_.batch(events, past, "cpu")
    seen = []
    for part in batch.split(batch_size):
        pairs = torch.cartesian_prod(table.sources, table.destinations)
        h0 = table.network.merge(table.z[pairs[:, 0]], table.z[pairs[:, 1]])
        scores = [table.log_p_sources(), table.log_p_destinations(table.sources).flatten()]
        seen += [torch.cat([*scores, h0.detach().flatten()])] * len(part)
        table.advance(part)
    return torch.stack(seen)


@pytest.mark.parametrize("batch_size", [1, 5])
@pytest.mark.parametrize("what", ["dst", "msg", "t"])
def test_scores_before_an_event_do_not_depend_on_it_or_later_ones(fitted, what, batch_size):
    events, i = stream()[40:], 10
    changed = EventStream(*(a.copy() for a in (events.src, events.dst, events.t, events.msg)))
    if what == "dst":
        changed.dst[i] = 6 + (changed.dst[i] - 5) % 4
    elif what == "msg":
        changed.msg[i] = [80.0, (changed.msg[i, 1] + 1) % 3]
    else:
        changed.t[i:] += 1000
    before = candidate_scores(fitted, events, batch_size)
    after = candidate_scores(fitted, changed, batch_size)
    assert torch.equal(before[: i + 1], after[: i + 1])
    # Teeth: the next batch sees the event, and its scores do change.
    assert not torch.allclose(before[i + batch_size], after[i + batch_size], atol=1e-6)


def test_log_prob_of_earlier_events_does_not_depend_on_later_ones(fitted):
    events = stream()[40:]
    whole, part = fitted.log_prob(events), fitted.log_prob(events[:10])
    pd.testing.assert_frame_equal(whole[:10], part)


def test_only_spans_matter_not_the_date():
    """Also for a stream that begins anew, years from the training events."""
    frame, laws = stream().to_frame(), LAWS
    late = frame.assign(t=frame["t"] + 1_500_000_000)
    one, two = (plain(laws).fit(f[:40], progress=False) for f in (frame, late))
    assert one.losses_ == two.losses_
    pd.testing.assert_frame_equal(one.log_prob(frame[40:]), two.log_prob(late[40:]))
    ours = one.log_prob(late, start="empty")
    pd.testing.assert_frame_equal(ours, one.log_prob(frame, start="empty"))
    drawn = two.sample(30, warm_start="empty", seed=1)
    assert np.array_equal(drawn.t + 7, two.sample(30, warm_start="empty", seed=1, start_time=7).t)
    assert np.isfinite(two.log_prob(drawn, start="empty").to_numpy()).all()


def test_scoring_and_sampling_leave_the_history_as_it_was(fitted):
    events = stream()[40:]
    first, links = fitted.log_prob(events), fitted.predict_link([0, 1], [6, 7])
    fitted.sample(5), fitted.log_prob(events, start="empty")
    assert fitted.num_events_ == 40
    assert np.array_equal(links, fitted.predict_link([0, 1], [6, 7]))
    pd.testing.assert_frame_equal(first, fitted.log_prob(events))


def test_observed_events_join_the_history():
    model = plain(LAWS).fit(stream()[:40], progress=False)
    expected = model.log_prob(stream()[40:])[10:].reset_index(drop=True)
    model.predict_link([0], [6])
    model.observe(stream()[40:50])
    assert model.num_events_ == 50
    ours = model.log_prob(stream()[50:])
    assert ours.to_numpy() == pytest.approx(expected.to_numpy(), abs=1e-4)
    assert model.reset().num_events_ == 0
    empty = model.log_prob(stream()[:40])
    assert empty.to_numpy() == pytest.approx(model.log_prob(stream()[:40], start="empty"))


def test_predict_link_is_the_link_part_of_the_likelihood(fitted):
    event = stream()[40:41]
    terms = fitted.log_prob(event)
    score = fitted.predict_link(event.src, event.dst, event.t)
    assert score == pytest.approx((terms["src"] + terms["dst"]).to_numpy(), abs=1e-5)
    assert fitted.predict_link(6, 0)[0] == -np.inf


def test_fit_repeats_with_its_seed_and_leaves_the_global_generator_alone():
    torch.manual_seed(3)
    before = torch.get_rng_state()
    one, two = (plain(LAWS).fit(stream()[:40], progress=False) for _ in range(2))
    assert torch.equal(before, torch.get_rng_state())
    assert one.losses_ == two.losses_
    other = plain(LAWS, seed=7).fit(stream()[:40], progress=False)
    assert other.losses_ != one.losses_


def test_validation_chooses_the_weights_and_extends_the_history():
    train, val, test = stream()[:40], stream()[40:50], stream()[50:]
    calls = []
    model = plain(LAWS, epochs=4)
    model.fit(
        train, val=val, progress=False, callback=lambda e, m: calls.append((e, m["val_loss"]))
    )
    assert [epoch for epoch, _ in calls] == [0, 1, 2, 3]
    assert model.num_events_ == 50
    assert len(model.log_prob(test)) == 10
    # The kept weights are those of the best epoch: training only that long gives the same.
    best = int(np.argmin([loss for _, loss in calls])) + 1
    again = plain(LAWS, epochs=best).fit(train, val=val, progress=False)
    expected = again.log_prob(test).to_numpy()
    assert model.log_prob(test).to_numpy() == pytest.approx(expected)


def test_a_callback_may_use_the_model_and_changes_nothing(tmp_path):
    straight = plain(LAWS, epochs=3).fit(stream()[:40], progress=False)
    model, drawn = plain(LAWS, epochs=3), []

    def look(epoch, metrics):
        model.save(tmp_path / str(epoch))
        drawn.append((model.sample(20, seed=0), model.log_prob(stream()[40:]), model.num_events_))

    model.fit(stream()[:40], progress=False, callback=look)
    assert model.losses_ == straight.losses_
    assert [events for _, _, events in drawn] == [40] * 3
    assert not np.array_equal(drawn[0][0].msg, drawn[1][0].msg)
    best = int(np.argmin([metrics["loss"] for metrics in model.losses_]))
    pd.testing.assert_frame_equal(drawn[best][1], model.log_prob(stream()[40:]))
    again = DGGen.load(tmp_path / "0")
    assert again.losses_ == model.losses_[:1]
    pd.testing.assert_frame_equal(drawn[0][1], again.log_prob(stream()[40:]))

    def stop(epoch, metrics):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        model.fit(stream()[:40], progress=False, callback=stop)


def test_takes_temporal_data_frames_and_files(tmp_path, fitted):
    path = tmp_path / "events.csv"
    stream().to_frame().to_csv(path, index=False)
    expected = fitted.log_prob(stream()[40:]).to_numpy()
    frame = stream().to_frame()
    assert fitted.log_prob(frame[40:]).to_numpy() == pytest.approx(expected)
    data = stream()[40:].to_temporal_data()
    assert fitted.log_prob(data).to_numpy() == pytest.approx(expected, abs=1e-4)
    model = plain(LAWS, epochs=1).fit(str(path), progress=False)
    assert model.num_events_ == 60


@pytest.mark.parametrize("settings", [{"time": "lognormal"}, {"num_sampled": 2}, {"noise": 0.1}])
@pytest.mark.parametrize(
    "extra", [{}, {"identity_dim": 4, "time_init": "log", "standardise": False}]
)
def test_named_options_train_and_score(settings, extra):
    laws = ("normal", 3)
    model = plain(laws, **settings, **extra).fit(stream()[:40], progress=False)
    assert np.isfinite(model.log_prob(stream()[40:]).to_numpy()).all()
    assert len(model.sample(15)) == 15


def test_streams_without_features():
    bare = stream(features=False)
    model = plain().fit(bare[:40], progress=False)
    terms = model.log_prob(bare[40:])
    assert (terms["features"] == 0).all() and np.isfinite(terms["total"]).all()
    assert model.sample(5).num_features == 0


def test_both_ends_may_be_the_same_nodes_and_loops_are_optional():
    rng = np.random.default_rng(0)
    loops = {"src": rng.integers(0, 5, 60), "dst": rng.integers(0, 5, 60), "t": range(60)}
    loops = EventStream.of(loops)
    kept = plain().fit(loops, progress=False)
    assert not kept.bipartite_ and kept.num_events_ == 60
    assert kept.num_self_loops_ == int((loops.src == loops.dst).sum()) > 0
    dropped = plain(drop_self_loops=True).fit(loops, progress=False)
    assert dropped.num_events_ == int((loops.src != loops.dst).sum()) < 60


# -- missing features ----------------------------------------------------------------------


def test_imputation_fills_in_what_the_ends_tell(learned):
    """The kind of an event is its user's: a model that learned it can fill it in."""
    (model, test), missing = learned, np.zeros((100, 2), dtype=bool)
    missing[::2, 1] = True
    blank = EventStream(test.src, test.dst, test.t, np.where(missing, 0, test.msg))
    filled = model.impute(blank, missing)
    assert (filled.msg[~missing] == test.msg[~missing]).all()
    right = (filled.msg[missing] == test.msg[missing]).mean()
    naive = max(np.mean(test.msg[missing] == level) for level in range(3))
    assert right > naive + 0.1
    with pytest.raises(ValueError, match="missing has shape"):
        model.impute(blank, missing[:3])


# -- bad input -----------------------------------------------------------------------------


def test_unsorted_times():
    frame = stream().to_frame().iloc[::-1].reset_index(drop=True)
    with pytest.raises(ValueError, match="times go back at event"):
        plain(LAWS).fit(frame, progress=False)
    with pytest.warns(UserWarning, match="sorted by time"):
        assert plain(LAWS).fit(frame, progress=False, sort=True).num_events_ == 60


def test_events_before_the_history(fitted):
    with pytest.raises(ValueError, match="before the last one of the history"):
        fitted.log_prob(stream()[:10])


def test_fractional_times_are_rounded_by_the_clock_with_a_warning():
    frame = stream().to_frame()
    with pytest.warns(UserWarning, match="no whole multiples of resolution"):
        plain(LAWS).fit(frame.assign(t=1.3 * frame["t"]), progress=False)


def test_another_number_of_features(fitted):
    with pytest.raises(ValueError, match="have 0 features, but the model was fitted with 2"):
        fitted.log_prob(stream(features=False)[40:])
    with pytest.raises(ValueError, match="columns names 1 feature columns, but the data have 2"):
        plain(("gmm",)).fit(stream(), progress=False)


@pytest.mark.parametrize("level", [3.0, 0.5, -1.0])
def test_unknown_levels(fitted, level):
    frame = stream().to_frame()[40:].reset_index(drop=True)
    frame.loc[4, "msg_kind"] = level
    with pytest.raises(ValueError, match=rf"column 1 \(msg_kind\) holds {level:g} at event 4"):
        fitted.log_prob(frame)


def test_constant_columns_warn_and_keep_a_finite_likelihood():
    frame = stream().to_frame().assign(msg_size=7.0)
    with pytest.warns(UserWarning, match="feature column 0 is constant"):
        model = plain(LAWS, epochs=20, learning_rate=0.1).fit(frame[:40], progress=False)
    terms = model.log_prob(frame[40:])
    # At most the density of a normal with the floor 1e-3, and log P <= 0 of the level.
    assert (terms["features"] <= np.log(1 / (1e-3 * np.sqrt(2 * np.pi))) + 1e-6).all()
    assert np.isfinite(terms["features"]).all()


def test_not_finite_features(fitted):
    frame = stream().to_frame()[40:].reset_index(drop=True)
    frame.loc[2, "msg_size"] = np.nan
    with pytest.raises(ValueError, match="msg is not finite in 1 events, first at 2"):
        fitted.log_prob(frame)


def test_ids_beyond_the_table(fitted):
    frame = stream().to_frame()[40:].reset_index(drop=True)
    frame.loc[0, "dst"] = 99
    with pytest.raises(ValueError, match="node id 99.*table of 10 nodes; fit with num_nodes=100"):
        fitted.log_prob(frame)
    with pytest.raises(ValueError, match="below num_nodes=10"):
        fitted.predict_link([0], [10])
    with pytest.raises(ValueError, match="node id 9; num_nodes=4"):
        plain(LAWS, num_nodes=4).fit(stream(), progress=False)


def test_ids_that_training_never_saw_are_impossible_unless_given():
    train = stream()[:40]
    known = plain(LAWS, num_nodes=12).fit(train, progress=False)
    given = plain(LAWS, num_nodes=12)
    given.fit(train, progress=False, destinations=np.arange(6, 12))
    frame = stream()[40:].to_frame().assign(dst=11)
    assert (known.log_prob(frame)["dst"] == -np.inf).all()
    assert np.isfinite(given.log_prob(frame)["dst"]).all()


def test_too_few_events():
    with pytest.raises(ValueError, match="9 training events are fewer than one batch"):
        plain(LAWS).fit(stream()[:9], progress=False)
    with pytest.raises(ValueError, match="validation stream is empty"):
        plain(LAWS).fit(stream(), val=stream()[:0], progress=False)


def test_before_fit():
    model = DGGen()
    for call in (
        lambda: model.sample(5),
        lambda: model.log_prob(stream()),
        lambda: model.predict_link([0], [1]),
        lambda: model.observe(stream()),
        lambda: model.save("nowhere"),
        lambda: model.num_events_,
    ):
        with pytest.raises(NotFittedError, match="call fit"):
            call()


def test_a_step_that_would_not_fit_is_refused_and_leaves_the_model_unfitted():
    model = plain(LAWS, memory_limit=1e-5)
    with pytest.raises(ValueError, match=r"needs about .* GiB.*num_sampled=500"):
        model.fit(stream(), progress=False)
    with pytest.raises(NotFittedError):
        model.sample(1)


def test_unknown_settings_and_states(fitted):
    with pytest.raises(ConfigError, match="batch_size"):
        DGGen(batchsize=3)
    with pytest.raises(ConfigError, match="unknown start 'warm'"):
        fitted.log_prob(stream()[40:], start="warm")


def test_a_loss_that_is_not_finite_stops_training():
    model = plain(LAWS, learning_rate=1e30, epochs=5)
    with pytest.raises(FloatingPointError, match="the training loss is"):
        model.fit(stream(), progress=False)
