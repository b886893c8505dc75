"""How vLLM's kernels order keys and values in a block, written out slot by slot."""


def write_transposed(key, value, cache, slots):
    """The order of vLLM's AVX kernels: keys of a block transposed, then values as they are."""
    block, dim = cache.shape[2], key.shape[2]
    for number, slot in enumerate(slots.tolist()):
        for head in range(cache.shape[1]):
            run = cache[slot // block, head].view(-1)
            for d in range(dim):
                run[d * block + slot % block] = key[number, head, d]
                run[block * dim + slot % block * dim + d] = value[number, head, d]


def write_tiles(key, value, cache, slots):
    """The order of vLLM's AMX kernels: pairs of a key's numbers, pairs of values' tokens."""
    block, dim = cache.shape[2], key.shape[2]
    for number, slot in enumerate(slots.tolist()):
        token = slot % block
        for head in range(cache.shape[1]):
            run = cache[slot // block, head].view(-1)
            for d in range(dim):
                group = token // 16 * 16 * dim
                run[group + d // 2 * 32 + token % 16 * 2 + d % 2] = key[number, head, d]
                group = block * dim + d // 16 * block * 16
                run[group + token // 2 * 32 + d % 16 * 2 + token % 2] = value[number, head, d]
