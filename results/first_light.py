"""The table and the picture of docs/first-light.md, from the committed records.

python results/first_light.py            print the table, draw docs/images/first-light.png
python results/first_light.py --collect RUNS   first copy the records of finished runs here
"""

from __future__ import annotations

import statistics
import sys
from pathlib import Path

from optnas.base.columns import TOP_EIGENVALUE
from optnas.base.records import FIRST_EPOCH, RunFolder, find_runs
from optnas.measures.drawing import run_label
from optnas.report.epochs import plot_runs
from optnas.spaces.tables import data_folder
from optnas.study.exporting import copy_record

HERE = Path(__file__).parent
RECORDS = HERE / "first-light"
IMAGES = HERE.parent / "docs" / "images"
HEADER = (
    "| algorithm: w + alpha | seed | supernet valid % | benchmark % (CIFAR-10) | best epoch % "
    "| skips | top eigenvalue | path of alpha | s per epoch |\n"
    "|---|---|---|---|---|---|---|---|---|"
)


def collect(runs: Path) -> None:
    """Copy what may be committed: no checkpoints, no folders of this machine."""
    for run in find_runs(runs):
        result = run.read_result()
        if result is None or result["status"] != "done":
            continue
        place = RunFolder(RECORDS / run.path.name)
        if place.path.exists() and place.read_identity()["hash"] != run.read_identity()["hash"]:
            raise SystemExit(f"{place.path} is the record of another run than {run.path}")
        copy_record(run, place.path)


def row(run: RunFolder) -> str:
    """One run as a line of the table."""
    config, records = run.read_config(), run.read_epochs()
    last = records[-1]
    searched = [record for record in records if record["epoch"] >= FIRST_EPOCH]
    accuracy = [record["benchmark"]["accuracy"]["cifar10"] for record in searched]
    seconds = statistics.median(record["seconds"] for record in searched)
    return (
        f"| {run_label(config)} | {config['search']['seed']} | {last['valid_accuracy']:.2f} "
        f"| {accuracy[-1]:.2f} | {max(accuracy):.2f} | {last['skips']} "
        f"| {last[TOP_EIGENVALUE]:.3f} | {last['alpha_path_length']:.2f} | {seconds:.0f} |"
    )


def table(runs: list[RunFolder]) -> str:
    """All runs, sorted by algorithm, pair and seed."""
    ordered = sorted(runs, key=lambda run: (run_label(run.read_config()), run.path.name))
    return "\n".join([HEADER, *(row(run) for run in ordered)])


def main() -> None:
    """Collect if asked to; print and draw."""
    if sys.argv[1:2] == ["--collect"]:
        collect(Path(sys.argv[2]))
    runs = find_runs(RECORDS)
    print(table(runs))
    plot_runs(runs, IMAGES / "first-light.png", folder=data_folder(None))


if __name__ == "__main__":
    main()
