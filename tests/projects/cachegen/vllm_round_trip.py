"""Run by the interpreter that has vLLM, one process per engine.

The last line it writes is ``RESULT`` and JSON.

    PYTHONPATH=. python tests/projects/cachegen/vllm_round_trip.py FOLDER engine SETTINGS
    PYTHONPATH=. python tests/projects/cachegen/vllm_round_trip.py FOLDER compare SETTINGS

``engine`` generates greedily with the connector; ``compare`` measures how far the stored keys and
values are from those of the same model in Hugging Face transformers.
"""

import json
import os
import sys
import time
from pathlib import Path

PREFIX = "\n".join(
    f"line {n}: the key is {n * n % 97} and the lock is {n * 7 % 31}" for n in range(9)
)
QUESTIONS = ["\nWhich key has line 3?", "\nWhich lock has line 8? Answer with a number."]
TOKENS = 24
LAYERS, HEADS, KV_HEADS, HIDDEN = 2, 4, 2, 128


def make_model(folder: Path) -> None:
    """Write a random Llama and a tokenizer of bytes, as a model is downloaded."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {symbol: number for number, symbol in enumerate([*alphabet, "<s>", "</s>"])}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", unk_token="</s>"
    )
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(vocabulary),
        hidden_size=HIDDEN,
        intermediate_size=256,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        num_key_value_heads=KV_HEADS,
        max_position_embeddings=1024,
        initializer_range=0.2,
        bos_token_id=vocabulary["<s>"],
        eos_token_id=vocabulary["</s>"],
        tie_word_embeddings=False,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    fast.save_pretrained(folder)


def run_engine(model: Path, settings: dict) -> dict:
    """Generate for both questions and report tokens, counters and times."""
    os.environ |= {
        "VLLM_CPU_KVCACHE_SPACE": "1",
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",
        "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
        "VLLM_NO_USAGE_STATS": "1",
        "HF_HUB_OFFLINE": "1",
    }
    begun = time.monotonic()
    from vllm import LLM, SamplingParams
    from vllm.config import KVTransferConfig
    from vllm.distributed.kv_transfer import get_kv_transfer_group

    imported = time.monotonic()
    llm = LLM(
        model=str(model),
        dtype="bfloat16",
        max_model_len=1024,
        enforce_eager=True,
        block_size=32,
        max_num_seqs=4,
        max_num_batched_tokens=settings.pop("batched", 1024),
        gpu_memory_utilization=0.2,
        disable_log_stats=False,
        kv_transfer_config=KVTransferConfig(
            kv_connector="CacheGenConnector",
            kv_connector_module_path="projects.cachegen.vllm_connector",
            kv_role="kv_both",
            kv_load_failure_policy="recompute",
            kv_connector_extra_config=settings,
        ),
    )
    ready = time.monotonic()
    connector = get_kv_transfer_group()
    results = []
    for question in QUESTIONS:
        start = time.monotonic()
        answer = llm.generate(
            PREFIX + question,
            SamplingParams(temperature=0, max_tokens=TOKENS, ignore_eos=True),
            use_tqdm=False,
        )[0]
        results.append(
            {
                "prompt": len(answer.prompt_token_ids),
                "cached": answer.num_cached_tokens,
                "tokens": list(answer.outputs[0].token_ids),
                "seconds": round(time.monotonic() - start, 3),
            }
        )
    connector.flush()
    return {
        "answers": results,
        "counters": connector.counters,
        "fingerprint": connector.fingerprint,
        "paging": connector.transfer.paging[0].kind,
        "import seconds": round(imported - begun, 1),
        "engine seconds": round(ready - imported, 1),
    }


def compare(model: Path, settings: dict) -> dict:
    """Measure each stored chunk against transformers' cache of the prompts, without vLLM."""
    import numpy as np
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from projects.cachegen.container import Container
    from projects.cachegen.hf import kv_of
    from projects.cachegen.profile import Profile

    tokenizer = AutoTokenizer.from_pretrained(model)
    llama = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32)
    profile = Profile.load(settings["profile"]) if settings.get("profile") else None
    parts = []
    for question in QUESTIONS:
        tokens = tokenizer(PREFIX + question, return_tensors="pt")["input_ids"]
        with torch.no_grad():
            kv = kv_of(llama(tokens, use_cache=True).past_key_values).numpy()
        size = settings["chunk_tokens"]
        parts += [kv[:, :, start : start + size] for start in range(0, kv.shape[2], size)]
    errors = []
    for path in sorted(Path(settings["store"]).glob("*.kvg")):
        stream = Container.open(path)
        kv = stream.decode(profile=profile if stream.header.profile else None)
        cut = [part[:, :, : kv.shape[2]] for part in parts if part.shape[2] >= kv.shape[2]]
        errors.append(min(float(np.abs(kv - p).mean() / np.abs(p).mean()) for p in cut))
    return {"relative errors": errors}


def fit(model: Path, settings: dict) -> dict:
    """Fit a codec's profile to the model's cache of other text and save it."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from projects.cachegen.codecs import codec
    from projects.cachegen.hf import kv_of

    text = " ".join(f"{word} {n}" for n in range(60) for word in ("a", "lock", "key"))
    tokens = AutoTokenizer.from_pretrained(model)(text, return_tensors="pt")["input_ids"][:, :700]
    with torch.no_grad():
        llama = AutoModelForCausalLM.from_pretrained(model, dtype=torch.bfloat16)
        kv = kv_of(llama(tokens, use_cache=True).past_key_values)
    profile = codec(settings["codec"]).fit([kv])
    return {"profile": str(profile.save(settings["profile"]))}


def main(folder: str, task: str, settings: str) -> None:
    model = Path(folder) / "model"
    if not model.is_dir():
        make_model(model)
    tasks = {"engine": run_engine, "compare": compare, "fit": fit}
    result = tasks[task](model, json.loads(settings))
    sys.stdout.write("RESULT " + json.dumps(result) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
