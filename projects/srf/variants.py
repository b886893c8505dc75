"""What is compared: injected features, other networks, and one call that trains any of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from common.errors import ConfigError, did_you_mean, known

if TYPE_CHECKING:
    from common.run import Run
    from projects.srf.graph_sets import GraphSet
    from projects.srf.training import History, Split

ORDERS = ("canonical", "permuted")
# Other networks, none with injected features, and the options that make them.
NETWORKS: dict[str, dict[str, Any]] = {
    "virtual-node": {},
    "fully-adjacent": {"fully_adjacent": True},
    "pearl": {},
    "gps": {"kind": "gps"},
    "gcn": {"kind": "gcn"},
    "gat": {"kind": "gat"},
}
# Attention over all pairs of a batch's nodes does not fit into memory beyond this.
LARGEST_ATTENTION = 1000


@dataclass(frozen=True)
class Variant:
    """One line of a comparison, as ``paper.yaml`` writes it.

    Parameters
    ----------
    name : str
        Features (:data:`projects.srf.features.VARIANTS`) or a network (:data:`NETWORKS`).
    kernel : str, optional
        Instead of the experiment's.
    k : int, optional
        Number of sketches, instead of the experiment's.
    orders : tuple of str
        Orders of the nodes that it is trained in.

    Examples
    --------
    >>> Variant.of({"name": "shared", "k": 1}).label
    'shared k=1'
    """

    name: str
    kernel: str | None = None
    k: int | None = None
    orders: tuple[str, ...] = ORDERS

    @classmethod
    def of(cls, entry: str | Mapping[str, Any]) -> Variant:
        """Read an entry: a name, or a mapping with further settings."""
        from projects.srf.features import VARIANTS

        settings = {"name": entry} if isinstance(entry, str) else dict(entry)
        for key in settings:
            if key not in cls.__dataclass_fields__:
                hint = did_you_mean(key, cls.__dataclass_fields__)
                raise ConfigError(f"variant {entry}: unknown key {key!r}{hint}")
        known(settings["name"], (*VARIANTS, *NETWORKS), "variant")
        orders = tuple(known(order, ORDERS, "order") for order in settings.pop("orders", ORDERS))
        return cls(**settings, orders=orders)

    @property
    def label(self) -> str:
        """Name in results; settings that differ from the experiment's are part of it."""
        own = [self.kernel or "", "" if self.k is None else f"k={self.k}"]
        return " ".join([self.name, *filter(None, own)])

    @property
    def features(self) -> str:
        """What is injected."""
        return "plain" if self.name in NETWORKS else self.name


def fit(
    run: Run,
    graphs: GraphSet,
    variant: Variant,
    split: Split,
    seed: int,
    *,
    epochs: int,
    **options: Any,
) -> History:
    """Train one network with what a variant injects, under the run's parameters.

    ``options`` are those of :class:`~projects.srf.models.LayeredNetwork`; the parameters ``hidden``
    and ``layers`` of the run hold unless given there.
    """
    import torch

    from projects.srf.baselines import RandomSamplePearl, with_virtual_node
    from projects.srf.features import injection
    from projects.srf.models import LayeredNetwork
    from projects.srf.training import train

    params = run.params
    if variant.name == "virtual-node":
        graphs = with_virtual_node(graphs)
    injected = injection(
        graphs,
        variant.features,
        width=params["width"],
        sketches=variant.k or params["sketches"],
        kernel=variant.kernel or params["kernel"],
        seed=442 + seed,
    )
    torch.manual_seed(seed)
    if variant.name == "pearl":
        options["positional"] = RandomSamplePearl(params["pearl_samples"])
    settings = {name: params[name] for name in ("hidden", "layers") if name in params} | options
    network = LayeredNetwork(
        graphs.x.shape[1],
        settings.pop("hidden"),
        settings.pop("layers"),
        graphs.classes,
        z_width=injected.width,
        **{**settings, **NETWORKS.get(variant.name, {})},
    )
    return train(
        network,
        graphs,
        injected,
        split,
        epochs=epochs,
        batch_size=params["batch_size"],
        seed=seed,
        device=device(run),
    )


def device(run: Run) -> str:
    """Where a run trains."""
    return "cuda" if run.target == "gpu" else "cpu"
