"""Steps recorded once and replayed, as far as a machine without a GPU shows.

In place of a CUDA graph stands the step itself, called again: what it reads and leaves has to lie
where the recorded one has it. tests/test_gpu.py has the graphs.
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
    recordable,
    tiny_settings,
)

from optnas.algorithms.base import Draw
from optnas.base.errors import UserError
from optnas.measures.evaluation import Score
from optnas.optimizers import adapter
from optnas.optimizers.capture import counting_on_device, uncapturable
from optnas.search import steppers
from optnas.search.draws import StepDraws
from optnas.search.session import Session
from optnas.search.state import SearchState, build_state
from optnas.search.steppers import Recorded, Step

# Four steps per epoch, the last on a short batch.
FOUR_STEPS = {"data__train_size": 56, "data__valid_size": 56}
VARIANTS = recordable(dict(every_variant()))


def after(changes: dict[str, Any], epochs: int = 2) -> SearchState:
    session = Session(build_state(tiny_settings(**FOUR_STEPS, **changes)))
    for _ in range(1 + epochs):
        session.train_epoch()
    return session.state


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Sessions record their steps; what is recorded and replayed is written here."""
    happened: list[str] = []

    def capture(step: Callable[[], Score]) -> Callable[[], Score]:
        happened.append("recorded")

        def replay() -> Score:
            happened.append("replayed")
            return step()

        return replay

    @contextlib.contextmanager
    def recording(step: Step, state: SearchState) -> Iterator[Step]:
        with Recorded(step, state, capture) as recorded:
            yield recorded

    monkeypatch.setitem(steppers.STEPPERS, "eager", recording)
    # Torch counts on GPUs, not on the CPU.
    monkeypatch.setattr(steppers, "counting_on_device", lambda optimizers: contextlib.nullcontext())
    return happened


@pytest.mark.thorough
@pytest.mark.parametrize("name", in_their_tier(n for n in VARIANTS if n != "random"))
def test_what_a_recorded_step_reads_stays_in_its_place(name: str, counted: list[str]) -> None:
    """Bit-equal, with Adam on both levels."""
    changes = {**VARIANTS[name], "weight_optimizer__name": "Adam"}
    state = after(changes)
    # The first full batch and the short one are taken by Python.
    assert counted == ["recorded", "replayed", "replayed"] * 2
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(steppers.STEPPERS, "eager", steppers.eager)
        expected = after(changes)
    assert_same(fingerprint(state), fingerprint(expected))
    assert_same(dict(state.memory), dict(expected.memory))


def recorded(step: Step, state: SearchState) -> None:
    """Record the second step of an epoch."""
    draws = StepDraws(torch.zeros(1, 2), torch.zeros(1, 2), {"weight": Draw(3)})
    with Recorded(step, state, lambda captured: (captured(), captured)[1]) as taken:
        for _ in range(2):
            taken(draws)


def test_numbers_that_a_replay_would_repeat_are_refused() -> None:
    state = after({}, epochs=1)
    score = Score(torch.zeros(()), torch.zeros(()))

    def from_a_stream(draws: StepDraws) -> Score:
        torch.rand(1, generator=state.generators["perturbation"])
        return score

    def from_the_draw(draws: StepDraws) -> Score:
        draws.draws["weight"].uniform(state.alpha_EO)
        return score

    def remembering(draws: StepDraws) -> Score:
        state.memory = {f"{len(state.memory)}": torch.zeros(1), **state.memory}
        return score

    for step, told in (
        (from_a_stream, "draws numbers from the stream perturbation"),
        (from_the_draw, "draws other numbers than one per alpha"),
        (remembering, "remembers other tensors"),
    ):
        with pytest.raises(UserError, match=told) as refused:
            recorded(step, state)
        assert str(refused.value).endswith("use run.stepper=eager")


def test_a_graph_needs_a_gpu() -> None:
    with pytest.raises(UserError, match=r"run\.stepper = 'graph': is for GPUs.* on the cpu; use"):
        after({"run__stepper": "graph", "run__device": "cpu"})


