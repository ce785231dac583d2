"""What an optimizer of one's own may do with its groups and state, and what is said of the rest."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from test_optimizers import make_leaves
from tiny import assert_same, fingerprint, tiny_settings, trained

from optnas.base.errors import UserError
from optnas.base.seeds import global_states, moved_since
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


@pytest.mark.thorough
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


KEEPING = """
import collections
import torch
from types import SimpleNamespace

class Own(torch.optim.SGD):
    def __init__(self, params, lr: float = 0.01):
        super().__init__(params, lr)
        {held}

    def step(self, closure=None):
        super().step()
        {changed}
"""


@pytest.mark.parametrize(
    ("held", "changed", "name"),
    [
        ("self.buf = 0", "self.buf += 1", "buf"),
        ("self._seen = []", "self._seen.append(0)", "_seen"),
        ("self.past = {}", "self.past[id(self)] = self.past.get(id(self), 1.0) / 2", "past"),
        (
            "self.mean = torch.zeros(1)",
            "self.mean += self.param_groups[0]['params'][0].sum()",
            "mean",
        ),
        ("self.own = SimpleNamespace(t=0)", "self.own.t += 1", "own"),
        ("self.random = torch.Generator()", "torch.rand(1, generator=self.random)", "random"),
    ],
)
def test_what_it_counts_belongs_in_its_state(
    held: str, changed: str, name: str, tmp_path: Path
) -> None:
    (tmp_path / "own.py").write_text(KEEPING.format(held=held, changed=changed))
    told = f"`{name}` changed in the steps and is in no checkpoint.*; keep it in self.state"
    with pytest.raises(UserError, match=told):
        own_optimizer(tmp_path, "Own", lr=0.1)


@pytest.mark.parametrize(
    ("held", "changed"),
    [
        ("self.size = None", "self.size = len(self.param_groups)"),  # made anew in each step
        ("self.past = collections.deque([1.0])", "self.state['all'] = {'n': torch.ones(1)}"),
        ("self.nan = float('nan')", "self.text = 'same'"),
    ],
)
def test_what_is_the_same_after_a_resume_may_stay(held: str, changed: str, tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(KEEPING.format(held=held, changed=changed))
    own_optimizer(tmp_path, "Own", lr=0.1)


def test_a_rate_that_it_changes_itself_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    halved = "for group in self.param_groups: group['lr'] *= 0.5"
    (tmp_path / "own.py").write_text(KEEPING.format(held="pass", changed=halved))
    own_optimizer(tmp_path, "Own", lr=0.1)
    (line,) = caplog.messages
    assert line.startswith(f"optnas: warning: {tmp_path}/own.py:Own changes the lr of its groups")


DRAWING = """
import random
import numpy as np
import torch

class Draws(torch.optim.SGD):
    def __init__(self, params, lr: float = 0.01):
        super().__init__(params, lr)

    def step(self, closure=None):
        for group in self.param_groups:
            for p in group["params"]:
                p.grad += {drawn}
        return super().step()
"""


@pytest.mark.parametrize(
    ("drawn", "whose"),
    [("torch.rand(1)", "torch"), ("np.random.rand()", "numpy"), ("random.random()", "python")],
)
def test_what_it_draws_must_not_be_from_a_global_generator(
    drawn: str, whose: str, tmp_path: Path
) -> None:
    (tmp_path / "own.py").write_text(DRAWING.format(drawn=drawn))
    before = global_states()
    with pytest.raises(UserError, match=f"it draws from {whose}'s global generator"):
        own_optimizer(tmp_path, "Draws")
    assert moved_since(before) is None


HALVING = """
import torch

class Halves(torch.optim.SGD):
    def __init__(self, params, lr: float = 0.01):
        super().__init__(params, lr / 2)
"""


def test_a_rate_that_it_begins_with_itself_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "own.py").write_text(HALVING)
    own_optimizer(tmp_path, "Halves", lr=0.02)
    (told,) = caplog.messages
    assert "Halves makes of lr = 0.02 a rate of 0.01, and each epoch sets the schedule's" in told


def test_a_constructor_over_named_parameters_is_told_of_names(tmp_path: Path) -> None:
    named = "def Named(params, lr: float = 0.1):\n    return Own([p for _, p in params], lr)\n"
    (tmp_path / "own.py").write_text(KEEPING.format(held="pass", changed="pass") + named)
    with pytest.raises(UserError, match=r"too many values.*list of tensors.*`names`"):
        own_optimizer(tmp_path, "Named", lr=0.1)
