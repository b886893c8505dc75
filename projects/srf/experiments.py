"""The experiments of the paper, each with the control that shows what its result rests on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from common.run import Run
    from projects.srf.graph_sets import GraphSet


def csl(run: Run) -> None:
    """Circular skip links with nodes stored along the cycle, and in random order."""
    from projects.srf.csl import csl_graphs
    from projects.srf.training import folds

    graphs = csl_graphs(copies=run.params["copies"])
    for seed in run.seeds:
        splits = folds(graphs.y, run.params["folds"], seed)
        _order_study(run, graphs, splits[: run.params["used_folds"]], seed, data="original")


def exp(run: Run) -> None:
    """EXP, pairs kept in one fold, nodes in file order and in random order."""
    from projects.srf.data import load_exp
    from projects.srf.training import pair_folds

    graphs = load_exp(run, run.params["graphs"])
    for seed in run.seeds:
        splits = pair_folds(run.params["folds"], len(graphs) // 2, seed)
        _order_study(run, graphs, splits[: run.params["used_folds"]], seed)


def tree(run: Run) -> None:
    """Tree-NeighborsMatch: accuracy against the depth of the tree."""
    from projects.srf.baselines import with_virtual_node
    from projects.srf.training import folds
    from projects.srf.tree import in_order, tree_graphs

    params = run.params
    cells = [
        (depth, order, variant, seed)
        for depth in params["depths"]
        for order in params["orders"]
        for variant in params["variants"]
        for seed in run.seeds
    ]
    for depth, order, variant, seed in run.cells(cells):
        graphs = in_order(tree_graphs(depth, most=params["graphs"]), order, seed)
        # The root is no longer the first node of a permuted graph: pool over all nodes then.
        options = {"readout": "root" if order == "canonical" else "add"}
        injected = variant
        if variant == "virtual-node":
            graphs, injected = with_virtual_node(graphs), "plain"
        elif variant == "fully-adjacent":
            options["fully_adjacent"], injected = True, "plain"
        split = folds(graphs.y, 5, seed)[0]
        history = _fit(
            run,
            graphs,
            injected,
            split,
            seed,
            epochs=params["epochs"][str(depth)],
            hidden=params["hidden"],
            layers=depth + 1,
            outputs=graphs.classes,
            categories=2**depth + 1,
            **options,
        )
        run.observe(
            {"accuracy": history.selected(), "train_accuracy": max(history.train)},
            variant=variant,
            dataset="Tree-NeighborsMatch",
            item=f"seed {seed}",
            seed=seed,
            data="original",
            depth=depth,
            order=order,
        )


def oversmoothing(run: Run) -> None:
    """Dirichlet energy over the layers of a deep, untrained GCN."""
    from projects.srf.data import random_graph
    from projects.srf.oversmoothing import energies
    from projects.srf.transform import AddSketchedFeatures

    params = run.params
    settings = [("plain", 0), *((kernel, k) for kernel in params["kernels"] for k in params["k"])]
    for seed, kernel, k in run.cells([(s, *setting) for s in run.seeds for setting in settings]):
        data = random_graph(params["nodes"], params["probability"], 32, seed)
        z = None
        if k:
            # Equation of the paper: the order multiplies the width.
            width = params["width"] * k
            z = AddSketchedFeatures(width, k, kernel=kernel, seed=seed)(data).srf
        options = {"layers": params["layers"], "hidden": params["hidden"], "seed": seed}
        values = energies(data.x, data.edge_index, z=z, **options)
        labels = {
            "variant": "plain" if not k else f"srf {kernel}",
            "dataset": "Erdos-Renyi",
            "item": f"graph {seed}",
            "seed": seed,
            "data": "original",
            "k": k,
        }
        for layer, value in enumerate(values):
            run.observe({"energy": value}, layer=layer, **labels)
        late = values[params["layers"] * 3 // 10]
        run.observe({"energy_kept": late / values[0], "final_energy": values[-1]}, **labels)
        half = values[len(values) // 2]
        run.observe({"plateau": values[-1] / half if half > 0 else 0.0}, **labels)


def graph_classification(run: Run) -> None:
    """TU sets with the epoch chosen on validation graphs, and on the test curve as released."""
    from projects.srf.data import load_tu
    from projects.srf.training import folds, released_selection

    params = run.params
    cells = [
        (entry["name"], variant, seed)
        for entry in params["sets"]
        for variant in params["variants"]
        for seed in run.seeds
    ]
    entries, loaded = {entry["name"]: entry for entry in params["sets"]}, {}
    for name, variant, seed in run.cells(cells):
        entry = entries[name]
        if name not in loaded:
            size = {"most": entry.get("most"), "largest": entry.get("largest")}
            loaded[name] = load_tu(run, name, **size)
        graphs = loaded[name]
        splits = folds(graphs.y, 10, seed)[: entry["folds"]]
        kind = "gps" if variant == "gps" else "gin"
        histories = [
            _fit(
                run,
                graphs,
                "plain" if kind == "gps" else variant,
                split,
                seed,
                epochs=entry["epochs"],
                hidden=params["hidden"],
                layers=params["layers"],
                outputs=graphs.classes,
                kind=kind,
                readout="add",
                batch_size=32,
            )
            for split in splits
        ]
        released = released_selection(histories)
        for number, (history, seen) in enumerate(zip(histories, released, strict=True)):
            accuracies = {"nested": history.selected(), "released": seen}
            for protocol, value in accuracies.items():
                run.observe(
                    {"accuracy": value},
                    variant=variant,
                    dataset=graphs.name,
                    item=f"fold {number}",
                    seed=seed,
                    protocol=protocol,
                )


def heterophily(run: Run) -> None:
    """Node classification where neighbours differ; one graph, ten fixed splits."""
    import torch

    from projects.srf.features import injection
    from projects.srf.heterophily import fit_nodes, read_node_task
    from projects.srf.models import LayeredNetwork

    params = run.params
    cells = [
        (name, variant, split)
        for name in params["sets"]
        for variant in params["variants"]
        for split in range(params["splits"])
    ]
    for name, variant, split in run.cells(cells):
        found = run.dataset("heterophily", files=[f"{name}.npz"], alias=name)
        if found is None:
            run.skip(f"{variant} on {name}", "the set is not available and has no stand-in")
            continue
        task = read_node_task(found.files[f"{name}.npz"])
        z = injection(_as_set(task), variant, width=params["width"], kernel=params["kernel"])
        torch.manual_seed(split)
        network = LayeredNetwork(
            task.x.shape[1],
            params["hidden"],
            params["layers"],
            int(task.y.max()) + 1,
            z_width=z.width,
            kind=params["kind"],
            readout=None,
        )
        options = {"epochs": params["epochs"], "seed": split, "device": _device(run)}
        value = fit_nodes(network, task, split, z=z.draw(0), **options)
        run.observe({"score": value}, variant=variant, dataset=name, item=f"split {split}")


def peptides(run: Run) -> None:
    """Peptides: functional classes, and exact distances in the graph as long-range targets."""
    import torch

    from projects.srf.features import injection
    from projects.srf.models import LayeredNetwork
    from projects.srf.molecules import fit_peptides, read_peptides

    params = run.params
    found = run.dataset("peptides-func", label="substitute")
    if found is None:
        run.skip("all", "peptides-func has to be downloaded by every user")
        return
    table, split = (found.files[name] for name in params["files"])
    molecules = read_peptides(table, split, params["molecules"])
    outputs = {"function": molecules.labels.shape[1], "distance": molecules.distances.shape[1]}
    cells = [(task, v, seed) for task in outputs for v in params["variants"] for seed in run.seeds]
    for task, variant, seed in run.cells(cells):
        injected = injection(molecules.graphs, variant, width=params["width"], kernel="rbf")
        torch.manual_seed(seed)
        network = LayeredNetwork(
            molecules.graphs.x.shape[1],
            params["hidden"],
            params["layers"],
            outputs[task],
            z_width=injected.width,
        )
        options = {"epochs": params["epochs"], "seed": seed, "device": _device(run)}
        value = fit_peptides(network, molecules, task, injected, **options)
        run.observe(
            {"score": value},
            variant=variant,
            dataset="peptides-func",
            item=f"seed {seed}",
            seed=seed,
            task=task,
        )


def cost(run: Run) -> None:
    """Time and memory of the transforms against the number of nodes."""
    import torch

    from projects.srf.baselines import RandomSamplePearl
    from projects.srf.bench import peers, sparse_graph, transforms

    run.synthetic("generated-graphs", "Barabasi-Albert and random sparse graphs, 3 edges a node")
    encode = {**transforms(), **peers()}
    names = [*encode, "PEARL"]
    largest = run.params["largest"]
    cells = [(n, name) for n in run.params["nodes"] for name in names if n <= largest[name]]
    for nodes, name in run.cells(cells):
        data = sparse_graph(nodes)
        pearl = RandomSamplePearl(samples=run.params["pearl_samples"])

        def work(data: Any = data, name: str = name, pearl: Any = pearl) -> None:
            if name == "PEARL":
                with torch.no_grad():
                    pearl(data.edge_index, data.num_nodes)
            else:
                encode[name](data)

        work()
        for seed in run.seeds:
            labels = {"dataset": "generated-graphs", "item": f"{nodes} nodes", "seed": seed}
            with run.measure("encode", variant=name, nodes=nodes, **labels):
                work()


# -- parts ---------------------------------------------------------------------------------


def _order_study(run: Run, graphs: GraphSet, splits: list[Any], seed: int, **label: Any) -> None:
    """Accuracy of every variant with nodes in the order of the set, and in a random one."""
    from projects.srf.tree import in_order

    params = run.params
    cells = [
        (seed, order, number, variant["name"], variant.get("k", 8))
        for order in params["orders"]
        for number in range(len(splits))
        for variant in params["variants"]
    ]
    for _, order, number, variant, k in run.cells(cells):
        ordered = in_order(graphs, order, 1000 + seed)
        history = _fit(
            run,
            ordered,
            variant,
            splits[number],
            seed,
            epochs=params["epochs"],
            hidden=params["hidden"],
            layers=params["layers"],
            outputs=graphs.classes,
            sketches=k,
        )
        run.observe(
            {"accuracy": history.selected(), "train_accuracy": max(history.train)},
            variant=variant,
            dataset=graphs.name,
            item=f"seed {seed}, fold {number}",
            seed=seed,
            order=order,
            k=0 if variant == "plain" else k,
            **label,
        )


def _fit(
    run: Run,
    graphs: GraphSet,
    variant: str,
    split: Any,
    seed: int,
    *,
    epochs: int,
    hidden: int,
    layers: int,
    outputs: int,
    sketches: int | None = None,
    batch_size: int | None = None,
    **options: Any,
) -> Any:
    """Train one network with what a variant injects."""
    import torch

    from projects.srf.features import injection
    from projects.srf.models import LayeredNetwork
    from projects.srf.training import train

    params = run.params
    k = sketches or params["sketches"]
    injected = injection(
        graphs, variant, width=params["width"], sketches=k, kernel=params["kernel"], seed=442 + seed
    )
    torch.manual_seed(seed)
    inputs, z_width = graphs.x.shape[1], injected.width
    network = LayeredNetwork(inputs, hidden, layers, outputs, z_width=z_width, **options)
    return train(
        network,
        graphs,
        injected,
        split,
        epochs=epochs,
        batch_size=batch_size or params["batch_size"],
        seed=seed,
        device=_device(run),
    )


def _device(run: Run) -> str:
    return "cuda" if run.target == "gpu" else "cpu"


def _as_set(task: Any) -> GraphSet:
    """One large graph as a set of one."""
    import torch

    from projects.srf.graph_sets import GraphSet

    edges = torch.tensor([task.edge_index.shape[1]])
    one = torch.tensor([len(task.x)])
    return GraphSet(task.name, task.x, task.edge_index, one, edges, torch.zeros(1).long())
