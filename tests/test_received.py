"""What parts receive beyond the two losses, and what the loop does with what they hand back."""

from __future__ import annotations

import copy
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import train_batch, valid_batch
from torch import Tensor
from torch.testing import assert_close

from optnas.algorithms.base import Progress
from optnas.base.errors import UserError
from optnas.search import steps
from optnas.search.checkpoints import restore
from optnas.search.exam import examine, subjects
from optnas.search.exam.base import difference
from optnas.search.exam.searches import searched, tiny, trace, traced
from optnas.search.state import SearchState, build_state
from optnas.search.steps import arch_step, weight_step

NOW = Progress(1, 2)
SAM = {"arch_optimizer": {"name": "sam", "lr": 0.1, "base": {"name": "SGD"}}}
LINE_SEARCH = {
    "arch_optimizer": {"name": "LBFGS", "line_search_fn": "strong_wolfe", "max_iter": 3, "lr": 1.0}
}


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copy(Path(__file__).with_name("inner.py"), "inner.py")


def using(name: str, **own: Any) -> dict[str, Any]:
    part = {"name": f"./inner.py:{name}", **own}
    return {"algorithm": {"name": "composed", "hypergradient": part}}


SINGLE_LEVEL = {"algorithm": {"name": "single-level"}}
OLES = {"algorithm": {"name": "oles", "reading": "paper", "threshold": 0.1, "window": 2}}


def stepped(*sections: Any) -> SearchState:
    """A search after one step of each level, alpha first."""
    state = build_state(tiny(*sections))
    train = train_batch(state, torch.arange(16))
    arch_step(state, train, valid_batch(state), NOW)
    weight_step(state, train, NOW)
    return state


def spied(state: SearchState, look: Callable[[Any], None]) -> None:
    """Show every problem to a function before the hypergradient gets it."""
    compute = state.algorithm.hypergradient

    def shown(problem: Any, alpha_EO: Tensor, relax: Any) -> Any:
        look(problem)
        return compute(problem, alpha_EO, relax)

    object.__setattr__(state.algorithm, "hypergradient", shown)


@pytest.mark.thorough
@pytest.mark.parametrize(
    "use",
    [using("k-step"), using("averaged"), OLES],
    ids=["k-step", "averaged", "oles"],
)
def test_interrupted_and_resumed_is_bit_for_bit_the_same(use: Any) -> None:
    settings = tiny(use)
    assert difference(trace(settings), trace(settings, stop=1)) is None


# --- further train batches ----------------------------------------------------------------------


def test_further_batches_are_the_same_within_a_step_and_move_no_other_stream() -> None:
    state, losses = build_state(tiny(using("k-step"), SAM)), []
    held = {name: w.detach().clone() for name, w in state.supernet.weights.items()}
    A_EO = torch.full_like(state.alpha_EO, 0.2)

    def look(problem: Any) -> None:
        for count in (3, 1):
            more = problem.more_train_batches(count)
            losses.append([float(loss(A_EO, held).loss) for loss in more])

    spied(state, look)
    train, valid = train_batch(state, torch.arange(16)), valid_batch(state)
    before = {name: g.get_state() for name, g in state.generators.items()}
    arch_step(state, train, valid, NOW)
    first, *others = losses
    assert len(others) == 3  # SAM evaluates twice
    assert others == [first[:1], first, first[:1]]
    assert len(set(first)) == 3
    moved = [n for n, g in state.generators.items() if not torch.equal(g.get_state(), before[n])]
    assert moved == ["more-train-batches"]
    losses.clear()
    arch_step(state, train, valid, NOW)
    assert set(losses[0]).isdisjoint(first)


def test_only_who_says_so_has_further_batches() -> None:
    names = {
        name: "more-train-batches" in build_state(tiny(using(name))).generators
        for name in ("k-step", "averaged")
    }
    assert names == {"k-step": True, "averaged": False}
    with pytest.raises(UserError, match=r'register it, and its algorithm, with needs=\("train-b'):
        stepped(using("silent"))


