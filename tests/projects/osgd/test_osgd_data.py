"""Images read from archives made here, damaged ones refused, stand-ins that say so."""

import io
import tarfile
import zipfile
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from common.errors import ConfigError, DataError
from common.papers import load_paper
from common.run import Run
from projects.osgd import data
from projects.osgd.data import (
    ARCHIVES,
    CLASSES,
    RECORD,
    JpegArchive,
    augment,
    load_digits_split,
    load_images,
)


def jpeg(colour, size=(32, 32)):
    stream = io.BytesIO()
    Image.new("RGB", size, colour).save(stream, "JPEG", quality=95)
    return stream.getvalue()


def zipped(path, members):
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def tarred(path, batches):
    with tarfile.open(path, "w:gz") as archive:
        for name, content in batches.items():
            info = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def batches(records=2):
    """Batches whose record r of batch b is label r, then red b, green r and blue 7."""
    made = {}
    for b, name in enumerate(data.BATCHES):
        rows = [bytes([r]) + b"".join(bytes([v]) * 1024 for v in (b, r, 7)) for r in range(records)]
        made[name] = b"".join(rows)
    return made


def a_run(tmp_path):
    paper = load_paper("osgd")
    return Run(paper, next(iter(paper.experiments)), size="smoke", results=tmp_path)


def test_digits_are_disjoint_scaled_and_reproducible():
    split, again, other = load_digits_split(1), load_digits_split(1), load_digits_split(2)
    whole = np.concatenate([split.train_x, split.val_x, split.test_x])
    assert whole.shape == (1797, 64)
    assert whole.dtype == np.float32
    assert split.train_y.dtype == np.int64
    assert (whole.min(), whole.max()) == (0, 1)
    from sklearn.datasets import load_digits

    assert sorted(map(bytes, whole)) == sorted(map(bytes, (load_digits().data / 16).astype("f4")))
    assert np.array_equal(split.train_x, again.train_x)
    assert not np.array_equal(split.train_x, other.train_x)


@pytest.mark.parametrize(("train", "val"), [(0, 10), (10, -1), (1700, 97)])
def test_a_split_without_a_part(train, val):
    with pytest.raises(ValueError, match="something must remain"):
        load_digits_split(train=train, val=val)


def test_jpegs_come_with_the_class_of_their_folder(tmp_path):
    members = {"train/ship/0.jpg": jpeg((250, 0, 0)), "train/cat/1.jpg": jpeg((0, 0, 250))}
    archive = JpegArchive(zipped(tmp_path / "a.zip", members))
    images = archive[np.array([0, 1])]
    assert images.shape == (2, 3, 32, 32)
    assert images.dtype == np.uint8
    assert [CLASSES[label] for label in archive.labels] == ["ship", "cat"]
    np.testing.assert_allclose(images[0].mean((1, 2)), (250, 0, 0), atol=4)
    np.testing.assert_allclose(images[1].mean((1, 2)), (0, 0, 250), atol=4)


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"train/catt/0.jpg": jpeg(0)}, "no known class; did you mean 'cat'"),
        ({"0.jpg": jpeg(0)}, "no known class"),
        ({"../cat/x/0.jpg": jpeg(0)}, "no known class"),
        ({"train/cat/0.jpg": b"no image"}, "is no JPEG image"),
        ({"train/cat/0.jpg": jpeg(0)[:300]}, "is no JPEG image"),
        ({"train/cat/0.jpg": jpeg(0, (31, 32))}, "not 32 x 32"),
        ({"train/cat/0.jpg": bytes(data.LARGEST_JPEG + 1)}, "too large"),
        ({}, "holds no image"),
    ],
)
def test_bad_members(tmp_path, members, message):
    with pytest.raises(DataError, match=message):
        JpegArchive(zipped(tmp_path / "a.zip", members))[np.array([0])]


def test_the_same_images_are_chosen_as_from_all_decoded(tmp_path):
    """Only those that a split holds are decoded; who that is must not depend on it."""
    files = {}
    for part, count in (("train", 30), ("test", 12)):
        members = {f"{part}/cat/{n}.jpg": jpeg((8 * n, 7 * n, 255 - 8 * n)) for n in range(count)}
        members[f"{part}/dog/unused.jpg"] = jpeg((0, 255, 0))
        files[ARCHIVES[part]] = zipped(tmp_path / f"{part}.zip", members)
    run = SimpleNamespace(dataset=lambda name: SimpleNamespace(files=files))
    archives = [JpegArchive(path) for path in files.values()]
    decoded = [(archive[np.arange(len(archive))], archive.labels) for archive in archives]
    for seed in range(3):
        found = load_images(run, seed=seed, train=9, val=4, test=5)
        expected = data._images(*decoded, seed, (9, 4, 5), data.SUBSET)
        for name, value in vars(expected).items():
            assert np.array_equal(getattr(found, name), value), name
        assert [len(found.train_x), len(found.val_x), len(found.test_x)] == [9, 4, 5]


