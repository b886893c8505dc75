"""What sensors deliver, checked before a model sees it: shapes, units, ranges, broken samples."""

from __future__ import annotations

import warnings

import numpy as np
from numpy.typing import ArrayLike

AXES = 6
GRAVITY = 9.81
LOUDEST = 1.5  # of floats that may still be meant as [-1, 1]
FULL_SCALE = 32768.0
SATURATED, SATURATED_PART = 0.999, 0.01
FASTEST_TURN = 35.0  # rad/s; wrist gyroscopes end at 2000 deg/s = 34.9 rad/s
NAN_POLICIES = ("refuse", "hold")


def check_imu(imu: ArrayLike) -> np.ndarray:
    """Motion as a float32 array of shape (n, 6).

    Raises
    ------
    ValueError
        If the shape is another one.
    """
    found = np.asarray(imu, np.float32)
    _check_axes(found, "n")
    return found


def check_windows(imu: np.ndarray, audio: np.ndarray | None = None) -> None:
    """Refuse windows that a model must not see: shapes, NaN, integers stored as floats.

    Parameters
    ----------
    imu : ndarray, shape (n, samples, 6)
    audio : ndarray, shape (n, samples), optional

    Raises
    ------
    ValueError
        Says what is wrong and what to do about it.

    Examples
    --------
    >>> check_windows(np.zeros((2, 50, 6)), np.full((2, 950), 100.0))
    Traceback (most recent call last):
    ...
    ValueError: audio reaches 100; floats are expected in [-1, 1]: for 16-bit samples stored ...
    """
    _check_axes(imu, "windows, samples")
    _refuse_broken(imu, "motion")
    if audio is not None:
        if audio.ndim != 2:
            raise ValueError(f"audio has shape {audio.shape}; expected mono, (windows, samples)")
        _refuse_broken(audio, "audio")
        _check_level(audio)


def _check_axes(imu: np.ndarray, leading: str) -> None:
    """Refuse motion whose shape is not the leading dimensions and six axes."""
    if imu.ndim == 2 + leading.count(",") and imu.shape[-1] == AXES:
        return
    rotation = "; a rotation vector is not used, pass imu[..., :6]"
    raise ValueError(
        f"motion has shape {imu.shape}; expected ({leading}, {AXES}), accelerometer in m/s2 first, "
        f"then gyroscope in rad/s{rotation if imu.shape[-1:] == (9,) else ''}"
    )


def _refuse_broken(values: np.ndarray, what: str, otherwise: str = "") -> None:
    bad = ~np.isfinite(values)
    if bad.any():
        place = tuple(np.argwhere(bad)[0].tolist())
        raise ValueError(
            f"{what} holds {int(bad.sum())} values that are NaN or infinite, the first at {place}; "
            f"repair the source{otherwise}"
        )


def _check_level(audio: np.ndarray) -> None:
    level = np.abs(audio).max(initial=0.0)
    if level > LOUDEST:
        raise ValueError(
            f"audio reaches {level:g}; floats are expected in [-1, 1]: for 16-bit samples "
            "stored as floats divide by 32768"
        )


def check_finite(values: np.ndarray, previous: np.ndarray, policy: str, what: str) -> np.ndarray:
    """Refuse NaN and infinity, or hold the last finite value of each column instead.

    Parameters
    ----------
    values : ndarray, shape (n,) or (n, c)
    previous : ndarray, shape () or (c,)
        Values to hold from the beginning.
    policy : {"refuse", "hold"}
    what : str
        Name of the signal for the message.

    Examples
    --------
    >>> check_finite(np.array([1.0, np.nan, 3.0]), np.array(0.0), "hold", "audio").tolist()
    [1.0, 1.0, 3.0]
    """
    bad = ~np.isfinite(values)
    if not bad.any():
        return values
    if policy == "refuse":
        _refuse_broken(values, what, ", or pass nan='hold' to repeat the last good value")
    held = np.concatenate([np.asarray(previous, values.dtype)[None], values])
    good = np.concatenate([np.ones_like(bad[:1]), ~bad])
    places = np.arange(len(held)).reshape(-1, *[1] * (held.ndim - 1))
    last = np.maximum.accumulate(np.where(good, places, 0), axis=0)
    return np.take_along_axis(held, last, axis=0)[1:]


def check_units(imu: np.ndarray) -> None:
    """Find out whether motion is in m/s2 and rad/s from its magnitude.

    Gravity makes the median norm of acceleration 9.81 m/s2 whatever the wrist does. A gyroscope at
    rest says nothing about its unit, so degrees are noticed only once the wrist turns fast.

    Parameters
    ----------
    imu : ndarray, shape (n, 6)

    Raises
    ------
    ValueError
        If the unit or the order of channels is another one, with the factor that mends it.
    """
    accelerometer = float(np.median(np.linalg.norm(imu[:, :3], axis=1)))
    turning = np.linalg.norm(imu[:, 3:6], axis=1)
    if accelerometer < GRAVITY / 2 and abs(float(np.median(turning)) - GRAVITY) < GRAVITY / 4:
        raise ValueError(
            "the last three channels look like acceleration (median norm "
            f"{np.median(turning):.2f}); put the accelerometer first: imu[:, [3, 4, 5, 0, 1, 2]]"
        )
    if 0.5 < accelerometer < 2:
        raise ValueError(
            f"the median norm of acceleration is {accelerometer:.2f}, which looks like g; expected "
            f"about {GRAVITY} m/s2: multiply by {GRAVITY}"
        )
    if not GRAVITY / 2 < accelerometer < 3 * GRAVITY:
        raise ValueError(
            f"the median norm of acceleration is {accelerometer:.2f}; expected about {GRAVITY} "
            "m/s2 with gravity included, accelerometer in the first three channels"
        )
    if turning.max(initial=0.0) > FASTEST_TURN:
        raise ValueError(
            f"the gyroscope reaches {turning.max():.0f}, which looks like degrees per second; "
            "expected rad/s: multiply by pi / 180"
        )


def check_audio(audio: ArrayLike) -> np.ndarray:
    """Audio as one float32 channel in [-1, 1].

    16-bit integers are divided by 32768, several channels (n, c) averaged. Warns when more than
    one sample in a hundred is at full scale.

    Raises
    ------
    ValueError
        If the type, shape or range cannot be right.

    Examples
    --------
    >>> check_audio(np.array([[16384, -16384], [16384, 0]], np.int16)).tolist()
    [0.0, 0.25]
    """
    found = np.asarray(audio)
    if found.dtype == np.int16:
        found = found / np.float32(FULL_SCALE)
    elif found.size and found.dtype.kind != "f":
        raise ValueError(f"audio has type {found.dtype}; pass int16 or floats in [-1, 1]")
    if found.ndim > 2 or (found.ndim == 2 and found.shape[1] > 8):
        raise ValueError(f"audio has shape {found.shape}; pass (n,) or (n, channels)")
    mono = (found.mean(axis=1) if found.ndim == 2 else found).astype(np.float32)
    level = np.abs(mono[np.isfinite(mono)])
    _check_level(level)
    part = float((level >= SATURATED).mean()) if level.size else 0.0
    if part > SATURATED_PART:
        warnings.warn(f"audio is saturated: {part:.0%} of it at full scale", stacklevel=2)
    return mono
