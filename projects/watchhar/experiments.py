"""The experiments of the paper on accuracy; those on speed are in ``speed_experiments``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from common.run import Run
    from projects.watchhar.data import Fold, Windows


def events(run: Run) -> None:
    """Event detection on real motion, leave-one-subject-out (2.1, 4)."""
    from projects.watchhar.data import leave_one_out
    from projects.watchhar.event_study import delays, detectors, subjects_recordings
    from projects.watchhar.geotec import event_windows

    rule, hop = run.params["rule"], run.params["hop"]
    recordings, dataset = subjects_recordings(run)
    train = event_windows(recordings["prolonged"], rule=rule, hop=run.params["train_hop"])
    tests = {name: event_windows(each, rule=rule, hop=hop) for name, each in recordings.items()}
    folds = leave_one_out(train.participants, validation=2, together=run.params["together"])
    by_name = {fold.name: fold for fold in folds}
    for name in run.cells(list(by_name)):
        fold = by_name[name]
        parts = train.select(fold.train), train.select(fold.validation)
        for variant, detector in detectors(run.params).items():
            detector.fit(*parts)
            for windows, everyone in tests.items():
                chosen = everyone.select(np.isin(everyone.participants, parts[1].participants))
                validation = detector.predict_proba(chosen)[:, 1]
                for subject in np.unique(train.participants[fold.test]):
                    labels = {"variant": variant, "dataset": dataset, "windows": windows}
                    labels["item"] = subject
                    tested = everyone.select(everyone.participants == subject)
                    scores = detector.predict_proba(tested)[:, 1]
                    _observe_detection(run, scores, tested, validation, chosen, **labels)
                    mine = [each for each in recordings[windows] if each.subject == subject]
                    for recording, late in delays(mine, tested, scores, hop):
                        run.observe(
                            {"detection_delay": late}, unit="s", recording=recording, **labels
                        )


def _observe_detection(
    run: Run,
    scores: np.ndarray,
    test: Windows,
    validation_scores: np.ndarray,
    validation: Windows,
    **labels: Any,
) -> None:
    from projects.watchhar.evaluation import auroc, detection, gating, threshold_for_recall

    threshold = threshold_for_recall(validation_scores, validation.labels, run.params["recall"])
    matched = detection(test.labels, scores >= threshold)
    metrics = {
        **detection(test.labels, scores >= 0.5),
        "auroc": auroc(test.labels, scores),
        "specificity_at_recall": matched["specificity"],
        "recall_at_recall": matched["recall"],
        "event_share": float(test.labels.mean()),
        **gating(test.labels, scores, test.recordings),
    }
    run.observe(metrics, **labels)
    for place in np.linspace(0, 1, 21):
        found = detection(test.labels, scores >= np.quantile(scores, place))
        point = {"roc_recall": found["recall"], "roc_false_alarms": 1 - found["specificity"]}
        run.observe(point, quantile=round(float(place), 2), **labels)


def frontend(run: Run) -> None:
    """Digits understood through each front end at each rate, leave-one-speaker-out (2.2, 4)."""
    from projects.watchhar.speech_study import accuracy, prepare, spoken_digits

    digits, dataset = spoken_digits(run)
    params = run.params
    frozen = [("frozen", rate, True) for rate in params["rates"]]
    aliased = [("frozen", rate, False) for rate in params["aliased_at"]]
    others = [(n, rate, True) for rate in params["front_ends_at"] for n in params["front_ends"]]
    for variant, rate, low_pass in run.cells([*frozen, *aliased, *others]):
        prepared = prepare(digits.audio, digits.rate, variant, rate, low_pass=low_pass)
        for speaker in np.unique(digits.speakers):
            share = accuracy(digits, speaker, prepared, params)
            labels = {"variant": variant, "rate": rate, "low_pass": low_pass}
            run.observe({"accuracy": share}, dataset=dataset, item=str(speaker), **labels)


def sounds(run: Run) -> None:
    """Ten everyday sounds through each front end at each rate, over the published folds (2.2)."""
    from projects.watchhar.data import SOURCE_HZ
    from projects.watchhar.speech_study import everyday_sounds, prepare, recognised

    clips, dataset = everyday_sounds(run)
    params, folds = run.params, np.unique(clips.folds)
    settings = [(rate, low) for rate in params["rates"] for low in (True, False)]
    settings = [(rate, low) for rate, low in settings if low or rate < SOURCE_HZ]
    cells = [(variant, *each) for variant in params["front_ends"] for each in settings]
    for variant, rate, low_pass in run.cells(cells):
        prepared = prepare(clips.audio, SOURCE_HZ, variant, rate, low_pass=low_pass)
        for fold, following in zip(folds, np.roll(folds, -1), strict=True):
            parts = clips.folds == fold, clips.folds == following
            share = recognised(clips.labels, *parts, prepared, params)
            labels = {"variant": variant, "rate": rate, "low_pass": low_pass}
            run.observe({"accuracy": share}, dataset=dataset, item=f"fold {fold}", **labels)


def activities(run: Run) -> None:
    """Recognition of activities, leave-one-participant-out, at three levels (2.7)."""
    from projects.watchhar.activity_study import activity_windows, classifiers

    windows, dataset = activity_windows(run)
    folds = {fold.name: fold for fold in tested_folds(run, windows)}
    build = classifiers(run, windows)
    cells = [(name, variant) for name in folds for variant in run.params["variants"]]
    for name, variant in run.cells(cells):
        fold, classifier = folds[name], build[variant]()
        classifier.fit(windows.select(fold.train), windows.select(fold.validation))
        for participant in np.unique(windows.participants[fold.test]):
            test = windows.select(windows.participants == participant)
            labels = {"variant": variant, "dataset": dataset, "item": participant}
            _observe_levels(run, classifier.logits(test), test, **labels)


def _observe_levels(run: Run, logits: np.ndarray, test: Windows, **labels: Any) -> None:
    from projects.watchhar.evaluation import confusion, evaluate

    truth = (test.labels, test.recordings, test.classes)
    released = evaluate(logits, *truth, pool="logits").levels
    run.observe({f"{name}_accuracy_logits": value for name, value in released.items()}, **labels)
    scores = evaluate(logits, *truth)
    for name, value in scores.levels.items():
        run.observe({f"{name}_accuracy": value}, **labels)
        run.observe({"accuracy": value}, level=name, **labels)
    for context, value in scores.by_context.items():
        run.observe({"accuracy_in_context": value}, context=context, **labels)
    counts = confusion(test.labels, logits.argmax(axis=1), test.num_classes)
    for truth, answer in np.argwhere(counts):
        pair = {"truth": test.classes[truth], "answer": test.classes[answer]}
        run.observe({"windows": counts[truth, answer]}, **pair, **labels)


def open_set(run: Run) -> None:
    """Windows of activities that were never trained: taken for known ones, or rejected (6)."""
    from projects.watchhar.activity_study import classifiers, open_windows
    from projects.watchhar.open_set import Mahalanobis, energy

    windows, unknown, dataset = open_windows(run)
    folds = {fold.name: fold for fold in tested_folds(run, windows)}
    build = classifiers(run, windows)["watchhar"]
    for name in run.cells(list(folds)):
        fold, classifier = folds[name], build()
        train, validation = windows.select(fold.train), windows.select(fold.validation)
        classifier.fit(train, validation)
        distance = Mahalanobis().fit(classifier.features(train), train.labels)
        score: dict[str, Callable[[Windows], np.ndarray]] = {
            "energy": lambda part, c=classifier: energy(c.logits(part)),
            "mahalanobis": lambda part, c=classifier, d=distance: d.score(c.features(part)),
        }
        for participant in np.unique(windows.participants[fold.test]):
            seen = windows.select(windows.participants == participant)
            unseen = unknown.select(unknown.participants == participant)
            labels = {"dataset": dataset, "item": participant}
            activates = _taken_for_known(classifier.logits(unseen), windows.classes)
            _observe_acceptance(run, "no rejection", activates, labels)
            for variant, rule in score.items():
                parts = rule(validation), rule(seen), rule(unseen)
                _observe_rejection(run, variant, *parts, activates, labels)


def _taken_for_known(logits: np.ndarray, classes: tuple[str, ...]) -> np.ndarray:
    from projects.watchhar.data import OTHER

    return np.array(classes)[logits.argmax(axis=1)] != OTHER


def _observe_acceptance(
    run: Run, variant: str, accepted: np.ndarray, labels: dict[str, Any], **more: Any
) -> None:
    """Share of unseen windows that activate, and how many an hour, one decision a second."""
    share = float(accepted.mean())
    metrics = {"unknown_accepted": share, "false_activations_per_hour": 3600 * share}
    run.observe(metrics, variant=variant, **labels, **more)


def _observe_rejection(
    run: Run,
    variant: str,
    validation: np.ndarray,
    seen: np.ndarray,
    unseen: np.ndarray,
    activates: np.ndarray,
    labels: dict[str, Any],
) -> None:
    from projects.watchhar.evaluation import auroc
    from projects.watchhar.open_set import rejection_threshold

    threshold = rejection_threshold(validation, run.params["acceptance"])
    _observe_acceptance(run, variant, activates & (unseen <= threshold), labels)
    is_unseen = np.repeat([0, 1], [len(seen), len(unseen)])
    kept = float((seen <= threshold).mean())
    area = auroc(is_unseen, np.concatenate([seen, unseen]))
    run.observe({"auroc": area, "known_accepted": kept}, variant=variant, **labels)
    for place in np.linspace(0, 1, 21):
        limit = np.quantile(seen, place)
        point = {
            "curve_known": float((seen <= limit).mean()),
            "curve_unknown": float((activates & (unseen <= limit)).mean()),
        }
        run.observe(point, variant=variant, quantile=round(float(place), 2), **labels)


def tested_folds(run: Run, windows: Windows) -> Iterator[Fold]:
    """The first folds, as many as the parameter ``folds`` says, or all."""
    from projects.watchhar.data import leave_one_out

    folds = leave_one_out(windows.participants, together=run.params["together"])
    return islice(folds, run.params["folds"])
