"""A transform coder in the manner of KVTC (NVIDIA, ICLR 2026): PCA, bit allocation, entropy code.

Offline, each (layer, K/V) gets the principal components of its channels. A level is a budget of
bits per value; reverse water-filling turns it into a noise level theta: a component of variance
below theta is dropped, all others get the step sqrt(12 theta), but none more than eight bits.
Symbols are coded by rANS with
offline tables per component. Four sink tokens and a recent window stay exact.

KVTC itself takes the components over all layers and heads at once, undoes RoPE first, allots
whole bits by dynamic programming and ends with DEFLATE; see the paper card.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from projects.cachegen import predict, window
from projects.cachegen.entropy import decode_section, encode_section
from projects.cachegen.errors import IncompatibleProfileError
from projects.cachegen.interface import Codec, Task, exactly, planes_of
from projects.cachegen.profile import Profile
from projects.cachegen.tables import Tables, count, per_channel
from projects.cachegen.tensors import Geometry

BUDGETS = {"high": 3.0, "medium": 2.0, "low": 1.5, "lowest": 1.0}
MOST_BITS = 8  # of one component; a narrow subspace cannot use up any budget
_NEVER = np.float32(1e30)  # step of a dropped component: every symbol is zero


def water_level(variances: np.ndarray, bits: float) -> float:
    """Noise theta at which the components of a Gaussian need ``bits`` each on average.

    Reverse water-filling: mean of max(0, log2(variance / theta) / 2) = bits.

    Examples
    --------
    >>> round(water_level(np.array([4.0, 4.0]), 1.0), 6)
    1.0
    >>> round(water_level(np.array([16.0, 1e-9]), 1.0), 6)
    1.0
    """
    ordered = np.sort(variances)[::-1]
    logs = np.log2(np.maximum(ordered, 1e-300))
    # With the m largest kept: sum of logs - m log2(theta) = 2 n bits.
    kept = np.arange(1, len(ordered) + 1)
    candidates = (np.cumsum(logs) - 2 * len(ordered) * bits) / kept
    inside = candidates <= logs
    return float(2.0 ** candidates[np.flatnonzero(inside)[-1]])


@dataclass(frozen=True)
class Tools:
    """Bases [planes, C, C] (columns are components), means, steps [planes, C] and tables."""

    basis: np.ndarray
    mean: np.ndarray
    step: np.ndarray
    tables: Tables


class TransformCodec(Codec):
    """PCA per (layer, K/V), reverse water-filling, rANS.

    Parameters
    ----------
    sinks, window : int
        Exact tokens at the begin and at the end of a context.
    clip : int
        Values of -clip..clip have their own symbol.
    threads : int
        Planes coded at the same time.
    """

    name = "kvtc"
    levels: ClassVar[tuple[str, ...]] = tuple(BUDGETS)
    needs_profile = True

    def __init__(
        self, *, sinks: int = 4, window: int = 128, clip: int = 31, threads: int = 1
    ) -> None:
        super().__init__(threads=threads)
        if sinks < 0 or window < 0 or not 1 <= clip <= 127:
            raise ValueError(
                f"sinks={sinks}, window={window}, clip={clip}; "
                "allowed: sinks and window at least 0, clip 1 to 127"
            )
        self.sinks, self.window, self.clip = sinks, window, clip

    @property
    def options(self) -> dict[str, int]:
        """Sinks, window and clip."""
        return {"sinks": self.sinks, "window": self.window, "clip": self.clip}

    def fit(self, kvs: Sequence[Any], *, fingerprint: str = "") -> Profile:
        """Principal components, their variances and their distributions."""
        geometry, mean, covariance = _moments(kvs)
        variances, basis = np.linalg.eigh(covariance)
        arrays = {
            "mean": mean.astype(np.float32),
            "basis": np.ascontiguousarray(basis, np.float32),
            "variance": np.maximum(variances, 0),
        }
        shape = (geometry.planes, geometry.channels, 2 * self.clip + 2)
        for level, bits in BUDGETS.items():
            steps = _steps(arrays["variance"], bits)
            counts = np.zeros(shape, np.int32)
            for planes in planes_of(kvs):
                for plane, x in enumerate(planes.values):
                    q = _quantised(x, arrays["mean"][plane], arrays["basis"][plane], steps[plane])
                    count(q, self.clip, counts[plane])
            tables = per_channel(counts)
            arrays[f"{level}_frequencies"], arrays[f"{level}_index"] = (
                tables.frequencies,
                tables.index,
            )
        return Profile(self.name, self.options, geometry, fingerprint, arrays)

    def prepare(self, level: str, geometry: Geometry, profile: Profile | None) -> Tools:
        """Unpack one level of the profile."""
        assert profile is not None
        a = profile.arrays
        try:
            tables = Tables(a[f"{level}_frequencies"], a[f"{level}_index"])
            tables.check()
            return Tools(a["basis"], a["mean"], _steps(a["variance"], BUDGETS[level]), tables)
        except (KeyError, ValueError, IndexError) as error:
            raise IncompatibleProfileError(f"the profile is damaged: {error}") from error

    def encode_plane(self, x: np.ndarray, plane: int, task: Task) -> bytes:
        """Exact tokens, then one section of components."""
        tools = task.tools
        ends = window.ends(len(x), task.place, self.sinks, self.window)
        head, inner = window.split(x, *ends, task)
        q = _quantised(inner, tools.mean[plane], tools.basis[plane], tools.step[plane])
        return head + encode_section(q, tools.tables, plane)

    def decode_plane(self, part: memoryview, plane: int, task: Task) -> np.ndarray:
        """Undo :meth:`encode_plane`."""
        tools = task.tools
        x, inner, rest = window.join(part, task)
        q = np.empty(inner.shape, np.int16)
        end = decode_section(rest, 0, q, tools.tables, plane)
        exactly(rest[end:], 0, "the rest of a plane")
        kept = tools.step[plane] < _NEVER
        y = q[:, kept] * tools.step[plane, kept]
        inner[:] = y @ tools.basis[plane][:, kept].T + tools.mean[plane]
        return x


def _quantised(x: np.ndarray, mean: np.ndarray, basis: np.ndarray, step: np.ndarray) -> np.ndarray:
    q = np.empty(x.shape, np.int16)
    predict.quantise((x - mean) @ basis, np.zeros_like(step), step, q)
    return q


def _steps(variances: np.ndarray, bits: float) -> np.ndarray:
    """Step of each component, float32 [planes, C]."""
    steps = np.empty(variances.shape, np.float32)
    for plane, variance in enumerate(variances):
        theta = water_level(np.maximum(variance, 1e-12), bits)
        noise = np.maximum(theta, variance / 4**MOST_BITS)
        steps[plane] = np.where(variance > theta, np.sqrt(12 * noise), _NEVER)
    return steps


def _moments(kvs: Sequence[Any]) -> tuple[Geometry, np.ndarray, np.ndarray]:
    """Mean [planes, C] and covariance [planes, C, C] over all tokens."""
    n, total, products = 0, 0.0, 0.0
    for planes in planes_of(kvs):
        x = planes.values.astype(np.float64)
        n += planes.tokens
        total = total + x.sum(axis=1)
        products = products + x.transpose(0, 2, 1) @ x
    mean = total / n
    covariance = products / n - mean[:, :, None] * mean[:, None, :]
    return planes.geometry, mean, covariance
