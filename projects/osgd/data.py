"""The paper's data as arrays: digits that are always there, and the images of CIFAR-10."""

from __future__ import annotations

import contextlib
import functools
import io
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

import numpy as np

from common.errors import DataError, did_you_mean, known

if TYPE_CHECKING:
    import torch

    from common.run import Run

CLASSES = (
    *("airplane", "automobile", "bird", "cat", "deer"),
    *("dog", "frog", "horse", "ship", "truck"),
)
SUBSET, CIFAR10, DIGITS, LARGE_DIGITS = "cifar10-jpeg-subset", "cifar10", "digits", "digits-32"
ARCHIVES = {"train": "train_1000_per_class.zip", "test": "test_200_per_class.zip"}
RECORD = 1 + 3 * 32 * 32
BATCHES = (*(f"data_batch_{number}.bin" for number in range(1, 6)), "test_batch.bin")
LARGEST_BATCH = 10_000 * RECORD
LARGEST_JPEG = 1 << 16
DAMAGE = (zipfile.BadZipFile, zlib.error, OSError, RuntimeError, NotImplementedError)
Arrays = tuple[np.ndarray, np.ndarray]
Images = tuple["np.ndarray | JpegArchive", np.ndarray]


@dataclass(frozen=True)
class Split:
    """Images or vectors to train on, to choose with and to report on.

    Attributes
    ----------
    train_x, val_x, test_x : ndarray of float32
        Inputs, (n, features) or (n, 3, 32, 32).
    train_y, val_y, test_y : ndarray of int64
        Classes, (n,).
    name : str
        What observations call the data.
    num_classes : int
        Number of classes.
    """

    train_x: np.ndarray
    train_y: np.ndarray
    val_x: np.ndarray
    val_y: np.ndarray
    test_x: np.ndarray
    test_y: np.ndarray
    name: str
    num_classes: int = 10


def load_digits_split(seed: int = 0, train: int = 600, val: int = 300) -> Split:
    """Split scikit-learn's 1,797 handwritten digits; what remains is for the test.

    Parameters
    ----------
    seed : int
        Decides who is where.
    train, val : int
        Images to train on and to choose with.

    Raises
    ------
    ValueError
        If nothing would remain for the test.

    Examples
    --------
    >>> split = load_digits_split()
    >>> split.train_x.shape, split.val_x.shape, split.test_x.shape
    ((600, 64), (300, 64), (897, 64))
    """
    x, y = _digits()
    return _parts(x, y, seed, train, val, DIGITS)


def load_images(
    run: Run,
    source: str = SUBSET,
    *,
    seed: int = 0,
    train: int = 9000,
    val: int = 1000,
    test: int = 2000,
) -> Split:
    """Load 32 x 32 colour images, mean 0 and standard deviation 1 in each channel of the training.

    Without the images, digits enlarged to their shape take their place, and say so.

    Parameters
    ----------
    run : Run
        Asked for the data; it notes where they come from.
    source : {"cifar10-jpeg-subset", "cifar10", "digits-32"}
        Data set.
    seed : int
        Decides which training images are kept for choosing; the test is always the same.
    train, val, test : int
        At most as many images of each.

    Raises
    ------
    DataError
        If an archive is damaged or names a class that does not exist.
    ConfigError
        If the source is unknown.
    """
    known(source, (SUBSET, CIFAR10, LARGE_DIGITS), "source of images")
    found = None if source == LARGE_DIGITS else run.dataset(source)
    if found is None:
        run.substitute(LARGE_DIGITS, "scikit-learn's digits enlarged to 3 x 32 x 32")
        return _large_digits(seed, train, val, test)
    if source == SUBSET:
        archives = [JpegArchive(found.files[ARCHIVES[part]]) for part in ("train", "test")]
        learned, judged = ((archive, archive.labels) for archive in archives)
    else:
        learned, judged = read_records(found.files["cifar-10-binary.tar.gz"])
    return _images(learned, judged, seed, (train, val, test), source)


def declare_digits(run: Run) -> str:
    """Tell a run that it uses the digits, and return what observations call them."""
    run.substitute(DIGITS, "scikit-learn's 8 x 8 handwritten digits in place of CIFAR-10")
    return DIGITS


