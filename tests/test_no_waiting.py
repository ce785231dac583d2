"""A step neither waits for a GPU nor sends anything to one; shown on machines that have none.

The steps run on torch's ``meta`` device, which knows shapes and places and holds no values: a
number read from it is an error, and whatever passes between it and the CPU is seen by two modes,
one below torch's functions (reads, copies) and one above them (Python's numbers made into a tensor
there).

Each of the steps below failed before the numbers of an epoch were drawn at once. A step of DARTS on
NAS-Bench-201 (one cell per stage) then sent 40 times: the operation weights were indexed by lists
(36), and the positions and crops of both batches were sent (4); GDAS and SDARTS-RS sent their
draws, SDARTS-ADV read two losses.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from tiny import (
    assert_same,
    every_variant,
    fingerprint,
    in_their_tier,
    tiny_settings,
    train_batch,
    valid_batch,
)
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from optnas.algorithms.base import Draw
from optnas.base import registry
from optnas.optimizers import adapter
from optnas.search import state as state_module
from optnas.search.draws import draw_epoch
from optnas.search.session import Session
from optnas.search.state import SearchState, build_state

DEVICE = "meta"
# GPUs have this kernel; the meta device lacks a description of it.
META = torch.library.Library("aten", "IMPL", "Meta")
META.impl("_dirichlet_grad", lambda x, alpha, total: torch.empty_like(x))
# An epoch of two steps, the second on a short batch.
SMALLEST = {
    "space__name": "toy",
    "benchmark__table": "toy",
    "data__train_size": 24,
    "data__valid_size": 24,
}
SAM = {"name": "sam", "lr": 0.1, "base": {"name": "SGD", "momentum": 0.9}}
LOOKAHEAD = {"name": "lookahead", "lr": 0.1, "k": 2, "base": {"name": "SGD"}}
CASES: dict[str, dict[str, Any]] = {
    **{
        name: {**changes, "weight_optimizer__name": "Adam"}
        for name, changes in every_variant()
        # What is dropped of skips is drawn on the CPU and sent: docs/gpu.md says so.
        if "skip-dropout" not in registry.facts("algorithm", changes["algorithm__name"])["needs"]
    },
    "SGD": {"arch_optimizer__name": "SGD"},
    "SGD, unrolled": {"algorithm__hypergradient": "unrolled", "arch_optimizer__name": "SGD"},
    "unrolled by differences": {
        "algorithm__hypergradient": {"name": "unrolled", "derivative": "finite-difference"},
    },
    "exact projection": {"algorithm__name": "sdarts-adv", "algorithm__projection": "exact"},
    "neumann": {"algorithm__hypergradient": "neumann"},
    "conjugate-gradient": {"algorithm__hypergradient": "conjugate-gradient"},
    "value-function": {"algorithm__hypergradient": {"name": "value-function", "steps": 1}},
    "pr-darts, paper": {"algorithm__name": "pr-darts", "algorithm__reading": "paper"},
    "nasp, penalty": {"algorithm__name": "nasp", "algorithm__complexity_weight": 0.1},
    "dsnas, edges fixed": {"algorithm__name": "dsnas", "algorithm__margin": 0.3},
    "drnas, penalty": {"algorithm__name": "drnas", "algorithm__kl": 0.1},
    "composed, perturbed": {"algorithm__name": "composed", "algorithm__perturbation": "attack"},
    "sam": {"algorithm__name": "sdarts-adv", "weight_optimizer": SAM, "arch_optimizer": SAM},
    "lion, adabelief": {"weight_optimizer__name": "lion", "arch_optimizer__name": "adabelief"},
    "schedule-free": {
        "weight_optimizer__name": "schedule-free-sgd",
        "arch_optimizer__name": "schedule-free-adamw",
    },
    "lookahead": {"weight_optimizer": LOOKAHEAD, "arch_optimizer": LOOKAHEAD},
    "soap": {"weight_optimizer__name": "soap", "arch_optimizer__name": "soap"},
    "cutout, clipping counts alpha": {
        "augmentation__cutout": 3,
        "clipping": {"max_norm": 0.1, "also_counts": "alpha"},
    },
    "weights first, passes": {
        "algorithm__name": "gdas",
        "search__step_order": "weights-first",
        "search__valid_order": "passes",
    },
    "batch statistics": {
        "algorithm__name": "sdarts-adv",
        "supernet__batch_norm": "batch",
        "supernet__arch_step_updates_statistics": False,
    },
    "nas-bench-201": {"space__name": "nas-bench-201", "benchmark__table": "analog-nasbench"},
}
READS = ("_local_scalar_dense", "nonzero", "is_nonzero", "equal")
FROM_NUMBERS = ("tensor", "as_tensor", "asarray", "new_tensor")


def tensors(*values: Any) -> Iterator[Tensor]:
    for value in values:
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, (list, tuple)):
            yield from tensors(*value)


class NothingPasses(TorchDispatchMode):
    """Fails at an operation that reads from the device, or has both places among its tensors.

    One number of the CPU may meet tensors of the device: it is an argument of the kernel.
    """

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        given = list(tensors(args, *(kwargs or {}).values()))
        here = any(each.device.type == DEVICE for each in given)
        held = [each for each in given if each.device.type == "cpu"]
        name = str(func).split(".")[1] if "." in str(func) else str(func)
        assert not (here and name in READS), f"{func} waits for the device"
        index = name.startswith("index")
        assert not (here and any(each.ndim or index for each in held)), f"{func} sends"
        found = func(*args, **(kwargs or {}))
        went = {each.device.type for each in tensors(found)}
        assert not (here and "cpu" in went), f"{func} fetches"
        assert not (held and not here and DEVICE in went), f"{func} sends"
        return found


class NothingIsMade(TorchFunctionMode):
    """Fails where Python's numbers become a tensor of the device: a copy that no mode sees."""

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        name = getattr(func, "__name__", "")
        if name in ("__getitem__", "__setitem__") and args[0].device.type == DEVICE:
            keys = args[1] if isinstance(args[1], tuple) else (args[1],)
            assert not any(isinstance(key, list) for key in keys), f"{name} sends a list"
            assert all(isinstance(value, Tensor) for value in args[2:]), f"{name} sends a number"
        found = func(*args, **(kwargs or {}))
        made = name in FROM_NUMBERS and found.device.type == DEVICE
        assert not made, f"{name} sends Python's numbers"
        return found


