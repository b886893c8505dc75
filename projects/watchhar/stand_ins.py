"""Generated recordings in the place of real ones that are not on this machine.

They exercise the experiments and say nothing about the world: a wrist that rests and then moves,
"digits" that are ten pairs of tones, everyday sounds from recipes.
"""

from __future__ import annotations

import numpy as np

from projects.watchhar.digits import SPEECH_HZ, Digits
from projects.watchhar.esc50 import CATEGORIES, SECONDS, Sounds
from projects.watchhar.geotec import Recording
from projects.watchhar.recipes import RECIPES
from projects.watchhar.synthetic import Participant, motion, record

IDLE_SECONDS, ACTIVE_SECONDS = 2.0, 8.0
WALK, REST = RECIPES["Wiping_with_rag"], RECIPES["Alarm_clock"]
SPEAKERS = ("a", "b", "c", "d")
SOUNDS_LIKE = {
    "brushing_teeth": "Toothbrushing",
    "clapping": "Clapping",
    "clock_alarm": "Alarm_clock",
    "coughing": "Coughing",
    "door_wood_knock": "Knocking",
    "drinking_sipping": "Drinking",
    "laughing": "Laughing",
    "pouring_water": "Pouring_pitcher",
    "toilet_flush": "Toilet_flushing",
    "vacuum_cleaner": "Vacuum in use",
}
"""The activity of each class of ESC-50."""


def event_recordings(
    rng: np.random.Generator, *, subjects: int = 12, executions: int = 6
) -> list[Recording]:
    """Rest, move, rest, several times by each wearer.

    Examples
    --------
    >>> made = event_recordings(np.random.default_rng(0), subjects=1, executions=1)
    >>> len(made), made[0].imu.shape, int(made[0].event.sum())
    (1, (600, 6), 400)
    """
    made = []
    for subject in range(subjects):
        wearer = Participant.draw(rng)
        for execution in range(executions):
            plan = ((REST, IDLE_SECONDS), (WALK, ACTIVE_SECONDS), (REST, IDLE_SECONDS))
            parts = [motion(rng, recipe, wearer, seconds)[0] for recipe, seconds in plan]
            event = np.repeat([False, True, False], [len(part) for part in parts])
            name = f"s{subject + 1:02d}"
            imu = np.concatenate(parts)
            made.append(Recording(f"{name}_{execution + 1:02d}", name, imu, event))
    return made


def tone_digits(rng: np.random.Generator, *, takes: int = 20) -> Digits:
    """Ten pairs of tones between 200 and 3400 Hz, four "speakers" that differ in pitch.

    Examples
    --------
    >>> tone_digits(np.random.default_rng(0), takes=1).audio.shape
    (40, 7600)
    """
    at = np.arange(round(0.95 * SPEECH_HZ)) / SPEECH_HZ
    audio, labels, speakers, numbers = [], [], [], []
    for speaker, name in enumerate(SPEAKERS):
        for digit in range(10):
            tones = (200 + 60 * digit, 3400 - 250 * digit)
            for take in range(takes):
                factor = (1 + 0.05 * speaker) * np.exp(rng.normal(0, 0.02))
                swell = np.exp(-(((at - 0.5) / 0.2) ** 2))
                tone = sum(np.sin(2 * np.pi * hz * factor * at) for hz in tones)
                audio.append(0.2 * swell * tone + rng.normal(0, 0.02, len(at)))
                labels.append(digit)
                speakers.append(name)
                numbers.append(take)
    columns = (np.array(column) for column in (labels, speakers, numbers))
    return Digits(np.array(audio, dtype=np.float32), *columns, SPEECH_HZ)


def generated_sounds(rng: np.random.Generator, *, clips: int = 8) -> Sounds:
    """Ten activities as the generator sounds them, so many clips of each in each of five folds.

    Examples
    --------
    >>> made = generated_sounds(np.random.default_rng(0), clips=1)
    >>> made.audio.shape, made.folds.max()
    ((50, 80000), np.int64(5))
    """
    audio, labels, folds = [], [], []
    for fold in range(1, 6):
        for _ in range(clips):
            wearer = Participant.draw(rng)
            for label, category in enumerate(CATEGORIES):
                audio.append(record(rng, RECIPES[SOUNDS_LIKE[category]], wearer, SECONDS)[1])
                labels.append(label)
                folds.append(fold)
    return Sounds(np.array(audio, np.float32), np.array(labels), np.array(folds))
