"""What a paper declares: ``paper.yaml``, ``claims.yaml`` and the registry of all papers."""

from __future__ import annotations

import copy
import functools
import importlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, FiniteFloat, model_validator

from common.errors import ConfigError, did_you_mean
from common.explorers import Explorer
from common.schema import Model, load_yaml

Size = Literal["smoke", "quick", "full"]
Target = Literal["cpu", "gpu", "wearable"]
SIZES: tuple[str, ...] = ("smoke", "quick", "full")
TARGETS: tuple[str, ...] = ("cpu", "gpu", "wearable")
Kind = Literal["value", "ratio", "difference", "ordering", "bound", "trend"]
Filter = dict[str, Any]


class Source(Model):
    """The authors' code: where it is, which commit was read, under which licence."""

    url: str
    commit: str = ""
    licence: str
    note: str = ""


class Experiment(Model):
    """One experiment: a plain function ``f(run: Run) -> None`` and what it needs."""

    title: str
    function: str = ""
    targets: tuple[Target, ...] = ("cpu",)
    datasets: tuple[str, ...] = ()
    extras: tuple[str, ...] = ()
    environment: str = "default"
    timed: bool = False
    threads: int = Field(1, ge=1)
    memory_mb: int = Field(2000, ge=1)
    minutes: int = Field(10, ge=1)
    measurement: Literal["measured", "emulated", "simulated", "modelled"] = "measured"
    # A reference model of common.llm; `--model PATH` puts real weights in its place.
    language_model: str = ""
    params: dict[str, Any] = {}
    sizes: dict[Size, dict[str, Any] | None]

    @model_validator(mode="after")
    def _sizes_override_known_params(self) -> Experiment:
        _require_plain(self.params)
        for size, overrides in self.sizes.items():
            for key in overrides or {}:
                if key not in self.params:
                    raise ValueError(
                        f"sizes.{size} sets unknown parameter {key!r}"
                        f"{did_you_mean(key, self.params)}"
                    )
            _require_plain(overrides)
        return self

    def resolve(self, size: str, overrides: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return the parameters at a size, a copy, with the user's overrides on top."""
        if size not in self.sizes:
            raise ConfigError(
                f"{self.title!r} has no size {size!r}{did_you_mean(size, self.sizes)}"
            )
        resolved = {**self.params, **(self.sizes[size] or {})}
        for key, value in (overrides or {}).items():
            if key not in resolved:
                raise ConfigError(f"unknown parameter {key!r}{did_you_mean(key, resolved)}")
            resolved[key] = value
        try:
            _require_plain(resolved)
        except ValueError as error:
            raise ConfigError(str(error)) from None
        return copy.deepcopy(resolved)


def _require_plain(params: Any) -> None:
    """Refuse what ``run.json`` could not hold, before a run has spent hours on it."""
    try:
        json.dumps(params, allow_nan=False, sort_keys=True)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"parameters are strings, finite numbers, booleans, null, lists and mappings: {error}"
        ) from None


class Figure(Model):
    """One figure: a function ``f(observations) -> Figure`` over the named experiments."""

    title: str
    caption: str
    function: str = ""
    experiments: tuple[str, ...]


class Paper(Model):
    """The identity of a paper and what this project runs for it."""

    slug: str = Field(pattern=r"^[a-z][a-z0-9]+$")
    title: str
    authors: tuple[str, ...]
    venue: str
    year: int
    url: str
    group: str
    summary: str
    code: tuple[Source, ...] = ()
    uses: tuple[str, ...] = ()
    extras: tuple[str, ...] = ()
    datasets: tuple[str, ...] = ()
    experiments: dict[str, Experiment]
    figures: dict[str, Figure] = {}
    explorers: dict[str, Explorer] = {}

    @model_validator(mode="after")
    def _charts_name_known_experiments(self) -> Paper:
        named = {f"figures.{name}": figure.experiments for name, figure in self.figures.items()}
        named |= {f"explorers.{name}": (item.experiment,) for name, item in self.explorers.items()}
        for place, experiments in named.items():
            for experiment in experiments:
                if experiment not in self.experiments:
                    raise ValueError(
                        f"{place} uses unknown experiment {experiment!r}"
                        f"{did_you_mean(experiment, self.experiments)}"
                    )
        return self

    def experiment(self, name: str) -> Experiment:
        """Return one experiment or an error naming the closest."""
        if name not in self.experiments:
            raise ConfigError(
                f"{self.slug} has no experiment {name!r}{did_you_mean(name, self.experiments)}"
            )
        return self.experiments[name]

    def experiments_at(self, size: str, target: str) -> list[str]:
        """Names of the experiments that exist at a size on a target."""
        return [
            name
            for name, experiment in self.experiments.items()
            if size in experiment.sizes and target in experiment.targets
        ]

    def function(self, room: str, name: str) -> Callable[..., Any]:
        """Import ``projects.<slug>.<room>:<name>``, or the target that the entry names."""
        return load_target(self.target(room, name))

    def target(self, room: str, name: str) -> str:
        """Where the function of an experiment or figure is, as ``module:function``."""
        declared = {"experiments": self.experiments, "figures": self.figures}[room][name].function
        return declared or f"projects.{self.slug}.{room}:{name}"

    def path(self, *parts: str) -> Path:
        """Return a path inside the paper's package."""
        return projects_root() / self.slug / Path(*parts)


class PaperValue(Model):
    """What the paper reports. ``value`` is null where it could not be obtained."""

    value: FiniteFloat | tuple[FiniteFloat, FiniteFloat] | None
    unit: str = ""
    note: str = ""
    measurement: Literal["measured", "emulated", "simulated", "modelled"] = "measured"


