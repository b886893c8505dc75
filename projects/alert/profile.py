"""The profile table: what every network costs and is worth at every power setting, taken once."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from common.errors import did_you_mean

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = ("model", "stage", "accuracy", "setting", "latency", "power")


@dataclass(frozen=True, eq=False)
class ProfileTable:
    """Profiled latency, power and accuracy of K networks at L settings (section 2.1).

    A traditional network has one stage; an anytime network answers at the end of each of its
    stages, so its accuracy is a staircase in time.

    Attributes
    ----------
    models : tuple of str, length K
        Names of the networks d_i.
    settings : tuple of float, length L
        The settings p_j, rising: power caps, quotas or numbers of threads.
    accuracy : ndarray, shape (K, S)
        Accuracy of each stage in [0, 1], NaN behind a network's last stage.
    latency : ndarray, shape (K, S, L)
        t_prof, seconds from the start to the end of each stage, NaN behind the last stage.
    power : ndarray, shape (K, L)
        P_run, watts while the network runs.
    fail_accuracy : float
        q_fail, what having no output at the deadline is worth (1 / classes for a guess).
    idle_ratio : float
        phi(0), idle power over running power.
    setting_unit : str
        Unit of the settings, such as ``"W"`` or ``"cores"``.

    Raises
    ------
    ValueError
        If a number is missing, not positive or outside its range, a name stands twice, or the
        stages of a network do not follow each other in time.

    Warns
    -----
    UserWarning
        If a later stage is less accurate than the one before it.
    """

    models: tuple[str, ...]
    settings: tuple[float, ...]
    accuracy: np.ndarray
    latency: np.ndarray
    power: np.ndarray
    fail_accuracy: float = 0.0
    idle_ratio: float = 0.3
    setting_unit: str = "W"

    def __post_init__(self) -> None:
        _check_axes(self)
        _check_numbers(self)
        _check_stages(self)

    @property
    def stages(self) -> np.ndarray:
        """Number of stages of each network, shape (K,)."""
        return np.isfinite(self.accuracy).sum(axis=1)

    @property
    def is_anytime(self) -> np.ndarray:
        """Whether each network has more than one stage, shape (K,)."""
        return self.stages > 1

    @property
    def final_accuracy(self) -> np.ndarray:
        """Accuracy of each network's last stage, shape (K,)."""
        return self.accuracy[np.arange(len(self.models)), self.stages - 1]

    @property
    def final_latency(self) -> np.ndarray:
        """Seconds to the end of each network's last stage, shape (K, L)."""
        return self.latency[np.arange(len(self.models)), self.stages - 1]

    @classmethod
    def from_frame(
        cls,
        frame: pd.DataFrame,
        *,
        fail_accuracy: float = 0.0,
        idle_ratio: float = 0.3,
        setting_unit: str = "W",
    ) -> ProfileTable:
        """Read a table in long format, one row per model, stage and setting.

        Parameters
        ----------
        frame : DataFrame
            Columns ``model``, ``stage`` (1..S; 1 for a traditional network), ``accuracy``,
            ``setting``, ``latency`` (seconds, cumulative over stages) and ``power`` (watts while
            running; a network's power at a setting is that of its last stage).
        fail_accuracy, idle_ratio, setting_unit
            See the class.

        Raises
        ------
        ValueError
            If a column is missing, the table has a hole or a row stands twice; and as the class.

        Examples
        --------
        >>> import pandas as pd
        >>> rows = [("small", 1, 0.7, 10, 0.02, 9.0), ("small", 1, 0.7, 20, 0.01, 19.0)]
        >>> ProfileTable.from_frame(pd.DataFrame(rows, columns=COLUMNS)).settings
        (10.0, 20.0)
        """
        for column in COLUMNS:
            if column not in frame:
                raise ValueError(f"profile lacks column {column!r}{did_you_mean(column, frame)}")
        if not len(frame):
            raise ValueError("profile has no rows; it needs at least one network at one setting")
        if (empty := frame[frame[list(COLUMNS)].isna().any(axis=1)]).size:
            raise ValueError(f"profile row {empty.iloc[0].to_dict()} lacks a value")
        keys = ["model", "stage", "setting"]
        if (twice := frame[frame.duplicated(keys)]).size:
            raise ValueError(f"profile row {twice.iloc[0][keys].to_dict()} stands twice")
        models = tuple(dict.fromkeys(map(str, frame["model"])))
        settings = tuple(sorted({float(value) for value in frame["setting"]}))
        depth = _depths(frame, models)
        shape = len(models), max(depth), len(settings)
        accuracy, latency = np.full(shape[:2], np.nan), np.full(shape, np.nan)
        power = np.full((shape[0], shape[2]), np.nan)
        for row in frame[list(COLUMNS)].itertuples(index=False):
            k, s = models.index(str(row.model)), int(row.stage) - 1
            column = settings.index(float(row.setting))
            if np.isfinite(accuracy[k, s]) and accuracy[k, s] != row.accuracy:
                raise ValueError(
                    f"{row.model} stage {row.stage} has accuracies {accuracy[k, s]:g} and "
                    f"{row.accuracy:g}; a setting changes time and power, not answers"
                )
            accuracy[k, s], latency[k, s, column] = row.accuracy, row.latency
            if s + 1 == depth[k]:
                power[k, column] = row.power
        _check_complete(models, settings, depth, len(frame))
        return cls(
            models, settings, accuracy, latency, power, fail_accuracy, idle_ratio, setting_unit
        )

    def to_frame(self) -> pd.DataFrame:
        """Return the long format that :meth:`from_frame` reads."""
        import pandas as pd

        rows = [
            (
                model,
                stage + 1,
                self.accuracy[k, stage],
                setting,
                self.latency[k, stage, column],
                self.power[k, column],
            )
            for k, model in enumerate(self.models)
            for stage in range(self.stages[k])
            for column, setting in enumerate(self.settings)
        ]
        return pd.DataFrame(rows, columns=list(COLUMNS))

    def select(self, models: Iterable[str]) -> ProfileTable:
        """Return the table of some of the networks, in their order here.

        Raises
        ------
        ValueError
            If a name is unknown, or none is left.
        """
        wanted = set(models)
        if unknown := sorted(wanted - set(self.models)):
            raise ValueError(f"unknown model {unknown[0]!r}{did_you_mean(unknown[0], self.models)}")
        kept = [k for k, model in enumerate(self.models) if model in wanted]
        if not kept:
            raise ValueError(f"no candidate is left of {', '.join(self.models)}")
        deepest = int(self.stages[kept].max())
        return replace(
            self,
            models=tuple(self.models[k] for k in kept),
            accuracy=self.accuracy[kept, :deepest],
            latency=self.latency[kept, :deepest],
            power=self.power[kept],
        )

    def only(self, *, anytime: bool) -> ProfileTable:
        """Return the table of the anytime, or of the traditional, networks."""
        pairs = zip(self.models, self.is_anytime, strict=True)
        return self.select(model for model, several in pairs if several == anytime)

    def to_json(self) -> str:
        """Return the table as JSON; numbers come back bit for bit."""
        rows = self.to_frame().to_dict("list")
        facts = {name: getattr(self, name) for name in _FACTS}
        return json.dumps({"rows": rows, **facts})

    @classmethod
    def from_json(cls, text: str) -> ProfileTable:
        """Read what :meth:`to_json` wrote."""
        import pandas as pd

        content: dict[str, Any] = json.loads(text)
        frame = pd.DataFrame(content["rows"], columns=list(COLUMNS))
        return cls.from_frame(frame, **{name: content[name] for name in _FACTS})


