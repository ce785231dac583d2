"""Figure F4 of Shin's comparison (2022) from nothing: three searches on digits, three landscapes.

Run it: ``python examples/04_landscape.py``. Runs and picture are left in ``runs/landscape``.
"""

from pathlib import Path

import optnas
from optnas.measures.landscape.read import F4, f4_data

OUT = Path("runs/landscape")
SETTINGS = {
    "data.name": "digits",
    "data.train_size": 256,
    "data.valid_size": 256,
    "search.epochs": 3,
    "search.batch_size": 64,
    "supernet.channels": 4,
    "measures.sharpness.every": 0,
    "benchmark.table": "analog-nasbench",
    "measures.landscape.points": 5,  # 21 by default
    "measures.landscape.images": 128,  # 1000 by default
    "measures.landscape.path_points": 5,
}


def main() -> None:
    """Search where there is no folder yet, then draw, then print the numbers below the picture."""
    runs = [optnas.RunFolder(OUT / algorithm) for algorithm in F4]
    for algorithm, run in zip(F4, runs, strict=True):
        if not run.path.exists():
            optnas.run({**SETTINGS, "algorithm.name": algorithm}, out=run.path)
    optnas.plot_figure("F4", runs, OUT / "F4.png")
    for column in f4_data(runs)[0]:
        drop = column.scalars["mean_accuracy_drop"]
        print(f"{column.algorithm}: mean drop of accuracy {drop.mean:.1f} {drop.unit}")


if __name__ == "__main__":
    main()
