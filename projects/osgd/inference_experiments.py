"""What stages cost at inference, and OSGD on the nested widths of transformers."""

from __future__ import annotations

import functools
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from common.run import Run

INPUTS = "random images"
# A loop long enough that the meters around it do not matter.
LOOP_SECONDS = 0.04
Contender = Callable[[], Iterator[Any]]


def staircase(run: Run) -> None:
    """Seconds until each answer: stages one after the other, the last alone, and recomputation."""
    import torch

    run.synthetic(INPUTS, "one image of Gaussian noise; the time depends on its shape alone")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        networks = run.params["networks"]
        cells = [(name, engine) for name in networks for engine in networks[name]["runtimes"]]
        for name, engine in run.cells([*cells, ("accuracy", "")]):
            if engine:
                _time_network(run, name, engine)
            elif run.params["train"]:
                _accuracies(run)
    finally:
        torch.set_num_threads(threads)


def matryoshka(run: Run) -> None:
    """Error of every nested size, trained on the summed loss and by OSGD."""
    from projects.osgd.data import declare_digits, load_digits_split
    from projects.osgd.training import Recipe, errors, train

    params, dataset = run.params, declare_digits(run)
    best = functools.cache(functools.partial(_best_rate, params))
    cells = [(kind, m, seed) for kind in NESTED for m in params["methods"] for seed in run.seeds]
    for kind, method, seed in run.cells(cells):
        shape, make = NESTED[kind]
        split = _shaped(load_digits_split(seed), shape)
        recipe = Recipe(epochs=params["epochs"], lr=best(kind, method))
        found = errors(train(make, split, method, recipe, seed), split.test_x, split.test_y)
        for stage, error in enumerate(found):
            labels = {"dataset": dataset, "item": f"split {seed}", "seed": seed}
            run.observe({"error": error}, variant=method, network=kind, stage=stage + 1, **labels)
        run.observe({"error": found.mean()}, variant=method, network=kind, stage=0, **labels)


def _time_network(run: Run, name: str, engine: str) -> None:
    import torch

    params = run.params["networks"][name]
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        contenders = ENGINES[engine](params, Path(folder))
        loops = {variant: _loops(contender) for variant, contender in contenders.items()}
        for repeat in range(run.params["repeats"]):
            order = [*contenders]
            order = order[repeat % len(order) :] + order[: repeat % len(order)]
            for variant in order:
                labels = {
                    "variant": variant,
                    "dataset": INPUTS,
                    "item": f"{name}, {engine}, {repeat}",
                    "network": name,
                    "runtime": engine,
                }
                _time_loop(run, contenders[variant], loops[variant], labels)


def _time_loop(run: Run, contender: Contender, loops: int, labels: dict[str, Any]) -> None:
    answers: list[list[float]] = []
    with run.measure("loop", stage=0, **labels) as meters:
        for _ in range(loops):
            start = time.perf_counter()
            answers.append([time.perf_counter() - start for _ in contender()])
    seconds = next(r.value for r in meters.readings if r.quantity == "wall_time") / loops
    run.observe({"seconds": seconds}, unit="s", stage=0, **labels)
    for stage, until in enumerate(np.median(answers, axis=0)):
        run.observe({"seconds_until": until}, unit="s", stage=stage + 1, **labels)


def _loops(contender: Contender) -> int:
    for _ in range(3):
        start = time.perf_counter()
        list(contender())
        seconds = time.perf_counter() - start
    return max(1, round(LOOP_SECONDS / seconds))


def _networks(params: dict[str, Any]) -> tuple[Any, list[Any], tuple[int, ...]]:
    """Return the nested network, plain ones of each width, and the shape of a batch of one.

    A switch of a slimmable network is a plain network of that width.
    """
    from projects.osgd.width import WidthNestedCNN

    widths, strides = params["widths"], params["strides"]
    nested = WidthNestedCNN(widths=widths, strides=strides).eval()
    alone = [WidthNestedCNN(widths=(width,), strides=strides).eval() for width in widths]
    return nested, alone, (1, 3, params["pixels"], params["pixels"])


