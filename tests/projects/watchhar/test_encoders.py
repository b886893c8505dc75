import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from common.errors import ConfigError
from projects.watchhar.audio_encoder import AudioEncoder, load_weights, rounded
from projects.watchhar.classifier import WatchHARClassifier
from projects.watchhar.frontend import FrontEnd
from projects.watchhar.imu_encoder import IMUEncoder

IMU, AUDIO = torch.zeros(1, 50, 6), torch.zeros(1, 950)


def parameters(module):
    return sum(p.numel() for p in module.parameters()) / 1e6


def million_macs(module, *inputs):
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        module.eval()(*inputs)
    return counter.get_total_flops() / 2e6


def test_parameters_are_those_of_the_paper():
    model = WatchHARClassifier()
    assert parameters(model.imu_encoder) == pytest.approx(0.83, abs=0.005)
    assert parameters(model.audio_encoder) == pytest.approx(1.08, abs=0.02)
    assert parameters(model.fusion) + parameters(model.head) == pytest.approx(0.44, abs=0.005)
    assert parameters(model) - parameters(model.frontend) == pytest.approx(2.35, abs=0.02)


def test_multiplications_are_those_of_the_paper():
    with pytest.warns(UserWarning, match="34 of 64"):
        model = WatchHARClassifier(frontend=FrontEnd(mode="compat"))
    spectrogram = torch.zeros(1, 96, 64)
    assert million_macs(model.frontend, AUDIO) == pytest.approx(0.21, abs=0.005)
    assert million_macs(model.imu_encoder, IMU) == pytest.approx(8.4, abs=0.05)
    assert million_macs(model.audio_encoder, spectrogram) == pytest.approx(8.3, abs=0.05)
    assert million_macs(model, IMU, AUDIO) == pytest.approx(17.3, abs=0.05)


def test_imu_encoder_by_hand():
    encoder = IMUEncoder()
    third = encoder.convolutions[8]
    assert encoder.projection[1].in_features == 5 * 256
    assert third.in_channels == third.out_channels == 256
    assert parameters(encoder) * 1e6 == 7936 + 2 * 327_936 + 3 * 512 + 163_968


@pytest.mark.parametrize("width, features", [(0.1, 128), (0.5, 640), (1.0, 1280)])
def test_width_scales_the_audio_encoder(width, features):
    encoder = AudioEncoder(width).eval()
    with torch.no_grad():
        assert encoder(torch.zeros(1, 96, 64)).shape == (1, features)


def test_channels_are_multiples_of_eight_that_lose_at_most_a_tenth():
    assert [rounded(c) for c in (1, 12, 36, 60, 100, 92, 10)] == [8, 16, 40, 64, 104, 96, 16]
    assert all(rounded(c) % 8 == 0 and rounded(c) >= 0.9 * c for c in range(1, 500))


def test_a_single_window_keeps_its_batch_dimension():
    model = WatchHARClassifier().eval()
    assert model(IMU, AUDIO).shape == (1, 27)
    assert model.features(IMU, AUDIO).shape == (1, 256)


def test_nine_axes_are_refused():
    with pytest.raises(ValueError, match="6 axes, accelerometer first"):
        WatchHARClassifier()(torch.zeros(1, 50, 9), AUDIO)


def test_too_short_windows_are_refused():
    with pytest.raises(ValueError, match="takes \\(batch, 50, 6\\)"):
        IMUEncoder()(torch.zeros(1, 49, 6))
    with pytest.raises(ValueError, match="at least 32"):
        IMUEncoder(samples=31)
    IMUEncoder(samples=32)


def test_wrong_options_are_refused():
    with pytest.raises(ConfigError, match="did you mean 'audio'"):
        WatchHARClassifier(modality="audi")
    with pytest.raises(ValueError, match="width is 0"):
        AudioEncoder(0)


def test_weights_that_do_not_fit_are_refused(tmp_path):
    safetensors = pytest.importorskip("safetensors.torch")
    encoder = AudioEncoder(0.1)
    path = tmp_path / "weights.safetensors"
    safetensors.save_file(encoder.state_dict(), path)
    other = AudioEncoder(0.1)
    load_weights(other, path)
    for ours, theirs in zip(encoder.parameters(), other.parameters(), strict=True):
        assert torch.equal(ours, theirs)
    safetensors.save_file({**encoder.state_dict(), "projection.0.bias": torch.zeros(7)}, path)
    with pytest.raises(ValueError, match=r"0.bias has shape \(7,\), expected \(128,\)"):
        load_weights(other, path)
    with pytest.raises(ValueError, match="is missing; .* more"):
        load_weights(AudioEncoder(0.5), path)
