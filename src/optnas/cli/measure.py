"""``measure``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from optnas.base.errors import COMMAND_LINE, EXIT_DONE, EXIT_FAILED, UserError
from optnas.base.measurements import identity
from optnas.cli.common import DataFolder, Device, Threads, dotted_settings, runs_at, told_apart
from optnas.cli.printing.text import say


def measure(
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="DIR... NAME... [KEY=VALUE]...",
            help="folders of runs, measures, and settings of the measures, such as gap.at=[0,10]",
        ),
    ] = None,
    *,
    again: Annotated[bool, typer.Option("--again", help="measure again where lines exist")] = False,
    list_: Annotated[bool, typer.Option("--list", help="list the measures and stop")] = False,
    device: Device = None,
    threads: Threads = None,
    data: DataFolder = None,
) -> None:
    """Measure runs afterwards, at each checkpoint they kept."""
    from optnas.cli.printing.lists import measure_line, print_measures
    from optnas.search import api

    if list_:
        print_measures()
        return
    paths, measures = _told_apart(words or [])
    runs = runs_at(paths)
    dotted = dotted_settings(None, device=device, threads=threads, data=data)
    failed = []

    def tell(label: str, line: dict[str, Any]) -> None:
        failed.append(line["status"] == "failed")
        taken.append((label, line))
        say(f"{run.path}: {measure_line(label, line)}")

    for run in runs:
        taken: list[tuple[str, dict[str, Any]]] = []
        api.measure(run.path, measures, dotted, again=again, on_line=tell, where=COMMAND_LINE)
        for label in measures:
            new = [line for of_label, line in taken if of_label == label]
            for line in run.read_measures(label):
                alike = not new or identity(line) == identity(new[0])
                if alike and line["epoch"] not in [each["epoch"] for each in new]:
                    say(f"{run.path}: {measure_line(label, line)} (there already)")
        if not taken:
            say(f"{run.path}: nothing new; --again measures once more")
    raise typer.Exit(EXIT_FAILED if any(failed) else EXIT_DONE)


def _told_apart(words: list[str]) -> tuple[list[Path], dict[str, dict[str, Any]]]:
    """Run folders, and by label the settings of the measures that are named."""
    from optnas.base.registry import nearest

    runs, chosen, settings = told_apart(words, _known)
    known = _known(runs)
    for word in runs:
        if not Path(word).exists():
            raise UserError(
                "there is no such path, nor a measure of this name",
                key="DIR... NAME...",
                value=word,
                remedy="check the path" if "/" in word else nearest(word, known),
            )
    if not chosen or not runs:
        raise UserError(
            f"names no {'measure' if runs else 'run folder'}",
            key="DIR... NAME...",
            value=" ".join([*runs, *chosen]),
            remedy=f"add one of: {', '.join(sorted(known))}" if runs else "add a run's folder",
        )
    measures: dict[str, dict[str, Any]] = {
        word.rpartition(":")[2]: {"name": word} if ":" in word else {} for word in chosen
    }
    _set(measures, dotted_settings(settings))
    return [Path(word) for word in runs], measures


def _known(words: list[str]) -> set[str]:
    """Registered measures, and the labels that the runs among the words have given to theirs."""
    from optnas.base.registry import names

    folders = runs_at([Path(word) for word in words if Path(word).is_dir()])
    configs = [folder.read_config() for folder in folders if folder.config.is_file()]
    return {*names("measure"), *(label for c in configs for label in c.get("measures", {}))}


def _set(measures: dict[str, dict[str, Any]], dotted: dict[str, Any]) -> None:
    """Give each measure its settings: NAME.KEY, or KEY where there is but one measure."""
    for key, value in dotted.items():
        label, dot, rest = key.partition(".")
        if not dot and len(measures) == 1:
            label, rest = next(iter(measures)), key
        if label not in measures or not rest:
            raise UserError(
                "is a setting of no measure that is named",
                key=key,
                value=value,
                remedy=f"write it as {next(iter(measures))}.KEY=VALUE",
            )
        measures[label][rest] = value
