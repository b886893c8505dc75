"""Concatenate node features to the input of every message-passing layer of a model."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch_geometric.nn import MessagePassing


class InjectFeatures(nn.Module):
    """A PyTorch Geometric model whose layers see [h || z] instead of h (section 3).

    Z is the same at every layer. The layers themselves do not change: build them for inputs that
    are ``dim`` wider, as :meth:`basic_gnn` does for PyG's ready-made networks.

    Parameters
    ----------
    model : Module
        A convolution, or any module that holds convolutions (``torch_geometric.nn.MessagePassing``)
        and calls them with the node features as their first argument.
    dim : int
        Width of z.

    Raises
    ------
    ValueError
        If the model has no message-passing layer; when called, if z is missing or has another
        width, or if a layer's input was not made ``dim`` wider.

    Examples
    --------
    >>> from torch_geometric.nn import GCNConv
    >>> layer = InjectFeatures(GCNConv(3 + 2, 4), dim=2)
    >>> x, z, edges = torch.ones(5, 3), torch.ones(5, 2), torch.tensor([[0, 1], [1, 2]])
    >>> layer(x, edges, z=z).shape
    torch.Size([5, 4])
    """

    def __init__(self, model: nn.Module, dim: int) -> None:
        super().__init__()
        if dim < 1:
            raise ValueError(f"dim={dim}: the width of the injected features is positive")
        self.model, self.dim = model, dim
        self.layers = _outermost_convolutions(model)
        if not self.layers:
            raise ValueError(f"{type(model).__name__} has no message-passing layer to inject into")

    def forward(self, x: Tensor, *args: Any, z: Tensor, **kwargs: Any) -> Tensor:
        """Call the model with ``z``, shape (N, dim), injected at every layer."""
        if z.dim() != 2 or z.shape[1] != self.dim or len(z) != len(x):
            raise ValueError(
                f"z has shape {tuple(z.shape)}; {len(x)} nodes need ({len(x)}, {self.dim})"
            )
        with self._injecting(z):
            return self.model(x, *args, **kwargs)

    @contextmanager
    def _injecting(self, z: Tensor) -> Iterator[None]:
        def widen(layer: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
            wide = torch.cat([args[0], z.to(args[0].dtype)], dim=1)
            expected = _input_width(layer)
            if expected is not None and expected != wide.shape[1]:
                raise ValueError(
                    f"{type(layer).__name__} takes inputs of width {expected}, but h and z have "
                    f"{args[0].shape[1]} + {self.dim} = {wide.shape[1]} columns; build the layer "
                    f"with in_channels={wide.shape[1]}"
                )
            return (wide, *args[1:])

        handles = [layer.register_forward_pre_hook(widen) for layer in self.layers]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    @classmethod
    def basic_gnn(
        cls,
        network: type[nn.Module],
        in_channels: int,
        hidden: int,
        layers: int,
        dim: int,
        **kwargs: Any,
    ) -> InjectFeatures:
        """Build one of PyG's ready-made networks (GIN, GCN, GAT, GraphSAGE, ...) with wider layers.

        Parameters
        ----------
        network : type
            Subclass of ``torch_geometric.nn.models.basic_gnn.BasicGNN``.
        in_channels, hidden, layers : int
            As the network's own.
        dim : int
            Width of z.
        **kwargs
            Further arguments of the network, such as ``out_channels``.

        Examples
        --------
        >>> from torch_geometric.nn import GIN
        >>> model = InjectFeatures.basic_gnn(GIN, 3, 8, layers=2, dim=4)
        >>> x, z, edges = torch.ones(5, 3), torch.ones(5, 4), torch.tensor([[0, 1], [1, 2]])
        >>> model(x, edges, z=z).shape
        torch.Size([5, 8])
        """

        class Widened(network):
            def init_conv(self, in_channels: Any, out_channels: int, **options: Any) -> nn.Module:
                return super().init_conv(in_channels + dim, out_channels, **options)

        Widened.__name__ = network.__name__
        return cls(Widened(in_channels, hidden, layers, **kwargs), dim)


def _outermost_convolutions(module: nn.Module) -> list[nn.Module]:
    """Message-passing layers of a model; not those inside another layer."""
    if isinstance(module, MessagePassing):
        return [module]
    return [layer for child in module.children() for layer in _outermost_convolutions(child)]


def _input_width(layer: nn.Module) -> int | None:
    """Width that a layer's first linear map takes, or None if it cannot be told."""
    for child in layer.modules():
        width = getattr(child, "in_features", None) or getattr(child, "in_channels", None)
        if isinstance(child, nn.Linear) or type(child).__name__ == "Linear":
            return width if isinstance(width, int) and width > 0 else None
    return None