class Range(Model):
    """The accepted range, ends included; an open end is left out."""

    low: FiniteFloat | None = None
    high: FiniteFloat | None = None

    @model_validator(mode="after")
    def _has_an_end(self) -> Range:
        if self.low is None and self.high is None:
            raise ValueError("an accepted range needs low, high or both")
        if self.low is not None and self.high is not None and self.low > self.high:
            raise ValueError(f"low {self.low} is above high {self.high}")
        return self


class Scope(Model):
    """Where a claim is meant to hold; outside it reads ``untested (out of scope)``."""

    sizes: tuple[Size, ...] = SIZES
    targets: tuple[Target, ...] = TARGETS
    data: tuple[Literal["original", "substitute", "synthetic"], ...] = (
        "original",
        "substitute",
        "synthetic",
    )


class Claim(Model):
    """One claim of a paper and what would count as reproducing it.

    ``where`` filters the observations; ``of`` and ``over`` pick the two sides of a ratio or
    difference (``over`` may be a list: the best of them is taken, anew in every bootstrap
    resample; with ``each``, every value of that column among the rows of ``over`` is a side);
    ``order`` lists sides from best to worst; ``trend_in`` is the parameter column.
    ``quantity`` decides which label caps the verdict.
    """

    id: str = Field(pattern=r"^[a-z][a-z0-9-]*$")
    title: str
    source: str
    statement: str
    kind: Kind
    experiment: str
    metric: str
    where: Filter = {}
    of: Filter = {}
    over: Filter | tuple[Filter, ...] = ()
    each: str = ""
    order: tuple[Filter, ...] = ()
    trend_in: str = ""
    statistic: Literal["slope", "loglog_slope", "spearman"] = "spearman"
    better: Literal["higher", "lower"] = "higher"
    unit_of_analysis: str = "item"
    aggregate: Literal["mean", "median", "min", "max"] = "mean"
    deterministic: bool = False
    scale: float = Field(1.0, gt=0, allow_inf_nan=False)
    unit: str = ""
    function: str = ""
    quantity: Literal["quality", "time", "energy", "memory", "property"] = "quality"
    data: Literal["best", "all"] = "best"
    paper: PaperValue
    accept: Range
    no_effect: FiniteFloat | None = None
    scope: Scope = Scope()
    note: str = ""

    @model_validator(mode="after")
    def _kind_has_its_fields(self) -> Claim:
        if self.function:
            return self
        two_sides = ("of", "over")
        needed: dict[str, tuple[str, ...]] = {"ratio": two_sides, "difference": two_sides}
        needed |= {"ordering": ("order",), "trend": ("trend_in",)}
        for field in needed.get(self.kind, ()):
            if not getattr(self, field):
                raise ValueError(f"claim {self.id!r} of kind {self.kind!r} needs {field!r}")
        if self.kind == "ordering" and len(self.order) < 2:
            raise ValueError(f"claim {self.id!r}: an ordering needs at least two sides")
        if self.each and not isinstance(self.over, dict):
            raise ValueError(f"claim {self.id!r}: 'each' needs a single filter in 'over'")
        if self.kind == "bound" and None not in (self.accept.low, self.accept.high):
            raise ValueError(f"claim {self.id!r}: a bound has one end, not two")
        return self


class Claims(Model):
    """The content of ``claims.yaml``."""

    claims: tuple[Claim, ...]

    @model_validator(mode="after")
    def _ids_are_unique(self) -> Claims:
        ids = [claim.id for claim in self.claims]
        for claim_id in ids:
            if ids.count(claim_id) > 1:
                raise ValueError(f"claim id {claim_id!r} stands twice")
        return self


def projects_root() -> Path:
    """Folder of the ``projects`` package."""
    return Path(__file__).resolve().parent.parent / "projects"


def slugs(root: Path | None = None) -> list[str]:
    """Slugs of all papers, sorted; reads folder names alone."""
    return sorted(path.parent.name for path in (root or projects_root()).glob("*/paper.yaml"))


@functools.lru_cache(maxsize=64)
def load_paper(slug: str, root: Path | None = None) -> Paper:
    """Load and check one paper's ``paper.yaml``."""
    root = root or projects_root()
    if slug not in slugs(root):
        raise ConfigError(f"unknown paper {slug!r}{did_you_mean(slug, slugs(root))}")
    paper = load_yaml(root / slug / "paper.yaml", Paper)
    if paper.slug != slug:
        raise ConfigError(f"{root / slug / 'paper.yaml'}: slug is {paper.slug!r}, folder {slug!r}")
    return paper


@functools.lru_cache(maxsize=64)
def load_claims(slug: str, root: Path | None = None) -> tuple[Claim, ...]:
    """Load one paper's claims and check that each names an experiment that exists."""
    paper = load_paper(slug, root)
    path = (root or projects_root()) / slug / "claims.yaml"
    claims = load_yaml(path, Claims).claims
    for claim in claims:
        if claim.experiment not in paper.experiments:
            raise ConfigError(
                f"{path}: claim {claim.id!r} names unknown experiment {claim.experiment!r}"
                f"{did_you_mean(claim.experiment, paper.experiments)}"
            )
    return claims


def load_target(target: str) -> Callable[..., Any]:
    """Import ``"package.module:name"`` lazily."""
    module_name, _, name = target.partition(":")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        # A package that the module itself lacks is another matter.
        if error.name and f"{module_name}.".startswith(f"{error.name}."):
            raise ConfigError(f"{target!r}: there is no module {error.name!r}") from error
        raise
    if not hasattr(module, name):
        public = [item for item in vars(module) if not item.startswith("_")]
        raise ConfigError(f"{module_name} has no {name!r}{did_you_mean(name, public)}")
    return getattr(module, name)
