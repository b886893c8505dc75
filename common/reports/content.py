"""What a report says: everything a results tree and a paper's declarations know of one paper."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from common.claims import VERDICTS_BEST_FIRST, Verdict, judge_claims, read_verdicts
from common.errors import ConfigError, RepriseError
from common.papers import Experiment, Paper, load_claims, load_paper
from common.reports.card import relink, sections, without_generated
from common.results import RECORD, VERDICTS, Folder, RunRecord, find, paper_folder

FIGURES = "figures"
# How to use the method is not part of what came out.
LEFT_OUT = ("", "Use it")


@dataclass(frozen=True)
class Part:
    """One experiment: what was declared, and the record of its run or why there is none."""

    name: str
    declared: Experiment | None
    record: RunRecord | None
    missing: str = ""

    @property
    def title(self) -> str:
        """Title as declared; a run of an experiment that is gone has its name alone."""
        return self.declared.title if self.declared else self.name


@dataclass(frozen=True)
class Drawing:
    """One figure; ``path`` is None when it was not drawn."""

    title: str
    caption: str
    experiments: tuple[str, ...]
    path: Path | None


@dataclass(frozen=True)
class Report:
    """One paper at one size on one target.

    Attributes
    ----------
    paper : Paper
        Its declaration.
    size, target : str
        Where in the results tree.
    folder : Path
        The paper's folder there.
    verdicts : tuple of Verdict
        All claims, judged.
    parts : tuple of Part
        All experiments of that size and target, in the order of ``paper.yaml``.
    drawings : tuple of Drawing
        All figures that those experiments feed.
    remarks : dict
        Sections of the paper card by heading, as Markdown without links into the checkout.
    """

    paper: Paper
    size: str
    target: str
    folder: Path
    verdicts: tuple[Verdict, ...]
    parts: tuple[Part, ...]
    drawings: tuple[Drawing, ...]
    remarks: dict[str, str] = field(default_factory=dict)

    @cached_property
    def records(self) -> tuple[RunRecord, ...]:
        """Records of the runs that could be read."""
        return tuple(part.record for part in self.parts if part.record)

    @property
    def counts(self) -> dict[str, int]:
        """How many claims have which verdict, best first, without zeros."""
        counts = Counter(verdict.verdict for verdict in self.verdicts)
        return {name: counts[name] for name in VERDICTS_BEST_FIRST if counts[name]}

    @property
    def commits(self) -> list[str]:
        """Commits that the runs were made on; one with local changes says so."""
        return sorted({commit(record) for record in self.records})

    @property
    def machines(self) -> list[dict[str, object]]:
        """The machines of the runs, each once."""
        found = {str(r.machine.get("id") or r.machine): r.machine for r in self.records}
        return list(found.values())

    @property
    def versions(self) -> dict[str, str]:
        """Versions of the packages that the runs imported; several are joined by "or"."""
        found: dict[str, set[str]] = {}
        for record in self.records:
            for name, version in record.versions.items():
                found.setdefault(name, set()).add(version)
        return {name: " or ".join(sorted(found[name])) for name in sorted(found)}

    @property
    def notes(self) -> list[str]:
        """What a reader has to know first: what is incomplete, stood in for or mixed."""
        lines = [f"{part.name}: {part.missing}" for part in self.parts if part.missing]
        for record in self.records:
            lines += [
                f"{record.experiment} ran without the data {name}: {why}"
                for name, why in record.stand_ins.items()
            ]
            lines += [
                f"{record.experiment} left out {'; '.join(variants)}: {why}"
                for why, variants in skipped(record).items()
            ]
        lines += [f"the figure “{d.title}” was not drawn" for d in self.drawings if not d.path]
        if any(record.git.get("dirty") for record in self.records):
            lines.append("some runs had changes in the checkout that no commit holds")
        if len({record.git.get("commit") for record in self.records}) > 1:
            lines.append("the runs were made on different commits")
        if len(self.machines) > 1:
            lines.append("the runs were made on different machines")
        return lines


def gather(root: Path, size: str, target: str, slug: str) -> Report:
    """Collect what a report on one paper says.

    Parameters
    ----------
    root : Path
        Root of the results tree.
    size, target, slug : str
        Which paper folder.

    Raises
    ------
    ConfigError
        If the paper, size or target is unknown, or nothing has been run there yet; the message
        names the command that runs it.
    """
    paper, folder = load_paper(slug), paper_folder(root, size, target, slug)
    runs = {found.experiment: found for found in find(root, paper=slug, size=size, target=target)}
    if not runs:
        raise ConfigError(
            f"{folder}: no results of {slug} at size {size} on {target}; run "
            f"`reprise run {slug} --size {size} --target {target} --results {root}` or "
            f"`make reproduce PAPER={slug} SIZE={size} TARGET={target}` first"
        )
    declared = paper.experiments_at(size, target)
    names = [*declared, *(name for name in runs if name not in declared)]
    card = paper.path("README.md")
    return Report(
        paper=paper,
        size=size,
        target=target,
        folder=folder,
        verdicts=tuple(_verdicts(Path(root), size, target, slug, runs.values())),
        parts=tuple(_part(paper, name, runs.get(name)) for name in names),
        drawings=tuple(_drawings(paper, folder, names)),
        remarks=_remarks(card.read_text(encoding="utf-8")) if card.exists() else {},
    )


def commit(record: RunRecord) -> str:
    """Commit of a run, and whether the checkout had changes beyond it.

    Examples
    --------
    >>> commit(RunRecord.model_construct(git={"commit": "0123456789ab", "dirty": True}))
    '0123456789ab, with local changes'
    """
    name = str(record.git.get("commit") or "no commit known")
    return f"{name}, with local changes" if record.git.get("dirty") else name


def skipped(record: RunRecord) -> dict[str, list[str]]:
    """Variants that a run left out, by the reason.

    Examples
    --------
    >>> skipped(RunRecord.model_construct(skipped=({"variant": "svm", "reason": "too slow"},)))
    {'too slow': ['svm']}
    """
    found: dict[str, list[str]] = {}
    for entry in record.skipped:
        found.setdefault(entry.get("reason", ""), []).append(entry.get("variant", ""))
    return found


def _verdicts(
    root: Path, size: str, target: str, slug: str, runs: Iterable[Folder]
) -> Sequence[Verdict]:
    """The written verdicts, if they are of these claims and no run is newer; else judged anew."""
    path = paper_folder(root, size, target, slug) / VERDICTS
    newest = max((run.path / RECORD).stat().st_mtime for run in runs)
    if path.exists() and path.stat().st_mtime >= newest:
        verdicts = read_verdicts(path)
        if [verdict.claim for verdict in verdicts] == [claim.id for claim in load_claims(slug)]:
            return verdicts
    return judge_claims(root, size, target, slug)


def _part(paper: Paper, name: str, run: Folder | None) -> Part:
    declared = paper.experiments.get(name)
    if run is None:
        return Part(name, declared, None, "not run")
    try:
        record = run.record()
    except RepriseError as error:
        return Part(name, declared, None, f"its record cannot be read ({error})")
    missing = "" if record.status == "done" else f"{record.status}: {record.reason}"
    return Part(name, declared, record, missing)


def _drawings(paper: Paper, folder: Path, experiments: Sequence[str]) -> list[Drawing]:
    drawings = []
    for name, figure in paper.figures.items():
        if set(figure.experiments) & set(experiments):
            path = folder / FIGURES / f"{name}.png"
            drawings.append(
                Drawing(
                    figure.title,
                    figure.caption.strip(),
                    figure.experiments,
                    path if path.exists() else None,
                )
            )
    return drawings


def _remarks(card: str) -> dict[str, str]:
    texts = {
        name: relink(without_generated(text), lambda link: "").strip()
        for name, text in sections(card).items()
    }
    return {name: text for name, text in texts.items() if text and name not in LEFT_OUT}
