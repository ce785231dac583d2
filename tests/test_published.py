"""Published methods, each one file: under every optimizer pair, killed and resumed bit for bit."""

from __future__ import annotations

import copy
import itertools
import unittest.mock
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from tiny import tiny_settings
from torch import Tensor
from torch.testing import assert_close

from optnas.algorithms import parts
from optnas.algorithms.base import Draw, Progress
from optnas.algorithms.beta_darts import beta_decay
from optnas.algorithms.bilevel import Bilevel, Hypergradient
from optnas.algorithms.gdas import hard_gumbel
from optnas.base.errors import UserError
from optnas.base.records import RunFolder
from optnas.base.seeds import named_generator
from optnas.measures.evaluation import clean_batch
from optnas.optimizers.base import Evaluate
from optnas.search import steps
from optnas.search.checkpoints import restore
from optnas.search.exam.base import difference
from optnas.search.exam.searches import tiny, trace, traced
from optnas.search.loop import run
from optnas.search.observe import snapshot_of
from optnas.search.settings.model import Settings
from optnas.search.state import SearchState, build_state
from optnas.search.steps import arch_step, train_batch, valid_batch, weight_step
from optnas.spaces.tables.told import describe_benchmark

METHODS = ("beta-darts", "gdas", "darts-pt")
PAIRS = list(itertools.product(("SGD", "Adam"), repeat=2))


