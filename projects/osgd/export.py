"""ONNX graphs of an anytime network: one answer from scratch, or stage after stage.

In the second form stage s is a graph that takes the input and the activations that stage s - 1 left
behind, so a server can stop after any stage and go on where it stopped.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from common.errors import require
from common.hardware.targets.wearable.export import onnx_model
from common.results import atomic, write_json
from projects.osgd.runtime import FORMAT, INPUT, LOGITS, MANIFEST, session

if TYPE_CHECKING:
    from projects.osgd.anytime import AnytimeModule

# One input is never exported alone: the exporter would take a batch of one for a constant.
EXAMPLE_BATCH = 2


class Graphs(NamedTuple):
    """Files of one network.

    Attributes
    ----------
    manifest : Path
        ``stages.json`` of its stages, for :class:`projects.osgd.runtime.OnnxStages`.
    last : Path
        The last answer from scratch.
    """

    manifest: Path
    last: Path


def export_onnx(
    module: AnytimeModule,
    stage: int,
    path: Path,
    input_shape: Sequence[int],
    *,
    atol: float = 1e-4,
) -> Path:
    """Write the graph that computes one stage's answer from scratch.

    Parameters
    ----------
    module : AnytimeModule
        Exported as it stands, in evaluation mode; left unchanged.
    stage : int
        Whose answer, from 0.
    path : Path
        File to write. Input ``x`` (batch, ...), output ``logits`` (batch, classes).
    input_shape : sequence of int
        Shape of one input, without the batch, which stays free.
    atol : float
        Largest deviation between ONNX Runtime and eager mode.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    IndexError
        If there is no such stage.
    ValueError
        If the graph's answer deviates by more than ``atol``; nothing is written then.
    """
    stage = module.check_stage(stage)
    whole = _Whole([module], input_shape, stages=stage + 1)
    return whole.answer(0, stage, Path(path), atol)


def export_stages(
    module: AnytimeModule, folder: Path, input_shape: Sequence[int], *, atol: float = 1e-4
) -> Path:
    """Write one graph per stage, and ``stages.json`` that says how they fit together.

    Stage s takes ``x`` and the tensors that stage s - 1 left behind, named by that stage's number
    such as ``cache0.layer2``; it gives ``logits`` and, unless it is the last, tensors
    ``cache{s}.*`` for the next.

    Parameters
    ----------
    module, input_shape, atol
        As in :func:`export_onnx`.
    folder : Path
        Where to write; made if needed.

    Returns
    -------
    Path
        The manifest. :class:`projects.osgd.runtime.OnnxStages` runs it.

    Raises
    ------
    ValueError
        If a graph's answer deviates by more than ``atol``.
    """
    return _Whole([module], input_shape).stages(0, Path(folder), atol)


def export_together(
    networks: Mapping[str, AnytimeModule],
    folder: Path,
    input_shape: Sequence[int],
    *,
    atol: float = 1e-4,
) -> dict[str, Graphs]:
    """Write the stages and the last answer of several networks, in one pass of the exporter.

    The exporter takes seconds before its first operator.

    Parameters
    ----------
    networks : mapping of str to AnytimeModule
        Networks by name, of inputs of one shape.
    folder : Path
        Gets for each network ``{name}/``, as written by :func:`export_stages`, and if it has
        several stages ``{name}.onnx``, as written by :func:`export_onnx`.
    input_shape, atol
        As in :func:`export_onnx`.

    Raises
    ------
    ValueError
        If an answer deviates by more than ``atol``.
    """
    whole, made = _Whole([*networks.values()], input_shape), {}
    for place, (name, network) in enumerate(networks.items()):
        manifest = whole.stages(place, Path(folder) / name, atol)
        last = manifest.parent / _stage_file(0)
        if network.num_stages > 1:
            file = Path(folder) / f"{name}.onnx"
            last = whole.answer(place, network.num_stages - 1, file, atol)
        made[name] = Graphs(manifest, last)
    return made


class _Together(nn.Module):
    """The first stages of several networks for one input."""

    def __init__(self, networks: Sequence[AnytimeModule], stages: Sequence[int]) -> None:
        super().__init__()
        self.networks, self.stages = nn.ModuleList(networks), stages

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        return tuple(self.given(x).values())

    def given(self, x: Tensor) -> dict[str, Tensor]:
        """Everything that a stage gives, under names of :func:`_name`."""
        found: dict[str, Tensor] = {}
        for place, (network, stages) in enumerate(zip(self.networks, self.stages, strict=True)):
            cache: dict[str, Tensor] = {}
            for stage in range(stages):
                logits, cache = network.step(stage, x, cache)
                found[_name(place, stage, LOGITS)] = logits
                if stage + 1 < stages:
                    ports = {f"cache{stage}.{name}": value for name, value in cache.items()}
                    found |= {_name(place, stage, port): value for port, value in ports.items()}
        return found


def _name(network: int, stage: int, port: str) -> str:
    """What a port of a file is called in the graph of all networks and stages."""
    return f"{network}.{stage}.{port}"


class _Whole:
    """One pass of the exporter over stages of several networks; files are cut out of its graph.

    Parameters
    ----------
    networks : sequence of AnytimeModule
        Networks for inputs of one shape.
    shape : sequence of int
        That shape, without the batch.
    stages : int, optional
        How many of each network; all by default.
    """

    def __init__(
        self, networks: Sequence[AnytimeModule], shape: Sequence[int], stages: int | None = None
    ) -> None:
        self.networks = [copy.deepcopy(net).cpu().eval().requires_grad_(False) for net in networks]
        self.shape = tuple(shape)
        together = _Together(self.networks, [stages or net.num_stages for net in networks])
        x = torch.randn(EXAMPLE_BATCH, *self.shape)
        with torch.no_grad():
            given = together.given(x)
        self.values = {INPUT: x, **given}
        model = onnx_model(
            together,
            [x],
            input_names=[INPUT],
            output_names=[*given],
            dynamic_shapes=({0: torch.export.Dim("batch", min=1)},),
        )
        self.extractor = require("onnx", "edge").utils.Extractor(model)
        # What a stage hands on as it is has a copy for each port, which nothing in the graph reads.
        copies = [node for node in model.graph.node if node.op_type == "Identity"]
        self.originals = {node.output[0]: node.input[0] for node in copies}

    def answer(self, network: int, stage: int, path: Path, atol: float) -> Path:
        """Write the graph from the input to one answer."""
        self._cut(path, {}, {LOGITS: _name(network, stage, LOGITS)}, atol)
        return path

    def stages(self, network: int, folder: Path, atol: float) -> Path:
        """Write the graphs of all stages of a network, and their manifest."""
        taken: dict[str, str] = {}
        stages = []
        for stage, cost in enumerate(self.networks[network].stage_costs(self.shape)):
            prefix, file = _name(network, stage, ""), _stage_file(stage)
            given = {n.removeprefix(prefix): n for n in self.values if n.startswith(prefix)}
            self._cut(folder / file, taken, given, atol)
            entry = {"file": file, "outputs": [*given], "macs": cost.macs, "params": cost.params}
            stages.append(entry)
            taken = {port: name for port, name in given.items() if port != LOGITS}
        content = {"format": FORMAT, "input": INPUT, "shape": list(self.shape), "stages": stages}
        write_json(folder / MANIFEST, content)
        return folder / MANIFEST

    def _cut(
        self, path: Path, taken: Mapping[str, str], given: Mapping[str, str], atol: float
    ) -> None:
        """Write the part between some ports, given with their names in the whole graph.

        It is compared with eager mode, and only then put in place.
        """
        read = self._read(taken)
        model = self.extractor.extract_model([INPUT, *read.values()], [*given.values()])
        _rename(model.graph, {name: port for port, name in (*read.items(), *given.items())})
        inputs = {INPUT: INPUT, **taken}
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic(path) as temporary:
            temporary.write_bytes(model.SerializeToString())
            _compare(temporary, path.name, *map(self._valued, (inputs, given)), atol)

    def _read(self, taken: Mapping[str, str]) -> dict[str, str]:
        """Where the graph reads the values that a stage takes: at the original of a copy."""
        read: dict[str, str] = {}
        for port, name in taken.items():
            original = self.originals.get(name, name)
            known = original in (INPUT, *taken.values(), *read.values())
            read[port] = name if known else original
        return read

    def _valued(self, ports: Mapping[str, str]) -> dict[str, Tensor]:
        return {port: self.values[name] for port, name in ports.items()}


def _stage_file(stage: int) -> str:
    return f"stage{stage}.onnx"


def _rename(graph: Any, names: Mapping[str, str]) -> None:
    for node in graph.node:
        for ports in (node.input, node.output):
            ports[:] = [names.get(name, name) for name in ports]
    for value in (*graph.input, *graph.output, *graph.value_info):
        value.name = names.get(value.name, value.name)


def _compare(
    file: Path,
    name: str,
    inputs: Mapping[str, Tensor],
    expected: Mapping[str, Tensor],
    atol: float,
) -> None:
    found = session(file)
    feed = {item.name: inputs[item.name].numpy() for item in found.get_inputs()}
    for (output, value), made in zip(
        expected.items(), found.run(list(expected), feed), strict=True
    ):
        worst = float(np.abs(made - value.numpy()).max())
        if not worst <= atol:
            raise ValueError(
                f"{name}: {output} deviates from eager mode by {worst:.2g}, more than "
                f"atol={atol:.2g}; is the network trained and in float32?"
            )
