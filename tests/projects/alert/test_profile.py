import warnings

import numpy as np
import pytest

from projects.alert import ProfileTable
from tests.projects.alert.tables import ROWS, frame, random_profile, small_profile


def changed(place, **values):
    table = frame()
    for name, value in values.items():
        table[name] = table[name].astype(object)
        table.loc[place, name] = value
    return table


def test_long_format_becomes_padded_arrays():
    profile = small_profile()
    assert profile.models == ("small", "big", "any")
    assert profile.settings == (10.0, 20.0)
    assert profile.stages.tolist() == [1, 1, 2]
    assert profile.latency.shape == (3, 2, 2)
    assert np.isnan(profile.latency[:2, 1]).all()
    assert profile.final_latency.tolist() == [[0.02, 0.01], [0.09, 0.05], [0.1, 0.06]]
    assert profile.final_accuracy.tolist() == [0.7, 0.8, 0.78]
    assert profile.power.tolist() == [[9, 19]] * 3


def test_order_of_rows_does_not_matter():
    shuffled = frame().iloc[[7, 0, 3, 5, 1, 6, 2, 4]]
    again = ProfileTable.from_frame(shuffled).select(["small", "any"])
    assert again.settings == (10.0, 20.0)
    assert again.final_latency[again.models.index("small")].tolist() == [0.02, 0.01]


@pytest.mark.parametrize("seed", range(5))
def test_json_gives_back_every_bit(seed):
    profile = random_profile(seed)
    again = ProfileTable.from_json(profile.to_json())
    for name in ("accuracy", "latency", "power"):
        np.testing.assert_array_equal(getattr(again, name), getattr(profile, name))
    assert (again.models, again.settings) == (profile.models, profile.settings)
    assert (again.fail_accuracy, again.idle_ratio) == (0.1, profile.idle_ratio)


def test_parts_of_a_table():
    profile = small_profile()
    assert profile.only(anytime=True).models == ("any",)
    assert profile.only(anytime=False).models == ("small", "big")
    assert profile.only(anytime=False).latency.shape == (2, 1, 2)
    assert profile.select(["big", "small"]).models == ("small", "big")
    with pytest.raises(ValueError, match="no candidate is left"):
        profile.only(anytime=False).only(anytime=True)
    with pytest.raises(ValueError, match="did you mean 'small'"):
        profile.select(["smal"])


@pytest.mark.parametrize(
    "table, message",
    [
        (changed(0, latency=0.0), "latency of small is 0.0; it must be a positive"),
        (changed(0, latency=-1.0), "must be a positive"),
        (changed(0, latency=float("nan")), "lacks a value"),
        (changed(0, power=float("nan")), "lacks a value"),
        (changed(0, power=-3.0), "power of small is -3.0"),
        (changed(0, power=float("inf")), "power of small is inf"),
        (changed(slice(0, 1), accuracy=70.0), "not in percent"),
        (changed(0, accuracy=0.71), "changes time and power, not answers"),
        (changed(0, accuracy=float("nan")), "lacks a value"),
        (changed(6, latency=0.02), "do not follow each other in time"),
        (changed(0, setting=30), "ragged profile"),
        (changed(slice(6, 7), stage=3), "number them 1, 2"),
        (frame(ROWS[1:]), "need 8 rows, got 7"),
        (frame([*ROWS, ROWS[0]]), "stands twice"),
        (frame(ROWS[:0]), "no rows"),
        (frame().drop(columns="power"), "lacks column 'power'"),
    ],
)
def test_bad_tables(table, message):
    with pytest.raises(ValueError, match=message):
        ProfileTable.from_frame(table)


@pytest.mark.parametrize("options", [{"fail_accuracy": 1.5}, {"idle_ratio": -0.1}])
def test_bad_facts(options):
    with pytest.raises(ValueError, match="lies in|in 0..1"):
        small_profile(**options)


def test_names_stand_once():
    profile = small_profile()
    with pytest.raises(ValueError, match="model 'a' stands twice"):
        ProfileTable(
            ("a", "a", "b"), profile.settings, profile.accuracy, profile.latency, profile.power
        )


def test_a_stage_that_is_worse_is_kept_with_a_warning():
    worse = changed(slice(6, 7), accuracy=0.5)
    with pytest.warns(UserWarning, match="stage 2 is less accurate than stage 1; offer it with 1"):
        profile = ProfileTable.from_frame(worse)
    assert profile.stages.tolist() == [1, 1, 2]


def test_a_good_table_warns_of_nothing():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        small_profile()
