"""Missing features of events, filled in from the model."""

from __future__ import annotations

import torch
from torch import Generator, Tensor

from projects.dggen.encoding import Batch
from projects.dggen.scores import ScoreTable


@torch.no_grad()
def impute_columns(
    table: ScoreTable, batch: Batch, missing: Tensor, draws: int, generator: Generator
) -> Tensor:
    """Return the columns of a batch with the missing ones replaced by their posterior.

    Missing columns are drawn given the ends and the columns before them; draws are weighed by the
    likelihood of the observed columns, so that those after a missing one count too.

    Parameters
    ----------
    table : ScoreTable
        The state before the batch.
    batch : Batch
        Events; what it holds in missing places is ignored.
    missing : BoolTensor, shape (B, 1 + F)
        True where a value is missing.
    draws : int
        Number of weighted draws per event.
    generator : Generator
        Source of randomness.

    Returns
    -------
    Tensor, shape (B, 1 + F)
        Posterior means of continuous columns, the most probable level of categorical ones.
    """
    model = table.network.columns
    h0 = table.network.merge(table.z[batch.src], table.z[batch.dst]).repeat_interleave(draws, dim=0)
    given = batch.x.masked_fill(missing, torch.nan).repeat_interleave(draws, dim=0)
    drawn = model.sample(h0, generator, given)
    terms = model.log_prob(h0, drawn).masked_fill(missing.repeat_interleave(draws, dim=0), 0.0)
    weights = terms.sum(dim=1).view(-1, draws).softmax(dim=1)
    drawn = drawn.view(len(batch), draws, -1)
    filled = (weights[:, :, None] * drawn).sum(dim=1)
    for place, law in enumerate(model.laws):
        if isinstance(law, int):
            levels = torch.arange(law, device=drawn.device)
            mass = (weights[:, :, None] * (drawn[:, :, place, None] == levels)).sum(dim=1)
            filled[:, place] = mass.argmax(dim=1).to(filled.dtype)
    return torch.where(missing, filled, batch.x)


@torch.no_grad()
def impute_stream(
    table: ScoreTable,
    batch: Batch,
    missing: Tensor,
    draws: int,
    generator: Generator,
    batch_size: int,
) -> Tensor:
    """Fill in a whole stream, shape (E, 1 + F); events are shown as they were filled in."""
    parts = []
    for begin in range(0, len(batch), batch_size):
        part, here = batch[begin : begin + batch_size], missing[begin : begin + batch_size]
        x = impute_columns(table, part, here, draws, generator)
        table.advance(Batch(part.src, part.dst, part.ticks, x))
        parts.append(x)
    return torch.cat(parts) if parts else batch.x
