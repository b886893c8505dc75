"""What the Snakemake rules need to know: the checked configuration and the plan of each paper.

The rules hold no logic of their own. They ask a :class:`Plan` for paths, resources and options,
and for the ``triggers``: the values that decide whether a finished job has to be done again.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import json
import os
import re
import shlex
import sys
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import Field, ValidationInfo, field_validator

from common.errors import ConfigError, DataError, RepriseError, did_you_mean
from common.llm.reference import PRESETS
from common.papers import Experiment, Paper, Size, Target, load_paper, projects_root, slugs
from common.results import OBSERVATIONS, RECORD, VERDICTS, find
from common.schema import Model, validate
from common.sources import claim_code, experiment_code, figure_code

# A timed job takes all shares of the machine's quiet, any other job takes one: nothing runs
# beside a timed job. The default profile sets the total.
TIMING_SHARES = 100


class WorkflowConfig(Model):
    """The configuration of a pipeline run, ``workflows/config/<size>.yaml``.

    Attributes
    ----------
    size, target, data : str
        As the options of ``reprise run``.
    papers : "all" or list of str
        Which papers; on the command line also ``papers=nurd,tvl``.
    results : str
        Root of the results tree, relative to the working directory.
    tracking : str
        MLflow tracking URI; empty means ``$MLFLOW_TRACKING_URI`` or the local file.
    model : str
        Folder of a Llama-type model for the experiments that use one, instead of the reference.
    python : dict
        Interpreter of each environment; an environment without one runs under ``default``.
    params : dict
        ``<paper>.<experiment>: {parameter: value}``, on top of ``paper.yaml``.
    """

    size: Size
    target: Target = "cpu"
    data: Literal["auto", "real", "synthetic"] = "auto"
    papers: tuple[str, ...] = Field(("all",), min_length=1)
    results: str = "results"
    tracking: str = ""
    model: str = ""
    python: dict[str, str] = {"default": "python"}
    params: dict[str, dict[str, Any]] = {}

    @field_validator("papers", mode="before")
    @classmethod
    def _one_or_more_known_papers(cls, papers: Any) -> tuple[str, ...]:
        names = papers.split(",") if isinstance(papers, str) else tuple(papers or ())
        names = tuple(str(name).strip() for name in names)
        if names == ("all",):
            return tuple(slugs())
        for name in names:
            if name not in slugs():
                raise ValueError(f"unknown paper {name!r}{did_you_mean(name, ['all', *slugs()])}")
        return tuple(dict.fromkeys(names))

    @field_validator("model")
    @classmethod
    def _model_is_there(cls, model: str) -> str:
        if model and model not in PRESETS and not (Path(model) / "config.json").is_file():
            raise ValueError(
                f"{model!r} is neither a model directory nor a reference model"
                f"{did_you_mean(model, PRESETS)}"
            )
        return model

    @field_validator("python")
    @classmethod
    def _has_a_default(cls, python: dict[str, str]) -> dict[str, str]:
        return {"default": "python", **python}

    @field_validator("params")
    @classmethod
    def _params_exist(
        cls, params: dict[str, dict[str, Any]], info: ValidationInfo
    ) -> dict[str, dict[str, Any]]:
        checked = {}
        for key, overrides in params.items():
            slug, _, experiment = key.partition(".")
            try:
                declared = load_paper(slug).experiment(experiment)
                declared.resolve(info.data.get("size", "quick"), overrides)
            except ConfigError as error:
                raise ValueError(f"{key}: {error}") from None
            checked[key] = {
                name: _typed(value, declared.params[name]) for name, value in overrides.items()
            }
        return checked

    @property
    def folder(self) -> str:
        """The folder of this size and target in the results tree."""
        return f"{self.results}/{self.size}/{self.target}"

    @property
    def shared(self) -> str:
        """The folder of what several papers use."""
        return f"{self.results}/shared"

    @property
    def track_options(self) -> str:
        """Options of ``reprise track``, quoted for the shell."""
        uri = ["--uri", self.tracking] if self.tracking else []
        return shlex.join(["--results", self.results, *uri])

    @property
    def store_digest(self) -> str:
        """Digest of the tracking URI, which may hold a password: another store, another sync."""
        uri = self.tracking or os.environ.get("MLFLOW_TRACKING_URI", "")
        return hashlib.sha256(uri.encode()).hexdigest()[:16]


def load_config(config: Mapping[str, Any], origin: str) -> WorkflowConfig:
    """Check a Snakemake configuration; ``origin`` is how the errors name it.

    Raises
    ------
    ConfigError
        Naming the key, what was passed and what is allowed.
    """
    return validate(dict(config), WorkflowConfig, origin)


def _typed(value: Any, default: Any) -> Any:
    """Read a scalar that `snakemake --config` has passed on as text, unless text is meant."""
    textual = isinstance(value, str) and not isinstance(default, str)
    return yaml.safe_load(value) if textual else value


@dataclass(frozen=True)
class Plan:
    """What the pipeline does for one paper under one configuration."""

    config: WorkflowConfig
    paper: Paper

    @classmethod
    def of(cls, config: WorkflowConfig, slug: str) -> Plan:
        """Plan of a paper by its slug."""
        return cls(config, load_paper(slug))

    # -- what and where --------------------------------------------------------------------

    @property
    def experiments(self) -> list[str]:
        """Experiments that exist at the size on the target."""
        return self.paper.experiments_at(self.config.size, self.config.target)

    @property
    def datasets(self) -> list[str]:
        """Datasets that those experiments read."""
        names = {name for e in self.experiments for name in self.declared(e).datasets}
        return sorted(names)

    @property
    def folder(self) -> str:
        """The paper's folder in the results tree."""
        return f"{self.config.folder}/{self.paper.slug}"

    @property
    def figure_experiments(self) -> list[str]:
        """Experiments of this run that some figure draws."""
        drawn = {name for figure in self.paper.figures.values() for name in figure.experiments}
        return [name for name in self.experiments if name in drawn]

    def declared(self, experiment: str) -> Experiment:
        """Return the experiment's entry in ``paper.yaml``."""
        return self.paper.experiment(experiment)

    def record(self, experiment: str) -> str:
        """Path of an experiment's ``run.json``, as the shell needs it."""
        return shlex.quote(f"{self.folder}/{experiment}/{RECORD}")

    def observations(self, experiments: Iterable[str]) -> list[str]:
        """Paths of the observations of some experiments."""
        return [f"{self.folder}/{name}/{OBSERVATIONS}" for name in experiments]

    def language_model(self, experiment: str) -> str:
        """Name or folder of the language model that an experiment uses, or an empty string."""
        declared = self.declared(experiment).language_model
        return (self.config.model or declared) if declared else ""

    def inputs(self, experiment: str) -> list[str]:
        """What an experiment needs first: the listing of its data, the model that it uses."""
        data = [f"{self.folder}/data.txt"] if self.declared(experiment).datasets else []
        model = self.language_model(experiment)
        return data + ([f"{self.config.shared}/{model}.txt"] if model in PRESETS else [])

    @property
    def results(self) -> list[str]:
        """What the paper's own target asks for."""
        figures = [f"{self.folder}/figures"] if self.figure_experiments else []
        return [*self.observations(self.experiments), f"{self.folder}/{VERDICTS}", *figures]

    def outdated(self) -> list[str]:
        """Observations made with stand-ins for data that has come onto this machine since.

        No trigger can say so: it would have to differ before the run and agree after it.
        """
        from common.data.inspection import presence

        if self.config.data == "synthetic":
            return []
        place = {"size": self.config.size, "target": self.config.target}
        listed = find(Path(self.config.results), paper=self.paper.slug, **place)
        folders = [folder for folder in listed if folder.experiment in self.experiments]
        found = []
        for folder in folders:
            try:
                stand_ins = folder.record().stand_ins
                again = any(presence(name) in ("mirror", "cache") for name in stand_ins)
            except (ConfigError, DataError):  # unreadable: whatever it was, it runs again
                again = True
            if again:
                found.append(str(folder.path / OBSERVATIONS))
        return found

    # -- command lines ---------------------------------------------------------------------

    @property
    def where(self) -> str:
        """Options that name the place in the results tree, quoted for the shell."""
        config = self.config
        options = ["--size", config.size, "--target", config.target, "--results", config.results]
        return shlex.join(options)

    def python(self, experiment: str) -> str:
        """Interpreter of the experiment's environment, quoted for the shell."""
        table = self.config.python
        return shlex.quote(table.get(self.declared(experiment).environment, table["default"]))

    def overrides(self, experiment: str) -> str:
        """Options for the parameters that the configuration changes, and for the model."""
        changed = self.config.params.get(f"{self.paper.slug}.{experiment}", {})
        options = [f"--set={key}={json.dumps(value)}" for key, value in sorted(changed.items())]
        if self.language_model(experiment):
            options.append(f"--model={self.language_model(experiment)}")
        return shlex.join(options)

    def timing(self, experiment: str) -> int:
        """Shares of the machine's quiet that the experiment takes."""
        return TIMING_SHARES if self.declared(experiment).timed else 1

    def slurm_extra(self, experiment: str) -> str:
        """Options of ``sbatch``: on a cluster a timed experiment has its node for itself."""
        return "'--exclusive'" if self.declared(experiment).timed else ""

    # -- triggers --------------------------------------------------------------------------

    def run_triggers(self, experiment: str) -> dict[str, Any]:
        """Everything that decides what an experiment observes."""
        declared = self.declared(experiment)
        overrides = self.config.params.get(f"{self.paper.slug}.{experiment}")
        return {
            "code": experiment_code(self.paper, experiment),
            "params": declared.resolve(self.config.size, overrides),
            "data": self.config.data,
            "datasets": declared.datasets,
            "measurement": declared.measurement,
            "function": declared.function,
            "environment": declared.environment,
            "model": model_key(self.language_model(experiment)),
            "recorded": self._recorded(),
            "missing": missing_packages((*self.paper.extras, *declared.extras)),
        }

    def _recorded(self) -> str:
        """Digest of the paper's own recordings; its recorded outcomes are no input of a run."""
        folder = self.paper.path("recorded")
        outcomes = {folder / VERDICTS, *folder.glob("results/**/*"), *folder.rglob("*.md")}
        return _digest(path for path in folder.rglob("*") if path not in outcomes)

    def data_triggers(self) -> str:
        """Digest of the registry entries of the datasets."""
        registry = projects_root().parent / "common" / "data" / "registry"
        return _digest(registry / f"{name}.yaml" for name in self.datasets)

    def claim_triggers(self) -> dict[str, Any]:
        """Digests of the claims and of the code that judges them."""
        claims = _digest([self.paper.path("claims.yaml")])
        return {"claims": claims, "code": claim_code(self.paper)}

    def captions(self) -> dict[str, Any]:
        """What the figures show besides the observations."""
        return {name: figure.model_dump() for name, figure in self.paper.figures.items()}

    def figure_code(self) -> str:
        """Digest of the code that draws the figures."""
        return figure_code(self.paper)