def augment(x: torch.Tensor, generator: torch.Generator | None = None) -> torch.Tensor:
    """Shift every image by up to 4 pixels (zeros come in) and mirror half of them.

    Parameters
    ----------
    x : Tensor
        Images (n, channels, height, width).
    generator : Generator, optional
        Randomness, on the device of ``x``.

    Examples
    --------
    >>> import torch
    >>> augment(torch.ones(2, 3, 32, 32)).shape
    torch.Size([2, 3, 32, 32])
    """
    import torch

    n, _, height, width = x.shape
    options = {"generator": generator, "device": x.device}
    top, left = torch.randint(0, 9, (2, n, 1), **options)
    rows = top + torch.arange(height, device=x.device)
    columns = left + torch.arange(width, device=x.device)
    mirrored = torch.rand(n, 1, **options) < 0.5
    columns = torch.where(mirrored, columns.flip(1), columns)
    padded = torch.nn.functional.pad(x, (4, 4, 4, 4))
    image = torch.arange(n, device=x.device)[:, None, None]
    return padded[image, :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


class JpegArchive:
    """Images in a ZIP of ``part/class/name.jpg``, decoded in memory as they are asked for.

    Indexed by an array of numbers it gives images (n, 3, 32, 32) of uint8, as a whole array would.

    Parameters
    ----------
    path : Path
        The archive.

    Attributes
    ----------
    labels : ndarray of int64
        Class of every image, (n,).

    Raises
    ------
    DataError
        If the archive is damaged or empty or a class is unknown; when indexed, if an image is
        damaged.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with self._opened() as archive:
            self._members = [info for info in archive.infolist() if not info.is_dir()]
        if not self._members:
            raise DataError(f"{path} holds no image")
        labels = [_class_of(path, info.filename) for info in self._members]
        self.labels = np.array(labels, np.int64)

    def __len__(self) -> int:
        return len(self._members)

    def __getitem__(self, numbers: np.ndarray) -> np.ndarray:
        images = np.empty((len(numbers), 32, 32, 3), np.uint8)
        with self._opened() as archive:
            for image, number in zip(images, numbers, strict=True):
                image[:] = _decode(self.path, self._members[number], archive)
        return images.transpose(0, 3, 1, 2)

    @contextlib.contextmanager
    def _opened(self) -> Iterator[zipfile.ZipFile]:
        try:
            with zipfile.ZipFile(self.path) as archive:
                yield archive
        except DAMAGE as error:
            raise DataError(f"{self.path} is damaged or no ZIP ({error}); fetch again") from error


@functools.lru_cache(maxsize=1)
def read_records(archive: Path) -> tuple[Arrays, Arrays]:
    """Read CIFAR-10's binary archive in memory; nothing is unpacked to disk.

    Returns
    -------
    tuple
        Training and test: images (n, 3, 32, 32) of uint8 and classes (n,) of int64 of each; kept,
        so do not write to them.

    Raises
    ------
    DataError
        If the archive is damaged, a batch is missing, or a batch does not consist of whole
        records of 3,073 bytes with labels 0 to 9.
    """
    batches: dict[str, Arrays] = {}
    try:
        with tarfile.open(archive, "r:gz") as opened:
            for member in opened:
                name = Path(member.name).name
                if name in BATCHES and member.isreg():
                    batches[name] = _records(archive, name, opened.extractfile(member))
    except (tarfile.TarError, zlib.error, EOFError, OSError) as error:
        raise DataError(f"{archive} is damaged or no tar.gz ({error}); fetch it again") from error
    if missing := [name for name in BATCHES if name not in batches]:
        raise DataError(f"{archive} lacks {', '.join(missing)}; fetch it again")
    *learned, judged = (batches[name] for name in BATCHES)
    images, labels = zip(*learned, strict=True)
    return (np.concatenate(images), np.concatenate(labels)), judged


def _records(archive: Path, name: str, member: IO[bytes]) -> Arrays:
    content = member.read(LARGEST_BATCH + 1)
    if not content or len(content) % RECORD or len(content) > LARGEST_BATCH:
        raise DataError(
            f"{archive}: {name} has {len(content)} bytes; expected a multiple of {RECORD}, at most "
            f"{LARGEST_BATCH}; fetch it again"
        )
    rows = np.frombuffer(content, np.uint8).reshape(-1, RECORD)
    labels = rows[:, 0].astype(np.int64)
    if labels.max() >= len(CLASSES):
        raise DataError(f"{archive}: {name} holds label {labels.max()}; allowed are 0 to 9")
    return rows[:, 1:].reshape(-1, 3, 32, 32), labels


def _class_of(archive: Path, member: str) -> int:
    parts = member.split("/")
    label = parts[1] if len(parts) == 3 else member
    if label not in CLASSES:
        raise DataError(f"{archive}: {member!r} is of no known class{did_you_mean(label, CLASSES)}")
    return CLASSES.index(label)


def _decode(archive: Path, info: zipfile.ZipInfo, opened: zipfile.ZipFile) -> np.ndarray:
    from PIL import Image

    if info.file_size > LARGEST_JPEG:
        raise DataError(f"{archive}: {info.filename!r} is too large for a 32 x 32 JPEG; refused")
    content = opened.read(info)
    try:
        with Image.open(io.BytesIO(content), formats=("JPEG",)) as image:
            if image.size != (32, 32):  # known from the header, before anything is decoded
                raise DataError(f"{archive}: {info.filename!r} is {image.size}, not 32 x 32")
            return np.asarray(image.convert("RGB"))
    except (OSError, SyntaxError) as error:
        raise DataError(f"{archive}: {info.filename!r} is no JPEG image ({error})") from error


@functools.cache
def _digits() -> Arrays:
    """All digits, read once (scikit-learn reads text); do not write to them."""
    from sklearn.datasets import load_digits

    found = load_digits()
    return (found.data / 16).astype(np.float32), found.target.astype(np.int64)


def _large_digits(seed: int, train: int, val: int, test: int) -> Split:
    x, y = _digits()
    pixels = (255 * x.reshape(-1, 1, 8, 8)).astype(np.uint8)
    images = np.broadcast_to(pixels.repeat(4, 2).repeat(4, 3), (len(x), 3, 32, 32))
    order = np.random.default_rng(0).permutation(len(x))
    learned, judged = order[:1200], order[1200:]
    val = min(val, 300)
    sizes = (min(train, len(learned) - val), val, test)
    parts = (images[learned], y[learned]), (images[judged], y[judged])
    return _images(*parts, seed, sizes, LARGE_DIGITS)


def _parts(x: np.ndarray, y: np.ndarray, seed: int, train: int, val: int, name: str) -> Split:
    if train < 1 or val < 0 or train + val >= len(x):
        raise ValueError(
            f"train={train} and val={val} of {len(x)} images: train must be positive, val at least "
            "0, and something must remain for the test"
        )
    order = np.random.default_rng(seed).permutation(len(x))
    first, second, third = order[:train], order[train : train + val], order[train + val :]
    return Split(x[first], y[first], x[second], y[second], x[third], y[third], name)


def _images(
    learned: Images, judged: Images, seed: int, sizes: tuple[int, int, int], name: str
) -> Split:
    (images, labels), (test_images, test_labels) = learned, judged
    train, val, test = sizes
    if train < 1 or val < 0 or test < 1:
        raise ValueError(f"train={train}, val={val}, test={test}: counts must be positive")
    order = np.random.default_rng(seed).permutation(len(images))
    # Those kept for choosing come first, so that more training images leave them as they are.
    chosen, trained = order[:val], order[val : val + train]
    # The archive is sorted by class; a part of it must not be.
    tested = np.random.default_rng(0).permutation(len(test_images))[:test]
    pixels = images[trained].astype(np.float32)
    axes = {"axis": (0, 2, 3), "keepdims": True, "dtype": np.float64}
    mean = pixels.mean(**axes)
    spread = np.sqrt(np.square(pixels).mean(**axes) - mean**2)

    shift, scale = mean.astype(np.float32), (1 / spread).astype(np.float32)

    def scaled(part: np.ndarray) -> np.ndarray:
        return (part.astype(np.float32) - shift) * scale

    return Split(
        *(scaled(pixels), labels[trained]),
        *(scaled(images[chosen]), labels[chosen]),
        *(scaled(test_images[tested]), test_labels[tested]),
        name,
    )
