"""SGD and Adam on either level: four searches from the same start, and one picture.

Run it: ``python examples/02_optimizer_pairs.py``. Writes ``runs/pairs`` and ``pairs.png``. The
searches are far too short to say anything about the optimizers.
"""

from pathlib import Path

import optnas

OPTIMIZERS = ("SGD", "Adam")
SHARED = {
    "data.name": "digits",
    "data.train_size": 96,
    "data.valid_size": 96,
    "search.epochs": 2,
    "search.batch_size": 16,
    "search.seed": 0,  # the same images, initial values and batches for every pair
    "supernet.channels": 2,
    "measures.sharpness.every": 2,
    "measures.sharpness.batch_size": 8,
    "benchmark.table": "analog-nasbench",
}


def main() -> None:
    """Search under each pair, list the outcomes, draw them."""
    folders = []
    for on_weights in OPTIMIZERS:
        for on_alpha in OPTIMIZERS:
            out = Path("runs/pairs") / f"{on_weights}-{on_alpha}"
            pair = {"weight_optimizer.name": on_weights, "arch_optimizer.name": on_alpha}
            result = optnas.resume(out) if out.exists() else optnas.run(SHARED | pair, out=out)
            accuracy = result["benchmark"]["accuracy"]["cifar10"]
            print(f"{on_weights} + {on_alpha}: valid {result['valid_accuracy']:.2f} %, ", end="")
            print(f"derived cell {accuracy:.2f} % on CIFAR-10 ({result['benchmark']['table']})")
            folders.append(optnas.RunFolder(out))
    optnas.plot_runs(folders, Path("pairs.png"))


if __name__ == "__main__":
    main()
