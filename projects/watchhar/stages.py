"""An exported classifier cut into its stages, so that what is timed is what ships."""

from __future__ import annotations

from pathlib import Path

from common.errors import ConfigError, require
from common.hardware.targets.wearable.graph import EXTRA, Graph, Node, load_graph

STAGES = {
    "front end": ("frontend",),
    "sound encoder": ("audio_encoder",),
    "motion encoder": ("imu_encoder",),
    "fusion and head": ("fusion", "head"),
}
# Everything behind the front end: what follows a spectrogram that was computed elsewhere.
NETWORK = tuple(name for modules in list(STAGES.values())[1:] for name in modules)


def cut_stages(path: Path | str, folder: Path) -> dict[str, Path]:
    """Cut an exported ``WatchHARClassifier`` into one file per stage, and one of the network.

    Parameters
    ----------
    path : Path or str
        ONNX file that names the modules its nodes come from.
    folder : Path
        Where the files go.

    Returns
    -------
    dict
        File of each stage, and of ``"network"``: all stages but the front end, which takes motion
        and the spectrogram.

    Raises
    ------
    ConfigError
        If the file has no node of a stage.
    """
    utils = require("onnx.utils", EXTRA)
    graph = load_graph(path)
    files = {}
    for stage, modules in {**STAGES, "network": NETWORK}.items():
        inputs, outputs = boundary(graph, _nodes(graph, modules))
        files[stage] = folder / f"{stage.replace(' ', '-')}.onnx"
        utils.extract_model(str(path), str(files[stage]), inputs, outputs)
    return files


def boundary(graph: Graph, nodes: list[Node]) -> tuple[list[str], list[str]]:
    """Tensors that some nodes read from elsewhere, those of the caller first, and vice versa."""
    made = {name for node in nodes for name in node.outputs}
    read = dict.fromkeys(name for node in nodes for name in node.inputs if name)
    inputs = [name for name in read if name not in made and name not in graph.constants]
    inputs.sort(key=lambda name: name not in graph.inputs)
    inside = {node.name for node in nodes}
    outputs = [
        name
        for node in nodes
        for name in node.outputs
        if name in graph.outputs
        or any(reader.name not in inside for reader in graph.consumers(name))
    ]
    return inputs, outputs


def _nodes(graph: Graph, modules: tuple[str, ...]) -> list[Node]:
    """Nodes of some modules; one that names no module belongs with the node before it."""
    found, last = [], ""
    for node in graph.nodes:
        last = node.module.split(".")[0] or last
        if last in modules:
            found.append(node)
    if not found:
        raise ConfigError(f"the file has no node of {', '.join(modules)}; export the whole model")
    return found
