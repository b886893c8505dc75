import pytest
import torch

from projects.watchhar.classifier import WatchHARClassifier
from projects.watchhar.frontend import FrontEnd
from projects.watchhar.fusion import GatedFusion

IMU, AUDIO = torch.randn(4, 50, 6), torch.randn(4, 950) * 0.1


def test_by_hand_with_identity_matrices():
    fusion = GatedFusion(2, 2, 2).eval()
    for projection in (fusion.project_imu, fusion.project_audio):
        torch.nn.init.eye_(projection[0].weight)
        torch.nn.init.zeros_(projection[0].bias)
        projection[2].eps = 0.0
    for layer in (fusion.gate_imu, fusion.gate_audio, fusion.mix):
        torch.nn.init.zeros_(layer.weight)
        torch.nn.init.zeros_(layer.bias)
    torch.nn.init.eye_(fusion.mix.weight)
    fusion.gate_audio.bias.data.fill_(1e9)  # audio passes whole, motion by half
    with torch.no_grad():
        fused = fusion(torch.tensor([[2.0, -1.0]]), torch.tensor([[10.0, 20.0]]))
        alone = fusion(torch.tensor([[2.0, -1.0]]), None)
    torch.testing.assert_close(fused, torch.tensor([[11.0, 20.0]]))
    torch.testing.assert_close(alone, torch.tensor([[1.0, 0.0]]))


def test_audio_dropout_leaves_out_whole_samples():
    torch.manual_seed(0)
    fusion = GatedFusion(audio_dropout=0.5).train()
    gated = torch.ones(1000, 256)
    kept = fusion._drop(gated)
    assert set(kept.unique().tolist()) == {0.0, 1.0}
    assert (kept.std(dim=1) == 0).all()
    assert 400 < kept[:, 0].sum() < 600
    assert torch.equal(fusion.eval()._drop(gated), gated)


def test_a_missing_microphone_needs_no_audio_path():
    model = WatchHARClassifier(4, width=0.1).eval()
    expected = model.head(model.fusion(model.imu_encoder(IMU), None))
    assert torch.equal(model(IMU), expected)
    assert not torch.allclose(model(IMU), model(IMU, AUDIO))


@pytest.mark.parametrize("modality", ["both", "imu", "audio"])
def test_every_parameter_of_every_variant_is_trained(modality):
    model = WatchHARClassifier(4, FrontEnd(trainable=True), width=0.1, modality=modality)
    model(IMU, AUDIO).square().sum().backward()
    assert all(p.grad is not None for p in model.parameters())


def test_single_modalities_say_what_they_need():
    with pytest.raises(ValueError, match="needs motion; imu is None"):
        WatchHARClassifier(4, modality="imu")(None, AUDIO)
    with pytest.raises(ValueError, match="cannot run without audio"):
        WatchHARClassifier(4, modality="audio")(IMU)
    with pytest.raises(ValueError, match="allowed is 0 <= p < 1"):
        GatedFusion(audio_dropout=1.0)