def test_damaged_archives(tmp_path):
    whole = zipped(tmp_path / "a.zip", {"train/cat/0.jpg": jpeg(0)}).read_bytes()
    (tmp_path / "b.zip").write_bytes(whole[:-30])
    changed = bytearray(whole)
    changed[200] ^= 255
    (tmp_path / "c.zip").write_bytes(changed)
    for name in ("b.zip", "c.zip", "missing.zip"):
        with pytest.raises(DataError, match=name):
            JpegArchive(tmp_path / name)[np.array([0])]
    whole = tarred(tmp_path / "a.tar.gz", batches()).read_bytes()
    (tmp_path / "b.tar.gz").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "c.tar.gz").write_bytes(b"not a tar")
    for name in ("b.tar.gz", "c.tar.gz", "missing.tar.gz"):
        with pytest.raises(DataError, match=name):
            data.read_records(tmp_path / name)


def test_records_are_label_then_planes(tmp_path):
    (images, labels), (judged, _) = data.read_records(tarred(tmp_path / "c.tar.gz", batches()))
    assert images.shape == (10, 3, 32, 32)
    assert labels.tolist() == [0, 1] * 5
    # batch 2, record 1
    assert [np.unique(plane).tolist() for plane in images[5]] == [[2], [1], [7]]
    assert [np.unique(plane).tolist() for plane in judged[0]] == [[5], [0], [7]]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"test_batch.bin": None}, "lacks test_batch.bin"),
        ({"data_batch_3.bin": bytes(RECORD + 1)}, "multiple of 3073"),
        ({"data_batch_3.bin": b""}, "multiple of 3073"),
        ({"data_batch_3.bin": bytes([10]) + bytes(RECORD - 1)}, "label 10; allowed are 0 to 9"),
    ],
)
def test_bad_records(tmp_path, change, message):
    made = {name: content for name, content in (batches() | change).items() if content is not None}
    with pytest.raises(DataError, match=message):
        data.read_records(tarred(tmp_path / "c.tar.gz", made))


def test_without_images_enlarged_digits_stand_in(tmp_path):
    run = a_run(tmp_path)
    split = load_images(run, train=100, val=50, test=60)
    assert (split.name, split.train_x.shape, split.test_x.shape) == (
        *("digits-32", (100, 3, 32, 32), (60, 3, 32, 32)),
    )
    np.testing.assert_allclose(split.train_x.mean((0, 2, 3)), 0, atol=1e-3)
    np.testing.assert_allclose(split.train_x.std((0, 2, 3)), 1, atol=1e-3)
    run.observe({"error": 1}, variant="any", dataset=split.name)
    assert run._rows[0]["data"] == "substitute"
    # each digit's pixel is a block of 4 x 4
    blocks = split.test_x.reshape(60, 3, 8, 4, 8, 4)
    assert np.ptp(blocks, axis=(3, 5)).max() == 0


def test_unknown_source(tmp_path):
    with pytest.raises(ConfigError, match="did you mean 'cifar10'"):
        load_images(a_run(tmp_path), "cifar-10")


@pytest.mark.data
def test_the_subset_has_all_classes_in_every_part(tmp_path):
    split = load_images(a_run(tmp_path), train=2000, val=500, test=500)
    assert split.name == "cifar10-jpeg-subset"
    for labels, n in ((split.train_y, 2000), (split.val_y, 500), (split.test_y, 500)):
        counts = np.bincount(labels, minlength=10)
        assert counts.sum() == n
        assert counts.min() > n / 20
    np.testing.assert_allclose(split.train_x.mean((0, 2, 3)), 0, atol=1e-3)


def test_augmentation_shifts_and_mirrors():
    """Every result is one of the 81 shifts of the padded image, or the mirror of one."""
    x = torch.arange(2 * 3 * 32 * 32).reshape(2, 3, 32, 32).float() + 1
    made = augment(x, torch.Generator().manual_seed(0))
    padded = torch.nn.functional.pad(x, (4, 4, 4, 4))
    for image, source in zip(made, padded, strict=True):
        crops = [source[:, i : i + 32, j : j + 32] for i in range(9) for j in range(9)]
        assert any(torch.equal(image, crop) or torch.equal(image, crop.flip(2)) for crop in crops)
    many = augment(x[:1].expand(400, -1, -1, -1), torch.Generator().manual_seed(1))
    mirrored = (many[:, 0, 16, 16] > many[:, 0, 16, 17]).float().mean()
    assert 0.4 < mirrored < 0.6
    assert len(torch.unique(many[:, 0, 16, 16])) > 60