def normal(seed: int) -> Tensor:
    return torch.randn(6, 5, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def sections(method: str, weight: str = "SGD", arch: str = "Adam") -> dict[str, Any]:
    return {
        "algorithm": {"name": method},
        "weight_optimizer": {"name": weight},
        "arch_optimizer": {"name": arch},
    }


@pytest.mark.thorough
@pytest.mark.parametrize("pair", PAIRS, ids="-".join)
@pytest.mark.parametrize("method", METHODS)
def test_interrupted_and_resumed_is_bit_for_bit_the_same(
    method: str, pair: tuple[str, str]
) -> None:
    settings = tiny(sections(method, *pair))
    assert difference(trace(settings), trace(settings, stop=1)) is None


# --- beta-darts ---------------------------------------------------------------------------------


def test_the_penalty_is_the_gradient_of_a_growing_mean_of_logsumexp() -> None:
    def found(epoch: int, base: Any = parts.frozen) -> Hypergradient:
        problem: Any = Bilevel({}, None, None, None, False, Progress(epoch, 10), None, None, None)  # type: ignore
        return beta_decay(weight=50.0, hypergradient=base)(problem, alpha_EO, None)  # type: ignore

    alpha_EO, gradient_EO = normal(0), normal(1)
    assert found(5).gradient_EO is None
    leaf_EO = alpha_EO.clone().requires_grad_()
    penalty = 50 * 4 / 10 * leaf_EO.exp().sum(-1).log().mean()
    (expected_EO,) = torch.autograd.grad(penalty, leaf_EO)
    both = found(5, lambda *_: Hypergradient(gradient_EO))
    assert_close(both.gradient_EO, gradient_EO + expected_EO)
    assert_close(both.penalty, penalty.detach())
    assert torch.equal(found(1, lambda *_: Hypergradient(gradient_EO)).gradient_EO, gradient_EO)  # type: ignore
    twice = found(5, lambda *_: Hypergradient(gradient_EO, None, torch.tensor(1.0)))
    assert_close(twice.penalty, penalty.detach() + 1)


def evaluations(state: SearchState, section: str) -> list[tuple[Tensor, float]]:
    """Alpha and the loss handed back, each time that an optimizer evaluates in one step."""
    optimizer = getattr(state, section)
    seen: list[tuple[Tensor, float]] = []
    step: Callable[[Evaluate], None] = optimizer.step

    def spied(closure: Evaluate) -> None:
        def spy() -> Tensor:
            loss = closure()
            seen.append((state.alpha_EO.detach().clone(), float(loss)))
            return loss

        step(spy)

    optimizer.step = spied
    return seen


LINE_SEARCH = {"name": "LBFGS", "line_search_fn": "strong_wolfe", "max_iter": 5, "lr": 1.0}


def test_a_line_search_compares_losses_with_the_penalty() -> None:
    own = {"algorithm__name": "beta-darts", "arch_optimizer": LINE_SEARCH}
    losses = {}
    for weight in (0.0, 50.0):
        state = build_state(tiny_settings(**own, algorithm__weight=weight))
        seen = evaluations(state, "arch_optimizer")
        train = train_batch(state, torch.arange(16))
        arch_step(state, train, valid_batch(state), Progress(2, 2))
        losses[weight] = seen[0]
    (alpha_EO, plain), (_, penalised) = losses.values()
    assert penalised - plain == pytest.approx(25 * float(alpha_EO.logsumexp(-1).mean()))


# --- gdas -----------------------------------------------------------------------------------------


def test_each_operation_is_drawn_with_its_probability() -> None:
    alpha_EO, counts_EO = normal(0), torch.zeros(6, 5, dtype=torch.float64)
    relax = hard_gumbel()
    for seed in range(4000):
        counts_EO += relax(alpha_EO, Progress(1, 4, Draw(seed)))
    assert torch.equal(counts_EO.sum(-1), torch.full((6,), 4000.0, dtype=torch.float64))
    assert_close(counts_EO / 4000, alpha_EO.softmax(-1), rtol=0, atol=0.03)


@pytest.mark.parametrize(("epoch", "tau"), [(0, 10.0), (1, 10.0), (2, 6.7), (4, 0.1)])
def test_the_gradient_is_that_of_the_tempered_softmax_with_the_noise(
    epoch: int, tau: float
) -> None:
    draw, along_EO = Draw(3), normal(1)
    uniform = torch.rand(6, 5, generator=draw.generator(), dtype=torch.float64)
    for used, noise_EO in ((draw, -(-uniform.log()).log()), (None, torch.zeros(6, 5))):
        leaf_EO, twin_EO = (normal(0).requires_grad_() for _ in range(2))
        found_EO = hard_gumbel()(leaf_EO, Progress(epoch, 4, used))
        soft_EO = ((twin_EO.softmax(-1).log() + noise_EO) / tau).softmax(-1)
        assert torch.equal(found_EO.argmax(-1), soft_EO.argmax(-1))
        assert set(found_EO.flatten().tolist()) == {0.0, 1.0}
        gradients = [
            torch.autograd.grad((along_EO * each).sum(), leaf)[0]
            for each, leaf in ((found_EO, leaf_EO), (soft_EO, twin_EO))
        ]
        assert_close(*gradients)


def test_it_is_judged_at_the_derived_cell() -> None:
    for record in trace(tiny(sections("gdas")))["records"]:
        rows = torch.tensor(record["op_weights"])
        assert torch.equal(rows.argmax(-1), torch.tensor(record["alpha"]).argmax(-1))
        assert set(rows.flatten().tolist()) == {0.0, 1.0}


def test_a_step_sees_one_draw_however_often_it_evaluates() -> None:
    """SAM evaluates twice in its step; each level has a draw of its own."""
    sam = {"name": "sam", "lr": 0.1, "base": {"name": "SGD"}}
    state = build_state(tiny_settings(algorithm__name="gdas", arch_optimizer=sam))
    used: list[Draw | None] = []
    relax = state.algorithm.relax

    def spied(alpha_EO: Tensor, progress: Progress) -> Tensor:
        used.append(progress.draw)
        return relax(alpha_EO, progress)

    object.__setattr__(state.algorithm, "relax", spied)
    train = train_batch(state, torch.arange(16))
    for _ in range(2):
        arch_step(state, train, valid_batch(state), Progress(1, 2))
        weight_step(state, train, Progress(1, 2))
    stream = named_generator(state.settings.search.seed, "draws")
    seeds = [int(torch.randint(2**63 - 1, (), generator=stream)) for _ in range(4)]
    arch, weight, again, last = map(Draw, seeds)
    assert used == [arch, arch, weight, again, again, last]


def test_only_algorithms_that_draw_have_the_stream() -> None:
    streams = {
        name: "draws" in build_state(tiny_settings(algorithm__name=name)).generators
        for name in ("darts", "beta-darts", "gdas")
    }
    assert streams == {"darts": False, "beta-darts": False, "gdas": True}
    part = {"algorithm__name": "composed", "algorithm__relaxation": "hard-gumbel"}
    assert "draws" in build_state(tiny_settings(**part)).generators


@pytest.mark.parametrize("name", ["gdas", "composed"])
def test_a_temperature_is_positive(name: str) -> None:
    key = {"gdas": "tau_end", "composed": "relaxation.tau_end"}[name]
    own = {"gdas": {"algorithm__tau_end": 0.0}}.get(
        name, {"algorithm__relaxation": {"name": "hard-gumbel", "tau_end": 0.0}}
    )
    with pytest.raises(UserError, match=rf"algorithm\.{key} = 0\.0: a temperature is positive"):
        build_state(tiny_settings(algorithm__name=name, **own))


# --- darts-pt -------------------------------------------------------------------------------------


def selecting(epochs: int, **more: Any) -> Settings:
    return tiny(sections("darts-pt"), {"search": {"epochs": epochs}}, *more.values())


@pytest.mark.parametrize(
    ("epochs", "decided"),
    [
        (
            125,
            {100: 0, 101: 1, 105: 1, 106: 2, 111: 3, 116: 4, 121: 5, 124: 5, 125: 6},
        ),  # published
        (10, {8: 0, 9: 1, 10: 6}),
        (2, {1: 0, 2: 6}),
        (1, {1: 6}),
    ],
)
def test_edges_are_decided_when_the_published_code_does(
    epochs: int, decided: dict[int, int]
) -> None:
    state = build_state(selecting(epochs))
    memories = {}
    for epoch in range(1, epochs + 1):
        before = state.weight_optimizer
        with unittest.mock.patch.object(steps._Trial, "evaluate", return_value=(0.0, 0.0)):
            steps.select(state, Progress(epoch, epochs))
        memories[epoch] = int((state.memory["chosen_E"] >= 0).sum())
        anew = epoch == state.algorithm.select.begins(epochs)  # type: ignore[union-attr]
        assert (state.weight_optimizer is not before) == anew
    assert {epoch: memories[epoch] for epoch in decided} == decided


def test_an_edge_keeps_the_operation_whose_removal_costs_most() -> None:
    """The first decision against a loop over images, batch norm and masks by hand."""
    state = build_state(selecting(125, more={"supernet": {"alpha_scale": 2.0}}))
    A_EO = state.alpha_EO.detach().softmax(-1)
    weights = {name: weight.detach().clone() for name, weight in state.supernet.weights.items()}
    statistics = copy.deepcopy(state.statistics)
    edge = int(torch.randint(6, (), generator=named_generator(0, "selection-101")))
    rights = []
    for operation in range(5):
        masked_EO = A_EO.clone()
        masked_EO[edge, operation] = 0
        batch = clean_batch(state.valid, torch.arange(len(state.valid)), state.dtype)
        logits, _ = state.supernet(batch.images_BCHW, masked_EO, weights=weights, statistics=None)
        rights.append(int((logits.argmax(-1) == batch.labels_B).sum()))
    steps.select(state, Progress(101, 125))
    expected = [-1] * 6
    expected[edge] = rights.index(min(rights))
    assert len(set(rights)) > 1
    assert state.memory["chosen_E"].tolist() == expected
    assert statistics is not None
    assert state.statistics is not None
    assert torch.equal(statistics.mean_S, state.statistics.mean_S)
    judged_EO = state.algorithm.relax(state.alpha_EO.detach(), state.progress(101))
    assert judged_EO[edge].tolist() == F.one_hot(torch.tensor(expected[edge]), 5).tolist()
    rest = [e for e in range(6) if e != edge]
    assert torch.equal(judged_EO[rest], A_EO[rest])
    arch_step(state, train_batch(state, torch.arange(16)), valid_batch(state), Progress(101, 125))
    assert state.alpha_EO.grad is not None
    assert not state.alpha_EO.grad[edge].any()
    assert state.alpha_EO.grad[rest].any(dim=-1).all()


def test_the_run_s_cell_is_the_selected_one_everywhere(tmp_path: Path) -> None:
    """Record, result, table and measures; alpha's argmax is another cell."""
    settings = selecting(10, more={"measures": {"gap": {"at": ["end"]}}})
    folder = RunFolder(tmp_path / "run")
    with folder.created(settings.document()):
        assert run(settings, folder)["status"] == "done"
    state = build_state(settings)
    restore(state, folder.checkpoint)
    chosen = state.memory["chosen_E"].tolist()
    last, result = folder.read_epochs()[-1], folder.read_result()
    assert result is not None
    cell = state.space.architecture(chosen)
    assert min(chosen) >= 0
    assert chosen != torch.tensor(last["alpha"]).argmax(-1).tolist()
    assert last["architecture"] == result["architecture"] == cell.string
    assert last["op_weights"] == F.one_hot(torch.tensor(chosen), 5).tolist()
    assert last["benchmark"] == result["benchmark"] == describe_benchmark(state.table, cell)
    assert snapshot_of(state, "gap").choice == chosen
    (line,) = folder.read_measures("gap")
    assert line["values"]["architecture"] == cell.string
    assert line["values"]["gap_without_recalibration"] == 0
    rates = [record["weight_lr"] for record in folder.read_epochs()[1:]]
    initial = settings.weight_optimizer.settings["lr"]
    assert rates[0] == initial
    assert rates[8:] == [0.1 * initial] * 2


@pytest.mark.thorough
@pytest.mark.parametrize("calls", [1, 7, 28])
def test_a_selection_killed_half_way_gives_the_same_cell(calls: int, tmp_path: Path) -> None:
    """Killed while it judges: in its first epoch, or between the decisions of its last."""
    settings = selecting(10)
    folder, evaluate = RunFolder(tmp_path / "run"), steps._Trial.evaluate
    left = itertools.count(calls, -1)

    def killed(trial: Any, op_weights_EO: Tensor) -> tuple[float, float]:
        if next(left) == 0:
            raise KeyboardInterrupt
        return evaluate(trial, op_weights_EO)

    with folder.created(settings.document()):
        with (
            unittest.mock.patch.object(steps._Trial, "evaluate", killed),
            pytest.raises(KeyboardInterrupt),
        ):
            run(settings, folder)
        assert run(settings, folder)["status"] == "done"
    assert difference(trace(settings), traced(folder)) is None


@pytest.mark.parametrize(("key", "value"), [("share", 0.0), ("share", 1.5), ("rate", -1.0)])
def test_a_share_is_a_share(key: str, value: float) -> None:
    with pytest.raises(UserError, match=rf"algorithm\.{key} = {value}"):
        build_state(tiny_settings(algorithm__name="darts-pt", **{f"algorithm__{key}": value}))
