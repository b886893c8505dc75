"""How well digits are recognised through a front end, by a network that never heard the speaker."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from projects.watchhar import digits as speech

if TYPE_CHECKING:
    from torch import nn

    from common.run import Run
    from projects.watchhar.digits import Digits

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


def accuracy(
    digits: Digits,
    speaker: str,
    variant: str,
    rate: int,
    *,
    low_pass: bool,
    params: dict[str, Any],
    seed: int = 0,
) -> float:
    """Share of a speaker's digits that a network trained on the others recognises.

    Parameters
    ----------
    digits : Digits
        At 8 kHz.
    speaker : str
        Whom to leave out.
    variant : str
        ``frozen`` or ``trainable`` front end, ``host log-mel`` computed beforehand by librosa,
        ``learned filters``, or ``samples`` without any spectrum.
    rate : int
        To which the sound is brought first.
    low_pass : bool
        With or without a low-pass.
    params : dict
        ``channels`` and ``training``.
    seed : int
        Of initial weights and training.
    """
    import torch

    from projects.watchhar.augmentation import NONE
    from projects.watchhar.training import Part, Settings, fit, predict

    slower = speech.at_rate(digits, rate, low_pass=low_pass)
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        model, inputs = _build(variant, slower, params["channels"])
    tested = digits.speakers == speaker
    chosen = ~tested & (digits.takes % VALIDATION == VALIDATION - 1)
    if not chosen.any():
        chosen = ~tested & (digits.takes == digits.takes.max())
    everything = Part.of(digits.labels, inputs)
    train, validation, test = (
        everything.rows(torch.from_numpy(np.flatnonzero(mask)))
        for mask in (~tested & ~chosen, chosen, tested)
    )
    fit(model, train, validation, Settings(**params["training"], augmentation=NONE), seed=seed)
    answers = predict(model, test.inputs).argmax(dim=1)
    return float((answers == test.labels).float().mean())


def _build(variant: str, digits: Digits, channels: int) -> tuple[nn.Module, np.ndarray]:
    """Network, and what it takes; what a front end without parameters gives is computed once."""
    from torch import nn

    from projects.watchhar.baseline_networks import FrameCNN, LearnedFilters, WaveCNN
    from projects.watchhar.frontend import FrontEnd, host_log_mel
    from projects.watchhar.training import Part, predict

    if variant == "samples":
        return WaveCNN(10, digits.rate, channels=channels), digits.audio
    layers = FrontEnd(digits.rate, trainable=variant == "trainable")
    frontend: nn.Module = nn.Identity()
    inputs = digits.audio
    if variant == "frozen":
        inputs = predict(layers, Part.of(digits.labels, digits.audio).inputs).numpy()
    elif variant == "host log-mel":
        inputs = host_log_mel(digits.audio, layers)
    else:
        frontend = layers if variant == "trainable" else LearnedFilters(digits.rate)
    network = FrameCNN(10, frontend, n_mels=layers.n_mels, channels=channels)
    return network, inputs
