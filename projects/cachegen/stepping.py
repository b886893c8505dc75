"""CacheGen's codec as the paper describes it, and the same with other predictors (brief 2.3).

The scale that steps are measured in is the standard deviation of each (layer, K/V, channel) in
the offline profile, not a maximum over each token: it needs no side information, and the symbols
of a lane are drawn from one distribution, which is what an offline table assumes. Anchors have
8-bit steps over the channel's range in the profile. What lies beyond is escaped, never clipped
(up to 2^15 steps).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from common.errors import did_you_mean
from projects.cachegen import predict
from projects.cachegen.entropy import (
    decode_lanes,
    decode_section,
    encode_section,
    read_section,
)
from projects.cachegen.errors import IncompatibleProfileError
from projects.cachegen.interface import Codec, Task, exactly, planes_of
from projects.cachegen.predict import ANCHOR, NONE, PREDICTORS, PREVIOUS
from projects.cachegen.profile import Profile
from projects.cachegen.tables import Tables, clustered, code_bits, count, grouped, twelve_bits
from projects.cachegen.tensors import Geometry

AUTO = "auto"
LEVELS = {"high": 0.5, "medium": 1.0, "low": 1.5, "lowest": 2.25}
THIRDS = (0.5, 1.0, 1.5)
ANCHOR_CLIP = 127
_SMALLEST = 1e-3  # of the plane's median deviation: the scale of a channel that never moved


def layer_steps(layers: int, steps: Sequence[float] = THIRDS) -> np.ndarray:
    """Step of each plane in units of the scale: one value per third of the layers; (2 layers,).

    Examples
    --------
    >>> layer_steps(3).tolist()
    [0.5, 0.5, 1.0, 1.0, 1.5, 1.5]
    """
    part = np.arange(layers) * len(steps) // layers
    return np.repeat(np.asarray(steps, np.float64)[part], 2)


@dataclass(frozen=True)
class Tools:
    """All that one level of a profile says; steps are float32 [planes, channels]."""

    mean: np.ndarray
    step: np.ndarray
    anchor_step: np.ndarray
    predictors: list[str]
    tables: Tables
    anchor_tables: Tables


class SteppedCodec(Codec):
    """Predict along the tokens, quantise by layer-dependent steps, code with offline tables.

    Parameters
    ----------
    predictor : {"anchor", "none", "previous", "auto"}
        ``"anchor"`` is the paper's. ``"auto"`` takes, for each (layer, K/V), the one that needs
        the fewest bits on the profile's caches at equal steps, and so at equal error.
    group : int
        Tokens that share an anchor; a group never crosses a chunk.
    clip : int
        Values of -clip..clip have their own symbol, 1 to 127.
    steps : sequence of float
        For equal parts of the layers, shallow to deep, in units of the channel's scale.
    tables : {"channel", "plane", "all"} or int
        Distributions per (layer, K/V, channel) as in the paper, pooled, or that many clusters.
    threads : int
        Planes coded at the same time.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> kv = rng.normal(size=(2, 2, 50, 1, 4)).astype(np.float16)
    >>> codec = SteppedCodec()
    >>> profile = codec.fit([kv])
    >>> chunk = codec.encode(kv, level="low", profile=profile)
    >>> codec.decode(chunk, profile=profile).shape
    (2, 2, 50, 1, 4)
    """

    name = "cachegen"
    levels: ClassVar[tuple[str, ...]] = tuple(LEVELS)
    needs_profile = True

    def __init__(
        self,
        *,
        predictor: str = ANCHOR,
        group: int = 10,
        clip: int = 31,
        steps: Sequence[float] = THIRDS,
        tables: str | int = "channel",
        threads: int = 1,
    ) -> None:
        super().__init__(threads=threads)
        allowed = (*PREDICTORS, AUTO)
        if predictor not in allowed:
            raise ValueError(f"unknown predictor {predictor!r}{did_you_mean(predictor, allowed)}")
        if group < 1:
            raise ValueError(f"group={group}: at least one token")
        if not 1 <= clip <= ANCHOR_CLIP:
            raise ValueError(f"clip={clip}: allowed are 1 to {ANCHOR_CLIP}")
        if not steps or min(steps) <= 0:
            raise ValueError(f"steps={steps}: positive numbers")
        if tables not in ("channel", "plane", "all") and not (
            isinstance(tables, int) and tables >= 1
        ):
            raise ValueError(f"tables={tables!r}; allowed: channel, plane, all, or a number")
        self.predictor, self.group, self.clip = predictor, group, clip
        self.steps, self.tables = tuple(map(float, steps)), tables
        self._prepared: dict[str, tuple[Profile, Tools]] = {}

    @property
    def options(self) -> dict[str, Any]:
        """Predictor, group, clip, steps and tables."""
        return {
            "predictor": self.predictor,
            "group": self.group,
            "clip": self.clip,
            "steps": list(self.steps),
            "tables": self.tables,
        }

    def fit(self, kvs: Sequence[Any], *, fingerprint: str = "") -> Profile:
        """Measure scales and distributions, and choose the predictors if asked to."""
        geometry, arrays = _scales(kvs)
        anchor_counts = np.zeros(
            (geometry.planes, geometry.channels, 2 * ANCHOR_CLIP + 2), np.int32
        )
        kinds = PREDICTORS if self.predictor == AUTO else (self.predictor,)
        counts = {
            (level, kind): np.zeros(
                (geometry.planes, geometry.channels, 2 * self.clip + 2), np.int32
            )
            for level in LEVELS
            for kind in kinds
        }
        for planes in planes_of(kvs):
            for plane, x in enumerate(planes.values):
                mean = arrays["mean"][plane]
                if ANCHOR in kinds:
                    qa = self._anchors(x, mean, arrays["anchor_step"][plane])[0]
                    count(qa, ANCHOR_CLIP, anchor_counts[plane])
                for (level, kind), counted in counts.items():
                    step = self._steps(arrays["scale"], level, geometry)[plane]
                    q = self._residuals(x, kind, mean, step, arrays["anchor_step"][plane])[1]
                    count(q, self.clip, counted[plane])
        chosen = self._choose(kinds, counts, anchor_counts)
        arrays["predictor"] = np.array([PREDICTORS.index(kind) for kind in chosen], np.uint8)
        self._put(arrays, "anchor", anchor_counts)
        for level in LEVELS:
            rows = [counts[level, kind][plane] for plane, kind in enumerate(chosen)]
            self._put(arrays, level, np.stack(rows))
        return Profile(self.name, self.options, geometry, fingerprint, arrays)

    def prepare(self, level: str, geometry: Geometry, profile: Profile | None) -> Tools:
        """Unpack and check one level of the profile, once."""
        assert profile is not None
        known = self._prepared.get(level)
        if known and known[0] is profile:
            return known[1]
        a = profile.arrays
        try:
            tools = Tools(
                a["mean"],
                self._steps(a["scale"], level, geometry),
                a["anchor_step"],
                [PREDICTORS[number] for number in a["predictor"]],
                Tables(a[f"{level}_frequencies"], a[f"{level}_index"]),
                Tables(a["anchor_frequencies"], a["anchor_index"]),
            )
            for tables in (tools.tables, tools.anchor_tables):
                tables.check()
        except (KeyError, ValueError, IndexError) as error:
            raise IncompatibleProfileError(f"the profile is damaged: {error}") from error
        self._prepared[level] = (profile, tools)
        return tools

    def encode_plane(self, x: np.ndarray, plane: int, task: Task) -> bytes:
        """One section of residuals, behind one of anchors where the predictor has any."""
        tools = task.tools
        kind = tools.predictors[plane]
        qa, q = self._residuals(
            x, kind, tools.mean[plane], tools.step[plane], tools.anchor_step[plane]
        )
        head = b"" if qa is None else encode_section(qa, tools.anchor_tables, plane)
        return head + encode_section(q, tools.tables, plane)

    def decode_plane(self, part: memoryview, plane: int, task: Task) -> np.ndarray:
        """Undo :meth:`encode_plane`."""
        tools = task.tools
        mean, step = tools.mean[plane], tools.step[plane]
        x = np.empty((task.tokens, task.geometry.channels), np.float32)
        anchor, offset = self._decoded_anchors(part, plane, task)
        q = np.empty((len(x) - len(anchor), x.shape[1]), np.int16)
        self._finish(part, offset, q, plane, task)
        if len(anchor):
            predict.restore_deltas(q, self.group, anchor, step, x)
        elif tools.predictors[plane] == PREVIOUS:
            predict.restore_previous(q, mean, step, x)
        else:
            predict.restore(q, mean, step, x)
        return x

    def decode_into(self, part: memoryview, plane: int, task: Task, out: np.ndarray) -> None:
        """Decode to float16 in place; other types go the common way."""
        if task.dtype != "float16":
            super().decode_into(part, plane, task, out)
            return
        tools, q = task.tools, out.view(np.int16)
        mean, step = tools.mean[plane], tools.step[plane]
        if tools.predictors[plane] == NONE:
            self._look_up(part, q, plane, task)
            return
        anchor, offset = self._decoded_anchors(part, plane, task)
        self._finish(part, offset, q[len(anchor) :], plane, task)
        if len(anchor):
            predict.restore_delta_halves(q, self.group, anchor, step)
        else:
            predict.restore_previous_halves(q, mean, step)

    def _look_up(self, part: memoryview, q: np.ndarray, plane: int, task: Task) -> None:
        """Without prediction a symbol stands for one value: decode straight to its float16."""
        tools = task.tools
        mean, step, tables = tools.mean[plane], tools.step[plane], tools.tables
        lanes, end = read_section(part, 0, *q.shape)
        exactly(part[end:], 0, "the rest of a plane")
        values = predict.symbol_halves(tables.clip, mean, step)
        left = np.flatnonzero(decode_lanes(lanes, q, tables, plane, values))
        predict.restore_column_halves(q, left, mean, step)

    def _decoded_anchors(self, part: memoryview, plane: int, task: Task) -> tuple[np.ndarray, int]:
        """Anchors, none for other predictors, and where their section ends."""
        tools, channels = task.tools, task.geometry.channels
        if tools.predictors[plane] != ANCHOR:
            return np.empty((0, channels), np.float32), 0
        qa = np.empty((predict.anchors(task.tokens, self.group), channels), np.int16)
        offset = decode_section(part, 0, qa, tools.anchor_tables, plane)
        anchor = np.empty(qa.shape, np.float32)
        predict.restore(qa, tools.mean[plane], tools.anchor_step[plane], anchor)
        return anchor, offset

    def _finish(self, part: memoryview, offset: int, q: np.ndarray, plane: int, task: Task) -> None:
        """Decode the last section into ``q``."""
        end = decode_section(part, offset, q, task.tools.tables, plane)
        exactly(part[end:], 0, "the rest of a plane")

    def _anchors(
        self, x: np.ndarray, mean: np.ndarray, step: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Quantised anchors and what the decoder will make of them."""
        first = x[:: self.group]
        qa, anchor = np.empty(first.shape, np.int16), np.empty(first.shape, np.float32)
        predict.quantise(first, mean, step, qa)
        predict.restore(qa, mean, step, anchor)
        return qa, anchor

    def _residuals(
        self, x: np.ndarray, kind: str, mean: np.ndarray, step: np.ndarray, anchor_step: np.ndarray
    ) -> tuple[np.ndarray | None, np.ndarray]:
        """Quantised anchors (None without) and residuals of one plane."""
        if kind == ANCHOR:
            qa, anchor = self._anchors(x, mean, anchor_step)
            q = np.empty((len(x) - len(qa), x.shape[1]), np.int16)
            predict.quantise_deltas(x, self.group, anchor, step, q)
            return qa, q
        q = np.empty(x.shape, np.int16)
        work = predict.quantise if kind == NONE else predict.quantise_previous
        work(x, mean, step, q)
        return None, q

    def _steps(self, scale: np.ndarray, level: str, geometry: Geometry) -> np.ndarray:
        factor = layer_steps(geometry.layers, self.steps) * LEVELS[level]
        return (scale * factor[:, None]).astype(np.float32)

    def _choose(
        self,
        kinds: Sequence[str],
        counts: dict[tuple[str, str], np.ndarray],
        anchor_counts: np.ndarray,
    ) -> list[str]:
        """Predictor of each plane, by the bits that it needs at the default level."""
        if len(kinds) == 1:
            return [kinds[0]] * len(anchor_counts)
        bits = np.array([_plane_bits(counts[self.default_level, kind]) for kind in kinds])
        bits[kinds.index(ANCHOR)] += _plane_bits(anchor_counts)
        return [kinds[k] for k in bits.argmin(axis=0)]

    def _put(self, arrays: dict[str, np.ndarray], name: str, counts: np.ndarray) -> None:
        share = isinstance(self.tables, int)
        tables = clustered(counts, self.tables) if share else grouped(counts, self.tables)
        arrays[f"{name}_frequencies"], arrays[f"{name}_index"] = tables.frequencies, tables.index


