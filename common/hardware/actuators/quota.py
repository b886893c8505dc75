"""A share of the machine's CPU time: the quota of a control group."""

from __future__ import annotations

import itertools
import logging
import os
import time
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from common.hardware.actuators.base import Actuator, Range
from common.hardware.cgroup import DEFAULT_PERIOD_US, CpuGroup, cpu_group
from common.hardware.probe import Probe, Unavailable

_log = logging.getLogger(__name__)
_numbers = itertools.count()
_SMALLEST = 0.01  # the kernel refuses quotas below one millisecond a period
_ATTEMPTS, _PAUSE_S = 50, 0.01
_ENABLE = (
    "run as root on a machine whose cgroups may be written, or in a systemd scope with the "
    "controller delegated: `systemd-run --user --scope -p Delegate=yes ...`"
)


class _Before(NamedTuple):
    """The group that the process was in, and its limit files where they are what changes."""

    group: CpuGroup
    setting: dict[str, str]


class CgroupCpuQuota(Actuator):
    """CPU time that this process and its children may use, in cores.

    A capacity knob that also works in containers and virtual machines; the scheduler enforces it
    over periods of 0.1 s. Where the process can have a group of its own (cgroup v1, or the root
    of v2) it moves into one, so only it and its children are bound. Elsewhere in v2 the limit is
    put on the group that the process is in, and binds all processes of that group.

    Parameters
    ----------
    root : path
        Root of the file system, replaced in tests.
    """

    name = "cgroup_cpu_quota"

    def __init__(self, root: Path | str = "/") -> None:
        self.root = Path(root)
        self._own: set[Path] = set()

    def probe(self) -> Probe:
        """Whether there is a CPU controller, and this process may use it."""
        group = cpu_group(self.root)
        if group is None:
            return Probe(False, "the kernel offers no cgroup CPU controller", "run on Linux")
        layout = f"cgroup v{group.version}"
        if self._in_place(group):
            if os.access(self._limit_file(group), os.W_OK):
                return Probe(True, f"{layout}, quota of the group that this process is in")
        elif self._may_found(group):
            return Probe(True, f"{layout}, in a group made for this process")
        return Probe(False, f"{layout} is here, but this process may not change it", _ENABLE)

    @property
    def range(self) -> Range:
        """From a hundredth of a core to all cores."""
        return Range(_SMALLEST, os.cpu_count() or 1, "cores")

    def read(self) -> float:
        """Cores allowed now; all of them where there is no quota."""
        group = cpu_group(self.root)
        quota = group.quota() if group else None
        return float(self.range.high or 1) if quota is None else quota

    def _in_place(self, group: CpuGroup) -> bool:
        return group.path in self._own or (group.version == 2 and self._limit_file(group).exists())

    def _limit_file(self, group: CpuGroup) -> Path:
        return group.path / ("cpu.max" if group.version == 2 else "cpu.cfs_quota_us")

    def _may_found(self, group: CpuGroup) -> bool:
        if not os.access(group.path, os.W_OK):
            return False
        if group.version == 1:
            return True
        try:
            return "cpu" in (group.path / "cgroup.subtree_control").read_text().split()
        except OSError:
            return False

    def _snapshot(self) -> _Before:
        group = cpu_group(self.root)
        if group is None:
            raise Unavailable(f"actuator {self.name!r}: the CPU control group is gone")
        if not self._in_place(group):
            return _Before(group, {})
        names = ("cpu.max",) if group.version == 2 else ("cpu.cfs_period_us", "cpu.cfs_quota_us")
        return _Before(group, {name: (group.path / name).read_text().strip() for name in names})

    def _apply(self, value: float) -> None:
        group = cpu_group(self.root)
        if group is None:
            raise Unavailable(f"actuator {self.name!r}: the CPU control group is gone")
        folder = group.path if self._in_place(group) else self._found(group)
        quota = round(value * DEFAULT_PERIOD_US)
        if group.version == 2:
            (folder / "cpu.max").write_text(f"{quota} {DEFAULT_PERIOD_US}")
        else:
            (folder / "cpu.cfs_period_us").write_text(str(DEFAULT_PERIOD_US))
            (folder / "cpu.cfs_quota_us").write_text(str(quota))

    def _restore(self, before: _Before) -> None:
        for name, text in before.setting.items():
            (before.group.path / name).write_text(text)
        if not before.setting:
            for child in [own for own in self._own if own.parent == before.group.path]:
                _dissolve(child, before.group.path)
                self._own.remove(child)

    def _found(self, group: CpuGroup) -> Path:
        """Make a group beneath ``group`` and move this process into it."""
        child = group.path / f"reprise-{os.getpid()}-{next(_numbers)}"
        child.mkdir()
        self._own.add(child)
        (child / "cgroup.procs").write_text(str(os.getpid()))
        return child


def _dissolve(child: Path, home: Path) -> None:
    """Move the processes of ``child`` to ``home`` and remove it."""
    for _ in range(_ATTEMPTS):
        for pid in (child / "cgroup.procs").read_text().split():
            with suppress(ProcessLookupError):  # it ended meanwhile
                (home / "cgroup.procs").write_text(pid)
        try:
            child.rmdir()
            return
        except OSError:  # a process that is just starting or ending still holds it
            time.sleep(_PAUSE_S)
    _log.warning("the empty control group %s could not be removed", child.name)
