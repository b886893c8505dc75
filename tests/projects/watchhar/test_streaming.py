import gc
import tracemalloc

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from common.errors import ConfigError
from projects.watchhar.classifier import WatchHARClassifier
from projects.watchhar.detector import EventDetector
from projects.watchhar.pipeline import TorchModels
from projects.watchhar.recording import classify_recording
from projects.watchhar.resampling import decimate
from projects.watchhar.ring import Ring
from projects.watchhar.streaming import UNKNOWN, Event, Settings, WatchHARPipeline

NAMES = ("chopping", "wiping", "drilling")


class Loudness:
    """Stages that can be followed by hand: motion decides by its spread, sound by its sum."""

    def detect(self, imu):
        return (imu[:, :, 3].std(axis=1) > 0.1).astype(float)

    def classify(self, imu, audio):
        score = np.zeros(len(imu)) if audio is None else audio.sum(axis=1)
        return np.stack([score, -score, imu[:, :, 3].sum(axis=1)], axis=1)


def signal(seconds, seed=0, active=((4, 9), (14, 18))):
    """Motion with turning wrist in the active seconds, and noise to listen to."""
    rng = np.random.default_rng(seed)
    imu = rng.normal(0, 0.01, (seconds * 50, 6)) + np.array([0, 0, 9.81, 0, 0, 0])
    for begin, end in active:
        imu[begin * 50 : end * 50, 3] += rng.normal(0, 1, (end - begin) * 50)
    return imu.astype(np.float32), rng.normal(0, 0.05, seconds * 1000).astype(np.float32)


def replay(pipeline, imu, audio, cuts=(), audio_cuts=None):
    """Feed both in chunks that end at the cuts, and the rest."""
    audio_cuts = [20 * cut for cut in cuts] if audio_cuts is None else audio_cuts
    events = []
    for motion, sound in zip(np.split(imu, cuts), np.split(audio, audio_cuts), strict=True):
        events += pipeline.stream(motion, sound)
    return events


def assert_same(found, expected, tolerance=1e-5):
    assert [(e.kind, e.label, e.modality) for e in found] == [
        (e.kind, e.label, e.modality) for e in expected
    ]
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.time == pytest.approx(theirs.time, abs=1e-9)
        assert ours.probability == pytest.approx(theirs.probability, abs=tolerance)


@pytest.fixture(scope="module")
def networks():
    torch.manual_seed(0)
    detector, classifier = EventDetector(8), WatchHARClassifier(3, width=0.1)
    detector.head.bias.data.fill_(0.05)  # some windows are events, others not
    return TorchModels(detector, classifier)


@pytest.mark.parametrize("chunk", [1, 7, 50, 173, 2000])
def test_stream_equals_batch(networks, chunk):
    imu, audio = signal(20)
    options = Settings(on=0.5, off=0.5, patience=1)
    expected = classify_recording(networks, NAMES, imu, audio, settings=options)
    pipeline = WatchHARPipeline(networks, NAMES, settings=options)
    assert_same(replay(pipeline, imu, audio, range(chunk, 1000, chunk)), expected)
    assert sum(e.kind == "activity" for e in expected) > 20


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 1000), max_size=12), st.data())
def test_chunks_of_any_length_give_the_same_events(cuts, data):
    imu, audio = signal(20)
    expected = classify_recording(Loudness(), NAMES, imu, audio)
    cuts = sorted(cuts)
    # sound up to half a second late or early
    shifts = data.draw(
        st.lists(st.integers(-500, 500), min_size=len(cuts), max_size=len(cuts)), label="shifts"
    )
    audio_cuts = sorted(np.clip([20 * c + s for c, s in zip(cuts, shifts, strict=True)], 0, 20000))
    pipeline = WatchHARPipeline(Loudness(), NAMES)
    assert_same(replay(pipeline, imu, audio, cuts, audio_cuts), expected)
    assert {e.kind for e in expected} == {"start", "activity", "end"}


