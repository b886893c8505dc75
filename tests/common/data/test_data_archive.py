"""Archives: what is extracted, and every hostile one that is not."""

import io
import struct
import tarfile
import zipfile

import pytest

from common.data.archive import extract
from common.errors import DataError

FILES = {"set/a.txt": b"alpha", "set/deep/b.bin": bytes(range(256)) * 20, "top.txt": b""}


def make_tar(path, members, mode="w:gz"):
    """Members are (name, bytes) or ready TarInfo objects."""
    with tarfile.open(path, mode) as archive:
        for member in members:
            if isinstance(member, tarfile.TarInfo):
                archive.addfile(member)
            else:
                info = tarfile.TarInfo(member[0])
                info.size = len(member[1])
                archive.addfile(info, io.BytesIO(member[1]))
    return path


def make_zip(path, members, compression=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return path


def special(kind, name="bad", target=""):
    info = tarfile.TarInfo(name)
    info.type = kind
    info.linkname = target
    return info


def content_of(folder):
    paths = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


def refused(archive, folder, message, **options):
    """Check the error, and that nothing at all was written."""
    to = folder / "out"
    with pytest.raises(DataError, match=message):
        extract(archive, to, **options)
    assert not to.exists() or list(to.iterdir()) == []
    assert not (folder / "escaped").exists()


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
def test_tar(tmp_path, mode):
    archive = make_tar(tmp_path / "x.tar", FILES.items(), mode)
    assert extract(archive, tmp_path / "out") == [tmp_path / "out" / name for name in FILES]
    assert content_of(tmp_path / "out") == FILES


def test_tar_as_made_by_tar_c_dot(tmp_path):
    folder = special(tarfile.DIRTYPE, ".")
    archive = make_tar(tmp_path / "x.tar", [folder, ("./a", b"A"), ("./d//b", b"B")])
    extract(archive, tmp_path / "out")
    assert content_of(tmp_path / "out") == {"a": b"A", "d/b": b"B"}


def test_zip(tmp_path):
    archive = make_zip(tmp_path / "x.zip", [("set/", b""), *FILES.items()])
    extract(archive, tmp_path / "out")
    assert content_of(tmp_path / "out") == FILES


def test_a_tar_that_ends_in_a_zip_is_a_tar(tmp_path):
    inner = make_zip(tmp_path / "inner.zip", [("other", b"O")]).read_bytes()
    archive = make_tar(tmp_path / "x.tar", [("a", b"A"), ("inner.zip", inner)], "w")
    extract(archive, tmp_path / "out")
    assert content_of(tmp_path / "out") == {"a": b"A", "inner.zip": inner}


@pytest.mark.parametrize("make", [make_tar, make_zip])
def test_members(tmp_path, make):
    archive = make(tmp_path / "x", FILES.items())
    found = extract(archive, tmp_path / "out", ["set/a.txt"])
    assert found == [tmp_path / "out" / "set" / "a.txt"]
    assert content_of(tmp_path / "out") == {"set/a.txt": b"alpha"}
    refused(archive, tmp_path / "other", r"did you mean 'set/a\.txt'", members=["set/a.tx"])


def test_existing_files_are_replaced_and_others_kept(tmp_path):
    (tmp_path / "out" / "set").mkdir(parents=True)
    (tmp_path / "out" / "set" / "a.txt").write_bytes(b"old")
    (tmp_path / "out" / "mine").write_bytes(b"mine")
    extract(make_zip(tmp_path / "x.zip", FILES.items()), tmp_path / "out")
    assert content_of(tmp_path / "out") == {**FILES, "mine": b"mine"}


HOSTILE = [
    "../escaped",
    "a/../../escaped",
    "/tmp/escaped",
    "..",
    "a\\..\\..\\escaped",
    "C:\\escaped",
]


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("make", [make_tar, make_zip])
def test_paths_that_escape(tmp_path, make, name):
    archive = make(tmp_path / "x", [("good", b"G"), (name, b"E")])
    refused(archive, tmp_path, "refused")


@pytest.mark.parametrize("name", HOSTILE)
def test_an_escaping_member_spoils_the_archive_even_when_not_asked_for(tmp_path, name):
    archive = make_tar(tmp_path / "x", [("good", b"G"), (name, b"E")])
    refused(archive, tmp_path, "refused", members=["good"])


@pytest.mark.parametrize(
    "member",
    [
        special(tarfile.SYMTYPE, target="/etc/passwd"),
        special(tarfile.SYMTYPE, target="good"),
        special(tarfile.LNKTYPE, target="good"),
        special(tarfile.CHRTYPE),
        special(tarfile.BLKTYPE),
        special(tarfile.FIFOTYPE),
    ],
)
def test_tar_links_and_devices(tmp_path, member):
    archive = make_tar(tmp_path / "x", [("good", b"G"), member, ("bad/escaped", b"E")])
    refused(archive, tmp_path, "link or a device")


@pytest.mark.parametrize("mode", [0o120777, 0o020666, 0o010666])
def test_zip_links_and_devices(tmp_path, mode):
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        info = zipfile.ZipInfo("bad")
        info.external_attr = mode << 16
        archive.writestr(info, "/etc/passwd")
    refused(tmp_path / "x.zip", tmp_path, "link or a device")


def test_a_link_that_already_lies_in_the_target(tmp_path):
    (tmp_path / "escaped").mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "set").symlink_to(tmp_path / "escaped")
    archive = make_zip(tmp_path / "x.zip", FILES.items())
    with pytest.raises(DataError, match="through a link"):
        extract(archive, tmp_path / "out")
    assert list((tmp_path / "escaped").iterdir()) == []


