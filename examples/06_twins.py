"""Twin supernets: SGD and Adam on w under one and the same alpha, that of an earlier search.

What differs between the twins is then the weight optimizer's doing and not that of another alpha.
Run it: ``python examples/06_twins.py``. The runs are left in ``runs/twins``.
"""

from pathlib import Path

import torch

import optnas
from optnas import Algorithm, Progress, parts

OUT = Path("runs/twins")
SETTINGS = {
    "data.name": "digits",
    "data.train_size": 256,
    "data.valid_size": 256,
    "search.epochs": 3,
    "supernet.channels": 4,
    "benchmark.table": "analog-nasbench",
    "measures.sharpness.every": 3,
    "measures.gap.batches": 2,
}


def twin(driver: str = "runs/twins/driver-SGD") -> Algorithm:
    """Epoch by epoch A = softmax(alpha) of another run; its own alpha stays where it was drawn."""
    epochs = optnas.RunFolder(Path(driver)).read_epochs()
    recorded = [torch.tensor(record["alpha"]) for record in epochs]

    def relax(alpha_EO: torch.Tensor, progress: Progress) -> torch.Tensor:
        here_EO = recorded[min(progress.epoch, len(recorded) - 1)].to(alpha_EO)
        # The value is the driver's; derivatives in alpha, as of the sharpness, are taken there.
        return (here_EO + alpha_EO - alpha_EO.detach()).softmax(-1)

    def discretize(alpha_EO: torch.Tensor) -> list[int]:
        return parts.argmax_per_edge(recorded[-1])

    return Algorithm(relax, parts.unperturbed, parts.frozen, discretize)


def main() -> None:
    """Drive by SGD and by Adam, train both twins under each, print what they end with."""
    for first in ("SGD", "Adam"):
        driver = OUT / f"driver-{first}"
        if not driver.exists():
            optnas.run({**SETTINGS, "weight_optimizer.name": first}, out=driver)
        for second in ("SGD", "Adam"):
            out = OUT / f"{first}-drives-{second}"
            if not out.exists():
                own = {"algorithm.name": f"{__file__}:twin", "algorithm.driver": str(driver)}
                optnas.run({**SETTINGS, **own, "weight_optimizer.name": second}, out=out)
            last = optnas.load(out).iloc[-1]
            print(f"{out.name}: top eigenvalue {last['alpha_hessian_max']:.3f} nats")


if __name__ == "__main__":
    main()
