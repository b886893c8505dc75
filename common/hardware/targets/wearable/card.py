"""The card that goes with every exported model: what it is, what it costs, what it is not for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from common.hardware.targets.wearable.export import Export, Port

if TYPE_CHECKING:
    import pandas as pd


def model_card(
    export: Export,
    profile: pd.DataFrame | None = None,
    *,
    name: str,
    task: str,
    data: str,
    metrics: Mapping[str, float] | None = None,
    limits: Sequence[str] = (),
) -> str:
    """Write the card of an exported model in Markdown.

    Parameters
    ----------
    export : Export
        The file.
    profile : DataFrame, optional
        From :func:`~common.hardware.targets.wearable.profiling.profile`; rows of the same format
        and precision go into the card, each with its measurement and meter.
    name, task : str
        What the model is called, and what it decides from what.
    data : str
        What it was trained and judged on, and under which label (original, substitute,
        synthetic).
    metrics : mapping, optional
        Quality on data that it was not trained on.
    limits : sequence of str
        What it must not be used for, and what is known to go wrong.

    Examples
    --------
    >>> from pathlib import Path
    >>> made = Export(
    ...     Path("a.onnx"), "onnx", "fp32", 100, "ab" * 32, (Port("x", (1, 4), "float32"),),
    ...     (Port("y", (1, 2), "float32"),), 0.0, 1.0,
    ... )
    >>> print(model_card(made, name="toy", task="two sums", data="none").splitlines()[0])
    # toy (onnx, fp32)
    """
    lines = [
        f"# {name} ({export.format}, {export.precision})",
        "",
        task,
        "",
        "| | |",
        "| --- | --- |",
        f"| file | {export.path.name}, {export.bytes:,} bytes |",
        f"| sha256 | `{export.sha256}` |",
        f"| takes | {_ports(export.inputs)} |",
        f"| gives | {_ports(export.outputs)} |",
        f"| largest difference from the trained model | {export.max_abs_difference:.3g} "
        f"(largest output {export.scale:.3g}) |",
        f"| kept in float | {', '.join(export.kept_float) or 'nothing besides'} |"
        if export.precision != "fp32"
        else "| kept in float | everything |",
        f"| data | {data} |",
        *(f"| {metric} | {value:.4g} |" for metric, value in (metrics or {}).items()),
    ]
    if profile is not None:
        lines += ["", "## Cost of one inference", "", *_costs(export, profile)]
    lines += ["", "## Limits", "", *(f"- {limit}" for limit in limits or ["None are known."])]
    return "\n".join(lines) + "\n"


def _ports(ports: Sequence[Port]) -> str:
    return "; ".join(f"{p.name} {p.dtype}{list(p.shape)}" for p in ports)


def _costs(export: Export, profile: pd.DataFrame) -> list[str]:
    mine = profile[
        (profile["format"] == export.format) & (profile["precision"] == export.precision)
    ]
    lines = [
        "| where | what | value | range | how | meter |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for row in mine[mine["quantity"] != "skipped"].itertuples():
        value, low, high = (f"{number:.4g}" for number in (row.value, row.low, row.high))
        span = f"{low} to {high}" if low != high else ""
        lines.append(
            f"| {row.target} | {row.quantity} | {value} {row.unit} | {span} | {row.measurement} | "
            f"{row.meter} |"
        )
    for row in mine[mine["quantity"] == "skipped"].itertuples():
        lines.append(f"| {row.target} | skipped | | | | {row.note} |")
    return lines
