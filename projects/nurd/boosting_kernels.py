"""Compiled loops of :mod:`projects.nurd.boosting`.

The rows of one node are kept together: ``order[j, a:b]`` lists them by ascending value of column
``j``, and a split moves them apart without disturbing that order. One scan of a column then finds
the node's best cut with everything it needs in registers.
"""

from __future__ import annotations

import numpy as np
from numba import njit

# Two values closer than this are one value, as in scikit-learn's splitter.
_SAME = 1e-7
# Cuts this close in worth are equally good: rounding, and so the order of rows, must not choose.
_TIE = 1.0 + 1e-10


@njit(cache=True, nogil=True)
def grow(columns, root_order, residual, n_trees, rate, depth, seed):
    """Grow all trees; returns (feature, cut, leaf) in heap order.

    ``columns`` has shape (d, n); row ``root_order[j]`` lists the rows by ascending value of
    column ``j``; ``residual`` (n,) is used up.
    """
    n = columns.shape[1]
    inner = 2**depth - 1
    feature = np.full((n_trees, inner), -1, dtype=np.int32)
    cut = np.zeros((n_trees, inner))
    leaf = np.zeros((n_trees, inner + 1))
    order = np.empty_like(root_order)
    spare = np.empty(n, dtype=root_order.dtype)
    right = np.zeros(n, dtype=np.uint8)
    bounds = np.zeros(inner + 2, dtype=np.int64)
    visit = np.arange(len(columns))
    np.random.seed(seed)
    # A table of reciprocals: two divisions per candidate cut would cost as much as the rest.
    inverse = 1.0 / np.maximum(np.arange(n + 1), 1)
    for t in range(n_trees):
        # By the element: for an array, numba compiles a message about unequal shapes, 5 s long.
        for j in range(len(order)):
            for p in range(n):
                order[j, p] = root_order[j, p]
        bounds[0], bounds[1] = 0, n
        for level in range(depth):
            first = 2**level - 1
            # From the last node to the first, so that new bounds do not overwrite old ones.
            for k in range(first, -1, -1):
                a, b = bounds[k], bounds[k + 1]
                _shuffle(visit)
                j, threshold = _best_cut(columns, visit, order, residual, inverse, a, b)
                feature[t, first + k] = j
                cut[t, first + k] = threshold
                middle = _part(columns, order, spare, right, j, threshold, a, b, level < depth - 1)
                bounds[2 * k + 2] = b
                bounds[2 * k + 1] = middle
                bounds[2 * k] = a
        _settle(order, bounds, residual, leaf[t], rate)
    return feature, cut, leaf


@njit(cache=True, nogil=True)
def _shuffle(visit):
    for m in range(len(visit) - 1, 0, -1):
        k = np.random.randint(0, m + 1)
        visit[m], visit[k] = visit[k], visit[m]


@njit(cache=True, nogil=True)
def _best_cut(columns, visit, order, residual, inverse, a, b):
    """Column and threshold that reduce the squared error of rows ``a:b`` most; (-1, 0) if none.

    Of equally good cuts the first visited wins. Small nodes have many, and always taking the
    leftmost column would make the trees of one ensemble needlessly alike.
    """
    best_column, best_threshold = -1, 0.0
    total = 0.0
    for p in range(a, b):
        total += residual[order[0, p]]
    count = b - a
    # A cut is worth sum_L^2 / n_L + sum_R^2 / n_R; no cut is worth sum^2 / n.
    bar = total * total * inverse[count] * _TIE + 1e-300
    for j in visit:
        column = columns[j]
        rows = order[j]
        if count < 2 or column[rows[b - 1]] - column[rows[a]] <= _SAME:
            continue
        left = residual[rows[a]]
        last = column[rows[a]]
        for p in range(a + 1, b):
            i = rows[p]
            value = column[i]
            if value > last + _SAME:
                rest = total - left
                worth = left * left * inverse[p - a] + rest * rest * inverse[b - p]
                if worth > bar:
                    bar = worth * _TIE
                    best_column = j
                    middle = last / 2.0 + value / 2.0
                    best_threshold = last if middle == value else middle
            left += residual[i]
            last = value
    return best_column, best_threshold


@njit(cache=True, nogil=True)
def _part(columns, order, spare, right, j, threshold, a, b, all_columns):
    """Move the rows of ``a:b`` that go right behind those that go left; return where they begin."""
    if j < 0:
        return b
    for p in range(a, b):
        i = order[0, p]
        right[i] = columns[j, i] > threshold
    middle = a
    for c in range(len(order) if all_columns else 1):
        rows = order[c]
        to_left, to_right = a, 0
        for p in range(a, b):
            i = rows[p]
            # Both places are written, one pointer moves: no branch to mispredict.
            rows[to_left] = i
            spare[to_right] = i
            to_left += 1 - right[i]
            to_right += right[i]
        for q in range(to_right):
            rows[to_left + q] = spare[q]
        middle = to_left
    return middle


@njit(cache=True, nogil=True)
def _settle(order, bounds, residual, leaf, rate):
    """Set the leaves to the shrunken means of their residuals and take them off."""
    for k in range(len(leaf)):
        a, b = bounds[k], bounds[k + 1]
        if a == b:
            continue
        total = 0.0
        for p in range(a, b):
            total += residual[order[0, p]]
        leaf[k] = rate * total / (b - a)
        for p in range(a, b):
            residual[order[0, p]] -= leaf[k]


@njit(cache=True, nogil=True)
def descend(rows, feature, cut, leaf):
    """Sum of the leaves that each row reaches, shape (n,)."""
    n_trees, inner = feature.shape
    total = np.zeros(len(rows))
    for i in range(len(rows)):
        for t in range(n_trees):
            k = 0
            while k < inner:
                j = feature[t, k]
                # A node without a cut sends its rows left, down to one leaf.
                goes_right = j >= 0 and rows[i, j] > cut[t, k]
                k = 2 * k + (2 if goes_right else 1)
            total[i] += leaf[t, k - inner]
    return total