def on_the_device(monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any]) -> SearchState:
    """A state without values."""
    monkeypatch.setattr(state_module, "pick_device", lambda name: torch.device(DEVICE))
    monkeypatch.setattr(state_module, "shared_images", lambda train, valid: "")
    monkeypatch.setattr(state_module, "unbalanced", lambda half, classes, name: "")
    monkeypatch.setattr(adapter, "rehearse", lambda name, make, parameters: None)
    return build_state(tiny_settings(**{**SMALLEST, **changes}))


@pytest.mark.thorough
@pytest.mark.parametrize("case", in_their_tier(CASES))
def test_no_step_reads_or_sends(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    session = Session(on_the_device(monkeypatch, CASES[case]))
    session.train_epoch()  # epoch 0: nothing is trained
    session.begin_epoch()
    steps = draw_epoch(session.state)
    assert [step.train_KB.shape[1] for step in steps] == [16, 8]
    session.step(steps[0])  # what is made once is made here: indices of edges, the pool's filters
    with NothingIsMade(), NothingPasses():
        score = session.step(steps[1])
    assert score.loss_sum.device.type == DEVICE


# What keeps, or works out, numbers on the device and reads them, or sends some, for each leaf.
BUSY = {"ASGD": "item", "Adafactor": "item", "Rprop": "sends a number"}
OTHERS = [
    "SGD",
    "Adam",
    "AdamW",
    "Adamax",
    "NAdam",
    "RAdam",
    "RMSprop",
    "Adadelta",
    "Adagrad",
    "Muon",
]


@pytest.mark.parametrize("name", [*OTHERS, *BUSY])
def test_which_of_torchs_optimizers_read_or_send(name: str) -> None:
    """All but LBFGS, whose many reads docs/gpu.md tells of too; by `foreach`, as torch on a GPU."""
    leaf = torch.empty(3, 2, device=DEVICE, requires_grad=True)
    more = {} if name == "Muon" else {"foreach": True}
    optimizer = getattr(torch.optim, name)([leaf], lr=0.01, **more)
    leaf.grad = torch.empty_like(leaf)
    expected: Any = contextlib.nullcontext()
    if name in BUSY:
        expected = pytest.raises((AssertionError, RuntimeError), match=BUSY[name])
    with expected:
        optimizer.step()  # what is made once is made here
        with NothingIsMade(), NothingPasses():
            optimizer.step()


WAITS = {f"aten::{name}" for name in (*READS, "item")}


def waits_of(run: Callable[[], Any]) -> set[str]:
    """What it calls, backward passes too, that would wait for a device."""
    with torch.autograd.profiler.profile() as profiler:
        run()
    return {event.name for event in profiler.function_events} & WAITS


@pytest.mark.thorough
@pytest.mark.parametrize("name", in_their_tier(dict(every_variant())))
def test_no_backward_pass_waits(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a mode is active, or on `meta`, torch's own backward passes leave such calls out."""
    sgd = {"weight_optimizer__name": "SGD", "arch_optimizer__name": "SGD"}
    settings = tiny_settings(**{**SMALLEST, **dict(every_variant())[name], **sgd})
    session = Session(build_state(settings))
    for _ in range(2):  # some algorithms begin, or select, after the first epoch
        session.train_epoch()
    session.begin_epoch()
    steps = draw_epoch(session.state)
    session.step(steps[0])
    # The seed of further train batches is drawn on the CPU, and read from there.
    monkeypatch.setattr("optnas.search.steps.seed_of", lambda stream: 0)
    assert waits_of(lambda: session.step(steps[1])) == set()


def test_a_wait_of_a_backward_pass_is_seen() -> None:
    x = torch.rand(3, requires_grad=True)
    assert waits_of(lambda: x.prod().backward()) == {"aten::nonzero"}


LEAKS: dict[str, Callable[[Tensor], Any]] = {
    "reads a number": lambda x: float(x.sum()),
    "decides": lambda x: x if x.sum() > 0 else -x,
    "looks for places": lambda x: x[x > 0],
    "fetches": lambda x: x.cpu(),
    "sends a draw": lambda x: torch.rand(x.shape).to(x),
    "sends what it adds": lambda x: x + torch.zeros(x.shape),
    "sends an index": lambda x: x[torch.tensor([0, 1])],
    "sends a list": lambda x: x[[0, 1], 2],
    "sends a number": lambda x: x.__setitem__((0, 2), 0.5),
    "sends numbers": lambda x: torch.tensor([1.0, 2.0], device=x.device),
}


@pytest.mark.parametrize("leak", LEAKS)
def test_a_leak_is_seen(leak: str) -> None:
    x = torch.empty(4, 4, device=DEVICE)
    expected = pytest.raises((AssertionError, NotImplementedError, RuntimeError))
    with expected as caught, NothingIsMade(), NothingPasses():
        LEAKS[leak](x)
    assert any(word in str(caught.value) for word in ("waits", "sends", "fetches", "meta"))


def test_one_number_may_meet_the_device() -> None:
    x = torch.empty(4, 4, device=DEVICE)
    with NothingIsMade(), NothingPasses():
        y = torch.where(x.sum() > 0, x * torch.tensor(2.0), x + 1)
        y[0, 2].fill_(0.5)
    assert y.device.type == DEVICE


@pytest.mark.parametrize(
    "changes", [{}, {"algorithm__name": "gdas"}, {"search__valid_order": "passes"}]
)
def test_an_epoch_drawn_at_once_has_the_numbers_of_its_steps(changes: dict[str, Any]) -> None:
    changes = {"augmentation__cutout": 3, **changes}
    at_once, one_by_one = (build_state(tiny_settings(**changes)) for _ in range(2))
    steps = draw_epoch(at_once)
    order = torch.cat([step.train_KB[0] for step in steps])
    assert sorted(order.tolist()) == list(range(len(at_once.train)))
    torch.randperm(len(order), generator=one_by_one.generators["train-order"])
    for step in steps:
        train, valid = step.batches(at_once)
        assert_same(train_batch(one_by_one, step.train_KB[0]), train)
        assert_same(valid_batch(one_by_one), valid)
        for level in step.draws:
            seed = int(torch.randint(2**63 - 1, (), generator=one_by_one.generators["draws"]))
            draw, alpha_EO = step.draws[level], at_once.alpha_EO
            assert draw.seed == seed
            assert_same(draw.uniform(alpha_EO), Draw(seed).uniform(alpha_EO))
    assert_same(fingerprint(at_once), fingerprint(one_by_one))
