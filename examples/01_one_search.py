"""One search on handwritten digits, and its records as a table.

Run it: ``python examples/01_one_search.py``. The run folder is left in ``runs/one-search``.
"""

from pathlib import Path

import optnas

OUT = Path("runs/one-search")
SETTINGS = {
    "algorithm.name": "darts",
    "weight_optimizer.name": "SGD",
    "arch_optimizer.name": "Adam",
    "data.name": "digits",
    "data.train_size": 256,
    "data.valid_size": 256,
    "search.epochs": 4,
    "search.batch_size": 32,
    "supernet.channels": 4,
    "measures.sharpness.every": 0,  # no alpha-Hessian: it takes longer than the search
    "benchmark.table": "analog-nasbench",
}
COLUMNS = ["epoch", "train_loss", "valid_accuracy", "alpha_path_length", "skips"]


def main() -> None:
    """Search if the folder is not there yet, then read it."""
    if not OUT.exists():
        optnas.run(SETTINGS, out=OUT)
    table = optnas.load(OUT)
    print(table[[*COLUMNS, "benchmark.accuracy.cifar10"]].to_string(index=False))
    print(table.attrs["result"]["architecture"])


if __name__ == "__main__":
    main()
