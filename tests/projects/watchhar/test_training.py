"""The recipe, its losses against PyTorch and scikit-learn, augmentation, baselines."""

import numpy as np
import pytest
import torch
from torch import nn

from projects.watchhar.adam import Adam
from projects.watchhar.augmentation import NONE, Augmentation
from projects.watchhar.baseline_networks import (
    DeepConvLSTM,
    LateFusion,
    LearnedFilters,
    MotionCNN,
    TinyHAR,
    WaveCNN,
)
from projects.watchhar.baselines import EnergyThreshold, Network, WindowForest, energy, statistics
from projects.watchhar.classifier import WatchHARClassifier
from projects.watchhar.data import Windows
from projects.watchhar.frontend import FrontEnd
from projects.watchhar.training import Part, Settings, fit, loss_function, predict

QUIET = Settings(epochs=5, learning_rate=0.05, augmentation=NONE)


def blobs(n=60, seed=0):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, n)
    return Part.of(labels, np.eye(3)[labels] * 4 + rng.normal(size=(n, 3)))


def test_it_learns_what_can_be_learned():
    model = nn.Linear(3, 3)
    fit(model, blobs(), blobs(seed=1), Settings(epochs=30, learning_rate=0.1, augmentation=NONE))
    answers = predict(model, blobs(seed=2).inputs).argmax(dim=1)
    assert (answers == blobs(seed=2).labels).float().mean() > 0.9


def test_the_gated_classifier_learns_a_handful_of_windows_by_heart():
    """12 windows of noise, 4 classes: right in evaluation mode too, after 20 steps."""
    generator = torch.Generator().manual_seed(0)
    imu = torch.randn(12, 50, 6, generator=generator)
    audio = 0.1 * torch.randn(12, 950, generator=generator)
    part = Part((imu, audio), torch.arange(12) % 4)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = WatchHARClassifier(4, FrontEnd(mode="narrow"), width=0.1)
    for layer in model.modules():
        if isinstance(layer, nn.Dropout):
            layer.p = 0.0
        elif isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d):
            layer.momentum = None  # running ones leave the validation loss at chance
    schedule = {"epochs": 20, "patience": 20, "patience_rate": 20}
    settings = Settings(**schedule, learning_rate=2e-3, loss="softmax", augmentation=NONE)
    losses = fit(model, part, part, settings)
    assert min(losses) < 0.3 < np.log(4)
    assert torch.equal(predict(model, part.inputs).argmax(dim=1), part.labels)


def test_adam_and_its_schedule_are_pytorchs():
    """Layouts, a parameter without gradient, and a loss that stops falling."""
    generator = torch.Generator().manual_seed(0)
    models = [nn.Sequential(nn.Conv2d(2, 3, 3), nn.Flatten(), nn.Linear(12, 2)) for _ in "ab"]
    models[1].load_state_dict(models[0].state_dict())
    for model in models:
        model.register_parameter("unused", nn.Parameter(torch.ones(2)))
        model.to(memory_format=torch.channels_last)
    ours = Adam(models[0].parameters(), rate=0.01, patience=1, least=5e-4)
    theirs = torch.optim.Adam(models[1].parameters(), lr=0.01)
    schedule = {"factor": 0.1, "patience": 1, "min_lr": 5e-4}
    plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(theirs, **schedule)
    for loss in (1.0, 0.9, 0.89999, 0.95, 0.8, 0.9, 0.9, 0.9, 0.9, 0.9):
        x = torch.randn(4, 2, 4, 4, generator=generator)
        for model in models:
            model.zero_grad()
            model(x).square().mean().backward()
        ours.step()
        theirs.step()
        ours.note(loss)
        plateau.step(loss)
        assert ours.rate == pytest.approx(theirs.param_groups[0]["lr"])
        for mine, other in zip(*(model.parameters() for model in models), strict=True):
            assert torch.allclose(mine, other, rtol=1e-5, atol=1e-7)
    assert ours.rate == 5e-4
    ours.zero()
    assert all(p.grad is None for p in models[0].parameters())


def test_the_best_weights_stay():
    model = nn.Linear(3, 3)
    noise = Part.of(blobs(seed=5).labels.numpy()[::-1], blobs(seed=6).inputs[0].numpy())
    settings = Settings(epochs=20, learning_rate=0.5, patience=3, augmentation=NONE)
    losses = fit(model, blobs(), noise, settings)
    loss = loss_function(blobs().labels, settings)(model(*noise.inputs), noise.labels)
    assert loss.item() == pytest.approx(min(losses), rel=1e-5)
    assert len(losses) == int(np.argmin(losses)) + 1 + 3  # patience ends it