def test_k_steps_are_those_the_weight_optimizer_takes() -> None:
    """By differences of the loss after real steps of SGD with weight decay, without momentum."""
    sgd = {"weight_optimizer": {"name": "SGD", "lr": 0.1, "momentum": 0.0, "weight_decay": 0.05}}
    scaled = {"supernet": {"alpha_scale": 1.0}}
    state = build_state(tiny(using("k-step", steps=3), sgd, scaled))
    problems: list[Any] = []
    spied(state, problems.append)
    start_EO = state.alpha_EO.detach().clone()
    arch_step(state, train_batch(state, torch.arange(16)), valid_batch(state), NOW)
    (problem,), gradient_EO = problems, state.alpha_EO.grad
    assert gradient_EO is not None
    along_EO = gradient_EO / gradient_EO.norm()

    def after(shift: float) -> float:
        A_EO = (start_EO + shift * along_EO).softmax(-1)
        held = {n: w.detach().clone().requires_grad_() for n, w in problem.weights.items()}
        optimizer = torch.optim.SGD(list(held.values()), lr=0.1, weight_decay=0.05)
        for loss in [problem.train_loss, *problem.more_train_batches(2)]:
            optimizer.zero_grad()
            loss(A_EO, held).loss.backward()
            optimizer.step()
        return float(problem.valid_loss(A_EO, held).loss.detach())

    slope = (after(1e-5) - after(-1e-5)) / 2e-5
    assert slope == pytest.approx(float(gradient_EO.norm()), rel=1e-5)


# --- the train loss as the outer one ------------------------------------------------------------


def test_alpha_may_descend_the_train_loss() -> None:
    """A line search compares its values; statistics move in the first evaluation alone."""
    state, compared, updates = build_state(tiny(SINGLE_LEVEL, LINE_SEARCH)), [], []
    spied(state, lambda problem: updates.append(problem.update))
    step = state.arch_optimizer.step

    def watched(closure: Any) -> None:
        step(
            lambda: compared.append((state.alpha_EO.detach().clone(), closure())) or compared[-1][1]
        )  # type: ignore[func-returns-value]

    state.arch_optimizer.step = watched  # type: ignore[method-assign]
    train = train_batch(state, torch.arange(16))
    loss = steps.batch_loss(state, train)
    arch_step(state, train, valid_batch(state), NOW)
    assert len(compared) > 1
    for alpha_EO, value in compared:
        expected = loss(alpha_EO.softmax(-1), state.supernet.weights).loss
        assert_close(value, expected.detach())
    assert updates == [True] + [False] * (len(compared) - 1)


# --- memory -------------------------------------------------------------------------------------


def test_what_a_hypergradient_remembers_is_in_every_checkpoint() -> None:
    settings = tiny(using("averaged"), {"checkpoints": {"keep": "all"}})
    with searched(settings) as folder:
        state = build_state(settings)
        assert state.memory == {}
        seen = []
        for epoch in (1, 0):
            restore(state, folder.kept(epoch))
            seen.append(set(state.memory))
        assert seen == [{"average_EO"}, set()]
        assert traced(folder)["checkpoint"]["memory"].keys() == {"average_EO"}


def test_each_evaluation_of_a_step_sees_the_memory_before_it() -> None:
    state, seen = build_state(tiny(using("averaged", share=0.5), SAM)), []
    spied(state, lambda problem: seen.append(problem.progress.memory.get("average_EO")))
    state.remember({"other": torch.ones(2)})
    train = train_batch(state, torch.arange(16))
    for _ in range(2):
        arch_step(state, train, valid_batch(state), NOW)
    assert seen[:2] == [None, None]
    assert torch.equal(seen[2], seen[3])
    assert state.alpha_EO.grad is not None
    assert torch.equal(state.memory["other"], torch.ones(2))
    assert state.memory["average_EO"].data_ptr() != state.alpha_EO.grad.data_ptr()


