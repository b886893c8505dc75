"""Where the trained reference models are: shipped, cached, or trained when there is none yet."""

from __future__ import annotations

import hashlib
import logging
import os
from pathlib import Path

from common.llm.corpus import corpus
from common.llm.reference import ReferenceSpec, preset
from common.locks import locked
from common.results import read_json

log = logging.getLogger(__name__)
SHIPPED = Path(__file__).parent / "models"


def models_root() -> Path:
    """Return the folder of models: ``models`` in ``$REPRISE_CACHE``, else in the user's cache."""
    chosen = os.environ.get("REPRISE_CACHE")
    if chosen:
        return Path(chosen).expanduser().absolute() / "models"
    import pooch

    return Path(pooch.os_cache("reprise")) / "models"


def model_folder(spec: ReferenceSpec, name: str) -> Path:
    """Return where a model of this specification and this machine's corpus is kept."""
    key = hashlib.sha256((spec.digest() + corpus(spec.source).digest).encode()).hexdigest()
    return models_root() / f"{name}-{key[:16]}"


def reference_model(
    name: str = "reference", *, spec: ReferenceSpec | None = None, device: str = "cpu"
) -> Path:
    """Return the directory of a reference model.

    Those that ship with the package are taken as they are, so that results compare between
    machines. Any other is trained on this machine's sources, once, within its budget; another
    process that wants the same model waits for it.

    Parameters
    ----------
    name : str
        ``"reference"``, ``"small"`` or ``"draft"``.
    spec : ReferenceSpec, optional
        Another specification to keep under this name.
    device : str
        Where to train, if it has to be.

    Raises
    ------
    ConfigError
        For an unknown name without a specification.
    DataError
        If the cache cannot be written.
    MissingExtra
        If transformers is not installed.
    """
    wanted = spec or preset(name)
    if ships(wanted, name):
        return SHIPPED / name
    folder = model_folder(wanted, name)
    if is_complete(folder):
        return folder
    with locked(folder.with_name(f"{folder.name}.lock"), f"trains {folder.name}"):
        if not is_complete(folder):  # another process may have trained it meanwhile
            from common.errors import require

            require("transformers", "llm")
            from common.llm.training import train

            log.info("training the %s model, once, within %.0f s", name, wanted.seconds)
            train(wanted, folder, device=device)
    return folder


def ships(spec: ReferenceSpec, name: str) -> bool:
    """Whether the package holds a model of this name that was trained by this specification."""
    folder = SHIPPED / name
    return is_complete(folder) and read_json(folder / "card.json")["spec_digest"] == spec.digest()


def is_complete(folder: Path) -> bool:
    """Whether a trained model is there; its folder appears as a whole."""
    return (folder / "card.json").is_file() and (folder / "model.safetensors").is_file()
