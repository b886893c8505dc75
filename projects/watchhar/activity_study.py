"""What the experiments on activities compare, and on which windows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from common.errors import DataError
from projects.watchhar import samosa, synthetic
from projects.watchhar.baselines import Network
from projects.watchhar.data import CLASSES, Windows

if TYPE_CHECKING:
    from torch import nn

    from common.run import Run


MIXUP, CENTRE = 0.8, 0.3  # of Attend & Discriminate; not confirmed
VGG_WIDTH = 0.125


def activity_windows(run: Run) -> tuple[Windows, str]:
    """Windows and what observations call their source.

    With the parameter ``imported``, the user's own SAMoSA recordings where there are any.

    Raises
    ------
    DataError
        If only real data will do and none was imported.
    """
    params = run.params
    if params["imported"] and run.data_mode != "synthetic":
        windows = samosa.samosa_windows(params["hop"])
        if windows is not None:
            run.own_data(samosa.NAME, samosa.imported_files())
            return windows, samosa.NAME
        if run.data_mode == "real":
            raise DataError(
                "no recording of SAMoSA was imported; `watchhar data import-samosa FOLDER` brings "
                "your own download"
            )
    classes = CLASSES if params["classes"] == "all" else params["classes"]
    run.synthetic(synthetic.NAME, synthetic.ABOUT)
    return _generated(run, classes), synthetic.NAME


def open_windows(run: Run) -> tuple[Windows, Windows, str]:
    """Windows of known and of unknown activities of the same participants, and their source."""
    known, unknown = run.params["classes"], run.params["unknown"]
    run.synthetic(synthetic.NAME, synthetic.ABOUT)
    everything = _generated(run, [*known, *unknown])
    parts = []
    for classes, offset in ((known, 0), (unknown, len(known))):
        chosen = everything.select((everything.labels // len(known) > 0) == (offset > 0))
        labels = chosen.labels - offset
        columns = (chosen.participants, chosen.recordings)
        parts.append(Windows(chosen.imu, labels, *columns, tuple(classes), chosen.audio))
    return *parts, synthetic.NAME


def _generated(run: Run, classes: list[str] | tuple[str, ...]) -> Windows:
    params = run.params
    names = ("participants", "takes", "seconds", "hop")
    sizes = {name: params[name] for name in names}
    low_pass = params.get("low_pass", False)
    return synthetic.synth_samosa(run.rng("data"), classes=classes, low_pass=low_pass, **sizes)


def classifiers(run: Run, windows: Windows) -> dict[str, Callable[[], Network]]:
    """Makers of the classifier and of its baselines, by name."""
    from projects.watchhar.attend import AttendDiscriminate
    from projects.watchhar.augmentation import Augmentation
    from projects.watchhar.baseline_networks import DeepConvLSTM, LateFusion, TinyHAR, VGGish
    from projects.watchhar.frontend import FrontEnd
    from projects.watchhar.training import Settings

    params, num_classes = run.params, windows.num_classes
    settings = Settings(**params["training"], augmentation=Augmentation())
    apart = replace(settings, mixup=MIXUP, centre=CENTRE)
    front_end = partial(FrontEnd, mode=params["front_end"])
    device = "cuda" if run.target == "gpu" else "cpu"

    def network(
        build: Callable[[], nn.Module], settings: Settings = settings, **options: Any
    ) -> Callable[[], Network]:
        return partial(Network, build, settings, device=device, **options)

    watchhar = partial(_watchhar, params, num_classes)
    released = {"normalise": "released", "population": windows}
    return {
        "watchhar": network(watchhar),
        "watchhar released": network(partial(watchhar, mode="compat"), **released),
        "motion only": network(partial(watchhar, modality="imu")),
        "sound only": network(partial(watchhar, modality="audio")),
        "late fusion": network(lambda: LateFusion(num_classes, front_end(), channels=8)),
        "deepconvlstm": network(lambda: DeepConvLSTM(num_classes), inputs="imu"),
        "tinyhar": network(lambda: TinyHAR(num_classes), inputs="imu"),
        "attend and discriminate": network(
            lambda: AttendDiscriminate(num_classes), apart, inputs="imu"
        ),
        "vggish": network(
            lambda: VGGish(num_classes, front_end(), width=VGG_WIDTH, mels=front_end().n_mels),
            inputs="audio",
        ),
    }


def _watchhar(
    params: dict[str, Any], num_classes: int, *, modality: str = "both", mode: str = ""
) -> nn.Module:
    """The classifier; parameters may narrow its motion encoder and weaken its dropout."""
    from torch import nn

    from projects.watchhar.classifier import WatchHARClassifier
    from projects.watchhar.frontend import FrontEnd
    from projects.watchhar.imu_encoder import IMUEncoder

    frontend = FrontEnd(mode=mode or params["front_end"])
    model = WatchHARClassifier(num_classes, frontend, params["width"], modality=modality)
    channels = params["motion_channels"]
    if modality != "audio" and channels != 256:
        model.imu_encoder = IMUEncoder(channels=(channels,) * 3)
    for layer in model.modules():
        # Running statistics that follow a hundredth of each batch still hold their initial values
        # after trainings of a few hundred; without momentum (null) they are taken anew each epoch.
        if isinstance(layer, nn.BatchNorm2d) or (
            params["norm_momentum"] is None and isinstance(layer, nn.BatchNorm1d)
        ):
            layer.momentum = params["norm_momentum"]
        elif isinstance(layer, nn.Dropout):
            layer.p *= params["dropout"]
    return model
