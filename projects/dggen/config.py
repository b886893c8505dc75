"""The configuration of DG-Gen: defaults, allowed values, and the paper's own settings."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from common.errors import RepriseError, known
from common.schema import Model, load_yaml, validate

CONTINUOUS = ("gmm", "normal", "exponential")


class NotFittedError(RepriseError, ValueError, AttributeError):
    """The model was asked before :meth:`DGGen.fit`."""


class DGGenConfig(Model):
    """Settings of :class:`DGGen`. Unknown keys are errors that name the closest valid one.

    Attributes
    ----------
    columns : tuple of {"gmm", "normal", "exponential"} or int, or None
        Law of every feature column; an integer K is a categorical column with levels 0 to K - 1.
        None: all ``"gmm"``. The inter-event time is no column here, see ``time``.
    time : {"exponential", "lognormal"}
        Law of the inter-event time: the paper's exponential, or a mixture of log-normals (T3).
    num_neighbors, memory_dim, time_dim, embedding_dim, heads, dropout
        Sizes of the encoder.
    feats_dim, num_components : int
        Hidden width of the column model; components of every mixture.
    identity_dim : int
        Width of a fixed random code per node that the encoder sees beside the memory; 0 is the
        paper's model, whose embeddings cannot tell apart nodes with the same history.
    time_init : {"uniform", "log"}
        Initial frequencies of the time encoding: PyG's (as released), or from 1 to 1e-9 as in the
        original TGN.
    learning_rate, epochs, batch_size, seed
        Training. The paper has 50 epochs with batches of 10.
    num_sampled : int or None
        Random candidates beside a batch's own nodes in the softmax of training; None is the
        exact softmax over all.
    correction : {"logq", "none"}
        Weigh random candidates by one over the probability of their draw, so that the sampled
        normaliser is unbiased; ``"none"`` as released.
    noise, noise_threshold, noise_patience
        Standard deviation of the noise on continuous features in training; times 0.1 when the
        feature loss improved by less than the (relative) threshold in that many epochs, down to
        0.01 of the start.
    standardise : bool
        Give the networks times over the mean inter-event time and features with mean 0 and
        variance 1; densities are those of the raw values either way. False as released.
    resolution : float
        Length of a tick of the memory's clock in units of ``t``.
    refresh : {"exact", "touched"}
        Whose embeddings are renewed after events when sampling: of all nodes that they change,
        or of the events' own nodes only (as released).
    drop_self_loops : bool
        Leave events with src = dst out of training.
    num_nodes : int or None
        Size of the table of nodes; None: as in the data.
    memory_limit : float
        GiB that one training step may need by a rough estimate; more is refused beforehand.
    device : str
        ``cpu`` or ``cuda``.

    Examples
    --------
    >>> DGGenConfig(embedding_dim=32, columns=("gmm", 3)).columns
    ('gmm', 3)
    >>> DGGenConfig.preset("wikipedia").num_neighbors
    200
    """

    columns: tuple[int | str, ...] | None = None
    time: Literal["exponential", "lognormal"] = "exponential"
    num_neighbors: int = Field(10, ge=1)
    memory_dim: int = Field(100, ge=1)
    time_dim: int = Field(100, ge=1)
    embedding_dim: int = Field(100, ge=1)
    heads: int = Field(2, ge=1)
    dropout: float = Field(0.1, ge=0, lt=1)
    feats_dim: int = Field(64, ge=1)
    num_components: int = Field(8, ge=1)
    identity_dim: int = Field(0, ge=0)
    time_init: Literal["uniform", "log"] = "uniform"
    learning_rate: float = Field(1e-3, gt=0)
    epochs: int = Field(50, ge=1)
    batch_size: int = Field(200, ge=1)
    seed: int = 100
    num_sampled: int | None = Field(None, ge=1)
    correction: Literal["logq", "none"] = "logq"
    noise: float = Field(0.0, ge=0)
    noise_threshold: float = Field(0.2, ge=0)
    noise_patience: int = Field(10, ge=1)
    standardise: bool = True
    resolution: float = Field(1.0, gt=0)
    refresh: Literal["exact", "touched"] = "exact"
    drop_self_loops: bool = False
    num_nodes: int | None = Field(None, ge=1)
    memory_limit: float = Field(4.0, gt=0)
    device: str = "cpu"

    @field_validator("columns")
    @classmethod
    def _laws_are_known(cls, columns: tuple[int | str, ...] | None) -> Any:
        for place, law in enumerate(columns or ()):
            if isinstance(law, int):
                if law < 2:
                    raise ValueError(f"column {place} has {law} levels; at least 2 are needed")
            elif law not in CONTINUOUS:
                raise ValueError(f"column {place} is {law!r}; allowed: {CONTINUOUS} or an integer")
        return columns

    @model_validator(mode="after")
    def _heads_divide(self) -> DGGenConfig:
        if self.embedding_dim % self.heads:
            raise ValueError(f"heads={self.heads} must divide embedding_dim={self.embedding_dim}")
        return self

    def laws(self, num_features: int) -> tuple[int | str, ...]:
        """Return the law of every column of [dt, msg].

        Raises
        ------
        ValueError
            If ``columns`` names another number of features than the data have.
        """
        columns = ("gmm",) * num_features if self.columns is None else self.columns
        if len(columns) != num_features:
            raise ValueError(
                f"columns names {len(columns)} feature columns, but the data have {num_features}"
            )
        return (self.time, *columns)

    @classmethod
    def of(cls, settings: DGGenConfig | dict[str, Any] | str | Path | None) -> DGGenConfig:
        """Build a configuration from a mapping or the path of a YAML or JSON file.

        Raises
        ------
        ConfigError
            For unknown keys and values that are not allowed.
        """
        if isinstance(settings, DGGenConfig):
            return settings
        if isinstance(settings, str | Path):
            return load_yaml(Path(settings), cls)
        return validate(settings or {}, cls, "DGGenConfig")

    @classmethod
    def preset(cls, name: str, **changes: Any) -> DGGenConfig:
        """Return the authors' settings for a data set, with changes of yours.

        Parameters
        ----------
        name : {"wikipedia", "reddit", "mooc", "lastfm", "bikeshare"}
            Bikeshare's sizes look like those of a random search.
        **changes
            Settings that differ.
        """
        given = PRESETS[known(name, PRESETS, "preset")]
        return cls.of({**given, **RELEASED, **changes})


# The settings that all of the authors' runs share, and those of each data set (brief, 2.5).
RELEASED = {
    "batch_size": 10,
    "epochs": 50,
    "correction": "none",
    "standardise": False,
    "refresh": "touched",
}
_SETTINGS = (
    *("num_neighbors", "memory_dim", "time_dim", "embedding_dim", "feats_dim", "num_components"),
    *("learning_rate", "noise", "noise_threshold", "noise_patience", "num_sampled", "seed"),
)
_TABLE: dict[str, tuple[Any, ...]] = {
    "wikipedia": (200, 76, 300, 100, 256, 16, 7.02e-4, 0.135, 0.268, 20, None, 100),
    "reddit": (100, 76, 100, 76, 64, 32, 8.73e-4, 9.30, 0.267, 10, None, 100),
    "mooc": (10, 300, 200, 200, 16, 8, 1.34e-4, 2.18, 0.200, 10, None, 0),
    "lastfm": (40, 300, 800, 76, 256, 64, 6.59e-5, 2.40, 0.699, 10, None, 0),
    "bikeshare": (398, 4025, 3526, 252, 3641, 4, 1.65e-4, 1.0, 0.001, 5, 400, 300),
}
PRESETS = {name: dict(zip(_SETTINGS, row, strict=True)) for name, row in _TABLE.items()}
