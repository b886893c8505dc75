"""The recorded networks on modelled chips, and the schemes on them."""

import pytest

from common.hardware.targets.wearable import chips
from common.papers import load_paper
from common.run import Run
from projects.alert.profile import ProfileTable
from projects.alert.wearable import chip_table, operating_point, recorded_networks

PAPER = load_paper("alert")
W5 = chips.CHIPS["w5"]


@pytest.fixture(scope="module")
def networks():
    return recorded_networks(PAPER.path("recorded"), tiles=1)


@pytest.fixture(scope="module")
def table(networks):
    return chip_table(networks, W5, [0.4, 0.7, 1.0])


def test_layers_are_those_of_the_recorded_graphs(networks):
    counted = {n.name: [sum(c.macs for c in stage) for stage in n.stages] for n in networks}
    assert counted["anytime-64"] == [110672, 166048, 553280, 1991296]  # stages.json
    assert counted["traditional-8"] == [110672]


def test_full_clock_is_the_chip_itself(networks, table):
    full = table[table["setting"] == W5.clock.value / 1e9].set_index(["model", "stage"])
    for network in networks:
        for quantity, model in (("latency", chips.latency), ("energy", chips.energy)):
            until = sum(model(layers, "w5").value for layers in network.stages)
            found = full.loc[(network.name, len(network.stages)), quantity]
            assert found == pytest.approx(until)


def test_a_slower_clock_takes_longer_and_draws_less(table):
    for _, part in table.groupby(["model", "stage"]):
        part = part.sort_values("setting")
        assert part["latency"].is_monotonic_decreasing and part["power"].is_monotonic_increasing
        assert (part["latency_low"] < part["latency"]).all()
        assert (part["latency"] < part["latency_high"]).all()


def test_power_of_an_operating_point_by_hand():
    half = operating_point(W5, 0.5)
    assert half.clock.value == W5.clock.value / 2
    assert half.core_power.value == pytest.approx(W5.core_power.value * 0.5**2.4)
    assert half.uncore_power == W5.uncore_power


def test_the_table_is_a_profile(table):
    profile = ProfileTable.from_frame(table, fail_accuracy=0.1, idle_ratio=0.0)
    assert profile.power.shape == (4, 3)
    assert profile.is_anytime.sum() == 1


def run(name, root, mode="auto", **overrides):
    options = {"size": "smoke", "target": "wearable", "data_mode": mode, "overrides": overrides}
    return Run(PAPER, name, results=root, **options).execute(PAPER.function("experiments", name))


def test_schemes_run_on_a_chip_and_say_that_it_is_modelled(tmp_path):
    rows = run("wearable_schemes", tmp_path, inputs=20).observations()
    assert set(rows["platform"]) == {"w5"} and set(rows["data"]) == {"substitute"}
    assert rows["variant"].nunique() == 11
    kept = rows[rows["metric"].isin(["energy", "normalised", "error", "late"])]
    assert set(kept["measurement"]) <= {"modelled", "simulated"}
    assert PAPER.function("figures", "wearable_schemes")(rows).axes


def test_costs_need_no_data_and_no_watch(tmp_path):
    rows = run("wearable", tmp_path, "synthetic").observations()
    assert set(rows["data"]) == {"synthetic"}
    labels = rows.groupby("metric")["measurement"].unique().map(set).to_dict()
    assert labels["latency"] == labels["energy"] == {"modelled"}
    assert labels["stage_latency"] == {"measured"}
    assert PAPER.function("figures", "wearable")(rows).axes
