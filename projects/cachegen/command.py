"""The command ``cachegen``: encode, decode, inspect, serve and fetch caches."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from common.errors import ConfigError, RepriseError

DESCRIPTION = """\
Encode KV caches of language models, look into the streams, serve them and fetch them.

A cache is a .npy file of shape [layers, 2, tokens, heads, head_dim] in float16 or float32.
"""


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    from projects.cachegen.codecs import codec_names
    from projects.cachegen.container import CHUNK_TOKENS

    main = argparse.ArgumentParser(
        "cachegen", description=DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    verbs = main.add_subparsers(dest="verb", required=True, metavar="VERB")

    encode = verbs.add_parser("encode", help="encode a cache into a stream")
    encode.add_argument("cache", type=Path, help="the cache, a .npy file")
    encode.add_argument("stream", type=Path, help="the stream to write, NAME.kvg")
    encode.add_argument(
        "--codec", default="nodelta", metavar="NAME", help=f"one of {', '.join(codec_names())}"
    )
    encode.add_argument("--levels", help="names separated by commas; all by default")
    encode.add_argument("--profile", type=Path, help="profile to code with; see --fit")
    encode.add_argument(
        "--fit", type=Path, metavar="FILE", help="fit a profile on this cache and write it here"
    )
    encode.add_argument("--chunk-tokens", type=int, default=CHUNK_TOKENS, help="%(default)s")
    encode.add_argument("--fingerprint", default="", help="of the model that the cache is of")

    decode = verbs.add_parser("decode", help="decode a stream into a cache")
    decode.add_argument("stream", type=Path)
    decode.add_argument("cache", type=Path, help="the .npy file to write")
    decode.add_argument("--level", help="by default the least lossy one")
    decode.add_argument("--profile", type=Path)

    inspect = verbs.add_parser("inspect", help="say what a stream holds, and check every record")
    inspect.add_argument("stream", type=Path)
    inspect.add_argument("--json", action="store_true", help="for programs")

    serve = verbs.add_parser("serve", help="serve a folder of streams over HTTP")
    serve.add_argument("folder", type=Path)
    serve.add_argument("--host", default="127.0.0.1", help="%(default)s")
    serve.add_argument("--port", type=int, default=8750, help="%(default)s")
    serve.add_argument("--rate", type=float, help="hold transfers to this many Mbit/s")
    serve.add_argument("--allow-remote", action="store_true", help="listen to other machines, too")

    fetch = verbs.add_parser("fetch", help="load a context from a server")
    fetch.add_argument("url", help="such as http://127.0.0.1:8750")
    fetch.add_argument("name", help="of the context")
    fetch.add_argument("--slo", type=float, default=1.0, help="objective [s]; %(default)s")
    fetch.add_argument(
        "--policy", default="adaptive", help="adaptive or level-N; %(default)s", metavar="NAME"
    )
    fetch.add_argument("--output", type=Path, help="decode the chunks into this .npy file")
    fetch.add_argument("--profile", type=Path)
    return main


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns 2 on an error of its use, with one line that says what to do."""
    options = parser().parse_args(arguments)
    try:
        VERBS[options.verb](options)
    except (RepriseError, ValueError, TypeError, OSError) as error:
        sys.stderr.write(f"cachegen: {error}\n")
        return 2
    return 0


def _encode(options: argparse.Namespace) -> None:
    from common.results import atomic
    from projects.cachegen.codecs import codec
    from projects.cachegen.container import encode_context

    kv, coder = _read_cache(options.cache), codec(options.codec)
    profile = _profile(options.profile)
    if options.fit:
        profile = coder.fit([kv])
        if profile is None:
            raise ConfigError(f"codec {options.codec!r} needs no profile; leave --fit away")
        profile.save(options.fit)
    data = encode_context(
        kv,
        coder,
        levels=options.levels.split(",") if options.levels else None,
        chunk_tokens=options.chunk_tokens,
        fingerprint=options.fingerprint,
        profile=profile,
    )
    with atomic(options.stream) as path:
        path.write_bytes(data)
    _say(_summary(data))


