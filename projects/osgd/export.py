"""ONNX graphs of an anytime network: one answer from scratch, or stage after stage.

In the second form stage s is a graph that takes the input and the activations that stage s - 1 left
behind, so a server can stop after any stage and go on where it stopped.
"""

from __future__ import annotations

import contextlib
import copy
import io
import json
import logging
import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from common.data.safepath import safe_relative
from common.errors import DataError, require
from common.results import atomic, write_json

if TYPE_CHECKING:
    import onnxruntime

    from projects.osgd.anytime import AnytimeModule

INPUT, LOGITS = "x", "logits"
MANIFEST = "stages.json"
FORMAT = 1
# One input is never exported alone: the exporter would take a batch of one for a constant.
EXAMPLE_BATCH = 2


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
    module = _frozen(module)
    alone = _Alone(module, module.check_stage(stage))
    x = torch.randn(EXAMPLE_BATCH, *input_shape)
    with torch.no_grad():
        expected = {LOGITS: alone(x)}
    _write(alone, Path(path), {INPUT: x}, expected, atol)
    return Path(path)


def export_together(
    networks: Mapping[str, AnytimeModule],
    folder: Path,
    input_shape: Sequence[int],
    *,
    atol: float = 1e-4,
) -> dict[str, Path]:
    """Write the graphs of the last answers of several networks, in one pass of the exporter.

    The exporter takes seconds before its first operator, so networks of like inputs share a pass;
    each graph is then cut out of the whole.

    Parameters
    ----------
    networks : mapping of str to AnytimeModule
        Networks by name, of inputs of one shape.
    folder : Path
        Gets ``{name}.onnx``, with input ``x`` and an output called as the network.
    input_shape, atol
        As in :func:`export_onnx`.

    Raises
    ------
    ValueError
        If an answer deviates by more than ``atol``.
    """
    onnx = require("onnx", "edge")
    together = _Together([_Alone(_frozen(net), net.num_stages - 1) for net in networks.values()])
    x = torch.randn(EXAMPLE_BATCH, *input_shape)
    with torch.no_grad():
        expected = dict(zip(networks, together(x), strict=True))
    paths = {name: Path(folder) / f"{name}.onnx" for name in networks}
    with tempfile.TemporaryDirectory() as temporary:
        whole = Path(temporary) / "whole.onnx"
        _write(together, whole, {INPUT: x}, expected, atol)
        for name, path in paths.items():
            with atomic(path) as file:
                onnx.utils.extract_model(str(whole), str(file), [INPUT], [name])
    return paths


def export_stages(
    module: AnytimeModule, folder: Path, input_shape: Sequence[int], *, atol: float = 1e-4
) -> Path:
    """Write one graph per stage, and ``stages.json`` that says how they fit together.

    Stage s takes ``x`` and the tensors that stage s - 1 left behind, named by that stage's number
    such as ``cache0.layer2``, as far as it reads them; it gives ``logits`` and, unless it is the
    last, tensors ``cache{s}.*`` for the next.

    Parameters
    ----------
    module, input_shape, atol
        As in :func:`export_onnx`.
    folder : Path
        Where to write; made if needed.

    Returns
    -------
    Path
        The manifest. :class:`OnnxStages` runs it.

    Raises
    ------
    ValueError
        If a graph's answer deviates by more than ``atol``.
    """
    module, folder = _frozen(module), Path(folder)
    x, cache, stages = torch.randn(EXAMPLE_BATCH, *input_shape), {}, []
    for stage, cost in enumerate(module.stage_costs(input_shape)):
        last = stage == module.num_stages - 1
        graph = _Stage(module, stage, list(cache), last)
        with torch.no_grad():
            logits, following = module.step(stage, x, cache)
        given = {LOGITS: logits} if last else {LOGITS: logits, **_named(following, stage)}
        name = f"stage{stage}.onnx"
        _write(graph, folder / name, {INPUT: x, **_named(cache, stage - 1)}, given, atol)
        entry = {"file": name, "outputs": list(given), "macs": cost.macs, "params": cost.params}
        stages.append(entry)
        cache = following
    content = {"format": FORMAT, "input": INPUT, "shape": list(input_shape), "stages": stages}
    write_json(folder / MANIFEST, content)
    return folder / MANIFEST