def _plane_bits(counts: np.ndarray) -> np.ndarray:
    return np.array([code_bits(plane, twelve_bits(plane)).sum() for plane in counts])


def _scales(kvs: Sequence[Any]) -> tuple[Geometry, dict[str, np.ndarray]]:
    """Mean, standard deviation and 8-bit anchor step of each (layer, K/V, channel)."""
    n, total, squares, low, high = 0, 0.0, 0.0, np.inf, -np.inf
    for planes in planes_of(kvs):
        geometry, x = planes.geometry, planes.values
        n += planes.tokens
        total = total + x.sum(axis=1, dtype=np.float64)
        squares = squares + np.einsum("ptc,ptc->pc", x, x, dtype=np.float64)
        low, high = np.minimum(low, x.min(axis=1)), np.maximum(high, x.max(axis=1))
    mean = total / n
    scale = np.sqrt(np.maximum(squares / n - mean**2, 0))
    floor = np.maximum(np.median(scale, axis=1, keepdims=True) * _SMALLEST, 1e-6)
    reach = np.maximum(np.maximum(high - mean, mean - low), floor)
    arrays = {"mean": mean, "scale": np.maximum(scale, floor), "anchor_step": reach / ANCHOR_CLIP}
    return geometry, {name: array.astype(np.float32) for name, array in arrays.items()}


class NoDelta(SteppedCodec):
    """Layer-dependent steps and offline tables without prediction."""

    name = "nodelta"

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"predictor": NONE, **options})


class PreviousToken(SteppedCodec):
    """Differences to the previous token instead of an anchor."""

    name = "previous"

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"predictor": PREVIOUS, **options})


class Auto(SteppedCodec):
    """The predictor of each (layer, K/V) chosen by measurement at profile time."""

    name = "auto"

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"predictor": AUTO, **options})
