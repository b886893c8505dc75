"""How well clips are recognised through a front end, by a network that never heard their source."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from common.errors import DataError, known
from projects.watchhar import digits as speech
from projects.watchhar import esc50

if TYPE_CHECKING:
    from torch import nn

    from common.run import Run
    from projects.watchhar.digits import Digits
    from projects.watchhar.esc50 import Sounds

VARIANTS = ("frozen", "trainable", "host log-mel", "learned filters", "samples")
VALIDATION = 6  # every sixth take of the training speakers says when to stop


def spoken_digits(run: Run) -> tuple[Digits, str]:
    """Digits at 8 kHz and what observations call their source."""
    takes = run.params["takes"]
    found = run.dataset(speech.NAME, label="substitute")
    if found is None:
        from projects.watchhar.stand_ins import tone_digits

        run.synthetic(speech.NAME, "ten pairs of tones")
        return tone_digits(run.rng("digits"), takes=takes), speech.NAME
    return speech.load(found.files, takes=takes), speech.NAME


def everyday_sounds(run: Run) -> tuple[Sounds, str]:
    """Clips of the user's own download of ESC-50, or generated ones, and their name.

    Raises
    ------
    DataError
        If only real data will do and none was imported.
    """
    files = {} if run.data_mode == "synthetic" else esc50.imported_files()
    if files:
        run.own_data(esc50.NAME, files, label="substitute")
        return esc50.load(files), esc50.NAME
    if run.data_mode == "real":
        raise DataError(
            "no clip of ESC-50 was imported; `watchhar data import-esc50 PATH` brings your own "
            "download"
        )
    from projects.watchhar.stand_ins import generated_sounds

    run.synthetic(esc50.NAME, "sounds of ten activities from the generator of this project")
    return generated_sounds(run.rng("sounds"), clips=run.params["clips"]), esc50.NAME


@dataclass(frozen=True)
class Prepared:
    """What a network takes of the digits, and how to make such a network.

    Attributes
    ----------
    inputs : ndarray, shape (n, samples) or (n, frames, mels)
        What does not depend on training is computed once, for all speakers.
    build : callable
        Maps a number of channels to a fresh network.
    """

    inputs: np.ndarray
    build: Callable[[int], nn.Module]


def prepare(audio: np.ndarray, source: int, variant: str, rate: int, *, low_pass: bool) -> Prepared:
    """Bring clips of ten classes to a rate and to what the network of a variant takes.

    Parameters
    ----------
    audio : ndarray of float32, shape (n, samples)
        In [-1, 1].
    source : int
        Its samples a second.
    variant : str
        ``frozen`` or ``trainable`` front end, ``host log-mel`` computed beforehand by librosa,
        ``learned filters``, or ``samples`` without any spectrum.
    rate : int
        Samples a second.
    low_pass : bool
        With or without a low-pass before that.
    """
    import torch
    from torch import nn

    from projects.watchhar.baseline_networks import FrameCNN, LearnedFilters, WaveCNN
    from projects.watchhar.frontend import FrontEnd, host_log_mel
    from projects.watchhar.training import predict

    known(variant, VARIANTS, "front end")
    audio, layers = speech.decimated(audio, source, rate, low_pass=low_pass), FrontEnd(rate)
    if variant == "samples":
        return Prepared(audio, lambda channels: WaveCNN(10, rate, channels=channels))
    make: Callable[[], nn.Module] = nn.Identity
    if variant == "frozen":
        audio = predict(layers, [torch.from_numpy(audio)]).numpy()
    elif variant == "host log-mel":
        audio = host_log_mel(audio, layers)
    elif variant == "trainable":
        make = partial(FrontEnd, rate, trainable=True)
    else:
        make = partial(LearnedFilters, rate)
    mels = layers.n_mels
    return Prepared(audio, lambda channels: FrameCNN(10, make(), n_mels=mels, channels=channels))


def accuracy(
    digits: Digits, speaker: str, prepared: Prepared, params: dict[str, Any], *, seed: int = 0
) -> float:
    """Share of a speaker's digits that a network trained on the others recognises.

    Parameters
    ----------
    digits : Digits
        Whose labels, speakers and takes count.
    speaker : str
        Whom to leave out.
    prepared : Prepared
        See there.
    params : dict
        ``channels`` and ``training``.
    seed : int
        Of initial weights and training.
    """
    tested = digits.speakers == speaker
    chosen = ~tested & (digits.takes % VALIDATION == VALIDATION - 1)
    if not chosen.any():
        chosen = ~tested & (digits.takes == digits.takes.max())
    return recognised(digits.labels, tested, chosen, prepared, params, seed=seed)


def recognised(
    labels: np.ndarray,
    tested: np.ndarray,
    chosen: np.ndarray,
    prepared: Prepared,
    params: dict[str, Any],
    *,
    seed: int = 0,
) -> float:
    """Share of the tested clips that a network recognises; the chosen ones say when to stop.

    Parameters
    ----------
    labels : ndarray of int, shape (n,)
    tested, chosen : ndarray of bool, shape (n,)
        It is trained on the rest.
    prepared, params, seed
        As for :func:`accuracy`.
    """
    import torch

    from projects.watchhar.augmentation import NONE
    from projects.watchhar.training import Part, Settings, fit, predict

    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        model = prepared.build(params["channels"])
    everything = Part.of(labels, prepared.inputs)
    train, validation, test = (
        everything.rows(torch.from_numpy(np.flatnonzero(mask)))
        for mask in (~tested & ~chosen, chosen, tested)
    )
    fit(model, train, validation, Settings(**params["training"], augmentation=NONE), seed=seed)
    answers = predict(model, test.inputs).argmax(dim=1)
    return float((answers == test.labels).float().mean())
