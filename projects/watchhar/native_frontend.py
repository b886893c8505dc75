"""The spectrogram outside the network as a C program: the front end of a separate pipeline.

What a watch without the unified graph would run before the network: framing, Hann window, real
FFT, mel filters, logarithm (``log_mel.c``). librosa is Python, whose instructions are not counted;
this is its spectrogram with everything prepared beforehand and the zeros of the filters left out,
so of all stand-ins for a separate front end it is the one that flatters the unified graph least.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from common.errors import ConfigError
from common.hardware.targets.wearable.emit import Emitter, Program
from common.hardware.targets.wearable.graph import Graph
from projects.watchhar.frontend import FrontEnd, mel_filters

_SOURCE = Path(__file__).with_name("log_mel.c")


def log_mel_program(like: FrontEnd, samples: int) -> Program:
    """Write the C program of a spectrogram, for the same runners as a network's.

    Parameters
    ----------
    like : FrontEnd
        Whose settings to use.
    samples : int
        Length of the audio.

    Returns
    -------
    Program
        From ``audio`` (1, samples) to ``decibels`` (1, 1 + samples // hop, n_mels).

    Raises
    ------
    ConfigError
        If the front end is trainable: trained kernels are no Fourier transform.
    ValueError
        If the audio is too short to be reflected at its ends.

    Examples
    --------
    >>> program = log_mel_program(FrontEnd(), 950)
    >>> program.outputs
    (('decibels', (1, 96, 64), 'float32'),)
    """
    if like.trainable:
        raise ConfigError("the front end is trainable, its kernels no FFT; pass trainable=False")
    if samples <= like.n_fft // 2:
        raise ValueError(
            f"{samples} samples of audio; a transform of {like.n_fft} points reflects "
            f"{like.n_fft // 2} at either end and needs more than that"
        )
    frames = 1 + samples // like.hop
    shapes = {"audio": (1, samples), "decibels": (1, frames, like.n_mels)}
    graph = Graph((), shapes, dict.fromkeys(shapes, "float32"), {}, ("audio",), ("decibels",))
    sizes = {
        "SAMPLES": samples,
        "FRAMES": frames,
        "HOP": like.hop,
        "WINDOW": like.window,
        "POINTS": like.n_fft,
        "MELS": like.n_mels,
    }
    emitter = Emitter(graph)
    emitter.include("\n".join(f"#define {name} {value}" for name, value in sizes.items()))
    emitter.include(_SOURCE.read_text())
    window, places, turns, spans, weights = (emitter.constant(each) for each in _tables(like))
    pair = "(const float (*)[2])", "(const int32_t (*)[2])"
    arguments = (
        emitter.ref("audio"),
        window,
        places,
        f"{pair[0]}{turns}",
        f"{pair[1]}{spans}",
        weights,
        emitter.out("decibels"),
    )
    emitter.line(f"log_mel({', '.join(arguments)});")
    return emitter.program()


def _tables(like: FrontEnd) -> tuple[np.ndarray, ...]:
    """Window, bit-reversed places, turns of the unit circle, spans and weights of the filters."""
    half = like.n_fft // 2
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(like.window) / like.window)
    bits = half.bit_length() - 1
    places = [int(f"{n:0{bits}b}"[::-1], 2) for n in range(half)]
    turns = np.exp(-2j * np.pi * np.arange(half + 1) / like.n_fft)
    mel = mel_filters(like.sample_rate, like.n_fft, like.n_mels, like.fmin, like.fmax)
    inside = mel > 0  # of a triangle: one run of bins, or none
    return (
        window.astype(np.float32),
        np.array(places, np.int32),
        np.stack([turns.real, turns.imag], axis=1).astype(np.float32),
        np.stack([inside.argmax(axis=1), inside.sum(axis=1)], axis=1).astype(np.int32),
        mel[inside].astype(np.float32),
    )
