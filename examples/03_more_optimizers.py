"""Optimizers beyond torch.optim on the network weights and on alpha: does each learn?

Run it: ``python examples/03_more_optimizers.py [EPOCHS]``. Writes ``runs/more``. The partner on the
other level is the protocol's: Adam on alpha, SGD on w. The rates are first guesses: the table says
that each optimizer works, not which is better.
"""

import sys
from pathlib import Path

import optnas

SGD = {"name": "SGD", "momentum": 0.9}
ADAMW = {"name": "AdamW", "lr": 0.003}
PACKAGE = "pytorch_optimizer"
# level -> settings of its section
OPTIMIZERS = {
    "weight_optimizer": [
        {"name": "SGD"},
        {"name": "sam", "lr": 0.025, "base": SGD},
        {"name": "muon", "lr": 0.01, "rest": ADAMW},
        {"name": "schedule-free-sgd", "lr": 0.5},
        {"name": "schedule-free-adamw", "lr": 0.01},
        {"name": "LBFGS", "lr": 0.1, "max_iter": 4},
        {"name": f"{PACKAGE}:Lion", "lr": 0.001},
        {"name": f"{PACKAGE}:SOAP", "lr": 0.003},
        {"name": f"{PACKAGE}:AdaBelief", "lr": 0.003},
        {"name": f"{PACKAGE}:Prodigy"},
    ],
    "arch_optimizer": [
        {"name": "Adam"},
        {"name": "sam", "lr": 0.01, "base": {"name": "Adam"}},
        {"name": "muon", "lr": 0.01},
        {"name": "schedule-free-sgd", "lr": 0.1},
        {"name": "schedule-free-adamw", "lr": 0.01},
        {"name": "LBFGS", "lr": 0.1, "max_iter": 4},
        {"name": f"{PACKAGE}:Lion", "lr": 0.003},
        {"name": f"{PACKAGE}:SOAP", "lr": 0.01},
        {"name": f"{PACKAGE}:AdaBelief", "lr": 0.01},
        {"name": f"{PACKAGE}:Prodigy"},
    ],
}
SHARED = {
    "data.name": "digits",
    "data.train_size": 96,
    "data.valid_size": 96,
    "search.batch_size": 32,
    "supernet.channels": 4,
    "curvature.every": 0,
    "benchmark.table": "analog-nasbench",
}


def main() -> None:
    """One search for each optimizer, and a line for each."""
    epochs = int(sys.argv[1]) if len(sys.argv) > 1 else 2
    for level, choices in OPTIMIZERS.items():
        print(f"{level:<36} train loss, first -> last   valid loss   path of alpha")
        for number, choice in enumerate(choices):
            out = Path("runs/more") / f"{level}-{number}"
            optnas.run(SHARED | {"search.epochs": epochs, level: choice}, out=out)
            table = optnas.load(out)
            first, last = table["train_loss"].iloc[1], table["train_loss"].iloc[-1]
            valid, path = table["valid_loss"].iloc[-1], table["alpha_path_length"].iloc[-1]
            print(f"{choice['name']:<36} {first:>10.3f} -> {last:.3f} {valid:>17.3f} {path:>15.3f}")


if __name__ == "__main__":
    main()