def test_probabilities_are_averaged_from_the_beginning_of_each_event():
    imu, audio = signal(20)
    events = WatchHARPipeline(Loudness(), NAMES).stream(imu, audio)
    starts = [k for k, e in enumerate(events) if e.kind == "start"]
    assert len(starts) == 2
    for k in starts:
        ends = [round(50 * e.time) for e in events[k + 1 : k + 3]]
        rows = [
            Loudness().classify(imu[None, n - 50 : n], audio[None, 20 * n - 975 : 20 * n - 25])[0]
            for n in ends
        ]
        first, second = (np.exp(r - r.max()) / np.exp(r - r.max()).sum() for r in rows)
        assert events[k + 1].probability == pytest.approx(first.max(), abs=1e-6)
        mean = 0.35 * second + 0.65 * first
        assert events[k + 2].probability == pytest.approx(mean.max(), abs=1e-6)


def test_the_microphone_follows_the_detector():
    imu, audio = signal(20)
    pipeline = WatchHARPipeline(Loudness(), NAMES)
    recorded, events = 0, []
    for second in range(20):
        wanted = pipeline.microphone_wanted
        recorded += wanted
        sound = audio[second * 1000 : (second + 1) * 1000] if wanted else None
        events += pipeline.stream(imu[second * 50 : (second + 1) * 50], sound)
    assert 5 < recorded < 16
    activities = [e for e in events if e.kind == "activity"]
    # no window is judged before a second of sound has been heard, none without sound
    assert activities and {e.modality for e in activities} == {"both"}
    start = next(e for e in events if e.kind == "start")
    assert start.time + 0.9 < activities[0].time <= start.time + 1.2


def test_a_missing_microphone_leaves_motion():
    imu, _ = signal(20)
    expected = classify_recording(Loudness(), NAMES, imu)
    pipeline = WatchHARPipeline(Loudness(), NAMES)
    events = [e for second in np.split(imu, 20) for e in pipeline.stream(second)]
    # the last second of an event may still wait for sound when the recording is over
    assert_same(events, expected[: len(events)])
    assert len(expected) - len(events) <= 5
    assert {e.modality for e in events if e.kind == "activity"} == {"imu"}


def test_a_blocked_microphone_delivers_zeros():
    imu, audio = signal(20)
    events = WatchHARPipeline(Loudness(), NAMES).stream(imu, 0 * audio)
    assert {e.modality for e in events if e.kind == "activity"} == {"imu"}


def test_a_microphone_that_comes_back_is_heard_again():
    imu, audio = signal(20, active=((3, 18),))
    pipeline = WatchHARPipeline(Loudness(), NAMES)
    heard = [*range(8), *range(13, 20)]
    modality = {}
    for s in range(20):
        sound = audio[s * 1000 : (s + 1) * 1000] if s in heard else None
        for event in pipeline.stream(imu[s * 50 : (s + 1) * 50], sound):
            if event.kind == "activity":
                modality[round(event.time, 2)] = event.modality
    assert modality[7.0] == "both" and modality[11.0] == "imu" and modality[16.0] == "both"
    # the first second after its return has no complete window of sound
    assert 13.6 not in modality


@pytest.mark.parametrize("gap", [0.5, 7.0])
def test_after_a_gap_everything_begins_anew(gap):
    imu, _ = signal(20, active=((3, 18),))
    times = np.arange(1000) / 50 + 100
    times[400:] += gap
    pipeline = WatchHARPipeline(Loudness(), NAMES)
    events = pipeline.stream(imu, imu_time=times)
    ends = [e.time for e in events if e.kind == "end"]
    starts = [e.time for e in events if e.kind == "start"]
    assert ends[0] == pytest.approx(108.0)
    assert starts[1] == pytest.approx(108 + gap + 3)
    alone = WatchHARPipeline(Loudness(), NAMES)
    later = alone.stream(imu[400:], imu_time=times[400:])
    assert_same([e for e in events if e.time > 108 + gap], later)


