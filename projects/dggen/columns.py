"""The law of an event's columns [dt, msg] given its ends (paper's Time+MSG, section 2.3).

A GRU reads [1, x_0, ..., x_{C-2}]; its state at position j gives the parameters of column j. The
heads of continuous laws are shared by all columns of that law: the state tells them apart.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional as F

TINY = 1e-8
_HALF_LOG_TWO_PI = 0.5 * math.log(2 * math.pi)


def _log_normal_density(x: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    return -0.5 * ((x - mean) / std) ** 2 - std.log() - _HALF_LOG_TWO_PI


def _uniform(like: Tensor, generator: Generator) -> Tensor:
    """Draw from the open interval (0, 1), in the shape of ``like``."""
    draws = torch.rand(like.shape, generator=generator, device=like.device, dtype=like.dtype)
    return draws.clamp(torch.finfo(like.dtype).tiny, 1 - torch.finfo(like.dtype).eps)


def _choose(logits: Tensor, generator: Generator) -> Tensor:
    """Draw one index per row of unnormalised log probabilities, shape (B, K) -> (B,)."""
    return (logits - _uniform(logits, generator).log().neg().log()).argmax(dim=1)


def _pick(values: Tensor, index: Tensor) -> Tensor:
    return values.gather(1, index[:, None])[:, 0]


class Head(nn.Module):
    """A linear map from hidden states (B, H) to the parameters of one law.

    ``log_prob(h, x, floor)`` and ``sample(h, generator, floor)`` return shape (B,); ``floor`` is
    the smallest standard deviation that the column allows.
    """

    def __init__(self, hidden: int, outputs: int) -> None:
        super().__init__()
        self.linear = nn.Linear(hidden, outputs)


class Exponential(Head):
    """Density r exp(-r x) on x >= 0 with r = softplus(linear) + 1e-8."""

    def __init__(self, hidden: int) -> None:
        super().__init__(hidden, 1)

    def rate(self, h: Tensor) -> Tensor:
        """Return r, shape (B,)."""
        return F.softplus(self.linear(h)[:, 0]) + TINY

    def log_prob(self, h: Tensor, x: Tensor, floor: float = TINY) -> Tensor:
        """Return log p(x | h); minus infinity for x < 0."""
        rate = self.rate(h)
        return torch.where(x >= 0, rate.log() - rate * x, -torch.inf)

    def sample(self, h: Tensor, generator: Generator, floor: float = TINY) -> Tensor:
        """Draw by inverting the survival function."""
        rate = self.rate(h)
        return -_uniform(rate, generator).log() / rate


class Normal(Head):
    """Gaussian with mean linear and standard deviation softplus(linear) + 1e-8."""

    def __init__(self, hidden: int) -> None:
        super().__init__(hidden, 2)

    def _law(self, h: Tensor, floor: float) -> tuple[Tensor, Tensor]:
        mean, width = self.linear(h).unbind(dim=1)
        return mean, (F.softplus(width) + TINY).clamp(min=floor)

    def log_prob(self, h: Tensor, x: Tensor, floor: float = TINY) -> Tensor:
        """Return log p(x | h)."""
        return _log_normal_density(x, *self._law(h, floor))

    def sample(self, h: Tensor, generator: Generator, floor: float = TINY) -> Tensor:
        """Draw mean + std * normal."""
        mean, std = self._law(h, floor)
        return mean + std * torch.special.ndtri(_uniform(mean, generator))


class Mixture(Head):
    """Mixture of K Gaussians (logits, means, softplus(linear) + 1e-8)."""

    def __init__(self, hidden: int, num_components: int) -> None:
        super().__init__(hidden, 3 * num_components)

    def _law(self, h: Tensor, floor: float) -> tuple[Tensor, Tensor, Tensor]:
        logits, mean, width = self.linear(h).chunk(3, dim=1)
        std = (F.softplus(width) + TINY).clamp(min=floor)
        return logits.log_softmax(dim=1), mean, std

    def log_prob(self, h: Tensor, x: Tensor, floor: float = TINY) -> Tensor:
        """Return log p(x | h)."""
        logits, mean, std = self._law(h, floor)
        return (logits + _log_normal_density(x[:, None], mean, std)).logsumexp(dim=1)

    def sample(self, h: Tensor, generator: Generator, floor: float = TINY) -> Tensor:
        """Draw a component, then a normal."""
        logits, mean, std = self._law(h, floor)
        chosen = _choose(logits, generator)
        normal = torch.special.ndtri(_uniform(mean[:, 0], generator))
        return _pick(mean, chosen) + _pick(std, chosen) * normal


class LogNormalMixture(Mixture):
    """Mixture of log-normals of x + offset, given x >= 0.

    Times between events are often exactly 0, where a log-normal has no density; the offset moves
    them inside, and the part of the law below 0 is cut off and the rest renormalised. Samples are
    drawn given x <= limit: a wide component now and then means a span of years.
    """

    def __init__(
        self, hidden: int, num_components: int, offset: float = 1.0, limit: float = math.inf
    ) -> None:
        super().__init__(hidden, num_components)
        self.offset, self.limit = offset, limit

    def _survival(self, mean: Tensor, std: Tensor, x: float = 0.0) -> Tensor:
        """Log probability of more than x, per component."""
        if x == math.inf:
            return torch.full_like(mean, -torch.inf)
        return torch.special.log_ndtr((mean - math.log(x + self.offset)) / std)

    def log_prob(self, h: Tensor, x: Tensor, floor: float = TINY) -> Tensor:
        """Return log p(x | h); minus infinity for x < 0."""
        logits, mean, std = self._law(h, floor)
        y = (x.clamp(min=0) + self.offset).log()
        density = (logits + _log_normal_density(y[:, None], mean, std)).logsumexp(dim=1) - y
        kept = (logits + self._survival(mean, std)).logsumexp(dim=1)
        return torch.where(x >= 0, density - kept, -torch.inf)

    def sample(self, h: Tensor, generator: Generator, floor: float = TINY) -> Tensor:
        """Draw a component by its share of [0, limit], then a normal between the cuts."""
        logits, mean, std = self._law(h, floor)
        below, above = self._survival(mean, std), self._survival(mean, std, self.limit)
        share = below + torch.log1p(-(above - below).clamp(max=-1e-6).exp())
        chosen = _choose(logits + share, generator)
        low, high = _pick(above, chosen).exp(), _pick(below, chosen).exp()
        tail = low + (high - low) * _uniform(low, generator)
        tail = tail.clamp(torch.finfo(tail.dtype).tiny, 1 - torch.finfo(tail.dtype).eps)
        y = _pick(mean, chosen) - _pick(std, chosen) * torch.special.ndtri(tail)
        return (y.exp() - self.offset).clamp(0, self.limit)


class Categorical(Head):
    """Softmax over levels 0 to K - 1."""

    def log_prob(self, h: Tensor, x: Tensor, floor: float = TINY) -> Tensor:
        """Return log P(x | h)."""
        return _pick(self.linear(h).log_softmax(dim=1), x.long())

    def sample(self, h: Tensor, generator: Generator, floor: float = TINY) -> Tensor:
        """Draw a level."""
        return _choose(self.linear(h), generator).to(h.dtype)


class ColumnModel(nn.Module):
    """Autoregressive law of the columns of an event, from an initial hidden state.

    Parameters
    ----------
    laws : sequence of str or int
        ``"exponential"``, ``"lognormal"``, ``"normal"``, ``"gmm"`` or a number of levels.
    hidden : int
        H, width of the GRU.
    num_components : int
        K of the mixtures.
    floors : sequence of float, optional
        Smallest standard deviation per column.
    offset, limit : float
        Offset of the log-normals, and the largest value that they draw.

    Examples
    --------
    >>> model = ColumnModel(("exponential", "gmm", 3), hidden=4)
    >>> tuple(model.log_prob(torch.zeros(2, 4), torch.ones(2, 3)).shape)
    (2, 3)
    """

    def __init__(
        self,
        laws: Sequence[str | int],
        hidden: int,
        num_components: int = 8,
        floors: Sequence[float] | None = None,
        offset: float = 1.0,
        limit: float = math.inf,
    ) -> None:
        super().__init__()
        self.laws = tuple(laws)
        self.floors = tuple(floors) if floors is not None else (TINY,) * len(self.laws)
        self.gru = nn.GRU(1, hidden, batch_first=True)
        self._names = [
            f"levels_{place}" if isinstance(law, int) else law
            for place, law in enumerate(self.laws)
        ]
        make = {
            "exponential": lambda: Exponential(hidden),
            "normal": lambda: Normal(hidden),
            "gmm": lambda: Mixture(hidden, num_components),
            "lognormal": lambda: LogNormalMixture(hidden, num_components, offset, limit),
        }
        self.heads = nn.ModuleDict(
            {
                name: Categorical(hidden, law) if isinstance(law, int) else make[law]()
                for name, law in zip(self._names, self.laws, strict=True)
            }
        )

    def log_prob(self, h0: Tensor, x: Tensor) -> Tensor:
        """Return log p(x_j | x_0, ..., x_{j-1}, h0) of every column.

        Parameters
        ----------
        h0 : Tensor, shape (B, H)
            Initial hidden state.
        x : Tensor, shape (B, C)
            Values.

        Returns
        -------
        Tensor, shape (B, C)
        """
        inputs = torch.cat([torch.ones_like(x[:, :1]), x[:, :-1]], dim=1)
        states, _ = self.gru(inputs[:, :, None], h0[None].contiguous())
        terms = [
            self.heads[name].log_prob(states[:, place], x[:, place], self.floors[place])
            for place, name in enumerate(self._names)
        ]
        return torch.stack(terms, dim=1)

    @torch.no_grad()
    def sample(self, h0: Tensor, generator: Generator, given: Tensor | None = None) -> Tensor:
        """Draw columns one after the other.

        Parameters
        ----------
        h0 : Tensor, shape (B, H)
            Initial hidden state.
        generator : Generator
            Source of randomness, on the device of ``h0``.
        given : Tensor, shape (B, C), optional
            Values that are kept; NaN where one is to be drawn.

        Returns
        -------
        Tensor, shape (B, C)
        """
        state, value, drawn = h0[None].contiguous(), torch.ones_like(h0[:, :1]), []
        for place, name in enumerate(self._names):
            out, state = self.gru(value[:, :, None], state)
            column = self.heads[name].sample(out[:, 0], generator, self.floors[place])
            if given is not None:
                column = torch.where(given[:, place].isnan(), column, given[:, place])
            value = column[:, None]
            drawn.append(value)
        return torch.cat(drawn, dim=1)
