"""Orthogonalisation of task gradients from their Gram matrix alone.

Symbols: g_k is the gradient of task k, G the matrix whose rows they are, K = G G^T their Gram
matrix. In priority order v_k = g_k - sum_{j before k} <g_k, u_j> u_j with u_j = v_j / ||v_j||, and
the direction is d = sum_k alpha_k v_k. Every v_k is a combination of rows of G, so Gram-Schmidt
needs K only, and d = w^T G for N weights w: two passes over G, however many tasks there are.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from torch import Tensor

Normalize = bool | Literal["unit"]

# A residual below this share of its gradient is rounding of float32 and has no direction.
NEGLIGIBLE = 1e-7
# A residual is stretched to its gradient's length only above this share of it.
STRETCHABLE = 1e-3
# Columns of one product: short enough for float32 to add them up, and for the cache of a core.
_BLOCK = 1 << 12
# Smallest eigenvalue of normalised gradients from which a Gram matrix of float32 is good for
# orthogonality to 1e-5; below it they are nearly dependent, and a residual is a small difference.
_INDEPENDENT = 0.03


def gram_matrix(gradients: Tensor) -> Tensor:
    """Inner products of the rows, in float64.

    Long rows of float32 are multiplied as they are, block by block, and the blocks added in
    float64. Where that shows gradients to be nearly dependent it is done again in float64, in
    which products of float32 are exact: so gradients that are parallel to one part in 10^7 are
    still told apart. Rows of float16 cannot overflow.

    Parameters
    ----------
    gradients : Tensor, shape (..., N, P)
        One task's gradient per row, of any real floating dtype.

    Returns
    -------
    Tensor, shape (..., N, N), float64

    Examples
    --------
    >>> gram_matrix(torch.tensor([[1.0, 2.0], [0.0, 3.0]])).tolist()
    [[5.0, 6.0], [6.0, 9.0]]
    """
    tasks, length = gradients.shape[-2:]
    if length <= _BLOCK or gradients.dtype != torch.float32:
        return _exact_gram(gradients)
    matrices = gradients.reshape(-1, tasks, length)
    return torch.stack([_gram(matrix) for matrix in matrices]).reshape(*gradients.shape[:-1], tasks)


def _gram(gradients: Tensor) -> Tensor:
    whole = gradients.shape[1] // _BLOCK * _BLOCK
    # As a batch of products, because one product of few long rows is slow.
    blocks = gradients[:, :whole].unflatten(1, (-1, _BLOCK)).transpose(0, 1)
    gram = (blocks @ blocks.mT).sum(0, dtype=torch.float64) + _exact_gram(gradients[:, whole:])
    norms = gram.diagonal().sqrt()
    norms = torch.where(norms > 0, norms, 1.0)
    cosines = gram / (norms[:, None] * norms)
    cosines.diagonal().fill_(1.0)  # of a task that does not reach these parameters too
    # An overflow under mixed precision is not for this module to report.
    if not cosines.isfinite().all() or torch.linalg.eigvalsh(cosines)[0] >= _INDEPENDENT:
        return gram
    return _exact_gram(gradients)


def _exact_gram(gradients: Tensor) -> Tensor:
    tasks = gradients.shape[-2]
    total = gradients.new_zeros((*gradients.shape[:-1], tasks), dtype=torch.float64)
    for block in gradients.split(_BLOCK, dim=-1):
        exact = block.double()
        total += exact @ exact.mT
    return total


def orthogonal_coefficients(gram: np.ndarray, *, tolerance: float = NEGLIGIBLE) -> np.ndarray:
    """Coefficients C of the orthogonalised gradients: v_k = sum_i C_ki g_i.

    Parameters
    ----------
    gram : ndarray, shape (..., N, N)
        Gram matrices of the gradients, highest priority first.
    tolerance : float
        A v_j with ||v_j|| <= tolerance * ||g_j|| has no direction; nothing is projected off it.

    Returns
    -------
    ndarray, shape (..., N, N)
        Unit lower triangular. Modified Gram-Schmidt: the running residual is projected.

    Examples
    --------
    >>> g = np.array([[1.0, 0.0], [1.0, 1.0]])
    >>> (orthogonal_coefficients(g @ g.T) @ g).tolist()
    [[1.0, 0.0], [0.0, 1.0]]
    """
    tasks = gram.shape[-1]
    coefficients = np.broadcast_to(np.eye(tasks), gram.shape).copy()
    floor = tolerance**2 * np.diagonal(gram, axis1=-2, axis2=-1)
    for j in range(tasks - 1):
        v_j = coefficients[..., j, :]
        inner = (gram @ v_j[..., None])[..., 0]  # <g_i, v_j>
        square = (v_j * inner).sum(-1)  # ||v_j||^2
        later = coefficients[..., j + 1 :, :]
        dots = (later @ inner[..., None])[..., 0]  # <residual_k, v_j>
        alive = square > floor[..., j]
        share = dots / np.where(alive, square, np.inf)[..., None]
        later -= share[..., None] * v_j[..., None, :]
    return coefficients


def combination_weights(
    gram: np.ndarray,
    *,
    order: Sequence[int] | None = None,
    normalize: Normalize = False,
    alphas: Sequence[float] | None = None,
    tolerance: float = NEGLIGIBLE,
) -> np.ndarray:
    """Weights w of the direction d = sum_i w_i g_i = sum_k alpha_k v_k.

    Parameters
    ----------
    gram : ndarray, shape (..., N, N)
        Gram matrices; a task that does not reach a parameter has a row and column of zeros.
    order : sequence of int, optional
        Tasks from the highest priority to the lowest; by default as given.
    normalize : bool or "unit"
        True stretches each v_k to ||g_k||; ``"unit"`` to the mean of all non-zero ||g_k||. A v_k
        of at most 0.001 ||g_k|| stays as it is.
    alphas : sequence of float, optional
        Weight of each task, in the order of the tasks; 1 by default.
    tolerance : float
        See :func:`orthogonal_coefficients`.

    Returns
    -------
    ndarray, shape (..., N)

    Examples
    --------
    >>> g = np.array([[1.0, 0.0], [1.0, 1.0]])
    >>> (combination_weights(g @ g.T) @ g).tolist()  # (1, 0) + (0, 1)
    [1.0, 1.0]
    >>> (combination_weights(g @ g.T, order=[1, 0]) @ g).tolist()  # (1, 1) + (0.5, -0.5)
    [1.5, 0.5]
    """
    order = list(range(gram.shape[-1])) if order is None else list(order)
    ranked = gram[..., order, :][..., order]
    coefficients = orthogonal_coefficients(ranked, tolerance=tolerance)
    if normalize:
        coefficients *= _stretch(ranked, coefficients, normalize)[..., None]
    if alphas is not None:
        coefficients *= np.asarray(alphas, dtype=float)[order, None]
    weights = np.empty(gram.shape[:-1])
    weights[..., order] = coefficients.sum(-2)
    return weights


def _stretch(gram: np.ndarray, coefficients: np.ndarray, normalize: Normalize) -> np.ndarray:
    """Factor of each v_k, shape (..., N)."""
    square = ((coefficients @ gram) * coefficients).sum(-1)
    residual = np.sqrt(np.maximum(square, 0.0))
    length = np.sqrt(np.diagonal(gram, axis1=-2, axis2=-1))
    target = length
    if normalize == "unit":
        present = np.maximum((length > 0).sum(-1, keepdims=True), 1)
        target = length.sum(-1, keepdims=True) / present
    stretchable = residual > STRETCHABLE * length
    return np.where(stretchable, target / np.where(stretchable, residual, 1.0), 1.0)


def combine(weights: Tensor, gradients: Tensor) -> Tensor:
    """Return w^T G, shape (..., P), of weights (..., N) and gradients (..., N, P)."""
    return (weights.to(gradients.dtype).unsqueeze(-2) @ gradients).squeeze(-2)


def orthogonalize(
    gradients: Tensor,
    *,
    order: Sequence[int] | None = None,
    normalize: Normalize = False,
    alphas: Sequence[float] | None = None,
    tolerance: float = NEGLIGIBLE,
) -> Tensor:
    """Direction d of a matrix of task gradients.

    Parameters
    ----------
    gradients : Tensor, shape (N, P)
        One task's gradient per row.
    order, normalize, alphas, tolerance
        See :func:`combination_weights`.

    Returns
    -------
    Tensor, shape (P,)
        In the dtype of the gradients, accumulated in float32 at least.

    Raises
    ------
    ValueError
        If the gradients are not a real floating matrix.

    Examples
    --------
    >>> orthogonalize(torch.tensor([[1.0, 0.0], [-3.0, 1.0]])).tolist()
    [1.0, 1.0]
    """
    if gradients.dim() != 2 or not gradients.is_floating_point():
        raise ValueError(
            f"gradients are a real floating matrix (tasks, parameters); got shape "
            f"{tuple(gradients.shape)} of {gradients.dtype}"
        )
    weights = combination_weights(
        gram_matrix(gradients).cpu().numpy(),
        order=order,
        normalize=normalize,
        alphas=alphas,
        tolerance=tolerance,
    )
    wide = gradients.to(torch.promote_types(gradients.dtype, torch.float32))
    return combine(torch.from_numpy(weights).to(wide.device), wide).to(gradients.dtype)