def test_sound_with_times_is_placed_by_them():
    imu, audio = signal(20)
    times = np.arange(1000) / 50 + 50
    expected = WatchHARPipeline(Loudness(), NAMES).stream(imu, audio)
    pipeline = WatchHARPipeline(Loudness(), NAMES)
    events = []
    for s in range(20):
        part = slice(s * 50, (s + 1) * 50)
        chunk = audio[s * 1000 : (s + 1) * 1000]
        events += pipeline.stream(imu[part], chunk, imu_time=times[part], audio_time=50.0 + s)
    for ours, theirs in zip(events, expected, strict=True):
        assert ours.time == pytest.approx(theirs.time + 50)
        assert ours.probability == pytest.approx(theirs.probability, abs=1e-9)


def test_a_gap_in_sound_is_not_bridged():
    imu, audio = signal(20, active=((3, 18),))
    times = np.arange(1000) / 50
    pipeline = WatchHARPipeline(Loudness(), NAMES)
    times_of = {}
    for s in range(20):
        late = 0.3 if s >= 10 else 0.0  # 0.3 s of sound are lost at 10 s
        sound = audio[int((s + late) * 1000) : int((s + 1 + late) * 1000)]
        part = slice(s * 50, (s + 1) * 50)
        for e in pipeline.stream(imu[part], sound, imu_time=times[part], audio_time=s + late):
            times_of.setdefault(e.modality, []).append(round(e.time, 2))
    # windows that would hold sound from both sides of the gap are left out
    assert not [t for t in times_of["both"] if 10.1 < t < 11.2]
    assert 10.0 in times_of["both"] and 11.4 in times_of["both"]


def test_16_khz_audio_is_decimated_on_the_way():
    imu, _ = signal(20)
    rng = np.random.default_rng(1)
    fast = rng.normal(0, 0.05, 20 * 16000).astype(np.float32)
    for low_pass in (False, True):
        slow = decimate(fast, 16, low_pass=low_pass)
        expected = WatchHARPipeline(Loudness(), NAMES).stream(imu, slow)
        pipeline = WatchHARPipeline(Loudness(), NAMES, audio_rate=16000, low_pass=low_pass)
        cuts = list(range(13, 1000, 61))
        found = replay(pipeline, imu, fast, cuts, [320 * cut + 5 for cut in cuts])
        assert_same(found, expected[: len(found)])
        assert len(found) >= len(expected) - 1


def test_slightly_wrong_rates_are_resampled_and_others_refused():
    imu, _ = signal(20)
    pipeline = WatchHARPipeline(Loudness(), NAMES, imu_rate=51)
    events = pipeline.stream(imu)
    assert events[0].kind == "start" and events[0].time % 1 == pytest.approx(0)
    with pytest.raises(ValueError, match="measured sample rate 100.0 Hz, expected 50 Hz within 5"):
        WatchHARPipeline(Loudness(), NAMES, imu_rate=100)
    with pytest.raises(ValueError, match="measured sample rate 25.0 Hz"):
        WatchHARPipeline(Loudness(), NAMES).stream(imu, imu_time=np.arange(1000) / 25)
    with pytest.raises(ValueError, match="pass a multiple of 1000 Hz, such as 16000"):
        WatchHARPipeline(Loudness(), NAMES, audio_rate=44100)


def test_nan_is_refused_or_held():
    imu, audio = signal(20)
    broken = imu.copy()
    broken[430:432, 3] = np.nan
    with pytest.raises(ValueError, match="motion holds 2 values that are NaN or infinite"):
        WatchHARPipeline(Loudness(), NAMES).stream(broken, audio)
    held = imu.copy()
    held[430:432, 3] = held[429, 3]
    hold = Settings(nan="hold")
    found = WatchHARPipeline(Loudness(), NAMES, settings=hold).stream(broken, audio)
    assert_same(found, WatchHARPipeline(Loudness(), NAMES).stream(held, audio))
    # also at the seam of two chunks
    pipeline = WatchHARPipeline(Loudness(), NAMES, settings=hold)
    assert_same(replay(pipeline, broken, audio, [430]), found)
    audio[500] = np.inf
    with pytest.raises(ValueError, match="audio holds 1 values"):
        WatchHARPipeline(Loudness(), NAMES).stream(imu, audio)


