"""A share of the machine's CPU time: the quota of a control group."""

from __future__ import annotations

import itertools
import logging
import os
import time
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from common.errors import ConfigError
from common.hardware.actuators.base import Actuator, Range
from common.hardware.cgroup import DEFAULT_PERIOD_US, CpuGroup, cpu_group
from common.hardware.probe import Probe, Unavailable

_log = logging.getLogger(__name__)
_numbers = itertools.count()
_LEAST_US, _LONGEST_US = 1_000, 1_000_000  # what the kernel accepts as quota and as period
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
    over periods. Work much longer than a period sees a slower core; work much shorter sees full
    speed until the quota is spent, then a pause. The kernel notices an overrun at its clock tick
    (1 to 10 ms), so still shorter periods bring no finer steps.

    Where the process can have a group of its own (cgroup v1, or the root of v2) it moves into
    one, so only it and its children are bound. Elsewhere in v2 the limit is put on the group that
    the process is in, and binds all processes of that group.

    Parameters
    ----------
    root : path
        Root of the file system, replaced in tests.
    period : float
        Enforcement period (s), 0.001 to 1; default: the kernel's own, 0.1.

    Raises
    ------
    ConfigError
        If the kernel would refuse the period.
    """

    name = "cgroup_cpu_quota"

    def __init__(self, root: Path | str = "/", period: float = DEFAULT_PERIOD_US / 1e6) -> None:
        self.root = Path(root)
        self.period_us = round(period * 1e6)
        if not _LEAST_US <= self.period_us <= _LONGEST_US:
            raise ConfigError(f"{self.name}: period={period:g} s; allowed: 0.001 to 1 s")
        self._own: CpuGroup | None = None

    def probe(self) -> Probe:
        """Whether there is a CPU controller, and this process may use it."""
        group = self._group()
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
        """From one millisecond of CPU time a period to all cores."""
        return Range(_LEAST_US / self.period_us, os.cpu_count() or 1, "cores")

    @property
    def exclusive(self) -> bool:
        """Whether the limit binds this process and its children alone."""
        group = self._group()
        return group is not None and (group == self._own or not self._in_place(group))

    def read(self) -> float:
        """Cores allowed now; all of them where there is no quota."""
        group = self._group()
        quota = group.quota() if group else None
        return float(self.range.high or 1) if quota is None else quota

    def _group(self) -> CpuGroup | None:
        """Group of this process; its own is remembered, for looking it up costs 0.4 ms."""
        return self._own or cpu_group(self.root)

    def _in_place(self, group: CpuGroup) -> bool:
        return group == self._own or (group.version == 2 and self._limit_file(group).exists())

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
        group = self._required_group()
        if not self._in_place(group):
            return _Before(group, {})
        names = ("cpu.max",) if group.version == 2 else ("cpu.cfs_period_us", "cpu.cfs_quota_us")
        return _Before(group, {name: (group.path / name).read_text().strip() for name in names})

    def _apply(self, value: float) -> None:
        group = self._required_group()
        folder = group.path if self._in_place(group) else self._found(group)
        quota, period = round(value * self.period_us), self.period_us
        if group.version == 2:
            (folder / "cpu.max").write_text(f"{quota} {period}")
            return
        stands = folder / "cpu.cfs_period_us"
        if not (stands.exists() and stands.read_text().strip() == str(period)):
            stands.write_text(str(period))
        (folder / "cpu.cfs_quota_us").write_text(str(quota))

    def _restore(self, before: _Before) -> None:
        for name, text in before.setting.items():
            (before.group.path / name).write_text(text)
        if not before.setting and self._own is not None:
            child, self._own = self._own.path, None
            _dissolve(child, before.group.path)

    def _required_group(self) -> CpuGroup:
        group = self._group()
        if group is None:
            raise Unavailable(f"actuator {self.name!r}: the CPU control group is gone")
        return group

    def _found(self, group: CpuGroup) -> Path:
        """Make a group beneath ``group`` and move this process into it."""
        child = group.path / f"reprise-{os.getpid()}-{next(_numbers)}"
        child.mkdir()
        self._own = group._replace(path=child)
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