def _eager(params: dict[str, Any], folder: Path) -> dict[str, Contender]:
    import torch

    from projects.osgd.incremental import Incremental

    nested, alone, shape = _networks(params)
    x, staged = torch.randn(shape), Incremental(nested, shape)
    plain = [Incremental(model, shape) for model in alone]
    return {
        "all stages": lambda: staged.stages(x),
        "last, stripes": lambda: iter([staged.last(x)]),
        "last, dense": lambda: iter([plain[-1].last(x)]),
        "slimmable": lambda: (model.last(x) for model in plain),
    }


def _onnxruntime(params: dict[str, Any], folder: Path) -> dict[str, Contender]:
    from projects.osgd.export import export_together
    from projects.osgd.runtime import OnnxStages, session

    nested, alone, (_, *shape) = _networks(params)
    x = np.random.default_rng(0).standard_normal((1, *shape), np.float32)
    names = {"nested": nested, **{f"dense{model.widths[0]}": model for model in alone}}
    made = export_together(names, folder, shape)
    staged = OnnxStages(made["nested"].manifest)
    stripes, *plain = (session(graphs.last) for graphs in made.values())
    return {
        "all stages": lambda: staged.stages(x),
        "last, stripes": lambda: iter(stripes.run(None, {"x": x})),
        "last, dense": lambda: iter(plain[-1].run(None, {"x": x})),
        "slimmable": lambda: (found.run(None, {"x": x}) for found in plain),
    }


ENGINES = {"eager": _eager, "onnxruntime": _onnxruntime}


def _accuracies(run: Run) -> None:
    """Accuracy of each stage of the first network of the list, trained by OSGD."""
    from projects.osgd.data import load_images
    from projects.osgd.pretrained import candidates
    from projects.osgd.training import Recipe, errors

    name, params = next(iter(run.params["networks"].items()))
    split = load_images(run, train=run.params["train"])
    recipe = Recipe(epochs=run.params["epochs"], weight_decay=5e-4)
    options = {"widths": params["widths"], "strides": params["strides"], "alone": ()}
    (trained,) = candidates(split, recipe=recipe, **options)
    for stage, error in enumerate(errors(trained.model, split.test_x, split.test_y)):
        labels = {"variant": "all stages", "dataset": split.name, "network": name}
        run.observe({"accuracy": 1 - error}, item="test", stage=stage + 1, **labels)


def _embedding() -> Any:
    from torch import nn

    from projects.osgd.matryoshka import MatryoshkaHeads

    hidden = (nn.Linear(64, 64), nn.BatchNorm1d(64), nn.ReLU(), nn.Linear(64, 32))
    return MatryoshkaHeads(nn.Sequential(*hidden), sizes=(4, 8, 16, 32))


def _matformer() -> Any:
    from projects.osgd.matryoshka import MatFormer

    return MatFormer(8, sizes=(4, 8, 16, 32))


# Each network with the shape that it takes a digit in: a vector, or its eight rows as tokens.
NESTED: dict[str, tuple[tuple[int, ...], Callable[[], Any]]] = {
    "Matryoshka embedding": ((64,), _embedding),
    "MatFormer": ((8, 8), _matformer),
}


def _shaped(split: Any, shape: tuple[int, ...]) -> Any:
    from dataclasses import replace

    parts = ("train_x", "val_x", "test_x")
    return replace(split, **{part: getattr(split, part).reshape(-1, *shape) for part in parts})


def _best_rate(params: dict[str, Any], kind: str, method: str) -> float:
    """Learning rate of a method, chosen on the validation images of a seed that is not reported."""
    from projects.osgd.data import load_digits_split
    from projects.osgd.training import Recipe, errors, train, tuned

    shape, make = NESTED[kind]

    def learn(rate: float, seed: int) -> np.ndarray:
        split = _shaped(load_digits_split(seed), shape)
        model = train(make, split, method, Recipe(epochs=params["epochs"], lr=rate), seed)
        return errors(model, split.val_x, split.val_y)

    return tuned(learn, params["rates"], [int(params["seeds"])])[0]
