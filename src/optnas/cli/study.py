"""``study``: plan, run, status, table, compare, claims, tune, report, export."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from optnas.base.errors import EXIT_DONE, EXIT_FAILED
from optnas.base.escapes import for_shell, for_terminal
from optnas.cli.common import DataFolder, Device, Overrides, Threads, dotted_settings
from optnas.cli.printing.text import say

app = typer.Typer(help="Declare, run and tabulate grids of searches.")

Name = Annotated[str, typer.Argument(metavar="STUDY", help="a shipped name or a TOML file")]
Out = Annotated[Path, typer.Option("--out", "-o", help="the study's folder of run folders")]
Version = Annotated[
    int | None,
    typer.Option("--numbers-version", metavar="N", help="read runs of an earlier numbers version"),
]
Hold = Annotated[
    list[str] | None,
    typer.Option(metavar="KEY=VALUE", help="compare runs with this setting; default: most"),
]


@app.command()
def plan(
    study: Name,
    *,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="look for runs that are there already")
    ] = None,
    jobs: Annotated[int | None, typer.Option(help="runs at a time; default: the cores")] = None,
    no_timing: Annotated[bool, typer.Option("--no-timing", help="measure no steps")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="as JSON")] = False,
    device: Device = None,
    threads: Threads = None,
    data: DataFolder = None,
) -> None:
    """Print the runs of a study, which of them exist already, and the time the rest would take."""
    from optnas.cli.printing import study as printed
    from optnas.study.declare import load_study
    from optnas.study.folder import locate, of_edited_files, other_versions
    from optnas.study.runner import at_a_time

    abreast = at_a_time(jobs, threads)
    loaded = load_study(study, dotted_settings(None, device=device, threads=threads, data=data))
    folders = locate(loaded.runs.values(), out)
    costs: dict[str, float] = {}
    if not no_timing:
        from optnas.study.timing import estimate

        # JSON is alone on its stream.
        costs = estimate(loaded) if as_json else estimate(loaded, printed.print_cost)
    others, edited = other_versions(out), of_edited_files(loaded.runs.values(), out)
    if as_json:
        from optnas.base.json import dump_json

        typer.echo(
            dump_json(printed.plan_document(loaded, folders, costs, others, edited), indent=1)
        )
    else:
        printed.print_plan(loaded, folders, costs, abreast, others, edited)


@app.command()
def run(
    study: Name,
    *,
    out: Out,
    jobs: Annotated[
        int | None,
        typer.Option(help="runs at a time; default: the cores, or with slurm what it lets"),
    ] = None,
    max_runs: Annotated[int | None, typer.Option(help="begin no more than so many runs")] = None,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="failed runs too")] = False,
    engine: Annotated[str, typer.Option(help="local, ray, slurm or module:Object")] = "local",
    engine_set: Annotated[
        list[str] | None, typer.Option(metavar="KEY=VALUE", help="a setting of the engine")
    ] = None,
    detach: Annotated[
        bool, typer.Option("--detach", help="submit what is missing and leave it to the cluster")
    ] = False,
    device: Device = None,
    threads: Threads = None,
    data: DataFolder = None,
) -> None:
    """Run what is missing of a study; after an interruption give the same command again."""
    from optnas.base.toml import parse_override
    from optnas.cli.printing.study import StudyLines, failed_in_done, print_note
    from optnas.study.declare import load_study
    from optnas.study.progress import Watch
    from optnas.study.runner import runner_of

    loaded = load_study(study, dotted_settings(None, device=device, threads=threads, data=data))
    print_note(loaded)
    given = {".".join(parts): value for parts, value in map(parse_override, engine_set or [])}
    runner = runner_of(
        loaded,
        out,
        engine,
        given,
        jobs=jobs,
        threads=threads,
        max_runs=max_runs,
        retry_failed=retry_failed,
        detached=detach,
    )
    watch = Watch(loaded.runs, runner.folders, runner.queue)
    with StudyLines(watch.look, runner.abreast) as lines:
        runner.on_change, runner.on_tick = lines.change, lines.tick
        if detach:
            runner.hand_over()
        whole = detach or runner.go()
    ended = watch.look()
    say(ended.line(runner.abreast))
    if ended.states.get("failed") or ended.states.get("timeout"):
        status = f"optnas study status {for_shell(study)} --out {for_shell(out)}"
        say(f"why: {status}; then run it with --retry-failed")
    if ended.failed:
        status = f"optnas study status {for_shell(study)} --out {for_shell(out)}"
        say(f"{failed_in_done(ended)}; why: {status}")
    raise typer.Exit(EXIT_DONE if whole else EXIT_FAILED)


@app.command()
def status(
    study: Name,
    *,
    out: Out,
    as_json: Annotated[bool, typer.Option("--json", help="a list with an entry per run")] = False,
    data: DataFolder = None,
) -> None:
    """How far a study is, also while it runs."""
    from optnas.base.json import dump_json
    from optnas.cli.printing.study import print_status
    from optnas.study.declare import load_study
    from optnas.study.folder import locate, of_edited_files, other_versions
    from optnas.study.runner import queued_in
    from optnas.study.states import standing, with_queue

    loaded = load_study(study, dotted_settings(None, data=data))
    folders = locate(loaded.runs.values(), out)
    queued, unknown = queued_in(out)
    if as_json:
        told = [standing(folder) | {"id": name} for name, folder in folders.items()]
        for each, folder in zip(told, folders.values(), strict=True):
            each["status"] = with_queue(each["status"], folder, queued)
            each["job"] = queued.get(folder.path.resolve())
        typer.echo(dump_json(told, indent=1))
        for why in unknown:  # without it nothing is queued, and some of it may be
            print(for_terminal(f"optnas: warning: {why}"), file=sys.stderr)
    else:
        edited = of_edited_files(loaded.runs.values(), out)
        print_status(loaded, folders, out, other_versions(out), edited, queued)
        for why in unknown:
            say(why)


@app.command()
def table(
    study: Annotated[
        str | None,
        typer.Argument(metavar="[STUDY]", help="a shipped name or a TOML file; default: every run"),
    ] = None,
    *,
    out: Annotated[Path, typer.Option("--out", help="the study's folder, or one of records")],
    output: Annotated[Path, typer.Option("-o", "--output", help="a .csv or .parquet file")],
    benchmark: Annotated[
        str | None, typer.Option("--table", help="ask this benchmark table for all runs")
    ] = None,
    recorded: Annotated[
        bool, typer.Option("--recorded", help="take benchmark accuracies as the runs wrote them")
    ] = False,
    arrays: Annotated[
        bool, typer.Option("--arrays", help="also alpha and operation weights, as JSON text")
    ] = False,
    numbers_version: Version = None,
    data: DataFolder = None,
) -> None:
    """Write one row for each run and epoch: settings, record, benchmark asked again, measures."""
    from optnas.study import tables
    from optnas.study.states import look

    tables.check_format(output)
    frame, runs = tables.tabulated(
        study,
        out,
        benchmark=benchmark,
        data=data,
        recorded=recorded,
        arrays=arrays,
        numbers_version=numbers_version,
    )
    tables.write_table(frame, output)
    say(f"wrote {output}: {len(frame)} rows of {frame['id'].nunique()} runs")
    for state, reason in map(look, runs):
        if state == "unreadable":
            say(f"left out: {reason}")


@app.command()
def compare(
    study: Annotated[
        str | None,
        typer.Argument(metavar="[STUDY]", help="a shipped name or a TOML file; default: every run"),
    ] = None,
    *,
    out: Out,
    to: Annotated[
        Path | None, typer.Option(help="where to write compare.*; default: figures/ of --out")
    ] = None,
    by: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY", help="arms by this axis, averaged over the others"),
    ] = None,
    within: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY", help="compare arms at each value of this axis by themselves"),
    ] = None,
    response: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="such as accuracy, 'auc accuracy' or train_loss"),
    ] = None,
    benchmark: Annotated[
        str | None, typer.Option("--table", help="ask this benchmark table for all runs")
    ] = None,
    recorded: Annotated[
        bool, typer.Option("--recorded", help="take benchmark accuracies as the runs wrote them")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="everything, as JSON")] = False,
    numbers_version: Version = None,
    data: DataFolder = None,
) -> None:
    """Compare every pair of arms within seeds: difference, interval, p, E, forest plot."""
    from optnas.base.json import dump_json
    from optnas.cli.printing.study import print_comparisons
    from optnas.report.comparison import as_plain, write_comparison
    from optnas.study.comparing import compare as compare_arms

    found = compare_arms(
        study,
        out,
        by or (),
        response or (),
        within=within or (),
        benchmark=benchmark,
        data=data,
        recorded=recorded,
        numbers_version=numbers_version,
    )
    if as_json:
        told = {"study": study or str(out), "comparisons": [as_plain(each) for each in found]}
        typer.echo(dump_json(told, indent=1))
    else:
        print_comparisons(found)
    folder = out / "figures" if to is None else to
    files = write_comparison(found, folder, by or (), response or (), benchmark, within or ())
    if not as_json:
        say(f"wrote {', '.join(map(str, files))}")


@app.command()
def claims(
    study: Annotated[
        str | None,
        typer.Argument(metavar="[STUDY]", help="a shipped name or a TOML file; default: every run"),
    ] = None,
    *,
    out: Out,
    which: Annotated[
        list[str] | None,
        typer.Option(
            "--claims", metavar="NAME|FILE|FOLDER", help="judge these; all: the registered ones"
        ),
    ] = None,
    benchmark: Annotated[
        str | None, typer.Option("--table", help="ask this benchmark table for all runs")
    ] = None,
    recorded: Annotated[
        bool, typer.Option("--recorded", help="take benchmark accuracies as the runs wrote them")
    ] = False,
    hold: Hold = None,
    sweep: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="DIR",
            help="a learning-rate sweep: also judge at its best rates; twice: of w, then of alpha",
        ),
    ] = None,
    details: Annotated[bool, typer.Option("--details", help="every part, with its arms")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="everything, as JSON")] = False,
    numbers_version: Version = None,
    data: DataFolder = None,
) -> None:
    """Judge claims by the runs: supported, contradicted, inconclusive, or not testable and why."""
    from optnas.cli.printing import study as printed
    from optnas.study import judging

    ledger = judging.judge(
        study,
        out,
        which,
        benchmark=benchmark,
        data=data,
        recorded=recorded,
        hold=dotted_settings(hold),
        sweep=sweep,
        numbers_version=numbers_version,
    )
    if as_json:
        import json

        typer.echo(json.dumps(printed.claims_document(ledger), indent=1, allow_nan=False))
    else:
        printed.print_claims(ledger, details=details)


@app.command()
def tune(
    study: Annotated[
        list[str],
        typer.Argument(metavar="STUDY...", help="a sweep, or that of w and then that of alpha"),
    ],
    *,
    out: Annotated[Path, typer.Option("--out", "-o", help="the folder of their run folders")],
    as_json: Annotated[bool, typer.Option("--json", help="everything, as JSON")] = False,
    numbers_version: Version = None,
    data: DataFolder = None,
) -> None:
    """Choose learning rates by the supernet's validation loss; print what is to be declared."""
    from optnas.base.json import dump_json
    from optnas.cli.printing.tuned import print_tuned, tuned_document
    from optnas.study.tuned import tune as choose

    found = choose(study, out, data=data, numbers_version=numbers_version)
    if as_json:
        typer.echo(dump_json(tuned_document(found), indent=1))
    else:
        print_tuned(found)


