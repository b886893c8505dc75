"""The ``reprise`` command: thin verbs over the library."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from common.data.cli import app as data_app
from common.errors import ConfigError, RepriseError, known
from common.papers import SIZES, TARGETS, load_claims, load_paper, load_target, slugs
from common.terminal import emit, show, table

INTERRUPTED = 130  # 128 and the number of SIGINT

app = typer.Typer(
    name="reprise",
    help="Re-run papers' experiments and see which of their claims stand on this machine.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(data_app, name="data")


def _size(value: str) -> str:
    return known(value, SIZES, "size")


def _target(value: str) -> str:
    return known(value, TARGETS, "target")


PaperName = Annotated[str, typer.Argument(help="Paper slug; `reprise list` shows them.")]
PaperNames = Annotated[list[str] | None, typer.Argument(help="Paper slugs; all by default.")]
Size = Annotated[str, typer.Option(help=" | ".join(SIZES), callback=_size)]
Target = Annotated[str, typer.Option(help=" | ".join(TARGETS), callback=_target)]
Results = Annotated[Path, typer.Option(help="Root of the results tree.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]


def main() -> None:
    """Run the command; an error that is the user's to mend is one message, no traceback."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(message)s")
    try:
        app()
    except RepriseError as error:
        typer.echo(f"reprise: {error}", err=True)
        sys.exit(2)
    except SystemExit as end:
        if end.code == INTERRUPTED:  # the framework has caught Ctrl-C itself
            typer.echo("reprise: interrupted; the same command goes on where it stopped", err=True)
        raise


def _version(wanted: bool) -> None:
    if wanted:
        from common import __version__
        from common.provenance import git_state

        state = git_state()
        commit = f" {state['commit'][:9]}{' (dirty)' if state['dirty'] else ''}" if state else ""
        typer.echo(f"reprise {__version__}{commit}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Version, commit.")
    ] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Log what happens.")] = False,
) -> None:
    """Options of every verb."""
    if verbose:
        logging.getLogger().setLevel(logging.INFO)


@app.command("list")
def list_(as_json: AsJson = False) -> None:
    """List the papers."""
    papers = [load_paper(slug) for slug in slugs()]
    if as_json:
        emit([paper.model_dump(mode="json") for paper in papers])
        return
    rows = [
        (p.slug, p.title, f"{p.venue} {p.year}", p.group, " ".join(p.experiments)) for p in papers
    ]
    show(table(("paper", "title", "venue", "group", "experiments"), rows))


@app.command()
def info(paper: PaperName, as_json: AsJson = False) -> None:
    """Show one paper: what it is, its experiments, its claims and what each needs."""
    declared, claims = load_paper(paper), load_claims(paper)
    if as_json:
        listed = [claim.model_dump(mode="json") for claim in claims]
        emit({**declared.model_dump(mode="json"), "claims": listed})
        return
    authors = ", ".join(declared.authors)
    typer.echo(f"{declared.title}\n{authors}. {declared.venue} {declared.year}. {declared.url}\n")
    typer.echo(f"{declared.summary.strip()}\n")
    show(
        table(
            ("experiment", "what", "sizes", "targets", "data"),
            [
                (name, e.title, " ".join(e.sizes), " ".join(e.targets), " ".join(e.datasets) or "–")
                for name, e in declared.experiments.items()
            ],
        )
    )
    show(
        table(
            ("claim", "what the paper says", "kind", "metric", "source"),
            [(c.id, c.statement, c.kind, f"{c.experiment}.{c.metric}", c.source) for c in claims],
        )
    )


@app.command()
def doctor(as_json: AsJson = False) -> None:
    """Say what this machine can measure and control, and what would enable the rest."""
    from common.hardware.doctor import as_dicts, diagnose, render

    findings = diagnose()
    if as_json:
        emit(as_dicts(findings))
    else:
        show(render(findings))


