"""The experiments of the paper: what orthogonalisation guarantees, and what it does to errors."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from torch import nn

    from common.run import Run
    from projects.osgd.data import Split
    from projects.osgd.training import Recipe

# Learning rates are chosen with seeds that no reported number uses.
FIRST_TUNING_SEED = 1000


def properties(run: Run) -> None:
    """Largest deviation from what follows from the definition, over random gradients."""
    from projects.osgd.properties import deviations

    run.synthetic("random-gradients", "normal gradients with a part in common")
    for seed in run.cells(list(run.seeds)):
        for name, value in deviations(run.rng("properties", seed)).items():
            where = {"dataset": "random-gradients", "item": f"{name}, draw {seed}", "seed": seed}
            run.observe({"deviation": value}, variant="osgd", property=name, **where)


def quadratic(run: Run) -> None:
    """Distance to the known constrained minimiser of two quadratic losses."""
    from projects.osgd.quadratic import QuadraticTasks, descend

    params, name = run.params, "quadratics"
    run.synthetic(name, "two quadratic losses with curvatures between 0.5 and 1")
    for rank, method in run.cells([(r, m) for r in params["ranks"] for m in params["methods"]]):
        problems = [
            QuadraticTasks.random(run.rng("quadratic", rank, seed), params["size"], rank)
            for seed in run.seeds
        ]
        ends = descend(problems, method, params["steps"])
        for seed, problem, w in zip(run.seeds, problems, ends, strict=True):
            goal = problem.constrained_minimiser()
            start = problem.losses(np.zeros(params["size"]))[0]
            numbers = {
                "first_loss_share": problem.losses(w)[0] / start,
                "distance_share": np.linalg.norm(w - goal) / np.linalg.norm(goal),
            }
            item = f"rank {rank}, draw {seed}"
            run.observe(numbers, variant=method, dataset=name, item=item, seed=seed, rank=rank)


def digits(run: Run) -> None:
    """Error of every stage of a width-nested perceptron, by method."""
    from projects.osgd.data import declare_digits, load_digits_split
    from projects.osgd.training import Recipe

    params, name = run.params, declare_digits(run)
    recipe = Recipe(epochs=params["epochs"], batch=params["batch"])
    for method in run.cells(params["methods"]):

        def model(method: str = method) -> nn.Module:
            return _perceptron(params["widths"], method)

        def split(seed: int) -> Split:
            return load_digits_split(seed, params["train"], params["val"])

        _compare(run, method, model, split, recipe, name)


def cifar(run: Run) -> None:
    """Error of every stage of convolutional networks, by topology and method."""
    from projects.osgd.architectures import ARCHITECTURES
    from projects.osgd.data import load_images
    from projects.osgd.training import Recipe
    from projects.osgd.width import WidthNestedCNN

    params = run.params
    sizes = {part: params[part] for part in ("train", "val", "test")}
    split = _shrunk(load_images(run, params["source"], **sizes), params["shrink"])
    recipe = Recipe(
        epochs=params["epochs"],
        batch=params["batch"],
        augment=True,
        device="cuda" if run.target == "gpu" else "cpu",
        bfloat16=run.target == "gpu",
    )
    cells = [(name, method) for name, found in params["methods"].items() for method in found]
    for topology, method in run.cells(cells):
        make = ARCHITECTURES[topology]
        costs = make().stage_costs(split.train_x.shape[1:])
        if method == "stand-alone":
            widths = make().widths

            def make(widths: tuple[int, ...] = widths) -> nn.Module:
                return _alone([WidthNestedCNN(3, (width,)) for width in widths])

        columns = {"topology": topology, "macs": [cost.cumulative_macs for cost in costs]}
        _compare(run, method, make, lambda seed: split, recipe, split.name, **columns)


def cosines(run: Run) -> None:
    """Cosines of the stages' gradients over training."""
    from projects.osgd.data import declare_digits

    params, name = run.params, declare_digits(run)
    for method, seed in run.cells([(m, seed) for m in params["methods"] for seed in run.seeds]):
        for epoch, found in _cosines(params, method, seed):
            for first, second in zip(*np.triu_indices(len(found), 1), strict=True):
                pair = {"first": int(first) + 1, "second": int(second) + 1, "epoch": epoch}
                labels = {"dataset": name, "item": f"seed {seed}", "seed": seed, **pair}
                run.observe({"cosine": found[first, second]}, variant=method, **labels)


# -- parts ---------------------------------------------------------------------------------


