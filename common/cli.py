"""The ``reprise`` command: thin verbs over the library."""

from __future__ import annotations

import gc
import logging
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from common.arguments import AsJson, PaperName, Results, Size, Target
from common.data.cli import app as data_app
from common.errors import ConfigError, RepriseError
from common.papers import load_claims, load_paper, load_target, slugs
from common.results_cli import app as results_app
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
app.add_typer(results_app)
app.add_typer(data_app, name="data")


def main() -> None:
    """Run the command; an error that is the user's to mend is one message, no traceback."""
    # Imports leave hardly any garbage behind, and take a fifth longer when it is looked for often.
    gc.set_threshold(50_000, 20, 50)
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