@app.command()
def export(
    study: Name,
    *,
    out: Out,
    to: Annotated[Path, typer.Option(help="the folder of records")],
    arrays: Annotated[
        list[str] | None,
        typer.Option("--arrays", metavar="LABEL", help="a measure whose arrays are copied too"),
    ] = None,
    data: DataFolder = None,
) -> None:
    """Copy finished runs as compact records: no checkpoints, no folders of this machine."""
    from optnas.study.exporting import export as export_study

    changed, finished = export_study(study, out, to, arrays=arrays or (), data=data)
    say(f"{finished} finished runs, {len(changed)} of them new or changed in {to}")


@app.command()
def report(
    study: Name,
    *,
    out: Out,
    to: Annotated[
        Path | None, typer.Option(help="where to write report.html and figures/; default: --out")
    ] = None,
    run: Annotated[
        list[str] | None, typer.Option("--run", metavar="ID", help="a run that gets a page")
    ] = None,
    which: Annotated[
        list[str] | None,
        typer.Option(
            "--claims", metavar="NAME|FILE|FOLDER", help="judge these; all: the registered ones"
        ),
    ] = None,
    figure: Annotated[
        list[str] | None,
        typer.Option("--figure", metavar="NAME|FILE:NAME", help="a further figure of runs"),
    ] = None,
    response: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="compare arms by this, as study compare does"),
    ] = None,
    benchmark: Annotated[
        str | None, typer.Option("--table", help="ask this benchmark table for all runs")
    ] = None,
    recorded: Annotated[
        bool, typer.Option("--recorded", help="take benchmark accuracies as the runs wrote them")
    ] = False,
    hold: Hold = None,
    numbers_version: Version = None,
    data: DataFolder = None,
) -> None:
    """Write the report of a study: one page that opens offline, and figures for a paper."""
    from optnas.report import report as write_report

    page = write_report(
        study,
        out,
        to,
        runs=run or (),
        claims=which,
        figures=figure or (),
        responses=response or (),
        benchmark=benchmark,
        recorded=recorded,
        hold=dotted_settings(hold),
        data=data,
        numbers_version=numbers_version,
    )
    say(f"wrote {page} ({page.stat().st_size / 1e6:.1f} MB) and {page.parent / 'figures'}/")


@app.command(hidden=True)
def execute(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="a run folder")],
    overrides: Overrides = None,
) -> None:
    """Go on with one run folder; what an engine calls."""
    from optnas.study.worker import execute as execute_run

    raise typer.Exit(execute_run(folder, dotted_settings(overrides)))
