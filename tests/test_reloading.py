"""An optimizer's state comes back from a checkpoint as it was: types, places, bits."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import assert_same, fingerprint, tiny_settings, trained
from torch import Tensor

from optnas.optimizers.reloading import load_state
from optnas.search.checkpoints import restore, save
from optnas.search.session import Session
from optnas.search.state import build_state

SAM = {"name": "sam", "lr": 0.1, "base": {"name": "NAdam"}}
SEARCHES: dict[str, dict[str, Any]] = {
    "NAdam, ASGD": {"weight_optimizer__name": "NAdam", "arch_optimizer__name": "ASGD"},
    "ASGD, NAdam": {"weight_optimizer__name": "ASGD", "arch_optimizer__name": "NAdam"},
    "sam around NAdam": {"weight_optimizer": SAM, "arch_optimizer": SAM},
}


@pytest.mark.parametrize("name", SEARCHES)
@pytest.mark.thorough
def test_a_search_in_double_precision_resumes_bit_for_bit(name: str, tmp_path: Path) -> None:
    changes = {**SEARCHES[name], "supernet__dtype": "float64"}
    save(trained(changes, epochs=1), tmp_path / "last.pt")
    state = build_state(tiny_settings(**changes))
    restore(state, tmp_path / "last.pt")
    Session(state).train_epoch()
    assert_same(fingerprint(state), fingerprint(trained(changes, epochs=2)))


TORCHS: dict[str, dict[str, Any]] = {
    **{name: {} for name in ("NAdam", "ASGD", "RAdam", "Rprop", "Adamax", "Adadelta", "Adagrad")},
    **{name: {} for name in ("RMSprop", "Adam", "AdamW", "SGD")},
    "Adam, fused": {"fused": True},
}


def made(name: str, leaf: Tensor) -> torch.optim.Optimizer:
    """The optimizer after two steps."""
    optimizer: torch.optim.Optimizer = getattr(torch.optim, name.partition(",")[0])(
        [leaf], lr=0.01, **TORCHS[name]
    )
    for _ in range(2):
        leaf.grad = torch.full_like(leaf, 0.5)
        optimizer.step()
    return optimizer


def read_back(optimizer: torch.optim.Optimizer) -> Any:
    file = io.BytesIO()
    torch.save(optimizer.state_dict(), file)
    file.seek(0)
    return torch.load(file, weights_only=True)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", TORCHS)
def test_what_is_loaded_is_what_was_saved(name: str, dtype: torch.dtype) -> None:
    leaf = torch.zeros(3, 2, dtype=dtype, requires_grad=True)
    optimizer = made(name, leaf)
    other = torch.zeros_like(leaf).requires_grad_()
    again = getattr(torch.optim, name.partition(",")[0])([other], lr=0.01, **TORCHS[name])
    load_state(again, read_back(optimizer))
    assert_same(dict(again.state[other]), dict(optimizer.state[leaf]))


@pytest.mark.parametrize("name", sorted(set(TORCHS) - {"Adam, fused", "ASGD", "Adagrad"}))
def test_numbers_are_where_the_first_step_makes_them(name: str) -> None:
    """On a device, for which `meta` stands: a checkpoint is read to the CPU."""
    held = read_back(made(name, torch.zeros(3, 2, requires_grad=True)))
    leaf = torch.zeros(3, 2, device="meta", requires_grad=True)
    places = [
        {key: each.device.type for key, each in optimizer.state[leaf].items()}
        for optimizer in (made(name, leaf), _loaded(name, leaf, held))
    ]
    assert places[0] == places[1]


def test_asgd_counts_on_the_device() -> None:
    """On `meta` it cannot take a step, since it reads what it counts."""
    held = read_back(made("ASGD", torch.zeros(3, 2, requires_grad=True)))
    leaf = torch.zeros(3, 2, device="meta", requires_grad=True)
    state = _loaded("ASGD", leaf, held).state[leaf]
    assert {each.device.type for each in state.values()} == {"meta"}


def _loaded(name: str, leaf: Tensor, held: Any) -> torch.optim.Optimizer:
    optimizer: torch.optim.Optimizer = getattr(torch.optim, name)([leaf], lr=0.01)
    load_state(optimizer, held)
    return optimizer
