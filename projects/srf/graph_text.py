"""The text format of the TU sets and of EXP, read without a loop over nodes or edges."""

from __future__ import annotations

import numpy as np
import torch

from projects.srf.graph_sets import GraphSet


def read_graphs(text: str, name: str) -> GraphSet:
    r"""Read the text format of the TU sets and of EXP.

    The first line is the number of graphs. A graph is a line ``n label`` and n lines ``tag degree
    neighbours [attributes]``. Tags become one-hot features; where there is one tag, a constant.

    Parameters
    ----------
    text : str
        Content of the file.
    name : str
        Name of the set.

    Raises
    ------
    ValueError
        If the file ends early, holds an unknown neighbour, or lines are left over; names the line.

    Examples
    --------
    >>> graphs = read_graphs("1\n2 0\n0 1 1\n1 1 0\n", "one edge")
    >>> graphs.edges.tolist(), graphs.x.tolist()
    ([[0, 1], [1, 0]], [[1.0, 0.0], [0.0, 1.0]])
    """
    numbers, begins = _numbers(text, name)
    headers, nodes = _headers(numbers, begins, name)
    inner = np.ones(len(begins) - 1, dtype=bool)
    inner[0] = inner[headers] = False
    lines = np.flatnonzero(inner)
    lengths, first = np.diff(begins)[lines], begins[lines]
    _check(lengths >= 2, lines, name, "a node takes a tag and a degree")
    degrees = numbers[first + 1].astype(np.int64)
    _check((degrees >= 0) & (lengths >= 2 + degrees), lines, name, "fewer neighbours than degree")
    width = lengths - 2 - degrees
    _check(width == width[:1], lines, name, "another number of attributes than the first node")
    targets = numbers[_spans(first + 2, degrees)]
    size = np.repeat(np.repeat(nodes, nodes), degrees)
    inside = (targets >= 0) & (targets < size) & (targets == np.floor(targets))
    _check(inside, np.repeat(lines, degrees), name, "a neighbour that the graph does not have")
    attributes = numbers[_spans(first + 2 + degrees, width)].reshape(len(lines), -1)
    tags, labels = numbers[first], numbers[begins[headers] + 1]
    return _assembled(name, nodes, labels, degrees, targets, tags, attributes)


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


def _numbers(text: str, name: str) -> tuple[np.ndarray, np.ndarray]:
    """All numbers of the file, and where each line begins among them (one more than lines)."""
    text = text.rstrip()
    characters = np.frombuffer(text.encode("ascii"), dtype=np.uint8)
    blank = characters <= ord(" ")
    starts = ~blank & np.concatenate([[True], blank[:-1]])
    line = np.cumsum(characters == ord("\n"))[starts]
    if not text:
        raise ValueError(f"{name}: line 1 is missing: the file is empty")
    try:
        numbers = np.array(text.split(), dtype=float)
    except ValueError:
        bad = next(place for place, word in enumerate(text.split()) if not _is_number(word))
        raise ValueError(
            f"{name}: line {line[bad] + 1} holds something else than numbers"
        ) from None
    _check(np.isfinite(numbers), line, name, "a number that is not finite")
    per_line = np.bincount(line)
    return numbers, np.concatenate([[0], np.cumsum(per_line)])


def _headers(numbers: np.ndarray, begins: np.ndarray, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Numbers of the lines ``n label``, and n of each."""
    count, lines = int(numbers[0]), len(begins) - 1
    at, headers, nodes = 1, [], []
    for _ in range(count):
        if at >= lines or begins[at + 1] - begins[at] < 2 or numbers[begins[at]] < 1:
            raise ValueError(
                f"{name}: line {at + 1} should begin graph {len(headers) + 1} of {count}: "
                "a number of nodes, at least 1, and a label"
            )
        headers.append(at)
        nodes.append(int(numbers[begins[at]]))
        at += 1 + nodes[-1]
    if at != lines or not count:
        raise ValueError(f"{name}: {lines} lines, but its {count} graphs take {at}")
    return np.array(headers), np.array(nodes)


def _check(good: np.ndarray, lines: np.ndarray, name: str, message: str) -> None:
    if not good.all():
        raise ValueError(f"{name}: line {lines[np.argmin(good)] + 1}: {message}")


def _spans(first: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Places first, first + 1, ... of every span, one span after the other."""
    before = np.cumsum(lengths) - lengths
    return np.arange(lengths.sum()) + np.repeat(first - before, lengths)


def _assembled(
    name: str,
    nodes: np.ndarray,
    labels: np.ndarray,
    degrees: np.ndarray,
    targets: np.ndarray,
    tags: np.ndarray,
    attributes: np.ndarray,
) -> GraphSet:
    within = _spans(np.zeros_like(nodes), nodes)
    edges = np.stack([np.repeat(within, degrees), targets.astype(np.int64)])
    edge_counts = np.add.reduceat(degrees, np.cumsum(nodes) - nodes)
    _, tag = np.unique(tags, return_inverse=True)
    x = torch.nn.functional.one_hot(torch.from_numpy(tag)).float()
    _, y = np.unique(labels, return_inverse=True)
    counts, edge_counts, edges, y = map(torch.from_numpy, (nodes, edge_counts, edges, y))
    x = torch.cat([x, torch.from_numpy(attributes).float()], dim=1)
    return GraphSet(name, x, edges, counts, edge_counts, y)
