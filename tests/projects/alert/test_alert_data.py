import numpy as np
import pandas as pd
import pytest

from projects.alert.data import (
    ACCURACY_FILE,
    LATENCY_FILE,
    TIMM,
    ZEUS,
    combine,
    generated_curve,
    generated_networks,
    join_timm,
    pareto,
    read_curve,
    spread,
)


def test_join_by_hand():
    accuracy = pd.DataFrame(
        {
            "model": ["a.one", "a.two", "b.one", "b.one_384", "c.one"],
            "img_size": [224, 224, 224, 384, 224],
            "top1": [80.0, 78.0, 70.0, 72.0, 60.0],
        }
    )
    latency = pd.DataFrame(
        {
            "model": ["a", "b", "b", "c"],
            "infer_img_size": [224, 384, 224, 256],
            "infer_step_time": [10.0, 9.0, 5.0, 1.0],
            "infer_batch_size": [1, 1, 1, 1],
            "infer_gmacs": [1.0, 2.0, 0.5, 0.1],
        }
    )
    joined = join_timm(accuracy, latency)
    # the worse recipe of a; b where it is less accurate; c has no time at its size
    assert joined["model"].tolist() == ["b", "a"]
    assert joined["accuracy"].tolist() == pytest.approx([0.70, 0.78])
    assert joined["latency"].tolist() == pytest.approx([0.005, 0.010])


def test_frontier_and_spread():
    networks = pd.DataFrame(
        {
            "model": list("abcde"),
            "latency": [0.001, 0.002, 0.003, 0.010, 0.100],
            "accuracy": [0.5, 0.4, 0.6, 0.6, 0.7],
        }
    )
    frontier = pareto(networks)
    assert frontier["model"].tolist() == ["a", "c", "e"]
    assert spread(networks, 3)["model"].tolist() == ["a", "d", "e"]


def test_anytime_network_takes_the_time_of_all_its_stages():
    networks, curve = generated_networks(4), generated_curve(large=True)
    profile = combine(networks, curve, generated_curve(large=False), stages=[0, 2])
    k = profile.models.index("anytime")
    assert profile.stages[k] == 2
    top = len(curve.limits) - 1
    assert profile.latency[k, :2, top] == pytest.approx(
        [networks["latency"][0], networks["latency"][[0, 2]].sum()]
    )
    assert profile.accuracy[k, :2] == pytest.approx(networks["accuracy"][[0, 2]] - 0.008)
    assert profile.fail_accuracy == 0.001


def test_generated_tables_are_worth_coordinating():
    curve = generated_curve(large=True)
    energy = curve.time * curve.power
    assert 0 < energy.argmin() < len(energy) - 1  # the least energy is at an inner limit


@pytest.mark.data
def test_real_tables_hold_what_is_known_of_them():
    from common.data import resolve

    tables = resolve(TIMM, mode="real", files=[ACCURACY_FILE, LATENCY_FILE]).files
    joined = join_timm(*(pd.read_csv(tables[name]) for name in (ACCURACY_FILE, LATENCY_FILE)))
    assert len(joined) == 820
    assert joined["latency"].agg(["min", "max"]).tolist() == pytest.approx(
        [0.0014, 2.137], abs=1e-3
    )
    assert (1 - joined["accuracy"]).agg(["min", "max"]).round(2).tolist() == [0.10, 0.59]
    frontier = pareto(joined).set_index("model")
    for model, milliseconds, top1 in [
        ("resnet10t", 2.8, 66.7),
        ("lcnet_100", 3.8, 72.1),
        ("levit_128s", 3.9, 76.5),
        ("levit_192", 5.2, 79.9),
        ("levit_384", 11.1, 82.6),
        ("vit_little_patch16_reg1_gap_256", 13.5, 83.8),
        ("vit_base_patch32_clip_384", 27.0, 85.2),
        ("vit_mediumd_patch16_reg4_gap_256", 43.4, 86.2),
        ("eva02_base_patch14_448", 174.7, 88.3),
    ]:
        assert 1e3 * frontier.loc[model, "latency"] == pytest.approx(milliseconds, abs=0.06)
        assert 100 * frontier.loc[model, "accuracy"] == pytest.approx(top1, abs=0.06)


@pytest.mark.data
def test_real_curves_hold_what_is_known_of_them():
    from common.data import resolve

    found = resolve(ZEUS, mode="real").files
    curve = read_curve(found["profile_A40+resnet50.csv"])
    assert curve.limits == tuple(range(100, 301, 25))
    known = {
        300: (1.0, 259),
        225: (1.02, 224),
        175: (1.16, 174),
        150: (1.54, 150),
        100: (2.89, 116),
    }
    for limit, (time, watts) in known.items():
        place = curve.limits.index(limit)
        assert curve.time[place] == pytest.approx(time, abs=0.006)
        assert curve.power[place] == pytest.approx(watts, abs=1)
    energy = curve.time * curve.power
    assert curve.limits[int(np.argmin(energy))] == 175
    v100 = read_curve(found["profile_V100+resnet50.csv"])
    energy = v100.time * v100.power
    place = int(np.argmin(energy))
    assert v100.limits[place] in (125.0, 150.0)
    saving = 1 - energy[v100.limits.index(150)] / energy[-1]
    assert saving == pytest.approx(0.2, abs=0.03)
