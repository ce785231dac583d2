"""The page without a framework takes the steps of the program.

Both start from the same weights and alpha and see the same batches, in float64; nothing else is
shared. `examples/00_by_hand.py` is imported by its path.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import train_batch, valid_batch
from torch.nn.utils import clip_grad_norm_
from torch.testing import assert_close

import optnas
from optnas.data.batches import epoch_batches
from optnas.measures.evaluation import clean_batch
from optnas.search.api import settings_of
from optnas.search.checkpoints import restore
from optnas.search.state import SearchState, build_state
from optnas.search.steps import Batch

EXAMPLE = Path(__file__).parent.parent / "examples" / "00_by_hand.py"
EPOCHS, BATCH, SIZE, CHANNELS = 3, 16, 64, 2
MAX_NORM = 2.0
TIGHT = {"rtol": 1e-9, "atol": 1e-9}

# The optimizers are those of the protocol, which the page's own two lines have to equal.
SETTINGS: dict[str, Any] = {
    "protocol": "cpu",
    "search.epochs": EPOCHS,
    "search.batch_size": BATCH,
    "supernet.channels": CHANNELS,
    "supernet.dtype": "float64",
    "data.name": "digits",
    "data.train_size": SIZE,
    "data.valid_size": SIZE,
    "clipping.max_norm": MAX_NORM,
    "clipping.also_counts": "nothing",
    "benchmark.table": "none",
    "run.device": "cpu",
}

Make = Callable[..., torch.optim.Optimizer]
# pair -> (settings, optimizers in torch's words); None is the page's own line
PAIRS: dict[str, tuple[dict[str, Any], Make | None, Make | None]] = {
    "SGD + Adam": ({}, None, None),
    "Adam + SGD": (
        {"weight_optimizer.name": "Adam", "arch_optimizer.name": "SGD"},
        partial(torch.optim.Adam, lr=1e-3, weight_decay=3e-4),
        partial(torch.optim.SGD, lr=0.003, momentum=0.9, weight_decay=1e-3),
    ),
    "RMSprop + AdamW": (
        {
            "weight_optimizer": {
                "name": "RMSprop",
                "lr": 0.005,
                "schedule": {"name": "cosine", "final_lr": 0.0002},
            },
            "arch_optimizer": {"name": "AdamW", "lr": 0.2},
        },
        partial(torch.optim.RMSprop, lr=0.005),
        partial(torch.optim.AdamW, lr=0.2),
    ),
}


@pytest.fixture
def page() -> Any:
    specification = importlib.util.spec_from_file_location("by_hand", EXAMPLE)
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


Images = tuple[torch.Tensor, torch.Tensor]


class Drawn:
    """Batches as a search draws them; going through them again draws the next epoch's."""

    def __init__(self, draw: Callable[[], Iterator[Images]]):
        self.draw = draw

    def __iter__(self) -> Iterator[Images]:
        return self.draw()


def plain(batch: Batch) -> Images:
    """Images and labels; the page has no operations that draw noise."""
    assert batch.draw is None
    return batch.images_BCHW, batch.labels_B


def batches_of(state: SearchState) -> tuple[Drawn, Drawn, Images]:
    """What the page is handed: train batches, validation batches, the validation half."""

    def train() -> Iterator[Images]:
        for indices_B in epoch_batches(SIZE, BATCH, state.generators["train-order"]):
            yield plain(train_batch(state, indices_B))

    def valid() -> Iterator[Images]:
        while True:
            yield plain(valid_batch(state))

    half = clean_batch(state.valid, torch.arange(SIZE), state.dtype)
    return Drawn(train), Drawn(valid), plain(half)


def network_of(page: Any, state: SearchState) -> Any:
    """The page's supernet at the initial weights: both list the weights in the same order."""
    network = page.Supernet(CHANNELS).double()
    with torch.no_grad():
        for own, weight in zip(network.parameters(), state.supernet.weights.values(), strict=True):
            assert own.shape == weight.shape
            own.copy_(weight)
    return network


@pytest.mark.parametrize("pair", PAIRS)
@pytest.mark.thorough
def test_the_page_equals_the_program(
    page: Any, pair: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    changes, weight_optimizer, arch_optimizer = PAIRS[pair]
    out = tmp_path / "run"
    optnas.run(SETTINGS | changes, out=out)
    records = optnas.load(out).iloc[1:]
    state, source = (build_state(settings_of(SETTINGS | changes)) for _ in range(2))

    monkeypatch.setattr(page, "MAX_NORM", MAX_NORM)
    norms: list[float] = []

    def clip(*arguments: Any) -> None:
        norms.append(float(clip_grad_norm_(*arguments)))

    monkeypatch.setattr(torch.nn.utils, "clip_grad_norm_", clip)
    network, alpha = network_of(page, state), state.alpha_EO.detach().clone().requires_grad_()
    found = page.search(
        network,
        alpha,
        (weight_optimizer or page.WEIGHT_OPTIMIZER)(network.parameters()),
        (arch_optimizer or page.ARCH_OPTIMIZER)([alpha]),
        *batches_of(source),
        EPOCHS,
    )
    losses, accuracies, cells = zip(*found, strict=True)
    assert_close(losses, tuple(records["train_loss"]), **TIGHT)
    assert_close(accuracies, tuple(records["valid_accuracy"]), **TIGHT)
    assert cells == tuple(records["architecture"])

    assert max(norms) > MAX_NORM, "the case never clips"

    start_EO = state.alpha_EO.detach().clone()
    restore(state, out / "checkpoints" / "last.pt")
    assert_close(alpha, state.alpha_EO, **TIGHT)
    assert not torch.equal(alpha, start_EO)
    weights = state.supernet.weights
    assert_close(list(network.parameters()), list(weights.values()), **TIGHT)
    assert state.statistics is not None
    named = state.supernet.named_statistics(state.statistics)
    modules = [m for m in network.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    names = [n for n in (key.removesuffix(".weight") for key in weights) if n in named]
    for norm, name in zip(modules, names, strict=True):
        assert_close((norm.running_mean, norm.running_var), named[name], **TIGHT)


def test_the_page_is_of_torch_and_digits_only() -> None:
    imported = {
        line.split()[1].split(".")[0]
        for line in EXAMPLE.read_text().splitlines()
        if line.startswith(("import ", "from "))
    }
    assert imported == {"functools", "sklearn", "torch"}
