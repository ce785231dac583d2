"""``theory convergence``, ``skips``, ``noise``: the theory behind the comparison, tested."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from optnas.base.errors import COMMAND_LINE, UserError
from optnas.base.files import present, write_text, writing
from optnas.base.json import dump_json
from optnas.cli.common import DataFolder, Device, Threads, dotted_settings, runs_at, told_apart
from optnas.cli.printing.text import say

app = typer.Typer(help="Test the theory behind the comparison of optimizers.")
SLOW = 60.0  # seconds from which it is said beforehand how long it takes

AsJson = Annotated[bool, typer.Option("--json", help="print everything as JSON")]
Out = Annotated[
    Path | None, typer.Option("--out", help="a folder for the numbers as JSON and the figures")
]


@app.command()
def convergence(
    dataset: Annotated[str, typer.Option(help="where the images come from")] = "digits",
    side: Annotated[int, typer.Option(help="height and width after shrinking, pixels")] = 4,
    nodes: Annotated[int, typer.Option(help="h, nodes of the cell")] = 4,
    channels: Annotated[int, typer.Option(help="m, channels of a node")] = 16,
    samples: Annotated[int, typer.Option(help="n, images trained on")] = 12,
    activation: Annotated[str, typer.Option(help="softplus or tanh")] = "softplus",
    weight: Annotated[float, typer.Option(help="of skip and convolution on every edge")] = 1 / 3,
    steps: Annotated[int, typer.Option(help="full-batch steps of training")] = 40,
    cells: Annotated[int, typer.Option(help="random cells whose rates are ranked")] = 24,
    seeds: Annotated[int, typer.Option(help="seeds; six are the fewest for an interval")] = 6,
    jobs: Annotated[int, typer.Option(help="seeds side by side, each on one core")] = 2,
    as_json: AsJson = False,
    out: Out = None,
    data: DataFolder = None,
) -> None:
    """The convergence theorem of PR-DARTS in its own cell: its bound, and what the rate needs."""
    from optnas.theory import convergence as room
    from optnas.theory import judged, pictures

    settings = room.Settings(
        dataset, side, nodes, channels, samples, activation, weight, steps, cells, seeds
    )
    settings.check()
    _check_jobs(jobs)
    _made(out)
    _tell_time(room.estimated_seconds(settings, data) * seeds / min(jobs, seeds))
    found = room.convergence(settings, data, jobs)
    told = found | {"estimates": judged.estimates(found), "verdicts": judged.verdicts(found)}
    _hand_over("convergence", told, out, pictures.figures(found), as_json=as_json)


@app.command()
def skips(
    dataset: Annotated[
        str, typer.Option(help="where the images come from; auto: cifar10 if it is here, or digits")
    ] = "auto",
    images: Annotated[int, typer.Option(help="trained on")] = 800,
    channels: Annotated[int, typer.Option(help="C, channels of the first cells")] = 4,
    cells: Annotated[int, typer.Option(help="N, normal cells per stage, of 3 N + 2 in all")] = 2,
    epochs: Annotated[int, typer.Option(help="passes over the images")] = 8,
    lr: Annotated[float, typer.Option(help="initial learning rate of SGD")] = 0.025,
    seeds: Annotated[int, typer.Option(help="seeds; six are the fewest for an interval")] = 6,
    jobs: Annotated[int, typer.Option(help="seeds side by side, each on one core")] = 2,
    as_json: AsJson = False,
    out: Out = None,
    data: DataFolder = None,
) -> None:
    """Figure 2 of PR-DARTS: do supernets train faster with operations turned into skips?"""
    from optnas.theory import inputs, pictures
    from optnas.theory import skips as room

    if dataset == "auto":
        dataset = inputs.best_here(data)
        print(f"optnas: on images of {dataset}", file=sys.stderr, flush=True)
    settings = room.Settings(dataset, images, channels, cells, epochs, lr, seeds)
    settings.check()
    inputs.opened(dataset, data)  # the option is named where there is no such data set
    _check_jobs(jobs)
    _made(out)
    _tell_time(room.estimated_seconds(settings, data) * seeds / min(jobs, seeds))
    found = room.skips(settings, data, jobs)
    _hand_over("skips", found, out, {"skips": pictures.skips(found)}, as_json=as_json)


@app.command()
def noise(
    words: Annotated[
        list[str],
        typer.Argument(
            metavar="DIR... [KEY=VALUE]...",
            help="folders of runs, and settings of the measure noise, such as batches=64",
        ),
    ],
    as_json: AsJson = False,
    out: Out = None,
    device: Device = None,
    threads: Threads = None,
    data: DataFolder = None,
) -> None:
    """Noise and flatness of w in runs of SGD and Adam, compared at equal train loss.

    Kept checkpoints that have no line of the measure noise are measured first, about a minute each.
    """
    from optnas.search import api
    from optnas.study.states import each_once
    from optnas.theory import pictures
    from optnas.theory.compared import compared

    told = told_apart(words)
    runs = each_once(runs_at([Path(word) for word in told.paths]))
    chosen = {key.removeprefix("noise."): v for key, v in dotted_settings(told.settings).items()}
    run_settings = dotted_settings(None, device=device, threads=threads, data=data)
    _made(out)
    for run in runs:
        if not present(run.checkpoint) and run.read_measures("noise"):
            continue  # exported records, measured before
        api.measure(run.path, {"noise": chosen}, run_settings, on_line=_tell, where=COMMAND_LINE)
    found = compared(runs, **{key: v for key, v in chosen.items() if key not in ("every", "at")})
    _hand_over("noise", found, out, {"noise": pictures.noise(found)}, as_json=as_json)


def _tell(label: str, line: dict[str, Any]) -> None:
    seconds = line["cost"]["seconds"]
    words = f"optnas: {label} at epoch {line['epoch']}: {line['status']}, {seconds:.0f} s"
    print(words, file=sys.stderr, flush=True)


def _check_jobs(jobs: int) -> None:
    if jobs < 1:
        raise UserError("is at least 1", key="--jobs", value=jobs, remedy="raise it")


def _made(out: Path | None) -> None:
    """Make the folder before anything is computed, so that nothing is computed for naught."""
    if out is not None:
        with writing("the results", key="--out", path=out):
            out.mkdir(parents=True, exist_ok=True)


def _tell_time(seconds: float) -> None:
    if seconds >= SLOW:
        print(f"optnas: takes about {seconds / 60:.1f} minutes", file=sys.stderr, flush=True)


def _hand_over(
    name: str, told: dict[str, Any], out: Path | None, figures: dict[str, Any], *, as_json: bool
) -> None:
    """Write the numbers and the figures into the folder, and print the numbers or the verdicts."""
    from optnas.cli.printing.theory import print_verdicts
    from optnas.report import static
    from optnas.report.data import drawn

    if out is not None:
        with writing("the results", key="--out", path=out):
            write_text(out / f"{name}.json", dump_json(told) + "\n")
        for title, figure in figures.items():
            static.write(drawn(title, figure), out / f"{title}.png", captioned=True)
    if as_json:
        say(dump_json(told))
        return
    print_verdicts(told["verdicts"])
    if out is not None:
        say(f"wrote {out / name}.json and {', '.join(f'{title}.png' for title in figures)}")