def model_key(model: str) -> list[Any]:
    """What tells one language model from another without reading its weights."""
    if model in PRESETS:
        return [model, PRESETS[model].digest()]
    files = sorted(Path(model).glob("*.safetensors")) if model else []
    return [model, *((file.name, file.stat().st_size, file.stat().st_mtime) for file in files)]


def missing_packages(extras: Iterable[str], pyproject: Path | None = None) -> tuple[str, ...]:
    """Packages of some extras that this interpreter lacks.

    An experiment that was skipped for a missing extra runs when the answer changes.
    """
    path = pyproject or projects_root().parent / "pyproject.toml"
    declared = tomllib.loads(path.read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    wanted = {_name(line) for extra in extras for line in declared.get(extra, ())}
    return tuple(sorted(wanted - _installed()))


def _name(requirement: str) -> str:
    return re.split(r"[^A-Za-z0-9._-]", requirement, maxsplit=1)[0].lower().replace("_", "-")


@functools.cache
def _installed() -> frozenset[str]:
    names = (distribution.metadata["Name"] for distribution in importlib.metadata.distributions())
    return frozenset(_name(name) for name in names if name)


def _digest(paths: Iterable[Path]) -> str:
    total = hashlib.sha256()
    for path in sorted(paths):
        if path.is_file():
            total.update(path.name.encode())
            total.update(path.read_bytes())
    return total.hexdigest()[:16]


def main(options: list[str]) -> str:
    """Name the outdated observations: ``python -m common.workflow size=quick papers=all``."""
    config = load_config(dict(option.split("=", 1) for option in options), "options")
    return " ".join(path for slug in config.papers for path in Plan.of(config, slug).outdated())


if __name__ == "__main__":
    try:
        sys.stdout.write(main(sys.argv[1:]))
    except RepriseError as error:
        sys.exit(str(error))
