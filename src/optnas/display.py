"""What the command line prints: the live epoch table, outcomes, lists. Computes nothing."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from optnas.errors import UserError
from optnas.records import Record, RunFolder

if TYPE_CHECKING:
    from optnas.benchmarks import Table
    from optnas.measurements import Line
    from optnas.spaces import Architecture

HEADER = (
    f"{'epoch':>5} {'train loss':>10} {'train %':>8} {'valid %':>8} {'benchmark %':>12} "
    f"{'skips':>5} {'top eig':>9} {'alpha path':>10} {'s':>7}  architecture"
)
LIVE_ROWS = 15


def _number(value: float | None, width: int, digits: int) -> str:
    return f"{'-':>{width}}" if value is None else f"{value:>{width}.{digits}f}"


def epoch_line(record: Record) -> str:
    """One epoch as a line under `HEADER`; the benchmark accuracy is that of its first data set.

    Args:
        record: a record of epochs.jsonl.

    Returns:
        The line.
    """
    accuracy = next(iter(record["benchmark"]["accuracy"].values()))
    return " ".join(
        (
            f"{record['epoch']:>5}",
            _number(record["train_loss"], 10, 4),
            _number(record["train_accuracy"], 8, 2),
            _number(record["valid_accuracy"], 8, 2),
            _number(accuracy, 12, 2),
            f"{record['skips']:>5}",
            _number(record["alpha_hessian_max"], 9, 4),
            _number(record["alpha_path_length"], 10, 4),
            _number(record["seconds"], 7, 1),
            f" {record['architecture']}",
        )
    )


class EpochTable:
    """The table of epochs while a search runs: live on a terminal, else a plain line an epoch."""

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._live: Any = None

    def __enter__(self) -> EpochTable:
        if sys.stdout.isatty():
            from rich.live import Live

            self._live = Live(refresh_per_second=4)
            self._live.__enter__()
        return self

    def add(self, record: Record) -> None:
        """Show one more epoch."""
        if not self._lines:
            bench = record["benchmark"]
            dataset = next(iter(bench["accuracy"]))
            note = f"benchmark: table {bench['table']}, {dataset}, split {bench['split']}"
            self._show(f"{note}, in percent\n{HEADER}")
        self._show(epoch_line(record))

    def _show(self, text: str) -> None:
        self._lines += text.split("\n")
        if self._live is None:
            print(text, flush=True)
            return
        from rich.text import Text

        shown = self._lines[:2] + self._lines[2:][-LIVE_ROWS:]
        self._live.update(Text("\n".join(shown), no_wrap=True, overflow="ellipsis"))

    def __exit__(self, *error: object) -> None:
        if self._live is not None:
            self._live.__exit__(*error)


def print_outcome(result: Mapping[str, Any], out: Path) -> None:
    """Say how a run ended."""
    if result["status"] == "done":
        bench = result["benchmark"]
        values = ", ".join(f"{name} {value:.2f} %" for name, value in bench["accuracy"].items())
        print(f"done: {result['architecture']}")
        print(f"benchmark (table {bench['table']}, split {bench['split']}): {values}")
    else:
        print(f"{result['status']}: {result.get('reason', '')}")
    print(f"run folder: {out}")


def run_label(config: Mapping[str, Any]) -> str:
    """A run's algorithm and optimizer pair, such as ``darts: SGD + Adam``."""
    pair = f"{config['weight_optimizer']['name']} + {config['arch_optimizer']['name']}"
    unrolled = config["algorithm"].get("hypergradient") == "unrolled"
    return f"{config['algorithm']['name']}{' (unrolled)' if unrolled else ''}: {pair}"


def print_runs(runs: Sequence[RunFolder]) -> None:
    """A table of runs: what they are, how far they came, what their last cell is worth."""
    print(
        f"{'algorithm: weight + arch optimizer':<36} {'data':<9} {'seed':>4} {'status':<12} "
        f"{'epoch':>9} {'valid %':>8} {'bench %':>8} {'skips':>5} {'alpha path':>10}  "
        f"{'table':<16} folder"
    )
    for run in runs:
        try:
            print(_run_line(run))
        except (UserError, KeyError, TypeError) as error:
            print(f"{'unreadable':<36} {run.path}: {error}")


