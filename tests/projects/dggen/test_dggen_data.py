"""Cuts and laws of the streams; the stand-in follows its recipe."""

import numpy as np
import pytest

from common.errors import ConfigError
from common.graphs.events import EventStream
from projects.dggen.baselines import NAMES, generator
from projects.dggen.bench import random_pairs
from projects.dggen.data import BIKESHARE, Task, bikeshare_stream, with_laws


@pytest.fixture(scope="module")
def trips():
    return bikeshare_stream(np.random.default_rng(0), 12_000, stations=100)


def test_task_is_cut_in_time_and_knows_all_ids():
    stream = random_pairs(30, 200)
    task = Task.of(stream)
    assert [len(part) for part in (task.train, task.val, task.test)] == [140, 30, 30]
    assert task.train.t[0] == 0 and len(task.history) == 170
    assert (task.history.src == stream.src[:170]).all()
    assert (task.sources == np.unique(stream.src)).all() and task.num_nodes == stream.num_nodes
    with pytest.raises(ValueError, match="too few"):
        Task.of(stream[:2])


def test_ratings_become_levels_or_stay_numbers():
    events = {"src": [0, 1], "dst": [1, 2], "t": [0.7, 3.0], "msg_rating": [-10, 10]}
    stream = EventStream.of(events, name="bitcoin-otc")
    levels, laws = with_laws(stream)
    assert levels.msg[:, 0].tolist() == [0, 20] and laws == (21,) and levels.t[0] == 0
    numbers, laws = with_laws(stream, "gmm")
    assert numbers.msg[:, 0].tolist() == [-10, 10] and laws is None


def test_stand_in_follows_its_recipe(trips):
    assert trips.name == BIKESHARE and trips.columns[0] == "msg_log_duration"
    assert (trips.src != trips.dst).all() and (np.diff(trips.t) >= 0).all()
    assert trips.t[-1] < 2 * 86_400  # 10,000 trips a day
    log_duration, bicycle, member = trips.msg.T
    assert member.mean() == pytest.approx(0.62, abs=0.02)
    assert np.bincount(bicycle.astype(int)) / len(trips) == pytest.approx(
        [0.5, 0.35, 0.15], abs=0.02
    )
    # ln duration is 6.5 + distance / 4 + noise of 0.4; distances are positive and short.
    assert 6.5 < log_duration.mean() < 8.0
    pair = (trips.src == trips.src[0]) & (trips.dst == trips.dst[0])
    hours = (trips.t % 86_400) // 3_600
    counts = np.bincount(hours.astype(int), minlength=24)
    assert min(counts[8], counts[17]) > 2 * counts[3] and pair.any()
    popular = np.sort(np.bincount(trips.src))[::-1]
    assert popular[:10].sum() > 0.25 * len(trips)  # log-normal (0, 1.2): some stations lead


def test_duration_depends_on_the_distance_alone(trips):
    """Trips of one pair share their distance: what is left within pairs has a deviation of 0.4."""
    keys = trips.src * 1000 + trips.dst
    values, place, counts = np.unique(keys, return_inverse=True, return_counts=True)
    means = np.bincount(place, trips.msg[:, 0]) / counts
    rest = (trips.msg[:, 0] - means[place])[counts[place] >= 5]
    share = 1 - 1 / counts[place][counts[place] >= 5]
    assert (rest / np.sqrt(share)).std() == pytest.approx(0.4, abs=0.02)
    assert means[counts >= 5].std() > 0.2 and len(values) > 100


@pytest.mark.parametrize("name", NAMES)
def test_generators_have_one_call_shape(name):
    train = random_pairs(12, 150)
    sample = generator(name, train, tigger={"epochs": 1, "hidden": 8})
    made = sample(40, np.random.default_rng(0), float(train.t[-1]))
    assert len(made) == 40 and made.name == name and made.t[0] >= train.t[-1]
    assert (np.diff(made.t) >= 0).all()
    assert np.isin(made.src, train.src).all() and np.isin(made.dst, train.dst).all()


def test_unknown_generator_names_the_closest():
    with pytest.raises(ConfigError, match="did you mean 'replay'"):
        generator("replai", random_pairs(5, 20))
