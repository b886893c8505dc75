"""The graphs of an anytime network on a watch: their batch fixed, then counted stage by stage.

A cost or a C program needs fixed shapes, while an export here leaves the batch free. Every stage is
a call of its own, so what stages cost adds up.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from common.errors import ConfigError, require
from common.results import atomic
from projects.osgd.runtime import INPUT, OnnxStages, session

if TYPE_CHECKING:
    import pandas as pd

    from common.hardware.targets.wearable.export import Export

SUMMED = ("instructions", "latency", "energy", "macs")
"""Quantities of a profile that add up over stages; so do the ends of their ranges."""


class FixedGraph(NamedTuple):
    """A graph of one batch and an input that it takes.

    Attributes
    ----------
    export : Export
        The file; its difference is that from the graph of a free batch.
    inputs : list of ndarray
        What it takes, in the order of the file.
    outputs : dict of str to ndarray
        What it gave for them.
    """

    export: Export
    inputs: list[np.ndarray]
    outputs: dict[str, np.ndarray]

    def profile(self, **options: Any) -> pd.DataFrame:
        """Profile it; options of :func:`common.hardware.targets.wearable.profile`."""
        import torch

        from common.hardware.targets.wearable import profile

        return profile(self.export, [torch.from_numpy(each) for each in self.inputs], **options)


def fix_batch(source: Path, path: Path, values: Mapping[str, np.ndarray]) -> FixedGraph:
    """Write a copy of a graph whose free batch is that of the inputs.

    Parameters
    ----------
    source : Path
        A graph of :func:`projects.osgd.export.export_stages` or ``export_onnx``.
    path : Path
        Where the copy goes.
    values : mapping of str to ndarray
        At least the inputs of the graph, by name, all of one batch.

    Raises
    ------
    ConfigError
        If an input of the graph is missing.
    """
    from common.hardware.targets.wearable.export import Export, Port

    onnx = require("onnx", "edge")
    free = session(source)
    names = [port.name for port in free.get_inputs()]
    if missing := [name for name in names if name not in values]:
        raise ConfigError(f"{source.name} takes {', '.join(names)}; {missing[0]!r} is not given")
    feed = {name: values[name] for name in names}
    outputs = [port.name for port in free.get_outputs()]
    expected = dict(zip(outputs, free.run(outputs, feed), strict=True))

    model = onnx.load(str(source))
    del model.graph.value_info[:]  # inferred anew from the shapes of inputs and outputs
    for port in (*model.graph.input, *model.graph.output):
        shape = {**feed, **expected}[port.name].shape
        for dimension, size in zip(port.type.tensor_type.shape.dim, shape, strict=True):
            dimension.dim_value = size
    with atomic(path) as temporary:
        onnx.save(model, str(temporary))
    found = dict(zip(outputs, session(path).run(outputs, feed), strict=True))
    content = path.read_bytes()

    def ports(arrays: Mapping[str, np.ndarray]) -> tuple[Port, ...]:
        return tuple(Port(name, a.shape, a.dtype.name) for name, a in arrays.items())

    export = Export(
        path,
        "onnx",
        "fp32",
        len(content),
        hashlib.sha256(content).hexdigest(),
        ports(feed),
        ports(found),
        max(float(np.abs(found[name] - expected[name]).max()) for name in outputs),
        max(float(np.abs(value).max()) for value in expected.values()),
    )
    return FixedGraph(export, list(feed.values()), found)


def fixed_stages(manifest: Path, folder: Path, batch: int = 1) -> list[FixedGraph]:
    """Fix the batch of every graph of a manifest.

    Parameters
    ----------
    manifest : Path
        ``stages.json`` of :func:`projects.osgd.export.export_stages`.
    folder : Path
        Where the copies go.
    batch : int
        Inputs at once.

    Raises
    ------
    DataError
        If the manifest is damaged.
    ConfigError
        If the batch is below 1.
    """
    if batch < 1:
        raise ConfigError(f"batch={batch}: a graph takes at least one input at once")
    stages = OnnxStages(manifest)
    shape = (batch, *stages.input_shape)
    values = {INPUT: np.random.default_rng(0).standard_normal(shape, np.float32)}
    folder.mkdir(parents=True, exist_ok=True)
    fixed = []
    for source in stages.files:
        fixed.append(fix_batch(source, folder / source.name, values))
        values |= fixed[-1].outputs
    return fixed


def profile_graphs(graphs: Sequence[FixedGraph], **options: Any) -> pd.DataFrame:
    """Profile graphs that run one after the other on the parts of the wearable target.

    Parameters
    ----------
    graphs : sequence of FixedGraph
        From :func:`fixed_stages`, or a single one.
    **options
        Of :func:`common.hardware.targets.wearable.profile`.

    Returns
    -------
    DataFrame
        Rows of the profile with a column ``stage``: from 1 for what each graph takes, 0 for all of
        them (:data:`SUMMED` alone).
    """
    import pandas as pd

    tables = [graph.profile(**options).assign(stage=n + 1) for n, graph in enumerate(graphs)]
    table = pd.concat(tables, ignore_index=True)
    keys = [name for name in table if name not in ("value", "low", "high", "stage")]
    whole = table[table["quantity"].isin(SUMMED)].groupby(keys, sort=False, as_index=False)
    return pd.concat([table, whole[["value", "low", "high"]].sum().assign(stage=0)])
