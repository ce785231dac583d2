"""What an optimizer of one's own may do with its groups and state, and what is said of the rest."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from test_optimizers import make_leaves
from tiny import assert_same, fingerprint, tiny_settings, trained

from optnas.optimizers.adapter import build, set_learning_rate
from optnas.search.checkpoints import restore, save
from optnas.search.session import Session
from optnas.search.state import build_state

GROUPS = """
import torch

class Groups(torch.optim.SGD):
    def __init__(self, params, names, lr: float = 0.01):
        slow = [p for p, name in zip(params, names) if not name.startswith("head")]
        fast = [p for p, name in zip(params, names) if name.startswith("head")]
        super().__init__([{"params": slow}, {"params": fast, "lr": 10 * lr}], lr)
"""


def rates(optimizer: torch.optim.Optimizer) -> list[float]:
    return [group["lr"] for group in optimizer.param_groups]


def test_groups_keep_the_ratio_of_their_rates(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(GROUPS)
    own = {"name": f"{tmp_path}/own.py:Groups", "lr": 0.02, "schedule": "cosine"}
    for given in (own, {"name": "sam", "lr": 0.02, "schedule": "cosine", "base": own["name"]}):
        state = trained({"weight_optimizer": given}, 1)
        assert rates(state.weight_optimizer) == pytest.approx([0.02, 0.2])
        save(state, tmp_path / "last.pt")
        again = build_state(tiny_settings(weight_optimizer=given))
        restore(again, tmp_path / "last.pt")
        for each in (state, again):
            Session(each).train_epoch()
        assert_same(fingerprint(state), fingerprint(again))
        slow, fast = rates(again.weight_optimizer)
        assert slow == state.learning_rates(2)["weight_optimizer"] < 0.02
        assert fast == pytest.approx(10 * slow)


def test_a_checkpoint_without_shares_goes_on_as_it_began(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(GROUPS)
    optimizer = own_optimizer(tmp_path, "Groups", lr=0.02)
    held = optimizer.state_dict()
    for group in held["param_groups"]:
        del group["lr_share"]
    optimizer.load_state_dict(held)
    set_learning_rate(optimizer, 0.01)
    assert rates(optimizer) == [0.01, 0.01]


def own_optimizer(folder: Path, name: str, **settings: Any) -> torch.optim.Optimizer:
    leaves = make_leaves("weight_optimizer")
    return build(
        f"{folder}/own.py:{name}",
        settings,
        [*leaves.values()],
        section="weight_optimizer",
        names=[*leaves],
    )
