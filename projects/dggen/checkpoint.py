"""Checkpoints: a JSON file and tensors, checked before use."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from common.errors import ConfigError
from projects.dggen.config import DGGenConfig
from projects.dggen.encoding import Encoding, Past, Scaling

if TYPE_CHECKING:
    from projects.dggen.stream_model import StreamModel

FORMAT = 1
# Settings that say where and how to run, not what the weights mean.
_FREE = {"device", "memory_limit", "refresh"}


def save(model: StreamModel, folder: Path) -> None:
    """Write a fitted model; a folder that exists is overwritten file by file."""
    network, encoding = model.network_, model.encoding_
    folder.mkdir(parents=True, exist_ok=True)
    about = {
        "format": FORMAT,
        "config": model.config.model_dump(),
        "laws": encoding.laws,
        "names": encoding.names,
        "shift": encoding.scaling.shift.tolist(),
        "scale": encoding.scaling.scale.tolist(),
        "floors": encoding.scaling.floors,
        "limit": encoding.scaling.limit,
        "num_nodes": encoding.num_nodes,
        "bipartite": model.bipartite_,
        "past": model.history_.past,
        "losses": model.losses_,
    }
    tensors = {f"weight.{name}": value.detach() for name, value in network.named_parameters()}
    tensors |= {f"history.{name}": value for name, value in model.history_.keep().items()}
    tensors |= {"sources": model.sources_, "destinations": model.destinations_}
    torch.save({name: value.cpu() for name, value in tensors.items()}, folder / "weights.pt")
    (folder / "config.json").write_text(json.dumps(about, indent=1), encoding="utf-8")


def load(cls: type[StreamModel], folder: Path, config: Any, device: str | None) -> StreamModel:
    """Read a model; see :meth:`StreamModel.load`."""
    about = _about(folder)
    settings = about["config"]
    if config is not None:
        _compare(settings, DGGenConfig.of(config).model_dump(mode="json"), folder)
    if device is not None:
        settings = {**settings, "device": device}
    model = cls(settings)
    device = model.config.device
    model.bipartite_, model.losses_ = about["bipartite"], about["losses"]
    shift, scale = np.array(about["shift"]), np.array(about["scale"])
    scaling = Scaling(shift, scale, tuple(about["floors"]), about["limit"])
    laws, names = tuple(about["laws"]), tuple(about["names"])
    resolution, num_nodes = model.config.resolution, about["num_nodes"]
    model.encoding_ = Encoding(laws, names, scaling, resolution, num_nodes)
    network = model._network(num_nodes)
    tensors = torch.load(folder / "weights.pt", weights_only=True, map_location=device)
    weights = {k.removeprefix("weight."): v for k, v in tensors.items() if k.startswith("weight.")}
    _match(dict(network.named_parameters()), weights, folder)
    network.load_state_dict(weights, strict=False)
    model.network_ = network
    model.sources_, model.destinations_ = tensors["sources"], tensors["destinations"]
    state = {k.removeprefix("history."): v for k, v in tensors.items() if k.startswith("history.")}
    model.reset()
    model.history_.load(state, Past(*about["past"]) if about["past"] else None)
    return model


def _about(folder: Path) -> dict[str, Any]:
    try:
        about = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"{folder} holds no config.json; it is no folder of DGGen.save") from None
    except ValueError as error:
        raise ConfigError(f"{folder / 'config.json'} is no JSON file: {error}") from None
    if about.get("format") != FORMAT:
        raise ConfigError(
            f"{folder} has checkpoint format {about.get('format')}; this version reads {FORMAT}"
        )
    if not (folder / "weights.pt").exists():
        raise ConfigError(f"{folder} holds no weights.pt; save the model again")
    return about


def _compare(stored: dict[str, Any], wanted: dict[str, Any], folder: Path) -> None:
    """Raise with all settings that differ."""
    differ = [
        f"{name}: checkpoint {stored.get(name)!r}, asked for {value!r}"
        for name, value in wanted.items()
        if name not in _FREE and stored.get(name) != value
    ]
    if differ:
        raise ConfigError(f"{folder} does not match the configuration:\n" + "\n".join(differ))


def _match(own: dict[str, Any], stored: dict[str, Any], folder: Path) -> None:
    """Raise with all tensors that are missing, unknown or of another shape."""
    wrong = [f"missing {name}" for name in sorted(own.keys() - stored.keys())]
    wrong += [f"unknown {name}" for name in sorted(stored.keys() - own.keys())]
    wrong += [
        f"{name}: checkpoint {tuple(stored[name].shape)}, model {tuple(own[name].shape)}"
        for name in sorted(own.keys() & stored.keys())
        if own[name].shape != stored[name].shape
    ]
    if wrong:
        raise ConfigError(f"weights of {folder} do not fit its config.json:\n" + "\n".join(wrong))
