"""``stop``."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from optnas.base.errors import UserError

if TYPE_CHECKING:
    from optnas.base.records import RunFolder
    from optnas.measures.stopping import Evaluations, Replay, Rule

HEADS = (
    *("run", "algorithm: weight + arch optimizer", "<seed", "rule", "<asked", "<stop", "<cell of"),
    *("<accuracy %", "<regret", "<over final", "cell"),
)
SUMMARY = ("rule", "<runs", "<stopped", "<accuracy %", "<regret", "<over final")


def stop(
    paths: Annotated[
        list[Path],
        typer.Argument(
            metavar="DIR...|FILE",
            help="run folders, folders of runs, or one file of Hessians as JSON lines",
        ),
    ],
    *,
    rule: Annotated[
        str | None,
        typer.Option(help="eigenvalue, skips, patience, fixed, oracle; commas between them"),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="JSON instead of a table")] = False,
    window: Annotated[
        int | None, typer.Option(min=1, help="eigenvalue: evaluations in a local mean [5]")
    ] = None,
    ratio: Annotated[
        float | None, typer.Option(help="eigenvalue: growth that stops a search [1.3]")
    ] = None,
    start: Annotated[
        int | None, typer.Option(min=0, help="eigenvalue: earliest epoch to return [10]")
    ] = None,
    delta: Annotated[
        int | None, typer.Option(min=1, help="eigenvalue: evaluations between two means [4]")
    ] = None,
    every: Annotated[
        int | None,
        typer.Option(min=0, help="eigenvalue: only evaluations at multiples of it [0: all]"),
    ] = None,
    skips: Annotated[int | None, typer.Option(min=1, help="skips: so many in the cell [2]")] = None,
    patience: Annotated[
        int | None, typer.Option(min=1, help="patience: epochs without a lower loss [10]")
    ] = None,
    epoch: Annotated[
        int | None, typer.Option(min=0, help="fixed: the epoch [the middle one]")
    ] = None,
    dataset: Annotated[
        str | None, typer.Option(help="benchmark accuracy on this data set [the first]")
    ] = None,
) -> None:
    """Replay stopping rules on finished searches, or on Hessians that others stored."""
    from optnas.measures.stopping import RULES, bind

    options = {
        **{"window": window, "ratio": ratio, "start": start, "delta": delta, "every": every},
        **{"skips": skips, "patience": patience, "epoch": epoch},
    }
    given = {key: value for key, value in options.items() if value is not None}
    names = None if rule is None else [each.strip() for each in rule.split(",")]
    for path in paths:
        if not path.exists():
            raise UserError(
                "is neither a folder nor a file",
                key="DIR...|FILE",
                value=str(path),
                remedy="check the path",
            )
    if any(path.is_file() for path in paths):
        _stop_file(paths, names, given, dataset, as_json)
    else:
        _stop_runs(paths, bind(names or list(RULES), given), dataset, as_json)


def _stop_file(
    paths: list[Path],
    names: list[str] | None,
    given: dict[str, Any],
    dataset: str | None,
    as_json: bool,
) -> None:
    from optnas.measures.stopping import bind, read_hessians

    if len(paths) > 1:
        raise UserError(
            "a file of Hessians stands alone",
            key="DIR...|FILE",
            value=" ".join(map(str, paths)),
            remedy="name one file, or run folders only",
        )
    rules = bind(names or ["eigenvalue"], given)
    if list(rules) != ["eigenvalue"] or dataset is not None:
        key, value = ("--dataset", dataset) if dataset is not None else ("--rule", ",".join(rules))
        raise UserError(
            "a file of Hessians tells eigenvalues only",
            key=key,
            value=value,
            remedy="use --rule eigenvalue alone, or name run folders",
        )
    _tell_file(rules["eigenvalue"], read_hessians(paths[0]), given, as_json)


def _tell_file(rule: Rule, stored: Evaluations, given: dict[str, Any], as_json: bool) -> None:
    from optnas.base.json import dump_json
    from optnas.cli.printing import aligned
    from optnas.measures.stopping import Trajectory, local_means

    used = stored.every(given.get("every", 0))
    means = local_means(used.values, given.get("window", 5))
    decision = rule(Trajectory([], [], [], [], [], stored))
    if as_json:
        told = {"epochs": used.epochs, "values": used.values, "local_means": means}
        stops = {"stop_epoch": decision.stop_epoch, "return_epoch": decision.return_epoch}
        typer.echo(dump_json(told | stops))
        return
    rows = [
        [str(epoch), f"{value:.6g}", f"{mean:.6g}"]
        for epoch, value, mean in zip(*used, means, strict=True)
    ]
    typer.echo("\n".join(aligned(("<epoch", "<top eigenvalue", "<local mean"), rows)))
    if decision.stop_epoch is None:
        typer.echo(f"never stops (asked {decision.asked} times)")
    else:
        typer.echo(f"stops at epoch {decision.stop_epoch}, returns epoch {decision.return_epoch}")


def _stop_runs(
    paths: list[Path], rules: dict[str, Rule], dataset: str | None, as_json: bool
) -> None:
    from optnas.base.json import dump_json
    from optnas.measures.stopping import replay, summary
    from optnas.measures.stopping.replay import trajectory

    runs = _runs(paths)
    table, shown = _benchmark(runs, dataset)
    replays = [replay(trajectory(run, dataset), rules) for run in runs]
    found = summary(each for group in replays for each in group)
    if as_json:
        listed = [
            {"run": str(run.path), **dataclasses.asdict(each)}
            for run, group in zip(runs, replays, strict=True)
            for each in group
        ]
        head = {"table": table, "dataset": shown}
        typer.echo(dump_json({**head, "runs": listed, "rules": found}))
    else:
        _print(runs, replays, found, table, shown)


def _runs(paths: list[Path]) -> list[RunFolder]:
    from optnas.base.records import find_runs

    runs = {run.path: run for path in paths for run in find_runs(path)}
    if not runs:
        raise UserError(
            "there is no run in or below it",
            key="DIR...",
            value=" ".join(map(str, paths)),
            remedy="check the path; optnas list shows the runs below a folder",
        )
    return list(runs.values())


def _benchmark(runs: Sequence[RunFolder], dataset: str | None) -> tuple[str, str | None]:
    """The one table that answered all runs, and the data set that counts."""
    told = [record["benchmark"] for run in runs for record in run.read_epochs()[:1]]
    answered = sorted({(b["table"], dataset or next(iter(b["accuracy"]), None)) for b in told})
    if len(answered) > 1:
        raise UserError(
            "the runs were answered by different benchmark tables"
            f" ({', '.join(' '.join(map(str, each)) for each in answered)})",
            key="DIR...",
            remedy="name runs of one table at a time",
        )
    return answered[0] if answered else ("none", dataset)


def _print(
    runs: Sequence[RunFolder],
    replays: Sequence[Sequence[Replay]],
    found: Sequence[dict[str, Any]],
    table: str,
    dataset: str | None,
) -> None:
    from optnas.cli.printing import aligned
    from optnas.measures.drawing import run_label

    def text(value: float | None) -> str:
        return "-" if value is None else f"{value:.2f}"

    def row(run: RunFolder, config: dict[str, Any], each: Replay) -> list[str]:
        return [
            *(run.path.name, run_label(config), str(config["search"]["seed"]), each.rule),
            *(str(each.asked), _epoch(each.stop_epoch), str(each.cell_epoch)),
            *(text(each.accuracy), text(each.regret), text(each.over_final), each.cell),
        ]

    rows = [
        row(run, run.read_config(), each)
        for run, group in zip(runs, replays, strict=True)
        for each in group
    ]
    typer.echo("\n".join(aligned(HEADS, rows)))
    typer.echo(f"\nmeans over runs; benchmark: table {table}, {dataset}; the oracle is no rule")
    means = [
        [
            *(each["rule"], str(each["runs"]), str(each["stopped"])),
            *(text(each[key]) for key in ("accuracy", "regret", "over_final")),
        ]
        for each in found
    ]
    typer.echo("\n".join(aligned(SUMMARY, means)))


def _epoch(epoch: int | None) -> str:
    return "-" if epoch is None else str(epoch)