_FACTS = ("fail_accuracy", "idle_ratio", "setting_unit")


def _depths(frame: pd.DataFrame, models: Sequence[str]) -> list[int]:
    """Stages of each model; they are numbered 1, 2, ..."""
    found = frame.groupby(frame["model"].astype(str))["stage"].unique()
    for model in models:
        stages = sorted(found[model])
        if stages != list(range(1, len(stages) + 1)):
            raise ValueError(f"{model} has stages {stages}; number them 1, 2, ... without a gap")
    return [len(found[model]) for model in models]


def _check_complete(
    models: Sequence[str], settings: Sequence[float], depth: Sequence[int], rows: int
) -> None:
    expected = sum(depth) * len(settings)
    if rows != expected:
        raise ValueError(
            f"ragged profile: {len(models)} models with {sum(depth)} stages at {len(settings)} "
            f"settings need {expected} rows, got {rows}; profile every stage at every setting"
        )


def _check_axes(table: ProfileTable) -> None:
    for what, names in (("model", table.models), ("setting", table.settings)):
        if not names:
            raise ValueError(f"profile has no {what}")
        if twice := [name for name in names if names.count(name) > 1]:
            raise ValueError(f"{what} {twice[0]!r} stands twice in the profile")
    if list(table.settings) != sorted(table.settings):
        raise ValueError(f"settings must rise, got {table.settings}")
    k, j = len(table.models), len(table.settings)
    s = table.accuracy.shape[-1]
    for name, shape in (("accuracy", (k, s)), ("latency", (k, s, j)), ("power", (k, j))):
        if getattr(table, name).shape != shape:
            raise ValueError(f"{name} has shape {getattr(table, name).shape}, not {shape}")


def _check_numbers(table: ProfileTable) -> None:
    if not 0 <= table.fail_accuracy <= 1:
        raise ValueError(f"fail_accuracy is {table.fail_accuracy}; it lies in [0, 1]")
    if not 0 <= table.idle_ratio <= 1:
        raise ValueError(f"idle_ratio is {table.idle_ratio}; idle power over running power in 0..1")
    for k, model in enumerate(table.models):
        depth = max(int(table.stages[k]), 1)
        accuracy, latency = table.accuracy[k, :depth], table.latency[k, :depth]
        for name, values in (("latency", latency), ("power", table.power[k])):
            bad = values[~(np.isfinite(values) & (values > 0))]
            if bad.size:
                raise ValueError(f"{name} of {model} is {bad[0]}; it must be a positive number")
        bad = accuracy[~((accuracy >= 0) & (accuracy <= 1))]
        if bad.size:
            raise ValueError(f"accuracy of {model} is {bad[0]}; it lies in [0, 1], not in percent")


def _check_stages(table: ProfileTable) -> None:
    for k, model in enumerate(table.models):
        depth = int(table.stages[k])
        accuracy, latency = table.accuracy[k, :depth], table.latency[k, :depth]
        if (np.diff(latency, axis=0) <= 0).any():
            raise ValueError(
                f"stages of {model} do not follow each other in time; latency is "
                "cumulative, so every stage ends later than the one before"
            )
        if (falls := np.flatnonzero(np.diff(accuracy) < 0)).size:
            warnings.warn(
                f"{model}: stage {falls[0] + 2} is less accurate than stage {falls[0] + 1}; "
                f"offer it with {falls[0] + 1} stages alone",
                stacklevel=4,
            )
