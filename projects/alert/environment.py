"""How much slower than profiled everything runs: generated environments and recorded ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from common.errors import did_you_mean
from projects.alert import recordings

QUIET, BUSY = 0.03, 0.10  # sd of log slow-down without and with a co-running load
P_ON, P_OFF = 0.01, 0.02  # chance per input that the load starts and that it stops
JITTER = 0.02  # sd of what one network does that the others do not
WORDS, WORDS_SD = 21.0, 0.5  # median length of a sentence, sd of its logarithm

# Range of the slow-down that each load adds while it is on, drawn anew for every burst.
LOADS: Mapping[str, tuple[float, float]] = {
    "default": (0.0, 0.0),
    "memory": (0.6, 1.2),
    "compute": (0.3, 0.7),
}


@dataclass(frozen=True, eq=False)
class Environment:
    """The truth of n inputs, which only the Oracle sees beforehand.

    Attributes
    ----------
    name : str
        Which environment.
    slow_down : ndarray, shape (n,)
        xi of every input.
    jitter : ndarray, shape (n, K)
        Factor of each network on top of it.
    busy : ndarray of bool, shape (n,)
        Whether a load was co-running.
    group : ndarray of int, shape (n,)
        Items left in the group (sentence) that shares a deadline, this one included; 1 where every
        input has its own.
    """

    name: str
    slow_down: np.ndarray
    jitter: np.ndarray
    busy: np.ndarray
    group: np.ndarray

    def __len__(self) -> int:
        return len(self.slow_down)

    def first(self, n: int) -> Environment:
        """Return its first n inputs."""
        parts = (self.slow_down, self.jitter, self.busy, self.group)
        return Environment(self.name, *(part[:n] for part in parts))

    def ratio(self, model: np.ndarray) -> np.ndarray:
        """Latency over the profiled one of the network ``model[n, ...]`` at every input."""
        rows = np.arange(len(self)).reshape(-1, *[1] * (model.ndim - 1))
        return self.slow_down.reshape(rows.shape) * self.jitter[rows, model]


def bursts(rng: np.random.Generator, n: int) -> np.ndarray:
    """Two-state Markov chain: the number of the burst that each input lies in, 0 for none."""
    number, current, on = np.zeros(n, dtype=int), 0, False
    for place, chance in enumerate(rng.random(n)):
        if chance < (P_OFF if on else P_ON):
            on = not on
            current += on
        number[place] = current if on else 0
    return number


def generate(
    rng: np.random.Generator, name: str, n: int, models: int, *, lengths: bool = False
) -> Environment:
    """Generate an environment: xi = (1 + c) exp(eps), with c a burst's slow-down.

    Every constant is an engineering choice, not the paper's; a recorded trace replaces them.

    Parameters
    ----------
    rng : Generator
        Randomness.
    name : {"default", "memory", "compute"}
        Co-running load.
    n, models : int
        Inputs and networks.
    lengths : bool
        Inputs differ in length as sentences do: log-normal, with median 1.

    Examples
    --------
    >>> bool(generate(np.random.default_rng(0), "memory", 1000, 3).busy.any())
    True
    """
    if name not in LOADS:
        raise ValueError(f"unknown environment {name!r}{did_you_mean(name, LOADS)}")
    number = bursts(rng, n) if LOADS[name][1] else np.zeros(n, dtype=int)
    busy = number > 0
    extra = np.where(busy, rng.uniform(*LOADS[name], number.max() + 1)[number], 0.0)
    slow_down = (1 + extra) * np.exp(rng.normal(0, np.where(busy, BUSY, QUIET)))
    if lengths:
        slow_down = slow_down * rng.lognormal(0, WORDS_SD, n)
    jitter = np.maximum(rng.normal(1, JITTER, (n, models)), 0.5)
    return Environment(name, slow_down, jitter, busy, np.ones(n, dtype=int))


def sentences(rng: np.random.Generator, name: str, n: int, models: int) -> Environment:
    """Generate words in sentences: the words of one share its deadline."""
    words = generate(rng, name, n, models)
    group = np.empty(0, dtype=int)
    while len(group) < n:
        length = max(1, round(WORDS * rng.lognormal(0, WORDS_SD)))
        group = np.append(group, np.arange(length, 0, -1))
    return Environment(name, words.slow_down, words.jitter, words.busy, group[:n])


def recorded(path: Path, load: str, models: int, rng: np.random.Generator) -> Environment:
    """Read the inputs of a recorded trace that ran without a load or with the named one.

    Parameters
    ----------
    path : Path
        CSV with columns ``input``, ``seconds``, ``load`` (none, memory or compute).
    load : {"default", "memory", "compute"}
        Which inputs to keep beside those without a load.
    models : int
        Networks; each gets its own jitter, for one network alone was timed.

    Returns
    -------
    Environment
        Slow-down over the median of the inputs without a load.
    """
    if load not in LOADS:
        raise ValueError(f"unknown environment {load!r}{did_you_mean(load, LOADS)}")
    trace = recordings.read(path)
    quiet = trace.loc[trace["load"] == "none", "seconds"].median()
    kept = trace[trace["load"].isin(["none", load])]
    n = len(kept)
    jitter = np.maximum(rng.normal(1, JITTER, (n, models)), 0.5)
    busy = (kept["load"] != "none").to_numpy()
    slow_down = (kept["seconds"] / quiet).to_numpy()
    return Environment(f"{load} recorded", slow_down, jitter, busy, np.ones(n, dtype=int))