def test_the_same_seed_gives_the_same_weights_and_leaves_the_global_state_alone():
    weights = []
    for seed in (1, 1, 2):
        model = nn.Sequential(nn.Linear(3, 8), nn.Dropout(0.5), nn.Linear(8, 3))
        for parameter in model.parameters():
            nn.init.constant_(parameter, 0.1)
        state = torch.random.get_rng_state()
        fit(model, blobs(), blobs(seed=1), QUIET, seed=seed)
        assert torch.equal(torch.random.get_rng_state(), state)
        weights.append(model[0].weight.detach().clone())
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


@pytest.mark.parametrize("loss", ["bce", "softmax"])
def test_losses_equal_pytorchs_with_scikit_learns_weights(loss):
    utils = pytest.importorskip("sklearn.utils.class_weight")
    labels = torch.tensor([0, 0, 0, 1, 2, 2])
    logits = torch.randn(6, 3, generator=torch.Generator().manual_seed(0))
    weights = utils.compute_class_weight("balanced", classes=np.arange(3), y=labels.numpy())
    weight = torch.tensor(weights, dtype=torch.float32)
    if loss == "bce":
        one_hot = nn.functional.one_hot(labels, 3).float()
        wanted = nn.BCEWithLogitsLoss(weight=weight)(logits, one_hot)
    else:
        wanted = nn.CrossEntropyLoss(weight=weight)(logits, labels)
    ours = loss_function(labels, Settings(loss=loss))(logits, labels)
    assert float(ours) == pytest.approx(float(wanted), rel=1e-6)


def test_event_loss_weighs_both_sides_alike():
    labels = torch.tensor([0, 1, 1, 1])
    of = loss_function(labels, Settings())
    wrong_idle = of(torch.tensor([3.0, 9.0, 9.0, 9.0]), labels)
    wrong_events = of(torch.tensor([-9.0, -3.0, -3.0, -3.0]), labels)
    assert float(wrong_idle) == pytest.approx(float(wrong_events), rel=1e-2)


def test_defaults_are_the_released_recipe():
    s = Settings()
    assert (s.learning_rate, s.batch, s.epochs, s.patience, s.patience_rate) == (4e-5, 32, 50, 5, 3)
    assert (s.loss, s.least_rate, s.class_weights) == ("bce", 1e-6, True)
    assert (s.augmentation.roll, s.augmentation.drop_channel) == (24, 0.2)


def test_empty_parts_and_diverging_losses():
    with pytest.raises(ValueError, match="60 windows to train on, 0 to validate"):
        fit(nn.Linear(3, 3), blobs(), blobs().rows(slice(0)), QUIET)
    bad = Part.of(np.array([0, 1]), np.full((2, 3), np.inf))
    with pytest.raises(ValueError, match="validation loss is nan"):
        fit(nn.Linear(3, 3), bad, bad, QUIET)
    with pytest.raises(Exception, match="unknown loss 'mse'"):
        Settings(loss="mse")


# -- augmentation --------------------------------------------------------------------------


def generator():
    return torch.Generator().manual_seed(0)


def test_rolling_only_turns_windows_round():
    imu = torch.arange(8 * 50 * 6).reshape(8, 50, 6).float()
    rolled = Augmentation(drop_channel=0).motion(imu, generator())
    shifts = set()
    for before, after in zip(imu, rolled, strict=True):
        shift = int((after[:, 0] == before[0, 0]).nonzero()[0, 0])
        assert torch.equal(after, before.roll(shift, dims=0))
        shifts.add(shift)
    assert max(shifts) <= 24
    assert len(shifts) > 1


def test_a_fifth_of_the_channels_vanish():
    imu = torch.ones(500, 50, 6)
    kept = Augmentation(roll=0).motion(imu, generator())
    per_channel = kept.mean(dim=1)
    assert set(per_channel.unique().tolist()) == {0.0, 1.0}
    assert float(1 - per_channel.mean()) == pytest.approx(0.2, abs=0.03)


def test_sound_gets_louder_noisier_and_never_by_more_than_allowed():
    audio = torch.ones(200, 950)
    louder = Augmentation(gain_db=6).sound(audio, generator())
    assert 10 ** (-6 / 20) <= float(louder.min()) < 0.6
    assert 1.7 < float(louder.max()) <= 10 ** (6 / 20)
    noisy = Augmentation(noise=0.1).sound(torch.zeros(200, 950), generator())
    assert 0 < float(noisy.std(dim=1).max()) < 0.11


def test_motion_of_some_windows_is_left_out():
    left = Augmentation(roll=0, drop_channel=0, drop_motion=0.3).motion(
        torch.ones(1000, 50, 6), generator()
    )
    assert float((left.sum(dim=(1, 2)) == 0).float().mean()) == pytest.approx(0.3, abs=0.05)