@pytest.mark.parametrize("make", [make_tar, make_zip])
def test_too_large_by_its_headers(tmp_path, make):
    archive = make(tmp_path / "x", [("a", b"a" * 60), ("b", b"b" * 60)])
    refused(archive, tmp_path, "more than the allowed 119 bytes", max_bytes=119)
    extract(archive, tmp_path / "out", max_bytes=120)


def test_a_bomb_that_lies_about_its_size(tmp_path):
    """The headers say 10 bytes, the stream holds ten million: it is read no further than that."""
    path = make_zip(tmp_path / "x.zip", [("a", bytes(10_000_000))])
    raw = bytearray(path.read_bytes())
    size = struct.pack("<I", 10_000_000)
    assert raw.count(size) == 2
    path.write_bytes(raw.replace(size, struct.pack("<I", 10)))
    refused(path, tmp_path, "damaged", max_bytes=1000)


def test_a_tar_bomb_is_refused_at_its_header(tmp_path):
    """The header announces a terabyte that is not there: nobody tries to read it."""
    info = tarfile.TarInfo("a")
    info.size = 1 << 40
    archive = tmp_path / "x.tar"
    archive.write_bytes(info.tobuf() + bytes(1024))
    refused(archive, tmp_path, "more than")


def test_the_same_name_twice(tmp_path):
    archive = make_tar(tmp_path / "x", [("a", b"1"), ("./a", b"2")])
    refused(archive, tmp_path, "stands twice")


def test_too_many_members(tmp_path, monkeypatch):
    monkeypatch.setattr("common.data.archive.MOST_MEMBERS", 5)
    archive = make_tar(tmp_path / "x", [(str(i), b"") for i in range(6)])
    refused(archive, tmp_path, "more than 5 members")


@pytest.mark.parametrize("make", [make_tar, make_zip])
def test_damaged(tmp_path, make):
    archive = make(tmp_path / "x", [("a", bytes(range(256)) * 400)])
    raw = bytearray(archive.read_bytes())
    raw[len(raw) // 2] ^= 0xFF
    archive.write_bytes(raw)
    refused(archive, tmp_path, "damaged|cannot be extracted")
    archive.write_bytes(raw[: len(raw) // 3])
    refused(archive, tmp_path, "damaged|cannot be extracted")


def test_neither_zip_nor_tar(tmp_path):
    (tmp_path / "x").write_bytes(b"hello" * 1000)
    refused(tmp_path / "x", tmp_path, "neither zip nor tar")
    refused(tmp_path / "missing", tmp_path, "no such file")


def test_encrypted_zip(tmp_path):
    path = make_zip(tmp_path / "x.zip", [("a", b"secret")], zipfile.ZIP_STORED)
    raw = bytearray(path.read_bytes())
    # flag bit 0 of the local header (offset 6) and of the central directory entry (offset 8)
    raw[6] |= 1
    raw[raw.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(raw)
    refused(path, tmp_path, "encrypted")