class OnnxStages:
    """The graphs of :func:`export_stages` in ONNX Runtime, one after the other, as long as wanted.

    Parameters
    ----------
    manifest : Path
        ``stages.json``; the graphs lie beside it.
    providers : sequence of str
        Execution providers of ONNX Runtime.
    intra_op_num_threads : int
        Threads of one operator; 0 lets the runtime choose.

    Attributes
    ----------
    num_stages : int
        Number of answers.
    input_shape : tuple of int
        Shape of one input.
    files : list of Path
        One graph per stage.
    sessions : list of InferenceSession
        One per stage.

    Raises
    ------
    DataError
        If the manifest is missing, damaged or names a file outside of its folder.
    """

    def __init__(
        self,
        manifest: Path,
        *,
        providers: Sequence[str] = ("CPUExecutionProvider",),
        intra_op_num_threads: int = 1,
    ) -> None:
        manifest = Path(manifest)
        content = _read_manifest(manifest)
        self.input_shape = tuple(content["shape"])
        self.files = [manifest.parent / safe_relative(s["file"]) for s in content["stages"]]
        self.sessions = [session(path, providers, intra_op_num_threads) for path in self.files]
        self.num_stages = len(self.sessions)
        self._inputs = [[item.name for item in found.get_inputs()] for found in self.sessions]
        self._outputs = [stage["outputs"] for stage in content["stages"]]

    def stages(self, x: np.ndarray) -> Iterator[np.ndarray]:
        """Yield the logits (batch, classes) of stage after stage; abandon it at will.

        Parameters
        ----------
        x : ndarray of float32
            Inputs (batch, ...).

        Raises
        ------
        ValueError
            If the inputs have another shape than the network was exported for.
        """
        if tuple(x.shape[1:]) != self.input_shape:
            raise ValueError(f"input of shape {x.shape}; expected (batch, {self.input_shape})")
        ort = require("onnxruntime", "edge")
        # OrtValues stay in the runtime: no cached activation is copied between two stages.
        known = {INPUT: ort.OrtValue.ortvalue_from_numpy(np.ascontiguousarray(x, np.float32))}
        for found, inputs, outputs in zip(self.sessions, self._inputs, self._outputs, strict=True):
            values = found.run_with_ort_values(outputs, {name: known[name] for name in inputs})
            known.update(zip(outputs, values, strict=True))
            yield values[0].numpy()


def session(
    path: Path,
    providers: Sequence[str] = ("CPUExecutionProvider",),
    intra_op_num_threads: int = 1,
) -> onnxruntime.InferenceSession:
    """Open a graph in ONNX Runtime with a fixed number of threads that sleep when idle."""
    ort = require("onnxruntime", "edge")
    options = ort.SessionOptions()
    options.intra_op_num_threads = intra_op_num_threads
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return ort.InferenceSession(str(path), options, providers=list(providers))


class _Alone(nn.Module):
    """The answer of one stage as a function of the input."""

    def __init__(self, module: AnytimeModule, stage: int) -> None:
        super().__init__()
        self.module, self.stage = module, stage

    def forward(self, x: Tensor) -> Tensor:
        cache: dict[str, Tensor] = {}
        for stage in range(self.stage + 1):
            logits, cache = self.module.step(stage, x, cache)
        return logits


class _Together(nn.Module):
    """The answers of several modules to one input."""

    def __init__(self, modules: Sequence[nn.Module]) -> None:
        super().__init__()
        self.members = nn.ModuleList(modules)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        return tuple(module(x) for module in self.members)


class _Stage(nn.Module):
    """One stage with its cache as positional tensors, which is what the exporter takes."""

    def __init__(self, module: AnytimeModule, stage: int, names: list[str], last: bool) -> None:
        super().__init__()
        self.module, self.stage, self.names, self.last = module, stage, names, last

    def forward(self, x: Tensor, *cached: Tensor) -> tuple[Tensor, ...]:
        cache = dict(zip(self.names, cached, strict=True))
        logits, following = self.module.step(self.stage, x, cache)
        return (logits,) if self.last else (logits, *following.values())


def _frozen(module: AnytimeModule) -> AnytimeModule:
    return copy.deepcopy(module).cpu().eval().requires_grad_(False)


def _named(cache: Mapping[str, Tensor], stage: int) -> dict[str, Tensor]:
    """What a stage left behind, under names that no other stage uses."""
    return {f"cache{stage}.{name}": value for name, value in cache.items()}


def _write(
    graph: nn.Module,
    path: Path,
    inputs: Mapping[str, Tensor],
    expected: Mapping[str, Tensor],
    atol: float,
) -> None:
    """Export to a temporary file, compare with eager mode, and only then put it in place."""
    require("onnxscript", "edge")
    batch = torch.export.Dim("batch", min=1)
    # A graph's variadic arguments count as one.
    shapes: list[Any] = [{0: batch} for _ in inputs]
    dynamic = (shapes[0], tuple(shapes[1:])) if len(shapes) > 1 else (shapes[0],)
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic(path) as temporary:
        with _silence():
            torch.onnx.export(
                graph.eval(),
                tuple(inputs.values()),
                str(temporary),
                input_names=list(inputs),
                output_names=list(expected),
                dynamic_shapes=dynamic,
                dynamo=True,
                external_data=False,
                verbose=False,
            )
        _compare(temporary, path.name, inputs, expected, atol)


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


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Keep the exporter's progress and advice off the terminal."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "torch.export", "onnxscript")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with (
            contextlib.redirect_stdout(io.StringIO()),
            contextlib.redirect_stderr(io.StringIO()),
            warnings.catch_warnings(),
        ):
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _read_manifest(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text())
        if content["format"] != FORMAT:
            raise ValueError(f"format {content['format']}, this version reads {FORMAT}")
        for stage in content["stages"]:
            safe_relative(stage["file"])
            if stage["outputs"][0] != LOGITS:
                raise ValueError(f"the first output of {stage['file']} is not {LOGITS!r}")
    except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
        raise DataError(f"{path} is no manifest of an anytime network ({error!r})") from error
    return content
