"""Attend & Discriminate, its losses, and VGGish, against counts by hand and invariants."""

import numpy as np
import pytest
import torch
from torch import nn

from projects.watchhar.attend import AttendDiscriminate, CrossAxes
from projects.watchhar.augmentation import NONE
from projects.watchhar.baseline_networks import VGGish
from projects.watchhar.baselines import Network
from projects.watchhar.data import Windows
from projects.watchhar.discrimination import Centres, Objective
from projects.watchhar.training import Settings


def weights(module):
    return sum(parameter.numel() for parameter in module.parameters())


def test_vggish_has_its_72_million_weights():
    with torch.device("meta"):
        model = VGGish(27, nn.Identity())
    convolutions = sum(
        9 * inputs * outputs + outputs
        for inputs, outputs in [(1, 64), (64, 128), (128, 256), (256, 256), (256, 512), (512, 512)]
    )
    dense = 6 * 4 * 512 * 4096 + 4096 + 4096 * 4096 + 4096 + 4096 * 128 + 128
    assert convolutions + dense == 72_141_184  # as Hershey's network is known to have
    assert weights(model) == 72_141_184 + 2 + 128 * 27 + 27  # scale of the image, last layer


def test_vggish_sees_patterns_and_not_where_levels_lie():
    """Decibels are scaled by the batch, so a louder recording of the same is the same."""
    model = VGGish(3, nn.Identity(), width=0.125, mels=16).train()
    image = torch.randn(4, 96, 16)
    assert torch.allclose(model(image), model(2 * image + 7), atol=1e-3)
    with pytest.raises(ValueError, match="image of 8 by 64"):
        VGGish(3, nn.Identity(), frames=8)


def test_attend_and_discriminate_has_the_weights_of_its_layers():
    model = AttendDiscriminate(5, axes=3, channels=4, hidden=7)
    convolutions = (5 * 4 + 4) + 3 * (5 * 4 * 4 + 4)
    across = 3 * 4 * 4 + 1
    gru = sum(3 * 7 * (inputs + 7) + 2 * 3 * 7 for inputs in (3 * 4, 7))
    assert weights(model) == convolutions + across + gru + (7 + 1) + (7 * 5 + 5)
    with pytest.raises(ValueError, match="16 samples; 4 convolutions of 5 need at least 17"):
        model(torch.zeros(1, 16, 3))


def test_attention_shares_sum_to_one_and_follow_the_axes():
    torch.manual_seed(0)
    layer, tokens = CrossAxes(4), torch.randn(2, 5, 6, 4)
    assert torch.equal(layer(tokens), tokens)  # its weight begins at zero
    layer.weight.data.fill_(0.7)
    assert torch.allclose(layer.shares(tokens).sum(dim=-1), torch.ones(2, 5, 6))
    order = torch.tensor([3, 1, 0, 5, 2, 4])
    assert torch.allclose(layer(tokens[:, :, order]), layer(tokens)[:, :, order], atol=1e-6)
    # each moment for itself
    assert torch.allclose(layer(tokens[:, 2:3]), layer(tokens)[:, 2:3], atol=1e-6)


def test_moments_share_one_and_equal_states_share_alike():
    model = AttendDiscriminate(5)
    states = torch.randn(2, 9, 128)
    assert torch.allclose(model.moments(states).sum(dim=1), torch.ones(2, 1))
    even = model.moments(states[:, :1].expand(-1, 9, -1))
    assert torch.allclose(even, torch.full((2, 9, 1), 1 / 9))


def test_centres_follow_the_features_of_their_class():
    centres, generator = Centres(), torch.Generator().manual_seed(0)
    means = torch.tensor([[3.0, 0.0], [0.0, -2.0]])
    labels = torch.arange(40) % 2
    for _ in range(30):
        features = means[labels] + 0.1 * torch.randn(40, 2, generator=generator)
        loss = centres(features, labels)
    assert torch.allclose(centres.of(torch.arange(2)), means, atol=0.1)
    assert float(loss) == pytest.approx(0.1**2, rel=0.6)  # half of two variances of 0.01


def test_the_pull_is_towards_the_centre():
    centres = Centres()
    features = torch.tensor([[2.0, 0.0], [0.0, 4.0]], requires_grad=True)
    centres(features, torch.tensor([0, 1])).backward()
    assert features.grad.tolist() == [[1.0, 0.0], [0.0, 2.0]]


def test_mixed_windows_have_the_loss_of_both_classes():
    """Two windows, swapped: by hand, twice s * s + (1 - s) * (1 - s)."""
    seen = []

    def criterion(logits, truth):
        seen.append((logits, truth))
        return logits[torch.arange(len(truth)), truth].sum()

    x, labels = torch.eye(2), torch.tensor([0, 1])
    loss = Objective(criterion, mixup=0.8, seed=1)(nn.Identity(), [x], labels)
    (logits, _), (_, other) = seen
    share = float(logits[0, 0])
    assert other.tolist() == [1, 0] and 0 < share < 1
    assert float(loss) == pytest.approx(2 * (share**2 + (1 - share) ** 2))
    assert float(Objective(criterion)(nn.Identity(), [x], labels)) == 2
    with pytest.raises(ValueError, match="neither may be negative"):
        Objective(criterion, centre=-1)


@pytest.mark.parametrize(
    ("build", "inputs", "options"),
    [
        (
            lambda: AttendDiscriminate(2, channels=8, hidden=16),
            "imu",
            {"mixup": 0.8, "centre": 0.3},
        ),
        (lambda: VGGish(2, Frames(), width=0.05, frames=16, mels=16), "audio", {}),
    ],
)
def test_it_learns_what_can_be_learned(build, inputs, options):
    rng = np.random.default_rng(0)
    labels = np.arange(48) % 2
    imu = rng.normal(0, 1, (48, 24, 6)).astype(np.float32)
    imu[:, :, 2] += 3 * labels[:, None]
    audio = 0.05 * rng.normal(0, 1, (48, 256)) * (1 + 3 * labels[:, None])
    names = np.repeat("a", 48)
    windows = Windows(imu, labels, names, names, ("still", "moved"), audio.astype(np.float32))
    settings = Settings(
        epochs=12, learning_rate=5e-3, batch=8, loss="softmax", augmentation=NONE, **options
    )
    model = Network(build, settings, inputs=inputs).fit(windows, windows)
    assert (model.predict_proba(windows).argmax(axis=1) == labels).mean() > 0.9


class Frames(nn.Module):
    """Power of single samples as an image."""

    def forward(self, audio):
        return audio.reshape(-1, 16, 16).abs()
