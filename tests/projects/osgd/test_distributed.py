"""Two processes: every task's gradient is averaged over ranks before it is projected."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

from projects.osgd.optimizer import OSGD
from projects.osgd.width import WidthNestedMLP

ROOT = Path(__file__).resolve().parents[3]
SCRIPT = """
import sys
import torch
import torch.distributed as distributed
from torch.nn import functional as F
from torch.nn.parallel import DistributedDataParallel
from projects.osgd.optimizer import OSGD
from projects.osgd.width import WidthNestedMLP

rank, folder = int(sys.argv[1]), sys.argv[2]
torch.set_num_threads(1)
method = f"file://{folder}/rendezvous"
distributed.init_process_group("gloo", init_method=method, rank=rank, world_size=2)
data = torch.load(f"{folder}/data.pt", weights_only=True)
x, y = data["x"][rank::2], data["y"][rank::2]
for name in ("plain", "wrapped"):
    model = WidthNestedMLP(6, widths=(4, 8), depth=1, num_classes=3, norm="none")
    model.load_state_dict(data["model"])
    run = DistributedDataParallel(model) if name == "wrapped" else model
    optimizer = OSGD(torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9), 2)
    for _ in range(3):
        optimizer.zero_grad()
        optimizer.step([F.cross_entropy(logits, y) for logits in run(x)])
    torch.save(model.state_dict(), f"{folder}/{name}-{rank}.pt")
distributed.destroy_process_group()
"""


@pytest.mark.skipif(not torch.distributed.is_available(), reason="torch without distributed")
def test_two_ranks_take_the_step_of_the_whole_batch(tmp_path):
    """Projecting on each rank first would give another step: each sees another half."""
    torch.manual_seed(0)
    model = WidthNestedMLP(6, widths=(4, 8), depth=1, num_classes=3, norm="none")
    x, y = torch.randn(32, 6), torch.randint(3, (32,))
    torch.save({"model": model.state_dict(), "x": x, "y": y}, tmp_path / "data.pt")
    command = [sys.executable, "-c", SCRIPT]
    ranks = [subprocess.Popen([*command, str(rank), str(tmp_path)], cwd=ROOT) for rank in (0, 1)]
    assert [rank.wait(timeout=120) for rank in ranks] == [0, 0]
    optimizer = OSGD(torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9), 2)
    for _ in range(3):
        optimizer.zero_grad()
        optimizer.step([F.cross_entropy(logits, y) for logits in model(x)])
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