@pytest.mark.parametrize("bad", [{"drop_channel": 1.0}, {"roll": -1}, {"noise": -0.1}])
def test_bad_augmentation(bad):
    with pytest.raises(ValueError, match=next(iter(bad))):
        Augmentation(**bad)


# -- baselines -----------------------------------------------------------------------------


def shaking(n=80, seed=0):
    """Half of the windows lie still, half shake."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 2
    imu = rng.normal(0, 0.05, (n, 150, 6)) + labels[:, None, None] * rng.normal(0, 1, (n, 150, 6))
    imu[:, :, 2] += 9.81
    names = np.repeat(["a", "b"], n // 2)
    return Windows(imu.astype(np.float32), labels, names, names, ("idle", "event"))


@pytest.mark.parametrize(
    "method",
    [
        EnergyThreshold(),
        WindowForest(trees=10),
        Network(lambda: MotionCNN(1, channels=4), QUIET, inputs="imu"),
    ],
)
def test_methods_are_called_alike_and_see_what_is_plain(method):
    proba = method.fit(shaking(), shaking(seed=1)).predict_proba(shaking(seed=2))
    assert proba.shape == (80, 2)
    np.testing.assert_allclose(proba.sum(axis=1), 1, atol=1e-6)
    assert (proba.argmax(axis=1) == shaking(seed=2).labels).mean() > 0.9


def test_energy_of_a_square_wave():
    """|a| of 9 and 11 in turn has deviation sqrt(0.96) or so in every five samples."""
    imu = np.zeros((1, 150, 6))
    imu[0, :, 2] = 10 + (-1.0) ** np.arange(150)
    assert energy(imu)[0] == pytest.approx(np.std([9, 11, 9, 11, 9]))


def test_statistics_of_a_ramp():
    imu = np.zeros((1, 150, 6))
    imu[0, :, 0] = np.arange(150)
    found = statistics(imu).reshape(3, 7, 8)[:, :, 0]  # seconds, statistics, first channel
    mean, sd, low, median, high, spread, step = found.T
    np.testing.assert_allclose(mean, [24.5, 74.5, 124.5])
    np.testing.assert_allclose(sd, np.arange(50).std())
    np.testing.assert_allclose(low, [0, 50, 100])
    np.testing.assert_allclose(median, mean)
    np.testing.assert_allclose(high, [49, 99, 149])
    np.testing.assert_allclose(spread, 24.5)
    np.testing.assert_allclose(step, 1)


def test_what_is_deployed_takes_raw_motion():
    network = Network(lambda: MotionCNN(1, channels=4), QUIET, inputs="imu")
    network.fit(shaking(), shaking(seed=1))
    raw = torch.from_numpy(shaking(seed=2).imu)
    with torch.no_grad():
        ours = network.deployed()(raw).numpy()
    np.testing.assert_allclose(ours, network.logits(shaking(seed=2)), atol=1e-4)


def test_released_scaling_may_see_everybody():
    train, everybody = shaking(), shaking(seed=9)
    narrow, wide = (
        Network(lambda: MotionCNN(1, channels=4), Settings(epochs=1), inputs="imu", population=p)
        for p in (None, everybody)
    )
    narrow.fit(train, train)
    wide.fit(train, train)
    wanted = everybody.imu.reshape(-1, 6).std(axis=0)
    np.testing.assert_allclose(1 / wide.scale.scale, wanted, rtol=1e-4)
    assert not np.allclose(narrow.scale.scale, wide.scale.scale)


@pytest.mark.parametrize("build", [DeepConvLSTM, TinyHAR, MotionCNN])
def test_motion_networks_take_one_window_and_pass_gradients(build):
    model = build(27)
    logits = model.eval()(torch.randn(1, 50, 6))
    assert logits.shape == (1, 27)
    model.train()(torch.randn(4, 50, 6)).sum().backward()
    assert all(p.grad is not None for p in model.parameters())


def test_networks_on_sound_pass_gradients():
    audio = torch.randn(4, 950)
    for model in (WaveCNN(10, 1000), LearnedFilters(1000)):
        model(audio).sum().backward()
        assert all(p.grad is not None for p in model.parameters())
    fused = LateFusion(5, FrontEnd())
    fused(torch.randn(4, 50, 6), audio).sum().backward()
    assert fused.sound.frontend.mel.grad is None  # frozen
    assert fused.head.weight.grad is not None


def test_windows_of_one_batch_row_do_not_stop_training():
    part = Part.of(np.arange(33) % 2, np.random.default_rng(0).normal(size=(33, 150, 6)))
    losses = fit(MotionCNN(2, channels=4), part, part, Settings(epochs=2, augmentation=NONE))
    assert len(losses) == 2
