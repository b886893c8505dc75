"""The recorded networks on a watch: what every stage takes at every clock of a chip, modelled."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from common.hardware.targets.wearable import chips
from common.hardware.targets.wearable.costs import LayerCost, layer_costs
from common.results import read_json
from projects.alert.knob import PowerModel
from projects.alert.recordings import INDEX, NETWORKS

if TYPE_CHECKING:
    import pandas as pd

    from common.hardware.targets.wearable.chips import Chip


class Network(NamedTuple):
    """A recorded network: accuracy of each stage, and the layers that it runs."""

    name: str
    accuracies: tuple[float, ...]
    stages: tuple[list[LayerCost], ...]


def recorded_networks(folder: Path, tiles: int) -> list[Network]:
    """Count the layers of the recorded networks for an input of some images.

    Parameters
    ----------
    folder : Path
        Recordings of this project.
    tiles : int
        Images that are one input.
    """
    from projects.osgd import fixed_stages

    found = []
    for entry in read_json(folder / NETWORKS / INDEX)["networks"]:
        with tempfile.TemporaryDirectory() as scratch:
            manifest = folder / NETWORKS / entry["name"] / "stages.json"
            graphs = fixed_stages(manifest, Path(scratch), tiles)
            stages = tuple(layer_costs(graph.export.path) for graph in graphs)
        found.append(Network(entry["name"], tuple(entry["accuracies"]), stages))
    return found


def operating_point(chip: Chip, share: float) -> Chip:
    """The same chip at a share of its clock; a core's power falls as the share to the power of 2.4.

    Memory, interconnect and what an inference costs besides its layers stay as they are.

    Examples
    --------
    >>> slow = operating_point(chips.CHIPS["w5"], 0.5)
    >>> slow.clock.value, round(slow.core_power.value, 4)
    (850000000.0, 0.0237)
    """
    return chip._replace(
        clock=_scaled(chip.clock, share),
        core_power=_scaled(chip.core_power, PowerModel(busy=1.0, idle=0.0).watts(share)),
    )


def chip_table(networks: Sequence[Network], chip: Chip, shares: Sequence[float]) -> pd.DataFrame:
    """Profile of networks at operating points of a chip.

    Parameters
    ----------
    networks : sequence of Network
        From :func:`recorded_networks`.
    chip : Chip
        Coefficients.
    shares : sequence of float
        Shares of its clock in (0, 1].

    Returns
    -------
    DataFrame
        As ``ProfileTable.from_frame`` reads it, the setting in GHz, and the ranges of the model:
        ``latency_low``, ``latency_high``, ``energy``, ``energy_low``, ``energy_high`` (J), all
        cumulative over stages. Every stage is a call of its own.
    """
    import pandas as pd

    rows = []
    for network in networks:
        for share in shares:
            point = operating_point(chip, share)
            latency = energy = chips.Interval(0.0, 0.0, 0.0)
            for stage, layers in enumerate(network.stages):
                latency = _sum(latency, chips.latency(layers, point))
                energy = _sum(energy, chips.energy(layers, point))
                row = {"model": network.name, "stage": stage + 1}
                row |= {"accuracy": network.accuracies[stage], "setting": point.clock.value / 1e9}
                row |= {"latency": latency.value, "power": energy.value / latency.value}
                row |= {"latency_low": latency.low, "latency_high": latency.high}
                row |= {"energy": energy.value, "energy_low": energy.low}
                rows.append({**row, "energy_high": energy.high})
    return pd.DataFrame(rows)


def _scaled(coefficient: chips.Coefficient, factor: float) -> chips.Coefficient:
    value, low, high, *rest = coefficient
    return chips.Coefficient(factor * value, factor * low, factor * high, *rest)


def _sum(a: chips.Interval, b: chips.Interval) -> chips.Interval:
    return chips.Interval(*(x + y for x, y in zip(a, b, strict=True)))
