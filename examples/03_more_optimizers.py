"""Optimizers beyond torch.optim on the network weights and on alpha: does each learn?

Run it: ``python examples/03_more_optimizers.py [EPOCHS]``. Writes ``runs/more``. The partner on the
other level is the protocol's: Adam on alpha, SGD on w. The rates are first guesses: the table says
that each optimizer works, not which is better.
"""

import sys
from pathlib import Path

import optnas

MUON, PACKAGE = {"rest": {"name": "AdamW", "lr": 0.003}}, "pytorch_optimizer"
# name, settings on w only, lr on w, lr on alpha
OPTIMIZERS = [
    ("Adam", {}, 0.001, 0.0003),
    ("sam", {}, 0.025, 0.01),
    ("muon", MUON, 0.01, 0.01),
    ("schedule-free-sgd", {}, 0.5, 0.1),
    ("schedule-free-adamw", {}, 0.01, 0.01),
    ("LBFGS", {}, 0.1, 0.1),
    (f"{PACKAGE}:Lion", {}, 0.001, 0.003),
    (f"{PACKAGE}:SOAP", {}, 0.003, 0.01),
    (f"{PACKAGE}:AdaBelief", {}, 0.003, 0.01),
    (f"{PACKAGE}:Prodigy", {}, 1.0, 1.0),
]
SHARED = {
    "data.name": "digits",
    "data.train_size": 96,
    "data.valid_size": 96,
    "search.batch_size": 32,
    "supernet.channels": 4,
    "measures.sharpness.every": 0,
    "benchmark.table": "analog-nasbench",
}


def main() -> None:
    """One search for each optimizer, and a line for each."""
    epochs = int(sys.argv[1]) if len(sys.argv) > 1 else 2
    for level in ("weight_optimizer", "arch_optimizer"):
        print(f"{level:<36} train loss, first -> last   valid loss   path of alpha")
        for name, on_weights, *rates in OPTIMIZERS:
            chosen = {"name": name, "lr": rates[level == "arch_optimizer"]}
            chosen |= on_weights if level == "weight_optimizer" else {}
            chosen |= {"base": {"name": "SGD", "momentum": 0.9}} if name == "sam" else {}
            out = Path("runs/more") / f"{level}-{name.rpartition(':')[2]}"
            optnas.run(SHARED | {"search.epochs": epochs, level: chosen}, out=out)
            table = optnas.load(out)
            first, last = table["train_loss"].iloc[1], table["train_loss"].iloc[-1]
            valid, path = table["valid_loss"].iloc[-1], table["alpha_path_length"].iloc[-1]
            print(f"{name:<36} {first:>10.3f} -> {last:.3f} {valid:>17.3f} {path:>15.3f}")


if __name__ == "__main__":
    main()
