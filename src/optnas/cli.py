"""The command line: search, resume, list, plot, benchmark, protocol.

Bad input is one line on stderr and exit code 2. Exit codes of a search: 0 done, 1 failed,
2 bad input, 3 diverged, 130 or 143 interrupted.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path
from types import FrameType
from typing import Annotated, Any

import typer

from optnas.errors import EXIT_BAD_INPUT, EXIT_DIVERGED, EXIT_DONE, EXIT_FAILED, UserError

EXIT_INTERRUPTED = 128 + signal.SIGINT
IMPATIENCE = 5.0  # seconds after a signal in which further ones are ignored

app = typer.Typer(
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="A laboratory for optimizer pairs in differentiable architecture search.",
)
benchmark_app = typer.Typer(help="Ask a benchmark table.")
protocol_app = typer.Typer(help="Look at search protocols.")
app.add_typer(benchmark_app, name="benchmark")
app.add_typer(protocol_app, name="protocol")

Overrides = Annotated[
    list[str] | None,
    typer.Argument(metavar="[KEY=VALUE]...", help="dotted settings, such as search.epochs=5"),
]
Device = Annotated[str | None, typer.Option(help="auto, cpu, cuda or cuda:N (run.device)")]
Threads = Annotated[int | None, typer.Option(help="CPU threads (run.threads)")]
DataFolder = Annotated[
    Path | None, typer.Option("--data", help="data folder; default: the variable OPTNAS_DATA")
]


def _dotted(overrides: list[str] | None, **options: Any) -> dict[str, Any]:
    from optnas.tomlio import parse_override

    dotted = {}
    for text in overrides or []:
        parts, value = parse_override(text)
        dotted[".".join(parts)] = value
    for key in dotted:
        if any(other.startswith(f"{key}.") for other in dotted):
            raise UserError(
                "is given as a whole and in parts",
                key=key,
                value=dotted[key],
                remedy="give it one way",
            )
    named = {"device": "run.device", "threads": "run.threads", "data": "data.folder"}
    chosen = {named[k]: str(v) if k == "data" else v for k, v in options.items() if v is not None}
    return dotted | chosen


def _finish(result: dict[str, Any], out: Path) -> None:
    from optnas.display import print_outcome

    print_outcome(result, out)
    raise typer.Exit(EXIT_DIVERGED if result["status"] == "diverged" else EXIT_DONE)


@app.command()
def search(
    overrides: Overrides = None,
    *,
    out: Annotated[Path, typer.Option("--out", "-o", help="the run's folder, new or empty")],
    config: Annotated[
        Path | None, typer.Option("--config", "-c", help="a TOML file of settings")
    ] = None,
    device: Device = None,
    threads: Threads = None,
    data: DataFolder = None,
) -> None:
    """Run one search and watch it epoch by epoch."""
    from optnas import api
    from optnas.display import EpochTable
    from optnas.errors import COMMAND_LINE

    dotted = _dotted(overrides, device=device, threads=threads, data=data)
    with EpochTable() as table:
        result = api.run(dotted, out=out, config=config, on_epoch=table.add, where=COMMAND_LINE)
    _finish(result, out)


@app.command()
def resume(
    out: Annotated[Path, typer.Argument(metavar="DIR", help="the run's folder")],
    overrides: Overrides = None,
    *,
    device: Device = None,
    threads: Threads = None,
    data: DataFolder = None,
) -> None:
    """Go on with an interrupted run; a finished one is left as it is."""
    from optnas import api
    from optnas.display import EpochTable

    dotted = _dotted(overrides, device=device, threads=threads, data=data)
    with EpochTable() as table:
        result = api.resume(out, dotted, on_epoch=table.add)
    _finish(result, out)


@app.command("list")
def list_runs(
    folder: Annotated[Path, typer.Argument(help="where to look for runs")] = Path("runs"),
) -> None:
    """List the runs below a folder with their settings, status and last epoch."""
    from optnas.display import print_runs
    from optnas.records import find_runs

    if not folder.is_dir():
        raise UserError(
            "there is no such folder", key="FOLDER", value=str(folder), remedy="check the path"
        )
    print_runs(find_runs(folder))


@app.command()
def plot(
    runs: Annotated[
        list[Path] | None, typer.Argument(metavar="[DIR]...", help="run folders")
    ] = None,
    *,
    output: Annotated[Path, typer.Option("-o", "--output", help="a .png, .svg or .pdf file")],
    figure: Annotated[
        str,
        typer.Option(help="epochs, alternation, auxiliary-skip, mixed-cell or nas-triangle"),
    ] = "epochs",
    table: Annotated[
        str | None, typer.Option(help="ask this benchmark table again, for all runs")
    ] = None,
    data: DataFolder = None,
) -> None:
    """Draw runs by epoch (accuracy, eigenvalue, benchmark), or a diagram of the method."""
    from optnas.benchmarks import data_folder
    from optnas.diagrams import plot_figure
    from optnas.records import RunFolder

    folders = [RunFolder(path) for path in runs or []]
    plot_figure(figure, folders, output, table=table, folder=data_folder(data))
    typer.echo(f"wrote {output}")


@benchmark_app.command()
def query(
    architecture: Annotated[str, typer.Argument(metavar="ARCH|INDEX", help="string or index")],
    table: Annotated[
        str, typer.Option(help="official, analog-nasbench, or auto (official if present)")
    ] = "auto",
    data: DataFolder = None,
) -> None:
    """Accuracy, regret, rank and percentile of a cell on every data set of a table."""
    from optnas.benchmarks import data_folder, default_table, load_table
    from optnas.display import print_query
    from optnas.spaces.nasbench201 import NAS_BENCH_201

    folder = data_folder(data)
    is_index = architecture.isascii() and architecture.lstrip("+-").isdigit()
    if is_index:
        cell = NAS_BENCH_201.architecture_at(int(architecture))
    else:
        cell = NAS_BENCH_201.parse(architecture)
    name = default_table(folder) if table == "auto" else table
    print_query(load_table(name, folder=folder), cell)


@protocol_app.command()
def show(name: Annotated[str, typer.Argument(help="a shipped name or a path")]) -> None:
    """Print a protocol."""
    from optnas import protocols

    typer.echo(protocols.text_of(name), nl=False)


@protocol_app.command()
def diff(
    a: Annotated[str, typer.Argument(help="a shipped name or a path")],
    b: Annotated[str, typer.Argument(help="another")],
) -> None:
    """Print the settings in which two protocols differ."""
    from optnas import protocols
    from optnas.display import print_differences

    print_differences(a, protocols.load(a)[1], b, protocols.load(b)[1])


def _tell(kind: str, error: object) -> None:
    line = " ".join(str(error).split())
    print(f"optnas: {kind}: {line}", file=sys.stderr)


def _tell_interruption() -> None:
    print("optnas: interrupted; go on with: optnas resume DIR", file=sys.stderr, flush=True)


def _torch_is_loading() -> bool:
    spec = getattr(sys.modules.get("torch"), "__spec__", None)
    return bool(getattr(spec, "_initializing", False))


def main() -> None:
    """Run the command line; never a traceback for bad input."""
    signals: list[tuple[int, float]] = []

    def interrupt(number: int, frame: FrameType | None) -> None:
        # What follows is short and must not be cut off by an impatient second Ctrl-C. Later ones
        # count again: Python drops an exception that is raised inside a finalizer.
        now = time.monotonic()
        if signals and now - signals[-1][1] < IMPATIENCE:
            return
        signals.append((number, now))
        if _torch_is_loading():
            # An exception inside the C++ of torch's import would abort the process. Nothing has
            # begun that would have to be recorded.
            _tell_interruption()
            os._exit(128 + number)
        raise KeyboardInterrupt

    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, interrupt)
    try:
        # Outside standalone mode the code of a typer.Exit comes back as the value, and an
        # interruption as the code of one.
        code = app(sys.argv[1:] or ["--help"], standalone_mode=False) or EXIT_DONE
    except UserError as error:
        _tell("error", error)
        code = EXIT_BAD_INPUT
    except (KeyboardInterrupt, typer.Abort):
        code = EXIT_INTERRUPTED
    except Exception as error:
        usage = getattr(error, "format_message", None)
        if usage is not None:
            _tell("error", f"command line: {usage()}; see optnas --help".replace(".;", ";"))
            code = EXIT_BAD_INPUT
        else:
            _tell("failed", f"{type(error).__name__}: {error}")
            code = EXIT_FAILED
    if code == EXIT_INTERRUPTED:
        _tell_interruption()
        code = 128 + (signals[-1][0] if signals else signal.SIGINT)
    sys.exit(code)
