"""Contexts and their caches: real text for a language model, links for the streamer."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from projects.cachegen.link import Link, RatePerChunk
from projects.cachegen.retrieval import Prompt

if TYPE_CHECKING:
    from pathlib import Path

    from common.llm.corpus import Corpus
    from common.llm.loading import Model
    from common.llm.recall import Question
    from common.run import Run

TEXT, RECALL = "python-sources", "key-value-recall"
TRACES = "bandwidth-traces"
FAMILIES = {"3g": "cooked_3gp", "broadband": "fcc_ori", "puffer": "puffer_211017"}


@dataclass(frozen=True)
class Context:
    """A text that is cached, and how it goes on.

    Attributes
    ----------
    name : str
        Of the file, by its content.
    tokens, continuation : ndarray of int
        The cached part and the part that follows it.
    """

    name: str
    tokens: np.ndarray
    continuation: np.ndarray


def load_model(run: Run) -> Model:
    """Load the run's language model and declare what its caches are made from."""
    from common.llm import load

    model = load(run.language_model, device="cuda" if run.target == "gpu" else "cpu")
    run.substitute(
        TEXT,
        "caches of a language model on Python sources that it was not trained on",
        model=model.path.name,
        fingerprint=model.fingerprint,
    )
    return model


def text_contexts(
    run: Run, model: Model, split: str, count: int, tokens: int, continuation: int
) -> list[Context]:
    """Take one context from each of ``count`` files of a split.

    Parameters
    ----------
    run : Run
        Seeds the choice.
    model : Model
        Gives the tokenizer and the longest context.
    split : {"validation", "evaluation"}
        Profiles are fitted on the first, codecs judged on the second.
    count : int
        Contexts wanted; fewer if there are not enough files of that length.
    tokens, continuation : int
        Lengths; the context is cut shorter where the model cannot take both.
    """
    tokens = min(tokens, model.context - continuation)
    if tokens < 1:
        raise ValueError(f"the model takes {model.context} tokens, the continuation {continuation}")
    part = _sources().split(split)
    rng = run.rng("contexts", split)
    found: list[Context] = []
    for place in rng.permutation(len(part.files)):
        ids = np.asarray(model.encode(part.files[place].read_text("utf-8", errors="replace")))
        room = len(ids) - tokens - continuation
        if room < 0:
            continue
        begin = int(rng.integers(room + 1))
        middle, end = begin + tokens, begin + tokens + continuation
        name = part.digests[place][:8]
        found.append(Context(name, ids[begin:middle], ids[middle:end]))
        if len(found) == count:
            break
    if not found:
        raise ValueError(f"no file of the {split} split has {tokens + continuation} tokens")
    return found


@functools.cache
def _sources() -> Corpus:
    """The sources of this machine: seconds of reading, and an experiment wants two splits."""
    from common.llm.corpus import corpus

    return corpus()


def recall_questions(run: Run, model: Model, count: int, pairs: int) -> list[Question]:
    """Questions about lists of pairs; none, with the reason recorded, if the tokenizer cannot."""
    from common.errors import ConfigError
    from common.llm.recall import Recall

    try:
        task = Recall(model.tokenizer)
        made = task.questions(run.rng("questions"), count, pairs)
    except (ConfigError, AttributeError) as error:
        run.skip(RECALL, str(error))
        return []
    run.synthetic(RECALL, "lists of keys and values, one of the keys asked for")
    return made


def random_rates(
    rng: np.random.Generator, chunks: int, low: float = 0.1, high: float = 10.0
) -> RatePerChunk:
    """Draw a rate for each chunk from uniform(0.1, 10) Gbit/s, as the paper's artefact does."""
    return RatePerChunk(rng.uniform(low, high, chunks) * 1e9 / 8)


