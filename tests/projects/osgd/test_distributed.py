"""Two processes: every task's gradient is averaged over ranks before it is projected."""

import multiprocessing

import pytest
import torch
from torch import distributed
from torch.nn import functional as F
from torch.nn.parallel import DistributedDataParallel

from projects.osgd.optimizer import OSGD
from projects.osgd.width import WidthNestedMLP


def network():
    return WidthNestedMLP(6, widths=(4, 8), depth=1, num_classes=3, norm="none")


def take_steps(model, run, x, y):
    optimizer = OSGD(torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9), 2)
    for _ in range(3):
        optimizer.zero_grad()
        optimizer.step([F.cross_entropy(logits, y) for logits in run(x)])


def be_rank(rank, folder):
    """Train on every other input, with the other rank."""
    method = f"file://{folder}/rendezvous"
    distributed.init_process_group("gloo", init_method=method, rank=rank, world_size=2)
    data = torch.load(folder / "data.pt", weights_only=True)
    for name in ("plain", "wrapped"):
        model = network()
        model.load_state_dict(data["model"])
        run = DistributedDataParallel(model) if name == "wrapped" else model
        take_steps(model, run, data["x"][rank::2], data["y"][rank::2])
        torch.save(model.state_dict(), folder / f"{name}-{rank}.pt")
    distributed.destroy_process_group()


@pytest.mark.skipif(not torch.distributed.is_available(), reason="torch without distributed")
def test_two_ranks_take_the_step_of_the_whole_batch(tmp_path):
    """Projecting on each rank first would give another step: each sees another half."""
    torch.manual_seed(0)
    model = network()
    x, y = torch.randn(32, 6), torch.randint(3, (32,))
    torch.save({"model": model.state_dict(), "x": x, "y": y}, tmp_path / "data.pt")
    # Forks: a new Python would take ten seconds to import what this one has.
    fork = multiprocessing.get_context("fork")
    ranks = [fork.Process(target=be_rank, args=(n, tmp_path), daemon=True) for n in (0, 1)]
    for rank in ranks:
        rank.start()
    for rank in ranks:
        rank.join(timeout=120)
    assert [rank.exitcode for rank in ranks] == [0, 0]
    take_steps(model, model, x, y)
    for file in ("plain-0", "plain-1", "wrapped-0", "wrapped-1"):
        found = torch.load(tmp_path / f"{file}.pt", weights_only=True)
        for name, value in model.state_dict().items():
            torch.testing.assert_close(found[name], value, rtol=1e-4, atol=1e-6)


def test_own_average():
    w = torch.nn.Parameter(torch.zeros(2))
    seen = []

    def average(matrices):
        for matrix in matrices:
            seen.append(matrix.shape)
            matrix /= 2

    optimizer = OSGD(torch.optim.SGD([w], lr=1.0), 2, average=average)
    optimizer.step([w[0], w[1]])
    assert seen == [(2, 2)]
    assert w.tolist() == [-0.5, -0.5]
