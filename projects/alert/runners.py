"""Runners: one inference on real hardware, timed, with the answer there was at the deadline."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from common.errors import require

if TYPE_CHECKING:
    import numpy as np

Clock = Callable[[], float]


class Answer(NamedTuple):
    """What one run gave.

    Attributes
    ----------
    output : ndarray
        Of the last stage that finished in time, else of the first stage, late.
    stage : int
        The stage that it belongs to, from 1; always 1 for a traditional network.
    times : tuple of float
        Seconds from the start to the end of each stage that was run. There may be one more than
        ``stage``: it was under way at the deadline.
    """

    output: Any
    stage: int
    times: tuple[float, ...]

    @property
    def latency(self) -> float:
        """Seconds from the start to the output."""
        return self.times[self.stage - 1]

    @property
    def busy(self) -> float:
        """Seconds from the start until the runner was free again."""
        return self.times[-1]


class Runner(Protocol):
    """A network that can be run once per input."""

    num_stages: int

    def run(self, x: np.ndarray, stop_at: float | None = None) -> Answer:
        """Run on one input; an anytime network stops ``stop_at`` seconds after the start."""
        ...


class Candidate(NamedTuple):
    """A network that may be chosen.

    Attributes
    ----------
    name : str
        How profile tables and decisions call it.
    accuracies : tuple of float
        Share of held-out inputs answered correctly after each stage.
    runner : Runner
        Runs it.
    """

    name: str
    accuracies: tuple[float, ...]
    runner: Runner


def open_session(model: bytes | str | Path, threads: int = 1) -> Any:
    """Open an ONNX Runtime session on the CPU with a fixed number of threads that do not spin."""
    ort = require("onnxruntime", "edge")
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    source = model if isinstance(model, bytes) else str(model)
    return ort.InferenceSession(source, options, providers=["CPUExecutionProvider"])


class OnnxRunner:
    """A traditional network in ONNX Runtime; it always runs to its end.

    Parameters
    ----------
    session : InferenceSession
        With one input.
    clock : callable
        Seconds, rising; replaced in tests.

    Raises
    ------
    ValueError
        If the session has more than one input.
    """

    num_stages = 1

    def __init__(self, session: Any, clock: Clock = time.perf_counter) -> None:
        names = [item.name for item in session.get_inputs()]
        if len(names) != 1:
            raise ValueError(f"a runner feeds one input, this network has {len(names)}: {names}")
        self._session, self._input, self._clock = session, names[0], clock
        self._outputs = [session.get_outputs()[0].name]

    def run(self, x: np.ndarray, stop_at: float | None = None) -> Answer:
        """Run the network; ``stop_at`` is ignored, there is nothing to return before the end."""
        begin = self._clock()
        output = self._session.run(self._outputs, {self._input: x})[0]
        return Answer(output, 1, (self._clock() - begin,))


class AnytimeRunner:
    """An anytime network: stages run one after another and are abandoned at the deadline.

    A stage that is under way at the deadline is finished and thrown away, for neither ONNX
    Runtime nor PyTorch gives up in the middle of a stage; ``Answer.busy`` counts it.

    Parameters
    ----------
    stages : callable
        Maps an input to an iterable of outputs, earliest first, computed as they are asked for.
    num_stages : int
        How many there are.
    clock : callable
        Seconds, rising; replaced in tests.
    """

    def __init__(
        self,
        stages: Callable[[Any], Iterable[Any]],
        num_stages: int,
        clock: Clock = time.perf_counter,
    ) -> None:
        if num_stages < 1:
            raise ValueError(f"num_stages={num_stages}; a network has at least one stage")
        self._stages, self.num_stages, self._clock = stages, num_stages, clock

    def run(self, x: np.ndarray, stop_at: float | None = None) -> Answer:
        """Run until ``stop_at`` seconds have passed, and at least the first stage."""
        limit = math.inf if stop_at is None else stop_at
        begin, times, kept = self._clock(), [], None
        for output in self._stages(x):
            times.append(self._clock() - begin)
            if kept is None or times[-1] <= limit:
                kept = output, len(times)
            if times[-1] >= limit:
                break
        if kept is None:
            raise RuntimeError("the network gave no output at all")
        return Answer(*kept, tuple(times))


def ladder(sessions: list[Any]) -> Callable[[np.ndarray], Iterable[np.ndarray]]:
    """Chain the stages of :func:`projects.alert.ridge_networks.fitted` for :class:`AnytimeRunner`.

    Parameters
    ----------
    sessions : list of InferenceSession
        One per stage, in order; each takes the image and the features that the last one gave.
    """

    def stages(x: np.ndarray) -> Iterable[np.ndarray]:
        feed = {"image": x}
        for session in sessions:
            logits, feed["carried"] = session.run(["logits", "features"], feed)
            yield logits

    return stages


class TorchRunner:
    """A PyTorch network on one device, traditional or anytime, timed until its work is done there.

    Parameters
    ----------
    module : torch.nn.Module
        In evaluation mode; with a method ``stages(x)`` and ``num_stages`` it is anytime.
    device : str
        Such as ``"cuda"``; the module is moved there.
    clock : callable
        Seconds, rising; replaced in tests.
    """

    def __init__(self, module: Any, device: str = "cuda", clock: Clock = time.perf_counter) -> None:
        import torch

        self._module = module.to(device).eval()
        self._device = torch.device(device)
        self.num_stages = int(getattr(module, "num_stages", 1))
        self._anytime = AnytimeRunner(self._outputs, self.num_stages, clock)

    def run(self, x: np.ndarray, stop_at: float | None = None) -> Answer:
        """Run on one input, moved to the device within the timed region."""
        return self._anytime.run(x, stop_at if self.num_stages > 1 else None)

    def _outputs(self, x: np.ndarray) -> Iterable[np.ndarray]:
        import torch

        with torch.inference_mode():
            image = torch.from_numpy(x).to(self._device)
            stages = getattr(self._module, "stages", None)
            outputs = stages(image) if self.num_stages > 1 else (self._module(image),)
            for output in outputs:
                yield output.cpu().numpy()  # copying waits for the device
