"""How each class of `synth_samosa` moves and sounds: plausible values, none of them fitted.

Frequencies and amplitudes of the motion, the kinds of sound and the bands of motors, water, alarms
and voices follow from what such activities are known to be like. No recording was measured, so
results on them test that the parts work together and say nothing of real accuracy.
"""

from __future__ import annotations

from dataclasses import dataclass

# Unit vectors of gravity on the watch: hand over a table, hand at the head, hand around a handle.
POSTURES = {"table": (0.0, 0.0, 1.0), "raised": (1.0, 0.0, 0.0), "grip": (0.0, 1.0, 0.0)}


@dataclass(frozen=True)
class Recipe:
    """One class.

    Attributes
    ----------
    motion : str
        ``periodic`` sine, ``impacts`` that ring down, slow ``tilt``, hand-held ``tremor``,
        ``still`` with up to two bumps, or ``mixed``: more bumps.
    hz, amplitude : tuple of float
        Range of the frequency of the motion (of a tilt: one over its duration), and of its
        amplitude in m/s2 (of a tilt: radians).
    posture : str
        Where gravity points, up to a random rotation of the wrist.
    sound : str
        ``motor`` harmonics, ``strikes`` with each impact, ``strokes`` of noise with each movement,
        ``water``, ``alarm``, ``voice``, ``quiet`` or ``mixed``: voice, water or quiet by chance.
    tone : tuple of float
        Fundamental of a motor, an alarm or a voice in hertz; of noise: its band.
    """

    motion: str
    hz: tuple[float, float]
    amplitude: tuple[float, float]
    posture: str
    sound: str
    tone: tuple[float, float]


def _periodic(hz: float, amplitude: float, posture: str, sound: str, *tone: float) -> Recipe:
    return Recipe("periodic", (hz, hz), (amplitude, amplitude), posture, sound, tone)


def _motor(posture: str, low: float, high: float) -> Recipe:
    return Recipe("tremor", (8, 12), (0.3, 1.0), posture, "motor", (low, high))


def _still(posture: str, sound: str, *tone: float) -> Recipe:
    return Recipe("still", (0, 2), (1, 3), posture, sound, tone)


# Where 500 Hz, the end of what 1 kHz audio holds, cuts through a band, decimation decides.
RECIPES: dict[str, Recipe] = {
    "Brushing_hair": _periodic(1, 4, "raised", "strokes", 1000, 5000),
    "Hair_dryer_in_use": _motor("raised", 150, 220),
    "Shaver_in_use": _motor("raised", 90, 130),
    "Toilet_flushing": _still("table", "water", 300, 4000),
    "Toothbrushing": _periodic(5, 8, "raised", "strokes", 800, 4000),
    "Washing_hands": _periodic(2, 4, "table", "water", 300, 4000),
    "Blender_in_use": _motor("table", 140, 200),
    "Chopping": Recipe("impacts", (3, 3), (6, 6), "grip", "strikes", (150, 2000)),
    "Grating": _periodic(3, 7, "grip", "strokes", 500, 6000),
    "Microwave": Recipe("still", (0, 2), (1, 3), "table", "motor", (50, 60)),
    "Pouring_pitcher": Recipe("tilt", (1 / 3, 1 / 3), (0.8, 1.2), "grip", "water", (300, 4000)),
    "Twisting_jar": Recipe("tilt", (1, 1), (0.4, 0.8), "grip", "quiet", (0, 0)),
    "Washing_Utensils": _periodic(1.5, 3.5, "table", "water", 300, 4000),
    "Wiping_with_rag": _periodic(1.5, 4, "table", "strokes", 300, 2000),
    "Alarm_clock": _still("table", "alarm", 1000, 3000),
    "Clapping": Recipe("impacts", (3.5, 3.5), (12, 12), "grip", "strikes", (800, 3000)),
    "Coughing": _still("raised", "voice", 100, 300),
    "Drinking": Recipe("tilt", (1 / 2, 1 / 2), (0.8, 1.2), "raised", "quiet", (0, 0)),
    "Knocking": Recipe("impacts", (3, 3), (9, 9), "raised", "strikes", (100, 800)),
    "Laughing": _still("table", "voice", 150, 300),
    "Scratching": _periodic(5, 5, "raised", "strokes", 1000, 6000),
    "Drill in use": _motor("grip", 60, 110),
    "Hammering": Recipe("impacts", (2, 4), (15, 15), "grip", "strikes", (200, 4000)),
    "Sanding": _periodic(2.5, 6, "table", "strokes", 400, 5000),
    "Screwing": _periodic(1.5, 3, "grip", "quiet", 0, 0),
    "Vacuum in use": Recipe("periodic", (0.7, 0.7), (3, 3), "grip", "motor", (100, 180)),
    "Other": Recipe("mixed", (0.2, 1), (0.5, 3), "table", "mixed", (100, 300)),
}
