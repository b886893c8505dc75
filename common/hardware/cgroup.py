"""The CPU control group of this process, in the v1, v2 and hybrid layouts of Linux."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import NamedTuple

DEFAULT_PERIOD_US = 100_000
"""The kernel's default enforcement period of a CPU quota, in microseconds."""


class CpuGroup(NamedTuple):
    """The control group whose CPU quota binds this process.

    Attributes
    ----------
    version : int
        1 or 2.
    path : Path
        Folder of the group.
    mount : Path
        Folder where the hierarchy is mounted; an ancestor of ``path``, or the same.
    """

    version: int
    path: Path
    mount: Path

    def quota(self) -> float | None:
        """Cores that the group and its ancestors allow together, None where unlimited."""
        folders = [self.path]
        while folders[-1] != self.mount and self.mount in folders[-1].parents:
            folders.append(folders[-1].parent)
        limits = [own for folder in folders if (own := own_quota(self.version, folder)) is not None]
        return min(limits, default=None)


def own_quota(version: int, folder: Path) -> float | None:
    """Cores allowed by this one group, None where it sets no limit or has no such file."""
    try:
        if version == 2:
            quota, period = (folder / "cpu.max").read_text().split()
        else:
            quota = (folder / "cpu.cfs_quota_us").read_text().strip()
            period = (folder / "cpu.cfs_period_us").read_text().strip()
        if quota in ("max", "-1"):
            return None
        return int(quota) / int(period)
    except (OSError, ValueError):
        return None


def cpu_group(root: Path | str = "/") -> CpuGroup | None:
    """Find the CPU group of this process, None where the kernel offers none.

    A v1 ``cpu`` hierarchy wins over a v2 one mounted beside it: in the hybrid layout a
    controller belongs to one of them only.

    Parameters
    ----------
    root : path
        Root of the file system, replaced in tests.
    """
    root = Path(root)
    try:
        memberships = (root / "proc/self/cgroup").read_text().splitlines()
        mounts = (root / "proc/self/mountinfo").read_text().splitlines()
    except OSError:
        return None
    groups: dict[int, str] = {}
    for line in memberships:
        number, controllers, group = line.split(":", 2)
        if "cpu" in controllers.split(","):
            groups[1] = group
        elif number == "0" and not controllers:
            groups[2] = group
    for version in (1, 2):
        mount = _mount(mounts, version)
        if version in groups and mount is not None:
            return _located(root, version, groups[version], *mount)
    return None


def _mount(mounts: list[str], version: int) -> tuple[str, str] | None:
    """(root within the hierarchy, mount point) of the CPU hierarchy."""
    for line in mounts:
        left, _, right = line.partition(" - ")
        fields, filesystem = left.split(), right.split()
        if len(fields) < 5 or len(filesystem) < 3:
            continue
        if version == 2 and filesystem[0] == "cgroup2":
            return fields[3], fields[4]
        if version == 1 and filesystem[0] == "cgroup" and "cpu" in filesystem[2].split(","):
            return fields[3], fields[4]
    return None


def _located(root: Path, version: int, group: str, mount_root: str, mount_point: str) -> CpuGroup:
    mount = root / mount_point.lstrip("/")
    inside = PurePosixPath(group)
    # a container sees its own group as the root of the mount, yet may still be told the host's path
    if inside.is_relative_to(mount_root):
        inside = inside.relative_to(mount_root)
    path = mount / str(inside).lstrip("/")
    return CpuGroup(version, path if path.is_dir() else mount, mount)