def _decode(options: argparse.Namespace) -> None:
    from projects.cachegen.container import Container

    stream = Container.open(options.stream)
    _write_cache(options.cache, stream.decode(options.level, profile=_profile(options.profile)))


def _inspect(options: argparse.Namespace) -> None:
    from projects.cachegen.container import Container

    stream = Container.open(options.stream)
    stream.verify()
    summary = _summary(stream.data)
    _say(json.dumps(summary, indent=2) if options.json else summary)


def _serve(options: argparse.Namespace) -> None:
    from common.errors import require

    require("uvicorn", "cachegen")
    from projects.cachegen.link import Link
    from projects.cachegen.server import serve

    link = None
    if options.rate is not None:
        if not options.rate > 0:
            raise ConfigError(f"--rate {options.rate}: a rate is positive, in Mbit/s")
        link = Link.constant(options.rate * 1e6 / 8)
    serve(
        options.folder,
        host=options.host,
        port=options.port,
        link=link,
        allow_remote=options.allow_remote,
    )


def _fetch(options: argparse.Namespace) -> None:
    import numpy as np

    from projects.cachegen.client import StoreClient
    from projects.cachegen.container import codec_of
    from projects.cachegen.link import Link
    from projects.cachegen.policy import TEXT, policy

    if options.policy not in ("adaptive",) and not options.policy.startswith("level-"):
        raise ConfigError(f"--policy {options.policy!r}: adaptive or level-N, as a client has it")
    client, profile = StoreClient(options.url), _profile(options.profile)
    chosen = policy(options.policy, Link.constant(1.0))
    if not options.output:
        loaded = client.load(options.name, chosen, slo=options.slo)
    else:
        coder = codec_of(client.header(options.name))
        loaded = client.load(
            options.name,
            chosen,
            slo=options.slo,
            decode=lambda chunk: coder.decode(chunk, profile=profile),
        )
        if any(result is None for result in loaded.results):
            raise ConfigError("some chunks are to be computed from text: there is nothing to write")
        _write_cache(options.output, np.concatenate(loaded.results, axis=2))
    levels = ["text" if c == TEXT else loaded.header.levels[c] for c in loaded.choices]
    _say(
        {
            "seconds": round(loaded.seconds, 3),
            "bytes": loaded.sent,
            "levels": levels,
            "resumed": loaded.resumed,
            "objective": "missed" if loaded.violated else "met",
        }
    )


VERBS = {
    "encode": _encode,
    "decode": _decode,
    "inspect": _inspect,
    "serve": _serve,
    "fetch": _fetch,
}


def _summary(data: bytes | memoryview) -> dict[str, Any]:
    from projects.cachegen.header import read_header

    header = read_header(data)
    values = header.layers * 2 * header.tokens * header.kv_heads * header.head_dim
    sizes = {
        level: sum(header.size(chunk, level) for chunk in range(len(header.chunks)))
        for level in header.levels
    }
    return {
        "codec": header.codec,
        "shape": [header.layers, 2, header.tokens, header.kv_heads, header.head_dim],
        "dtype": header.dtype,
        "model": header.fingerprint or "not named",
        "profile": header.profile or "none",
        "chunks": len(header.chunks),
        "bytes": sizes,
        "bits per value": {level: round(8 * size / values, 3) for level, size in sizes.items()},
    }


def _say(what: dict[str, Any] | str) -> None:
    if isinstance(what, dict):
        width = max(map(len, what))
        what = "\n".join(f"{key.ljust(width)}  {value}" for key, value in what.items())
    sys.stdout.write(f"{what}\n")


def _read_cache(path: Path) -> Any:
    import numpy as np

    try:
        return np.load(path, allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise ConfigError(f"{path} is no .npy file of numbers: {error}") from error


def _write_cache(path: Path, kv: Any) -> None:
    import numpy as np

    from common.results import atomic

    with atomic(path) as temporary, temporary.open("wb") as file:
        np.save(file, kv)


def _profile(path: Path | None) -> Any:
    from projects.cachegen.profile import Profile

    return None if path is None else Profile.load(path)


if __name__ == "__main__":
    sys.exit(main())
