"""Figure 2 of PR-DARTS on a supernet: the train loss of cells with operations turned into skips.

The network is that of DARTS' search (`optnas.spaces.network.darts.TwoInputs`), with eight edges in
a cell, each with a 3x3 convolution and a skip, so that 37.5 % of them are three and 62.5 % five.
Operation weights are 1 for one of the two and 0 for the other, and stay; w is trained by the
search's own steps, batch norm included, at the same settings for every part.

Source: Zhou et al., NeurIPS 2020, section 3.3 and figure 2. Deviations: smaller images and widths;
which operations are turned is drawn by the seed, the parts nested; each node reads the two before
it; in reduction cells a skip of a strided edge is DARTS' own, a strided pair of convolutions.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from optnas.algorithms import parts
from optnas.algorithms.base import Algorithm, Progress
from optnas.spaces.base import Space
from optnas.spaces.darts import network
from optnas.spaces.operations import darts as operations
from optnas.spaces.operations.nasbench201 import nor_conv_3x3
from optnas.spaces.wiring import Wiring
from optnas.theory import inputs
from optnas.theory.convergence import SHARES
from optnas.theory.judged import estimate, over_seeds

if TYPE_CHECKING:
    import torch

    from optnas.search.settings.model import Settings as RunSettings

Found = dict[str, Any]
EDGES = tuple((target - back, target) for target in range(2, 6) for back in (2, 1))
STRIDED = tuple(place for place, (source, _) in enumerate(EDGES) if source < 2)
CONVOLUTION, SKIP = "nor_conv_3x3", "skip_connect"
BATCH = 64


def eight_edges() -> Space:
    """Cells of eight edges, each of a convolution and a skip."""
    return Space.of_wirings(
        "eight-edges",
        (
            Wiring("normal", 6, EDGES, inputs=2, output="concat"),
            Wiring("reduce", 6, EDGES, inputs=2, output="concat", strided=STRIDED),
        ),
        (CONVOLUTION, SKIP),
        none=None,
        skip=1,
        weighted=(0,),
        own={CONVOLUTION: nor_conv_3x3, SKIP: operations.skip_connect},
        network=network,
    )


def turned(share: float = 0.0) -> Algorithm:
    """Operation weights that stay: a share of the skips of each kind of cell 1, the others 0."""
    import torch

    def initial(space: Space, generator: torch.Generator) -> torch.Tensor:
        rows = []
        for wiring in space.wirings:
            order = torch.randperm(len(wiring.edges), generator=generator)
            skip_E = torch.zeros(len(wiring.edges), dtype=torch.float64)
            skip_E[order[: round(share * len(wiring.edges))]] = 1.0
            rows.append(torch.stack([1 - skip_E, skip_E], dim=1))
        return torch.cat(rows)

    def relax(alpha_EO: torch.Tensor, progress: Progress) -> torch.Tensor:
        del progress
        return alpha_EO

    return Algorithm(relax, parts.unperturbed, parts.frozen, parts.argmax_per_edge, initial=initial)


@dataclass(frozen=True)
class Settings:
    """What the networks are trained with.

    Attributes:
        dataset: where the images come from.
        images: trained on, at the resolution of the protocol ``cpu``.
        channels: C of the first cells.
        cells: normal cells per stage, N: the network has 3 N + 2.
        epochs: passes over the images.
        lr: initial learning rate of SGD with momentum 0.9, which a cosine lowers.
        seeds: how many; six are the fewest that give an interval of 95 %.
    """

    dataset: str = "cifar10"
    images: int = 800
    channels: int = 4
    cells: int = 2
    epochs: int = 8
    lr: float = 0.025
    seeds: int = 6

    def check(self) -> None:
        """Refuse what cannot be run, as far as the images need not be opened for it.

        Raises:
            UserError: a value is out of range.
        """
        inputs.check_least(self, images=BATCH, channels=1, cells=1, epochs=1, seeds=1)

    def of(self, share: float, seed: int, folder: Path | None) -> RunSettings:
        """The settings of one training."""
        from optnas.search.given import settings_of

        return settings_of(
            {
                "algorithm": {"name": turned, "share": share},
                "space.name": eight_edges,
                "benchmark.table": "none",
                "data": {
                    "name": self.dataset,
                    "train_size": self.images,
                    "valid_size": BATCH,  # never looked at; a half holds a batch
                    **({} if folder is None else {"folder": str(folder)}),
                },
                "supernet": {"channels": self.channels, "cells": self.cells},
                "search": {"batch_size": BATCH, "epochs": self.epochs, "seed": seed},
                "weight_optimizer": {"name": "SGD", "lr": self.lr},
            }
        )


def losses(settings: RunSettings) -> list[float]:
    """Train loss by epoch, in nats, from epoch 1.

    Args:
        settings: of one training.
    """
    import torch

    from optnas.search.session import Session
    from optnas.search.state import build_state

    torch.set_num_threads(1)
    session = Session(build_state(settings))
    session.train_epoch()  # epoch 0: nothing is trained yet
    return [session.train_epoch()["train_loss"] for _ in range(settings.search.epochs)]


def of_seed(settings: Settings, folder: Path | None, seed: int) -> Found:
    """Train losses of one seed by share.

    Args:
        settings: the sizes.
        folder: the data folder.
        seed: of images, initial weights and the operations that are turned.
    """
    runs = {f"{share:g}": settings.of(share, seed, folder) for share in SHARES}
    return {
        "seed": seed,
        "hashes": {share: each.hash for share, each in runs.items()},
        "losses": {share: losses(each) for share, each in runs.items()},
    }


def estimated_seconds(settings: Settings, folder: Path | None) -> float:
    """About how long one seed takes on one core: three steps are timed."""
    from optnas.search.draws import draw_epoch
    from optnas.search.session import Session
    from optnas.search.state import build_state

    session = Session(build_state(settings.of(0.0, 0, folder)))
    session.train_epoch()
    session.begin_epoch()
    draws = draw_epoch(session.state)
    session.step(draws[0])  # the first step of a process is slower
    began = time.process_time()
    for each in draws[1:3]:
        session.step(each)
    step = (time.process_time() - began) / max(1, len(draws[1:3]))
    return step * len(draws) * settings.epochs * len(SHARES)


def skips(settings: Settings, folder: Path | None, jobs: int) -> Found:
    """Train every part of every seed, and judge.

    Args:
        settings: the sizes.
        folder: the data folder; default: the variable OPTNAS_DATA.
        jobs: seeds side by side, each on one core.

    Returns:
        As `optnas.theory.inputs.run_seeds`, with estimates and verdicts.

    Raises:
        UserError: a setting is out of range.
    """
    found = inputs.run_seeds(of_seed, settings, folder, jobs)
    seeds = found["seeds"]
    return {**found, "estimates": estimates(seeds), "verdicts": verdicts(seeds)}


def estimates(seeds: Sequence[Found]) -> Found:
    """Train loss by share and epoch: mean and interval over seeds."""
    return {
        share: [
            estimate(values) for values in zip(*(s["losses"][share] for s in seeds), strict=True)
        ]
        for share in seeds[0]["losses"]
    }


def verdicts(seeds: Sequence[Found]) -> list[Found]:
    """Whether cells with more skips are ahead of those with fewer, within seeds."""
    when = {
        "after the last epoch": lambda values: values[-1],
        "on average over epochs": lambda values: sum(values) / len(values),
    }
    return [
        asdict(
            over_seeds(
                "H8",
                f"figure 2 of PR-DARTS in a supernet: {100 * more:g} % of the operations turned "
                f"into skips, against {100 * fewer:g} %; {words}",
                "train loss, more skips minus fewer",
                [of(s["losses"][f"{more:g}"]) - of(s["losses"][f"{fewer:g}"]) for s in seeds],
                "< 0",
            )
        )
        for fewer, more in itertools.combinations(SHARES, 2)
        for words, of in when.items()
    ]
