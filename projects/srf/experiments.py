"""The experiments of the paper, each with the control that shows what its result rests on."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from projects.srf.variants import LARGEST_ATTENTION, ORDERS, Variant, device, fit

if TYPE_CHECKING:
    from common.run import Run
    from projects.srf.graph_sets import GraphSet
    from projects.srf.training import Split


def csl(run: Run) -> None:
    """Circular skip links with nodes stored along the cycle, and in random order."""
    from projects.srf.csl import csl_graphs
    from projects.srf.training import folds

    graphs = csl_graphs(copies=run.params["copies"])
    splits = {
        (seed, "stratified", number): split
        for seed in run.seeds
        for number, split in enumerate(folds(graphs.y, run.params["folds"], seed))
        if number < run.params["used_folds"]
    }
    # The set is defined by its construction: this is the paper's data, not a stand-in for it.
    _order_study(run, graphs, splits, data="original")


def exp(run: Run) -> None:
    """EXP with nodes in file order and in random order; the two graphs of a pair in one fold."""
    from projects.srf.data import load_exp
    from projects.srf.training import folds, pair_folds

    graphs, count = load_exp(run, run.params["graphs"]), run.params["folds"]
    rules = {
        "together": lambda seed: pair_folds(count, len(graphs) // 2, seed),
        "random": lambda seed: folds(graphs.y, count, seed),
    }
    splits = {
        (seed, rule, number): split
        for seed in run.seeds
        for rule in run.params["pairs"]
        for number, split in enumerate(rules[rule](seed))
        if number < run.params["used_folds"]
    }
    _order_study(run, graphs, splits)


def tree(run: Run) -> None:
    """Tree-NeighborsMatch: accuracy against the depth of the tree, at equal epochs."""
    from projects.srf.training import folds
    from projects.srf.tree import in_order, tree_graphs

    params = run.params
    variants = {variant.label: variant for variant in map(Variant.of, params["variants"])}
    cells = [
        (depth, order, label, seed)
        for depth in params["depths"]
        for order in params["orders"]
        for label, variant in variants.items()
        for seed in run.seeds
        if order in variant.orders
    ]
    for depth, order, label, seed in run.cells(cells):
        # The root is read out by its place: it stays the first node in either order.
        graphs = in_order(tree_graphs(depth, most=params["graphs"]), order, seed, keep_first=True)
        history = fit(
            run,
            graphs,
            variants[label],
            folds(graphs.y, 5, seed)[0],
            seed,
            epochs=params["epochs"][str(depth)],
            layers=depth + 1,
            categories=2**depth + 1,
            readout="root",
        )
        run.observe(
            {"accuracy": history.selected(), "train_accuracy": max(history.train)},
            variant=label,
            dataset="Tree-NeighborsMatch",
            item=f"seed {seed}",
            seed=seed,
            # The task is defined by its generator: this is the paper's data.
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
    run.synthetic("Erdos-Renyi", "seeded random graphs with normal features, as in the paper")
    settings = [("plain", 0), *((kernel, k) for kernel in params["kernels"] for k in params["k"])]
    for seed, kernel, k in run.cells([(s, *setting) for s in run.seeds for setting in settings]):
        data = random_graph(params["nodes"], params["probability"], params["width"], seed)
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
    from projects.srf.training import released_selection

    _skip_absent(run)
    entries = {entry["name"]: entry for entry in run.params["sets"]}
    variants = {variant.label: variant for variant in map(Variant.of, run.params["variants"])}
    loaded: dict[str, GraphSet] = {}
    cells = [(name, label, seed) for name in entries for label in variants for seed in run.seeds]
    for name, label, seed in run.cells(cells):
        entry, variant = entries[name], variants[label]
        if name not in loaded:
            loaded[name] = load_tu(run, name, most=entry.get("most"), largest=entry.get("largest"))
        graphs = loaded[name]
        if variant.name == "gps" and int(graphs.nodes.max()) > LARGEST_ATTENTION:
            run.skip(f"{label} on {name}", f"attention over more than {LARGEST_ATTENTION} nodes")
            continue
        histories = [
            fit(run, graphs, variant, split, seed, epochs=entry["epochs"], readout="add")
            for split in _set_folds(run, entry, graphs, seed)
        ]
        released = released_selection(histories)
        for number, (history, seen) in enumerate(zip(histories, released, strict=True)):
            for protocol, value in (("nested", history.selected()), ("released", seen)):
                run.observe(
                    {"accuracy": value},
                    variant=label,
                    dataset=graphs.name,
                    item=f"fold {number}",
                    seed=seed,
                    protocol=protocol,
                )


def heterophily(run: Run) -> None:
    """Node classification where neighbours differ; one graph, fixed splits."""
    import torch

    from projects.srf.data import load_node_task
    from projects.srf.features import injection
    from projects.srf.heterophily import fit_nodes
    from projects.srf.models import LayeredNetwork

    params = run.params
    cells = [
        (name, variant, split)
        for name in params["sets"]
        for variant in params["variants"]
        for split in range(params["splits"])
    ]
    for name, variant, split in run.cells(cells):
        task = load_node_task(run, name)
        settings = {"width": params["width"], "kernel": params["kernel"], "seed": 442 + split}
        z = injection(_as_set(task), variant, **settings)
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
        options = {"epochs": params["epochs"], "seed": split, "device": device(run)}
        value = fit_nodes(network, task, split, z=z.draw(0), **options)
        labels = {"variant": variant, "dataset": task.name, "set": name}
        run.observe({"score": value}, item=f"split {split}", **labels)


def peptides(run: Run) -> None:
    """Peptides: functional classes, and exact distances in the graph as long-range targets."""
    import torch

    from projects.srf.data import load_peptides
    from projects.srf.features import injection
    from projects.srf.molecules import fit_peptides, molecule_network

    _skip_absent(run)
    params = run.params
    name, molecules = load_peptides(run, params["molecules"])
    outputs = {"function": molecules.labels.shape[1], "distance": molecules.distances.shape[1]}
    cells = [(task, v, seed) for task in outputs for v in params["variants"] for seed in run.seeds]
    for task, variant, seed in run.cells(cells):
        settings = {"width": params["width"], "kernel": params["kernel"], "seed": 442 + seed}
        injected = injection(molecules.graphs, variant, one_hot=True, **settings)
        torch.manual_seed(seed)
        network = molecule_network(
            molecules, params["hidden"], params["layers"], outputs[task], injected.width
        )
        options = {"epochs": params["epochs"], "seed": seed, "device": device(run)}
        value = fit_peptides(network, molecules, task, injected, **options)
        run.observe(
            {"score": value},
            variant=variant,
            dataset=name,
            item=f"seed {seed}",
            seed=seed,
            task=task,
        )


def cost(run: Run) -> None:
    """Time and memory of the transforms against the number of nodes."""
    from projects.srf.baselines import RandomSamplePearl
    from projects.srf.bench import peers, sparse_graph, transforms
    from projects.srf.tensor_memory import peak_tensor_bytes

    params, where = run.params, device(run)
    run.synthetic("generated-graphs", "Barabasi-Albert and random sparse graphs, 3 edges a node")
    encode = {name: transform.__call__ for name, transform in {**transforms(), **peers()}.items()}
    pearl = RandomSamplePearl(params["pearl_samples"]).to(where).requires_grad_(False)
    encode["PEARL"] = lambda data: pearl(data.edge_index, data.num_nodes)
    cells = [(n, name) for n in params["nodes"] for name in encode if n <= params["largest"][name]]
    data = None
    for nodes, name in run.cells(cells):
        if data is None or data.num_nodes != nodes:
            data = sparse_graph(nodes)
        # The encodings of PyG compute on the host.
        work = partial(encode[name], data.clone().to("cpu" if name in peers() else where))
        labels = {"variant": name, "dataset": "generated-graphs", "item": f"{nodes} nodes"}
        if name not in peers():  # it sees neither their sparse matrices nor SciPy's arrays
            tensors = {"tensor_memory": peak_tensor_bytes(work) / 2**20}
            run.observe(tensors, unit="MiB", meter="live tensors", nodes=nodes, **labels)
        work()
        for seed in run.seeds:
            with run.measure("encode", seed=seed, nodes=nodes, **labels):
                work()


# -- parts ---------------------------------------------------------------------------------


def _order_study(run: Run, graphs: GraphSet, splits: dict[Any, Split], **label: Any) -> None:
    """Accuracy of every variant with nodes in the order of the set, and in a random one."""
    from projects.srf.tree import in_order

    params = run.params
    variants = {variant.label: variant for variant in map(Variant.of, params["variants"])}
    cells = [
        (*key, order, name)
        for key in splits
        for order in ORDERS
        for name, variant in variants.items()
        if order in variant.orders
    ]
    for seed, rule, number, order, name in run.cells(cells):
        history = fit(
            run,
            in_order(graphs, order, 1000 + seed),
            variants[name],
            splits[seed, rule, number],
            seed,
            epochs=params["epochs"],
        )
        run.observe(
            {"accuracy": history.selected(), "train_accuracy": max(history.train)},
            variant=name,
            dataset=graphs.name,
            item=f"seed {seed}, fold {number}",
            seed=seed,
            order=order,
            folds=rule,
            **label,
        )


def _set_folds(run: Run, entry: dict[str, Any], graphs: GraphSet, seed: int) -> list[Split]:
    """Ten stratified folds, or the published ones where the entry asks for them; the first few."""
    from projects.srf.data import load_reddit_folds
    from projects.srf.training import folds

    published = load_reddit_folds(run, graphs) if entry.get("published") else None
    return (published or folds(graphs.y, 10, seed))[: entry["folds"]]


def _skip_absent(run: Run) -> None:
    """Say of the paper's sets that cannot be had here why their claims stay untested."""
    for name, reason in run.params["absent"].items():
        run.skip(name, reason)


def _as_set(task: Any) -> GraphSet:
    """One large graph as a set of one."""
    import torch

    from projects.srf.graph_sets import GraphSet

    edges = torch.tensor([task.edge_index.shape[1]])
    one = torch.tensor([len(task.x)])
    return GraphSet(task.name, task.x, task.edge_index, one, edges, torch.zeros(1).long())