def test_a_refused_chunk_leaves_the_stream_as_it_was():
    imu, audio = signal(20)
    pipeline = WatchHARPipeline(Loudness(), NAMES)
    events = pipeline.stream(imu[:500], audio[:10000])
    with pytest.raises(ValueError, match="NaN"):
        pipeline.stream(np.full((10, 6), np.nan), audio[:200])
    events += pipeline.stream(imu[500:], audio[10000:])
    assert_same(events, classify_recording(Loudness(), NAMES, imu, audio))


def test_unknown_activities_are_named_so():
    imu, audio = signal(20)
    never = Settings(max_energy=-1e9)
    events = WatchHARPipeline(Loudness(), NAMES, settings=never).stream(imu, audio)
    assert {e.label for e in events if e.kind == "activity"} == {UNKNOWN}


def test_wrong_units_are_noticed_before_the_first_event():
    imu, audio = signal(20)
    in_g = imu / np.float32(9.81)
    with pytest.raises(ValueError, match="looks like g"):
        WatchHARPipeline(Loudness(), NAMES).stream(in_g, audio)


def test_inconsistent_calls_are_refused():
    imu, audio = signal(4, active=())
    pipeline = WatchHARPipeline(Loudness(), NAMES)
    pipeline.stream(imu[:50])
    with pytest.raises(ValueError, match="in all or in none"):
        pipeline.stream(imu[50:52], imu_time=[1.0, 1.02])
    with pytest.raises(ValueError, match="needs imu_time"):
        pipeline.stream(imu[50:52], audio[:40], audio_time=1.0)
    with pytest.raises(ValueError, match="more than 2 s ahead of motion"):
        WatchHARPipeline(Loudness(), NAMES).stream(imu[:10], audio)
    with pytest.raises(ConfigError, match="did you mean 'hold'"):
        Settings(nan="holdd")
    with pytest.raises(ValueError, match="hop has to divide"):
        Settings(hop=7)
    with pytest.raises(ValueError, match="alpha is 0"):
        Settings(alpha=0)
    imu, audio = signal(20)
    with pytest.raises(ValueError, match="1 class names for 3 logits"):
        WatchHARPipeline(Loudness(), NAMES[:1]).stream(imu, audio)
    with pytest.raises(ValueError, match="takes 150"):
        classify_recording(Loudness(), NAMES, imu[:149])


def test_reset_forgets():
    imu, audio = signal(20)
    pipeline = WatchHARPipeline(Loudness(), NAMES)
    first = pipeline.stream(imu[:700], audio[:14000])
    pipeline.reset()
    again = pipeline.stream(imu[:700], audio[:14000])
    assert first == again and isinstance(first[0], Event)


def test_an_hour_needs_no_more_memory_than_a_minute():
    imu, audio = signal(60, active=((10, 30),))
    pipeline = WatchHARPipeline(Loudness(), NAMES, settings=Settings(detector_hop=150, hop=50))
    tracemalloc.start()
    try:
        for minute in range(60):
            for s in range(0, 60, 5):
                pipeline.stream(imu[s * 50 : (s + 5) * 50], audio[s * 1000 : (s + 5) * 1000])
            if minute == 4:
                gc.collect()
                before = tracemalloc.get_traced_memory()[0]
        gc.collect()
        growth = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert growth < 20_000


@given(st.lists(st.integers(0, 9), max_size=20), st.integers(1, 8))
def test_ring_holds_the_last_rows(lengths, capacity):
    ring, written = Ring(capacity), np.empty(0)
    for length in lengths:
        rows = np.arange(len(written), len(written) + length, dtype=float)
        ring.push(rows)
        written = np.concatenate([written, rows])
    kept = min(capacity, len(written))
    assert ring.end == len(written)
    assert ring.window(ring.end - kept, ring.end).tolist() == written[ring.end - kept :].tolist()