def _compare(
    run: Run,
    method: str,
    make: Any,
    split_of: Any,
    recipe: Recipe,
    dataset: str,
    macs: list[int] | None = None,
    **columns: Any,
) -> None:
    """Tune a method's learning rate on validation errors, then report its test errors."""
    from projects.osgd.training import errors, tuned

    short = replace(recipe, epochs=run.params["tuning_epochs"])
    pairs = [
        (rate, FIRST_TUNING_SEED + number)
        for rate in run.params["rates"]
        for number in range(run.params["tuning_seeds"])
    ]
    judged = {
        pair: errors(model, split_of(pair[1]).val_x, split_of(pair[1]).val_y)
        for pair, model in _trained(method, make, split_of, short, pairs)
    }
    tuning_seeds = list(dict.fromkeys(seed for _, seed in pairs))
    best, means = tuned(lambda *pair: judged[pair], run.params["rates"], tuning_seeds)
    labels = {"variant": method, "dataset": dataset, "unit": "%", **columns}
    for rate, mean in means.items():
        run.observe({"validation_error": 100 * mean}, item="tuning", rate=rate, **labels)
    pairs = [(best, seed) for seed in run.seeds]
    for (_, seed), model in _trained(method, make, split_of, recipe, pairs):
        split = split_of(seed)
        found = errors(model, split.test_x, split.test_y)
        for stage, error in enumerate(found):
            cost = {"macs": macs[stage]} if macs else {}
            where = {"item": f"seed {seed}", "seed": seed, "stage": stage + 1, "rate": best}
            run.observe({"error": 100 * error}, **labels, **where, **cost)


def _trained(
    method: str, make: Any, split_of: Any, recipe: Recipe, pairs: list[tuple[float, int]]
) -> Iterator[tuple[tuple[float, int], nn.Module]]:
    """Networks of pairs of learning rate and seed; small ones side by side where that is exact."""
    from projects.osgd.stacked import stackable, train_together
    from projects.osgd.training import train

    if stackable(method, make()):
        rates, seeds = zip(*pairs, strict=True)
        splits = [split_of(seed) for seed in seeds]
        yield from zip(
            pairs, train_together(make, splits, method, recipe, rates, seeds), strict=True
        )
    else:
        for rate, seed in pairs:
            model = train(make, split_of(seed), method, replace(recipe, lr=rate), seed)
            yield (rate, seed), model


def _cosines(params: dict[str, Any], method: str, seed: int) -> list[tuple[int, np.ndarray]]:
    """Cosine matrix at the start of every few epochs of one training, and at its end."""
    from projects.osgd.data import load_digits_split
    from projects.osgd.training import Recipe, fit, gradient_cosines, seeded
    from projects.osgd.width import WidthNestedMLP

    split, found = load_digits_split(seed), []
    model = seeded(lambda: WidthNestedMLP(64, params["widths"], negative_slope=0.01), seed)

    def note(epoch: int) -> None:
        if epoch % params["every"] == 0:
            found.append((epoch, gradient_cosines(model, split.train_x, split.train_y)))

    recipe = Recipe(epochs=params["epochs"], batch=params["batch"], lr=params["lr"])
    fit(model, split, method, recipe, seed, on_epoch=note)
    return found


def _perceptron(widths: list[int], method: str) -> nn.Module:
    """Masked dense layers are the fastest on vectors; greedy training needs the stripes apart."""
    from projects.osgd.masked import MaskedWidthNested
    from projects.osgd.width import WidthNestedMLP

    def striped(widths: list[int]) -> WidthNestedMLP:
        return WidthNestedMLP(64, widths, negative_slope=0.01)

    if method == "stand-alone":
        return _alone([MaskedWidthNested(striped([width])) for width in widths])
    return striped(widths) if method == "greedy" else MaskedWidthNested(striped(widths))


def _alone(models: list[nn.Module]) -> nn.Module:
    from projects.osgd.training import Alone

    return Alone(models)


def _shrunk(split: Split, factor: int) -> Split:
    """Images averaged over squares of ``factor`` pixels."""

    def shrink(x: np.ndarray) -> np.ndarray:
        n, c, height, width = x.shape
        blocks = x.reshape(n, c, height // factor, factor, width // factor, factor)
        return np.ascontiguousarray(blocks.mean((3, 5)))

    parts = {name: shrink(getattr(split, name)) for name in ("train_x", "val_x", "test_x")}
    return split if factor == 1 else replace(split, **parts)
