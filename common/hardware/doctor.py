"""What this machine can measure and control and, where it cannot, why and what would help."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from common.hardware import extras, tools
from common.hardware.actuators import ACTUATORS, Range, SimulatedActuator
from common.hardware.machine import fingerprint
from common.hardware.meters import METERS
from common.hardware.probe import Probe
from common.hardware.targets import TARGETS
from common.hardware.targets.wearable.probing import PARTS as WEARABLE

if TYPE_CHECKING:
    from rich.console import RenderableType

Group = Literal["machine", "meter", "actuator", "target", "extra", "tool"]


class Finding(NamedTuple):
    """One line of the diagnosis.

    Attributes
    ----------
    group : str
        ``machine``, ``meter``, ``actuator``, ``target``, ``extra`` or ``tool``.
    name : str
        What was looked at.
    ok : bool
        Whether it works here.
    detail : str
        What it gives, or why it does not work.
    enable : str
        What would make it work, or better; empty where nothing is to be done.
    """

    group: Group
    name: str
    ok: bool
    detail: str
    enable: str


def diagnose() -> list[Finding]:
    """Look at everything once. Never raises: a probe that fails is itself a finding."""
    findings = list(_machine())
    findings += [
        _probed("meter", name, lambda make=make: make().probe()) for name, make in METERS.items()
    ]
    findings += [_probed("actuator", cls.name, lambda cls=cls: cls().probe()) for cls in ACTUATORS]
    findings.append(_probed("actuator", "simulated", SimulatedActuator("any", Range()).probe))
    findings += [_probed("target", name, probe) for name, probe in {**TARGETS, **WEARABLE}.items()]
    findings += _extras()
    findings += [_probed("tool", name, probe) for name, probe in tools.TOOLS.items()]
    return findings


def as_dicts(findings: list[Finding]) -> list[dict[str, Any]]:
    """Return the findings ready for JSON."""
    return [finding._asdict() for finding in findings]


def render(findings: list[Finding]) -> RenderableType:
    """Lay the findings out as one table a group, for ``rich.print``."""
    from rich.console import Group as Stack
    from rich.table import Table
    from rich.text import Text

    tables = []
    for group in dict.fromkeys(finding.group for finding in findings):
        table = Table(title=group, title_justify="left", title_style="bold", box=None)
        table.add_column("", no_wrap=True)
        table.add_column("name", style="cyan", no_wrap=True)
        table.add_column("what it gives, or why not", ratio=3, overflow="fold")
        table.add_column("to enable it", ratio=2, overflow="fold", style="dim")
        for finding in (f for f in findings if f.group == group):
            mark = Text("yes", "green") if finding.ok else Text("no", "yellow")
            # Text, because "[hw]" in an install line is not markup
            table.add_row(mark, finding.name, Text(finding.detail), Text(finding.enable))
        tables.append(table)
    return Stack(*tables)


def _probed(group: Group, name: str, probe: Callable[[], Probe]) -> Finding:
    try:
        available, reason, enable = probe()
    except Exception as error:  # the diagnosis of the rest must go on
        return Finding(group, name, False, f"the probe failed: {type(error).__name__}: {error}", "")
    return Finding(group, name, available, reason, enable)


def _machine() -> Iterator[Finding]:
    try:
        facts = fingerprint()
    except Exception as error:
        reason = f"the fingerprint failed: {type(error).__name__}: {error}"
        yield Finding("machine", "fingerprint", False, reason, "")
        return
    yield Finding("machine", "label", True, f"{facts['label']} (id {facts['id']})", "")
    yield Finding(
        "machine", "system", True, f"{facts['os']}, {facts['kernel']}, {facts['arch']}", ""
    )
    yield Finding("machine", "python", True, facts["python"], "")
    physical, logical = facts["physical_cores"], facts["logical_cores"]
    cores = f"{facts['usable_cores']:g} usable of {logical} logical, {physical} physical"
    yield Finding("machine", "cores", True, cores, "")
    beneath = {True: "virtual machine", False: "no hypervisor", None: "unknown"}
    yield Finding("machine", "virtualised", True, beneath[facts["virtualised"]], "")


def _extras() -> list[Finding]:
    try:
        states = extras.extras()
    except Exception as error:
        reason = f"the extras could not be read: {type(error).__name__}: {error}"
        return [Finding("extra", "all", False, reason, "")]
    findings = []
    for extra in states:
        present = ", ".join(f"{package} {version}" for package, version in extra.present.items())
        if extra.missing:
            detail, enable = f"missing {', '.join(extra.missing)}", extra.install
        else:
            detail, enable = present, ""
        findings.append(Finding("extra", extra.name, not extra.missing, detail, enable))
    return findings