def test_a_memory_that_lacks_a_name_or_holds_no_tensor_is_refused(tmp_path: Path) -> None:
    settings = tiny(OLES, {"search": {"epochs": 1}})
    with searched(settings) as folder:
        content = torch.load(folder.checkpoint, weights_only=True)
        for damage, told in (
            ({"steps": None}, "memory lacks names"),
            ({"steps": 3}, "memory.steps is a int, not a Tensor"),
        ):
            memory = {**content["memory"], **damage}
            memory = {name: each for name, each in memory.items() if each is not None}
            torch.save({**content, "memory": memory}, tmp_path / "damaged.pt")
            with pytest.raises(UserError, match=told):
                restore(build_state(settings), tmp_path / "damaged.pt")


# --- sight of the weight gradients --------------------------------------------------------------


def test_weight_gradients_are_seen_before_they_are_clipped() -> None:
    state, seen = build_state(tiny({"clipping": {"max_norm": 1e-3, "also_counts": "nothing"}})), []

    def look(gradients: Any, progress: Progress) -> steps.WeightGradients:
        seen.append({name: g.clone() for name, g in gradients.items()})
        return steps.WeightGradients()

    object.__setattr__(state.algorithm, "on_weight_gradients", look)
    twin = build_state(tiny({"clipping": {"max_norm": 1e-3, "also_counts": "nothing"}}))
    for each in (state, twin):
        weight_step(each, train_batch(each, torch.arange(16)), NOW)
    (gradients,) = seen
    assert gradients.keys() == state.supernet.weights.keys()
    norm = torch.stack([g.norm() for g in gradients.values()]).norm()
    assert float(norm) > 1e-2
    for name, w in state.supernet.weights.items():
        assert torch.equal(w, twin.supernet.weights[name])
        assert_close(w.grad, gradients[name] * 1e-3 / (norm + 1e-6))


def test_an_operation_that_is_stopped_stays_where_it_is() -> None:
    """Under momentum and weight decay; the others go on."""
    state = build_state(tiny(OLES))
    weights, frozen = state.supernet.weights, set()
    for place in range(6):
        before = {name: w.detach().clone() for name, w in weights.items()}
        train = train_batch(state, torch.arange(16))
        arch_step(state, train, valid_batch(state), NOW)
        weight_step(state, train, NOW)
        stayed = {name for name, w in weights.items() if torch.equal(w, before[name])}
        held = {
            f"{n.removeprefix('stopped/')}.weight": bool(v)
            for n, v in state.memory.items()
            if n.startswith("stopped/")
        }
        assert stayed == {name for name, stopped in held.items() if stopped}
        assert frozen <= stayed
        frozen = stayed
        assert int(state.memory["steps"]) == place + 1
    assert 0 < len(frozen) < len(held)


def test_a_search_without_any_of_it_is_unchanged() -> None:
    """Its checkpoint has no memory and no stream of its own."""
    checkpoint = copy.deepcopy(trace(tiny({"search": {"epochs": 1}}))["checkpoint"])
    assert "memory" not in checkpoint
    assert set(checkpoint["generators"]) == {
        *("train-order", "valid-order", "train-augmentation", "valid-augmentation", "perturbation")
    }


@pytest.mark.thorough
def test_the_exam_knows_all_of_it() -> None:
    """Neumann's series reaches the implicit gradient, unrolling of one step its closed form."""
    outcomes = [each for s in subjects("./inner.py", "hypergradient") for each in examine(s)]
    assert [(o.subject.name, o.check, o.why) for o in outcomes if o.verdict != "ok"] == []
    reached = [o.subject.name.rpartition(":")[2] for o in outcomes if o.check.startswith("reaches")]
    assert reached == ["neumann", "k-step"]