def load_traces(run: Run, per_family: int | None) -> dict[str, Link]:
    """Load traces of access links, each scaled later to the mean that an experiment wants.

    Parameters
    ----------
    run : Run
        Decides between real traces and stand-ins.
    per_family : int or None
        First traces of each family by name; all for None.

    Returns
    -------
    dict
        Links in bytes per second by ``<family>/<name>``.
    """
    dataset = run.dataset(TRACES)
    if dataset is None:
        return _walks(run, per_family or 20)
    links = {}
    for family, folder in FAMILIES.items():
        names = sorted(name for name in dataset.files if name.startswith(folder))
        for name in names[:per_family]:
            last = name.rpartition("/")[2]
            links[f"{family}/{last}"] = read_trace(dataset.files[name])
    return links


def read_trace(path: Path) -> Link:
    """Read a file of two columns: time [s] and throughput [Mbit/s].

    Raises
    ------
    ValueError
        If it is no such table, or a row has a negative or unknown rate; names file and row.
    """
    try:
        table = np.loadtxt(path, ndmin=2)
        return Link.from_trace(table[:, 0], table[:, 1])
    except (ValueError, IndexError) as error:
        raise ValueError(f"{path.name}: {error}") from error


def _walks(run: Run, count: int) -> dict[str, Link]:
    """Stand-ins: geometric random walks over 300 s, as variable as the families of traces."""
    run.synthetic(TRACES, "geometric random walks, coefficients of variation 0.35, 0.20, 0.82")
    links = {}
    for family, variation in zip(FAMILIES, (0.35, 0.20, 0.82), strict=True):
        spread = np.sqrt(np.log1p(variation**2))
        for number in range(count):
            rng = run.rng("walk", family, number)
            noise = rng.normal(size=300)
            level = np.empty(300)
            level[0] = noise[0]
            for t in range(1, 300):
                level[t] = 0.9 * level[t - 1] + np.sqrt(1 - 0.9**2) * noise[t]
            links[f"{family}/{number}"] = Link(np.ones(300), 1e6 / 8 * np.exp(spread * level))
    return links


def bytes_of_8b(bits: Any, tokens: np.ndarray, geometry: tuple[int, int, int]) -> np.ndarray:
    """Sizes of chunks of a large model at given bits per element.

    Parameters
    ----------
    bits : array, shape (levels,)
        Bits per element of each level.
    tokens : ndarray, shape (chunks,)
        Tokens of each chunk.
    geometry : tuple
        Layers, KV heads and head size.

    Returns
    -------
    ndarray, shape (chunks, levels)

    Examples
    --------
    >>> bytes_of_8b([16.0], np.array([1]), (32, 8, 128)).item()
    131072.0
    """
    elements = 2 * np.prod(geometry) * np.asarray(tokens, float)
    return elements[:, None] * np.asarray(bits, float)[None] / 8


def load_prompts(run: Run, file: str, count: int) -> list[Prompt]:
    """Load the first prompts of a LongEval file of line retrieval; a short stand-in without it.

    Raises
    ------
    ValueError
        If the file holds fewer.
    """
    import json

    dataset = run.dataset("longeval", files=[file])
    if dataset is None:
        return _made_prompts(run, count)
    lines = dataset.files[file].read_text("utf-8").splitlines()
    if len(lines) < count:
        raise ValueError(f"{file} holds {len(lines)} prompts; {count} were asked for")
    entries = [json.loads(line) for line in lines[:count]]
    return [
        Prompt(str(number), entry["prompt"], int(entry["expected_number"]))
        for number, entry in enumerate(entries)
    ]


def _made_prompts(run: Run, count: int, lines: int = 20) -> list[Prompt]:
    run.synthetic("longeval", "short lists of numbered lines")
    made = []
    for number in range(count):
        rng = run.rng("prompt", number)
        contents, asked = rng.integers(10000, 99999, lines), int(rng.integers(lines))
        text = "".join(f"line {i}: REGISTER_CONTENT is <{n}>\n" for i, n in enumerate(contents))
        text += f"\nThe <REGISTER_CONTENT> in line {asked} is <"
        made.append(Prompt(str(number), text, int(contents[asked])))
    return made