def _run_line(run: RunFolder) -> str:
    config, result = run.read_config(), run.read_result()
    records = run.read_epochs()
    status = result["status"] if result else "unfinished"
    head = (
        f"{run_label(config):<36} {config['data']['name']:<9} {config['search']['seed']:>4} "
        f"{status:<12} "
    )
    if not records:
        return f"{head}{'-':>9} {'-':>8} {'-':>8} {'-':>5} {'-':>10}  {'-':<16} {run.path}"
    last = records[-1]
    accuracy = next(iter(last["benchmark"]["accuracy"].values()))
    progress = f"{last['epoch']}/{config['search']['epochs']}"
    return (
        f"{head}{progress:>9} {last['valid_accuracy']:>8.2f} {accuracy:>8.2f} "
        f"{last['skips']:>5} {last['alpha_path_length']:>10.3f}  "
        f"{last['benchmark']['table']:<16} {run.path}"
    )


def print_query(table: Table, cell: Architecture) -> None:
    """Everything a table says of a cell."""
    covered = table.coverage
    print(f"{cell.string}  (index {cell.space.index(cell)} of {cell.space.name})")
    print(f"table {table.name}: {table.provenance}")
    print(f"{'data set':<16} {'split':<6} {'epochs':<11} {'accuracy %':>10} {'regret':>8} ", end="")
    print(f"{'rank':>6} {'percentile':>10}")
    for dataset in covered.datasets:
        ask: dict[str, Any] = {
            "dataset": dataset,
            "split": covered.split,
            "epochs": covered.epochs,
        }
        print(
            f"{dataset:<16} {covered.split:<6} {covered.epochs_label:<11} "
            f"{table.accuracy(cell, **ask):>10.2f} {table.regret(cell, **ask):>8.2f} "
            f"{table.rank(cell, **ask):>6} {table.percentile(cell, **ask):>10.2f}"
        )


def _flat(document: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in document.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def print_differences(a_name: str, a: Mapping[str, Any], b_name: str, b: Mapping[str, Any]) -> None:
    """The keys in which two documents differ, side by side."""
    flat_a, flat_b = _flat(a), _flat(b)
    keys = [key for key in {**flat_a, **flat_b} if flat_a.get(key) != flat_b.get(key)]
    width = max([len(key) for key in keys] + [len("setting")])
    print(f"{'setting':<{width}}  {a_name:<22} {b_name}")
    for key in sorted(keys):
        left, right = (str(flat.get(key, "-")) for flat in (flat_a, flat_b))
        print(f"{key:<{width}}  {left:<22} {right}")
    if not keys:
        with contextlib.suppress(BrokenPipeError):
            print("no difference")


def measure_line(label: str, line: Line) -> str:
    """One line of a measure in words: its scalars, or why there are none."""
    head = f"{label}, epoch {line['epoch']} ({line['cost']['cpu_seconds']:.2f} CPU s): "
    values = [
        f"{name} {value:.4g}"
        for name, value in line["values"].items()
        if isinstance(value, (int, float))
    ]
    reason = [f"{line['status']}: {line['reason']}"] if "reason" in line else []
    return head + ", ".join(reason + values)


def print_measures() -> None:
    """Every registered measure: its cost, its cadence, its settings, what it finds."""
    from optnas import registry
    from optnas.metrics.base import Measure

    for name in registry.names("metric"):
        factory = registry.find("metric", name)
        settings = registry.complete_settings(factory, {}, section=name)
        measure: Measure = factory(**settings)
        cadence = measure.cadence
        print(f"{name}: {(factory.__doc__ or '').strip().splitlines()[0]}")
        print(f"  cost      {measure.cost}")
        print(f"  taken     every = {cadence.every}, at = {list(cadence.at)}")
        print(f"  settings  {', '.join(f'{k} = {v}' for k, v in settings.items()) or 'none'}")
        for key, quantity in measure.quantities.items():
            better = "" if quantity.better == "neither" else f", {quantity.better} is better"
            print(f"  finds     {key} [{quantity.unit}{better}]")