SGD = {"name": "SGD", "momentum": 0.9}


def test_a_refused_recording_tells_its_cause(monkeypatch: pytest.MonkeyPatch) -> None:
    """What ends a recording complains of it, in the place of what had failed."""

    @contextlib.contextmanager
    def recording(graph: Any, stream: Any) -> Iterator[None]:
        try:
            yield
        finally:
            raise RuntimeError("operation failed due to a previous error during capture\nlines")

    def step() -> Score:
        with contextlib.suppress(KeyError):
            raise KeyError("is another thing")
        raise RuntimeError("Cannot copy between CPU and CUDA tensors\nCUDA kernel errors might")

    def refuses() -> Score:
        steppers.cannot("asks for further train batches")

    def through_torch() -> Score:
        return torch.zeros(2) @ torch.zeros(3)  # type: ignore[return-value]

    monkeypatch.setattr(torch.cuda, "CUDAGraph", object)
    monkeypatch.setattr(torch.cuda, "graph", recording)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda: None)
    line = step.__code__.co_firstlineno + 3
    with pytest.raises(UserError) as caught:
        steppers.captured(step)
    assert str(caught.value) == (
        "command line: run.stepper = 'graph': a CUDA graph cannot record the step (Cannot copy "
        f"between CPU and CUDA tensors, at test_steppers.py:{line}); use run.stepper=eager"
    )
    with pytest.raises(UserError, match=r"inconsistent tensor size.*, at test_steppers\.py:"):
        steppers.captured(through_torch)
    with pytest.raises(UserError, match="the step asks for further train batches, which a CUDA"):
        steppers.captured(refuses)


LEVELS: dict[str, tuple[str, dict[str, Any], str | None]] = {
    "SGD": ("SGD", {"lr": 0.1, "momentum": 0.9}, None),
    "AdamW": ("AdamW", {"lr": 0.1}, None),
    "sam": ("sam", {"lr": 0.1, "base": {"name": "Adam"}}, None),
    "muon": ("muon", {"lr": 0.1, "rest": {"name": "AdamW", "lr": 0.1}}, None),
    "sam on Adagrad": ("sam", {"lr": 0.1, "base": {"name": "Adagrad"}}, "Adagrad"),
    "LBFGS": ("LBFGS", {"lr": 0.1}, "LBFGS"),
    "Adagrad": ("Adagrad", {"lr": 0.1}, "Adagrad"),
    "another package's": ("schedule-free-sgd", {"lr": 0.1}, "SGDScheduleFree"),
}


def made(name: str, settings: dict[str, Any]) -> tuple[torch.optim.Optimizer, list[torch.Tensor]]:
    leaves = [torch.ones(3, 2, requires_grad=True), torch.ones(2, requires_grad=True)]
    names = ["cells.0.filter", "head.bias"]
    return adapter.construct(name, settings, leaves, names), leaves


@pytest.mark.parametrize("case", LEVELS)
def test_optimizers_that_count_in_python_are_known(case: str) -> None:
    name, settings, refused = LEVELS[case]
    assert uncapturable(made(name, settings)[0]) == refused


@pytest.mark.parametrize("name", ["Adam", "sam"])
def test_counts_come_back_to_the_cpu_as_they_were(name: str) -> None:
    """A checkpoint of an epoch with a graph is one of an epoch without."""
    settings: dict[str, Any] = {"lr": 0.1} | ({"base": {"name": "Adam"}} if name == "sam" else {})
    optimizer, leaves = made(name, settings)
    for leaf in leaves:
        leaf.grad = torch.ones_like(leaf)
    optimizer.step(lambda: 0.0)
    before = optimizer.state_dict()
    with counting_on_device([optimizer]):
        (inner,) = getattr(optimizer, "inner", [optimizer])
        assert all(group["capturable"] for group in inner.param_groups)
        assert inner.state[leaves[0]]["step"].dtype == torch.float64
    assert_same(optimizer.state_dict(), before)