@app.command()
def run(
    paper: PaperName,
    experiment: Annotated[
        str | None, typer.Argument(help="One experiment; all by default.")
    ] = None,
    size: Size = "quick",
    target: Target = "cpu",
    data: Annotated[str, typer.Option(help="auto | real | synthetic")] = "auto",
    results: Results = Path("results"),
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="Override a parameter: KEY=VALUE (YAML).")
    ] = None,
    model: Annotated[
        str, typer.Option(help="Folder of a Llama-type model, instead of the reference model.")
    ] = "",
    force: Annotated[bool, typer.Option(help="Run again although a result is there.")] = False,
) -> None:
    """Run experiments directly, without Snakemake; interrupted runs resume."""
    from common.run import Run

    declared = load_paper(paper)
    names = [experiment] if experiment else declared.experiments_at(size, target)
    if not names:
        raise ConfigError(f"{paper} has no experiment at size {size!r} on target {target!r}")
    models = {name: declared.experiment(name).language_model for name in names}
    if model and not any(models.values()):
        raise ConfigError(f"{', '.join(names)}: no language model in use; leave --model away")
    for name in names:
        context = Run(
            declared,
            name,
            size=size,
            target=target,
            results=results,
            data_mode=data,
            overrides=_overrides(set_ or []),
            language_model=model if models[name] else "",
        )
        if not force and context.is_done():
            typer.echo(f"{context.folder.path}: done already (--force runs it again)")
            continue
        folder = context.execute(declared.function("experiments", name))
        record = folder.record()
        detail = f": {record.reason}" if record.reason else f", {record.rows} observations"
        typer.echo(f"{folder.path}: {record.status} in {record.seconds:.1f} s{detail}")


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
def bench(
    paper: PaperName,
    repeats: Annotated[int, typer.Option(min=1, help="Timed calls of each side.")] = 7,
    threads: Annotated[int, typer.Option(min=1, help="Threads of the numerical libraries.")] = 1,
    as_json: AsJson = False,
) -> None:
    """Time a paper's hot path beside its peers, in one process, alternated."""
    from common.bench import run_benchmarks

    timings = run_benchmarks(paper, repeats, threads)
    if as_json:
        emit(timings)
        return
    rows = [
        (
            t["name"],
            " ".join(f"{key}={value}" for key, value in t["sizes"].items()),
            f"{1e3 * t['ours_seconds']:.2f} ms",
            f"{1e3 * t['peer_seconds']:.2f} ms",
            t["peer_name"],
            f"{t['ratio']:.1f}",
            " ".join(f"{key}={value:.3g}" for key, value in t["agreement"].items()),
        )
        for t in timings
    ]
    show(table(("hot path", "size", "ours", "peer", "peer is", "times faster", "agreement"), rows))


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


@app.command()
def dashboard(
    uri: Annotated[str | None, typer.Option(help="MLflow URI; else $MLFLOW_TRACKING_URI.")] = None,
    port: Annotated[int, typer.Option(help="Port on the loopback interface.")] = 8501,
    headless: Annotated[bool, typer.Option(help="Do not open a browser window.")] = False,
) -> None:
    """Open the results browser on the loopback interface."""
    serve = load_target("dashboard.serve:serve")
    raise typer.Exit(serve(uri, port=port, headless=headless))


@app.command()
def new(
    slug: Annotated[str, typer.Argument(help="Short name of the paper, [a-z][a-z0-9]+.")],
    title: Annotated[str, typer.Option(help="Title of the paper.")] = "Title of the paper",
) -> None:
    """Write the skeleton of a new paper; CONTRIBUTING.md goes on from there."""
    from common.scaffold import create

    for path in create(slug, title):
        typer.echo(path)


def _overrides(pairs: list[str]) -> dict[str, Any]:
    import yaml

    overrides = {}
    for pair in pairs:
        key, found, value = pair.partition("=")
        if not found:
            raise ConfigError(f"--set {pair!r}: expected KEY=VALUE")
        try:
            overrides[key] = yaml.safe_load(value)
        except (yaml.YAMLError, ValueError) as error:
            raise ConfigError(f"--set {pair!r}: the value is not YAML ({error})") from error
    return overrides


if __name__ == "__main__":
    main()
