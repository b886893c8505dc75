"""The layouts of vLLM's caches, against kernels written out slot by slot."""

import pytest

torch = pytest.importorskip("torch")

from projects.cachegen.tensors import Geometry
from projects.cachegen.vllm_paging import Paging, gather, order_in_block, paging_of, scatter
from tests.projects.cachegen.vllm_layouts import write_tiles, write_transposed

HEADS, DIM = 2, 8
SHAPE = Geometry(3, HEADS, DIM)


def read_slot(cache, kind, slot, which, head):
    """One token of one head, where the layout is written by its axes."""
    if kind == "split":
        return cache[which, slot // cache.shape[2], slot % cache.shape[2], head]
    dim = cache.shape[3] // 2
    return cache[slot // cache.shape[2], head, slot % cache.shape[2]][which * dim :][:dim]


@pytest.mark.parametrize("kind", ["split", "joined"])
def test_gather_and_scatter_by_axes(kind):
    shape = (2, 6, 4, HEADS, DIM) if kind == "split" else (6, HEADS, 4, 2 * DIM)
    cache = torch.randn(shape)
    slots = torch.tensor([21, 3, 8, 9])
    paging = Paging(kind)
    kv = gather(cache, slots, paging)
    assert kv.shape == (2, 4, HEADS, DIM)
    for token, slot in enumerate(slots.tolist()):
        for which in range(2):
            for head in range(HEADS):
                expected = read_slot(cache, kind, slot, which, head)
                assert torch.equal(kv[which, token, head], expected)
    other = scatter(torch.zeros(shape), slots, kv, paging)
    assert torch.equal(gather(other, slots, paging), kv)
    assert int((other != 0).sum()) == kv.numel()


@pytest.mark.parametrize(
    ("write", "block", "dim", "dtype"),
    [
        (write_transposed, 4, 8, torch.float32),
        (write_transposed, 32, 32, torch.bfloat16),
        (write_tiles, 32, 32, torch.bfloat16),
        (write_tiles, 64, 64, torch.bfloat16),
    ],
)
def test_gather_and_scatter_in_a_kernels_order(write, block, dim, dtype):
    geometry = Geometry(1, HEADS, dim)
    key, value = torch.randn(2, 5, HEADS, dim).to(dtype)
    slots = torch.tensor([2 * block, 2, 2 * block - 1, block, 1])
    cache = torch.zeros(3, HEADS, block, 2 * dim, dtype=dtype)
    write(key, value, cache, slots)
    paging = paging_of(cache, geometry, write)
    assert paging.kind == "packed"
    kv = gather(cache, slots, paging)
    assert torch.equal(kv[0], key) and torch.equal(kv[1], value)
    again = scatter(torch.zeros_like(cache), slots, torch.stack([key, value]), paging)
    assert torch.equal(again, cache)


def test_a_kernel_that_changes_numbers_is_refused():
    def halved(key, value, cache, slots):
        write_transposed(key / 2, value, cache, slots)

    def silent(key, value, cache, slots):
        pass

    for write in (halved, silent):
        with pytest.raises(ValueError, match="as they are"):
            order_in_block(write, 4, SHAPE, torch.float32)


@pytest.mark.parametrize("shape", [(6, 4, 16), (6, HEADS, 4, DIM), (6, 2, 4, HEADS, DIM)])
def test_unknown_layouts_are_refused(shape):
    with pytest.raises(ValueError, match="cannot read a cache"):
        paging_of(torch.zeros(shape), SHAPE, write_transposed)


def test_layouts_are_told_by_shape_and_device():
    assert paging_of(torch.zeros(2, 6, 4, HEADS, DIM), SHAPE).kind == "split"
    with pytest.raises(ValueError, match="cannot read"):
        paging_of(torch.zeros(6, HEADS, 4, 2 * DIM), SHAPE, None)
    elsewhere = torch.zeros(6, HEADS, 4, 2 * DIM, device="meta")
    assert paging_of(elsewhere, SHAPE).kind == "joined"
