"""The verbs of ``reprise`` that read a results tree: judge it, draw it, report, compare, track."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from common.arguments import AsJson, PaperName, PaperNames, Results, Size, Target
from common.papers import slugs
from common.terminal import emit, show, table

app = typer.Typer()


@app.command()
def verdicts(
    papers: PaperNames = None,
    size: Size = "quick",
    target: Target = "cpu",
    results: Results = Path("results"),
    as_json: AsJson = False,
    quiet: Annotated[bool, typer.Option(help="Judge and write, print one line.")] = False,
    write_docs: Annotated[
        bool, typer.Option(help="Write the cards' scorecards, README.md and docs/.")
    ] = False,
) -> None:
    """Judge the claims on a results tree, write verdicts.json, print the scorecard."""
    from dataclasses import asdict

    from common import scorecard
    from common.claims import judge_paper
    from common.results import find

    judged = [v for p in papers or slugs() for v in judge_paper(results, size, target, p)]
    if write_docs:
        from common.reports import pages

        # A paper that has not run here keeps what its card says.
        here = {folder.paper for folder in find(results, size=size, target=target)}
        pages.write_docs([verdict for verdict in judged if verdict.paper in here])
    if as_json:
        emit([asdict(verdict) for verdict in judged])
    elif not quiet:
        show(scorecard.as_table(judged, f"Claims at size {size} on {target}"))
        for line in scorecard.reasons(judged):
            typer.echo(f"  {line}")
        for line in scorecard.stand_ins(results, size, target, papers or slugs()):
            show(line, style="bold red", markup=False)
    if not as_json:
        typer.echo(scorecard.summary(judged))


@app.command()
def figures(
    paper: PaperName,
    size: Size = "quick",
    target: Target = "cpu",
    results: Results = Path("results"),
) -> None:
    """Draw a paper's figures from its observations."""
    from common.figures import make_figures

    for path in make_figures(results, size, target, paper):
        typer.echo(path)


@app.command()
def report(
    papers: PaperNames = None,
    size: Size = "quick",
    target: Target = "cpu",
    results: Results = Path("results"),
    out: Annotated[
        Path | None, typer.Option(help="Folder for the reports; else beside the results.")
    ] = None,
) -> None:
    """Write a report per paper (HTML, Markdown), and the RO-Crate metadata of its results."""
    from common.reports import write_report
    from common.results import find

    with_results = {folder.paper for folder in find(results, size=size, target=target)}
    for paper in papers or sorted(with_results & set(slugs())) or slugs():
        for path in write_report(results, size, target, paper, out):
            typer.echo(path)


@app.command()
def verify(
    papers: PaperNames = None,
    size: Size = "quick",
    target: Target = "cpu",
    results: Results = Path("results"),
    strict: Annotated[bool, typer.Option(help="A recorded verdict that is missing fails.")] = False,
    record: Annotated[bool, typer.Option(help="Record the present verdicts instead.")] = False,
    as_json: AsJson = False,
) -> None:
    """Fail when a verdict is worse than the recorded one."""
    from dataclasses import asdict

    from common import verify as verification
    from common.claims import judge_paper

    changes = []
    for paper in papers or slugs():
        judged = judge_paper(results, size, target, paper)
        if record:
            typer.echo(f"recorded {verification.record(paper, judged)}", err=as_json)
        changes += verification.check(paper, judged)
    failed = verification.failures(changes, strict=strict)
    if as_json:
        emit([asdict(change) for change in changes])
    else:
        rows = [(c.paper, c.claim, c.recorded, c.now, c.status, c.reason) for c in changes]
        show(table(("paper", "claim", "recorded", "now", "status", "reason"), rows))
    if failed:
        typer.echo(f"worse than recorded, or missing: {len(failed)} verdicts", err=True)
        raise typer.Exit(1)


@app.command()
def compare(
    trees: Annotated[list[Path], typer.Argument(help="Results trees (one machine each).")],
    paper: Annotated[str | None, typer.Option(help="One paper only.")] = None,
    ratios: Annotated[bool, typer.Option(help="Every metric beside the first tree's.")] = False,
    as_json: AsJson = False,
) -> None:
    """Set results trees side by side with the papers' own numbers."""
    from common import compare as comparison

    rows = comparison.ratios(trees, paper) if ratios else comparison.compare(trees, paper)
    if as_json:
        emit(rows)
        return
    names = [column.name for column in comparison.columns(trees, paper)]
    if ratios:
        head = ("paper", "experiment", "metric", "variant", *names)
        show(table(head, comparison.ratio_table(rows, names)))
    else:
        head = ("paper", "claim", "paper's value", *names)
        show(table(head, comparison.claim_table(rows, names)))


@app.command()
def merge(
    trees: Annotated[list[Path], typer.Argument(help="Results trees of any machines.")],
    into: Annotated[Path, typer.Option(help="Where each machine gets a tree of its own.")],
) -> None:
    """Gather results of several machines for `compare` and `track`; nothing is overwritten."""
    from common.results import merge

    copied = merge(trees, into)
    typer.echo(f"{len(copied)} runs copied; to set them side by side: reprise compare {into}/*")


@app.command()
def track(
    results: Results = Path("results"),
    uri: Annotated[str | None, typer.Option(help="MLflow URI; else $MLFLOW_TRACKING_URI.")] = None,
    recorded: Annotated[bool, typer.Option(help="Add the results recorded elsewhere.")] = False,
) -> None:
    """Sync a results tree to MLflow; re-running adds nothing twice."""
    from common.tracking import sync

    report = sync(results, uri, recorded=recorded)
    counts = f"{report.added} added, {report.updated} updated, {report.unchanged} unchanged"
    typer.echo(f"{report.uri}: {counts}")
    if report.unreadable:
        typer.echo(f"left out, not readable: {', '.join(map(str, report.unreadable))}", err=True)
        raise typer.Exit(1)
