"""The graphs of an anytime network in ONNX Runtime, stage after stage, without PyTorch."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from common.data.safepath import safe_relative
from common.errors import DataError, require

if TYPE_CHECKING:
    import onnxruntime

INPUT, LOGITS = "x", "logits"
MANIFEST = "stages.json"
FORMAT = 1


class OnnxStages:
    """Graphs of :func:`projects.osgd.export.export_stages`, one after the other as long as wanted.

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
