"""Published methods, each one file: under every optimizer pair, killed and resumed bit for bit."""

from __future__ import annotations

import copy
import dataclasses
import itertools
import json
import unittest.mock
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from scipy.stats import beta, kstest
from tiny import tiny_settings, train_batch, valid_batch
from torch import Tensor
from torch.testing import assert_close

from optnas.algorithms import parts
from optnas.algorithms.a2m import uphill
from optnas.algorithms.base import Draw, Progress, WeightGradients
from optnas.algorithms.beta_darts import beta_decay
from optnas.algorithms.bilevel import Bilevel, Hypergradient, LossValue
from optnas.algorithms.drnas import dirichlet, dirichlet_kl
from optnas.algorithms.fair_darts import zero_one
from optnas.algorithms.gdas import hard_gumbel
from optnas.algorithms.lambda_darts import AlignmentName, aligned
from optnas.algorithms.oles import oles
from optnas.algorithms.rsps import drawn_cell
from optnas.algorithms.snas import soft_gumbel
from optnas.base import registry
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
from optnas.search.steps import arch_step, weight_step
from optnas.spaces.nasbench201 import NAS_BENCH_201
from optnas.spaces.tables.told import describe_benchmark

METHODS = (
    "beta-darts",
    "fair-darts",
    "gdas",
    "snas",
    "drnas",
    "darts-pt",
    "oles",
    "pr-darts",
    "robust-darts",
    "single-level",
    "pc-darts",
    "gaea",
    "lambda-darts",
    "rsps",
    "a2m",
    "sgas",
    "milenas",
    "nasp",
    "shapley-nas",
    "zarts",
    "setn",
    "dsnas",
    "idarts",
    "p-darts",
)
PAIRS = list(itertools.product(("SGD", "Adam"), repeat=2))


def normal(seed: int) -> Tensor:
    return torch.randn(6, 5, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


# What a penalty reads of the problem where it asks another hypergradient for nothing.
NONE: dict[str, Any] = dict.fromkeys(field.name for field in dataclasses.fields(Bilevel))


def at(progress: Progress) -> Bilevel:
    """A problem of which only the progress is asked for."""
    return Bilevel(**{**NONE, "weights": {}, "update": False, "progress": progress})


IDLE = at(Progress(1, 4))


def sections(method: str, weight: str = "SGD", arch: str = "Adam") -> dict[str, Any]:
    return {
        "algorithm": {"name": method},
        "weight_optimizer": {"name": weight},
        "arch_optimizer": {"name": arch},
    }


def method_under_pair(number: int, pair: tuple[str, str]) -> Any:
    """A method under a pair: of each one by turns in the default tier, the others in the slow one.

    SGD + Adam, the pair of its paper, is that of the exam.
    """
    others = [each for each in PAIRS if each != ("SGD", "Adam")]
    here = pair == others[number % len(others)]
    mark = pytest.mark.thorough if here else pytest.mark.slow
    return pytest.param(METHODS[number], pair, id="-".join([METHODS[number], *pair]), marks=mark)


@pytest.mark.parametrize(
    ("method", "pair"),
    [method_under_pair(number, pair) for number in range(len(METHODS)) for pair in PAIRS],
)
def test_interrupted_and_resumed_is_bit_for_bit_the_same(
    method: str, pair: tuple[str, str]
) -> None:
    settings = tiny(sections(method, *pair))
    assert difference(trace(settings), trace(settings, stop=1)) is None


def test_the_page_of_agreement_is_that_of_the_file() -> None:
    folder = Path(__file__).parents[1] / "docs" / "algorithms"
    page = (folder / "agreement.md").read_text()
    rows = json.loads((folder / "agreement.json").read_text())
    assert [row["method"] for row in rows] == sorted(row["method"] for row in rows)
    for row in rows:
        methods = [*registry.names("algorithm"), *registry.names("hypergradient")]
        assert row["method"] in methods
        cells = (row["repository"], row["commit"][:7], f"{row['largest_difference']:.1e}")
        assert f"| `{row['method']}` | {' | '.join(cells)} | {row['what']} |" in page
    assert page.count("\n| `") == len(rows)


# --- beta-darts ---------------------------------------------------------------------------------


def test_the_penalty_is_the_gradient_of_a_growing_mean_of_logsumexp() -> None:
    """Beside Sunshine-Ye/Beta-DARTS, f307704: 2.6e-16.

    Ten steps of its architect and of its training loop for NAS-Bench-201, on its network (C=2, N=1,
    a stem of one colour) in double precision, in the epochs 1, 12, ..., 100 of 100, clipped at 5
    and at 0.5, alpha at rates 0.0003 and 0.03: the largest difference of alpha and w.
    """

    def found(epoch: int, base: Any = parts.frozen) -> Hypergradient:
        problem = at(Progress(epoch, 10))
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
    """Beside D-X-Y/AutoDL-Projects, f46486e, `GDAS.py`: 6.4e-13.

    Ten steps of its search function on its TinyNetworkGDAS (C=2, N=1, a stem of one colour) in
    double precision, handed the same noise and temperatures, not clipped, with gradients of 0 for
    what was not drawn: the largest difference of w, with its alpha handed over at each step
    (2.1e-13), and of alpha and w with its cell's `forward` in place of `forward_gdas`. The same
    gradient in A becomes the same one in alpha to 1.0e-17.
    """
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


@pytest.mark.parametrize("name", ["gdas", "snas", "composed"])
def test_a_temperature_is_positive(name: str) -> None:
    own: dict[str, Any] = {"algorithm__tau_end": 0.0}
    key = "tau_end"
    if name == "composed":
        own = {"algorithm__relaxation": {"name": "hard-gumbel", "tau_end": 0.0}}
        key = "relaxation.tau_end"
    with pytest.raises(UserError, match=rf"algorithm\.{key} = 0\.0: a temperature is positive"):
        build_state(tiny_settings(algorithm__name=name, **own))


# --- snas -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("epoch", "tau"), [(1, 10.0), (2, 7.75), (4, 3.25)])
def test_a_soft_sample_is_a_tempered_softmax_with_the_noise(epoch: int, tau: float) -> None:
    """Beside xiangning-chen/DrNAS, f2caa4d, `species=gumbel`: 5.6e-16.

    Ten steps of its architect and of its training loop, on its TinyNetwork (C=2, N=1) in double
    precision, handed the same noise and temperatures: the largest difference of alpha and w.
    """
    alpha_EO, draw = normal(0), Draw(3)
    noise_EO = -(-draw.uniform(alpha_EO).log()).log()
    found_EO = soft_gumbel()(alpha_EO, Progress(epoch, 4, draw))
    assert_close(found_EO, ((alpha_EO + noise_EO) / tau).softmax(-1))
    assert torch.equal(soft_gumbel()(alpha_EO, Progress(epoch, 4)), alpha_EO.softmax(-1))


# --- drnas ----------------------------------------------------------------------------------------


@pytest.mark.thorough
def test_weights_are_drawn_from_the_dirichlet_distribution() -> None:
    """Each marginal is a beta distribution, by the statistic of Kolmogorov and Smirnov."""
    alpha_EO = normal(0)
    draws_NEO = torch.stack([dirichlet(alpha_EO, Progress(1, 4, Draw(n))) for n in range(600)])
    c_EO = F.elu(alpha_EO) + 1
    rest_EO = c_EO.sum(-1, keepdim=True) - c_EO
    assert_close(draws_NEO.sum(-1), torch.ones(600, 6, dtype=torch.float64))
    for e, o in itertools.product(range(6), range(5)):
        marginal = beta(float(c_EO[e, o]), float(rest_EO[e, o]))
        assert kstest(draws_NEO[:, e, o].numpy(), marginal.cdf).pvalue > 1e-4
    mean_EO = torch.distributions.Dirichlet(c_EO).mean
    assert_close(dirichlet(alpha_EO, Progress(1, 4)), mean_EO)


def test_the_draw_has_the_gradient_of_torch_s_own() -> None:
    """Beside xiangning-chen/DrNAS, f2caa4d, `species=dirichlet`: 3.3e-16, with `kl` 2.2e-16.

    Ten steps of its architect and of its training loop, on its TinyNetwork (C=2, N=1) in double
    precision, handed the same samples: the largest difference of alpha and w.
    """
    leaf_EO, twin_EO = (normal(0).requires_grad_() for _ in range(2))
    along_EO = normal(1)
    found_EO = dirichlet(leaf_EO, Progress(1, 4, Draw(3)))
    with unittest.mock.patch.object(torch, "_sample_dirichlet", return_value=found_EO.detach()):
        drawn_EO = torch.distributions.Dirichlet(F.elu(twin_EO) + 1).rsample()
    gradients = [
        torch.autograd.grad((along_EO * each).sum(), leaf)[0]
        for each, leaf in ((found_EO, leaf_EO), (drawn_EO, twin_EO))
    ]
    assert_close(*gradients)


def test_the_pull_towards_uniform_is_a_divergence() -> None:
    given = Hypergradient(normal(1))
    found = dirichlet_kl(0.5, lambda *_: given)(IDLE, normal(0), lambda alpha: alpha)
    leaf_EO = normal(0).requires_grad_()
    own, uniform = (
        torch.distributions.Dirichlet(c) for c in (F.elu(leaf_EO) + 1, torch.ones(6, 5))
    )
    expected = 0.5 * torch.distributions.kl_divergence(own, uniform).sum()
    assert_close(found.penalty, expected.detach())
    assert_close(found.gradient_EO, normal(1) + torch.autograd.grad(expected, leaf_EO)[0])
    state = build_state(tiny_settings(algorithm__name="drnas", algorithm__kl=0.5))
    arch_step(state, train_batch(state, torch.arange(16)), valid_batch(state), Progress(1, 2))
    with pytest.raises(UserError, match=r"algorithm\.kl = -1\.0: is not negative"):
        build_state(tiny_settings(algorithm__name="drnas", algorithm__kl=-1.0))


# --- fair-darts -----------------------------------------------------------------------------------


@pytest.mark.parametrize("distance", ["squared", "absolute"])
def test_gates_are_pushed_away_from_one_half(distance: Any) -> None:
    """Beside xiaomi-automl/FairDARTS, 270cfc9: 7.2e-16.

    Ten steps of its architect and of its training loop, on its Network (two channels, three layers)
    in double precision, with either loss: the largest difference of alpha and w.
    """
    loss = {"squared": F.mse_loss, "absolute": F.l1_loss}[distance]
    given = Hypergradient(normal(1), None, torch.tensor(1.0).double())
    found = zero_one(10.0, distance, lambda *_: given)(IDLE, normal(0), lambda alpha: alpha)
    leaf_EO = normal(0).requires_grad_()
    expected = -10 * loss(leaf_EO.sigmoid(), torch.full_like(leaf_EO, 0.5))
    assert_close(found.penalty, 1 + expected.detach())
    assert_close(found.gradient_EO, normal(1) + torch.autograd.grad(expected, leaf_EO)[0])
    assert zero_one(hypergradient=parts.frozen)(IDLE, leaf_EO, parts.softmax).gradient_EO is None  # type: ignore[arg-type]


def test_gates_start_open_and_an_edge_needs_one_above_the_threshold() -> None:
    """`none` is operation 0 of NAS-Bench-201; it never wins where there is a threshold."""
    state = build_state(tiny_settings(algorithm__name="fair-darts", algorithm__threshold=0.85))
    assert not state.alpha_EO.detach().any()
    edge, low = [9.0, 0.0, 0.0, 1.8, 1.7], [9.0, 0.0, 1.7, 0.0, 0.0]
    alpha_EO = torch.tensor([edge, low] * 3)
    assert state.algorithm.cell(alpha_EO, Progress(1, 2)) == [3, 0] * 3
    plain = build_state(tiny_settings(algorithm__name="fair-darts"))
    assert plain.algorithm.cell(alpha_EO, Progress(1, 2)) == [0] * 6
    with pytest.raises(UserError, match=r"algorithm\.threshold = 2\.0: a gate is from 0 to 1"):
        build_state(tiny_settings(algorithm__name="fair-darts", algorithm__threshold=2.0))


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
    """Beside ruocwang/darts-pt, 4ec3149, `nasbench201/projection.py`: 8.9e-16.

    Its `pt_project` on its network (C=2, N=1, a stem of one colour) in double precision, handed the
    same order of edges and batches, two seeds, alpha at rates 0.0003 and 0.03: the largest
    difference of the 30 losses, and of alpha and w after its 25 epochs of one step. The
    accuracies are equal to rounding, the operations and the epochs of their decisions are the same.
    """
    state = build_state(selecting(epochs))
    memories = {}
    for epoch in range(1, epochs + 1):
        before = state.weight_optimizer
        with unittest.mock.patch.object(steps.SearchTrial, "evaluate", return_value=(0.0, 0.0)):
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


@pytest.mark.thorough
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


@pytest.mark.slow
@pytest.mark.parametrize("calls", [1, 7, 28])
def test_a_selection_killed_half_way_gives_the_same_cell(calls: int, tmp_path: Path) -> None:
    """Killed while it judges: in its first epoch, or between the decisions of its last."""
    settings = selecting(10)
    folder, evaluate = RunFolder(tmp_path / "run"), steps.SearchTrial.evaluate
    left = itertools.count(calls, -1)

    def killed(trial: Any, op_weights_EO: Tensor) -> tuple[float, float]:
        if next(left) == 0:
            raise KeyboardInterrupt
        return evaluate(trial, op_weights_EO)

    with folder.created(settings.document()):
        with (
            unittest.mock.patch.object(steps.SearchTrial, "evaluate", killed),
            pytest.raises(KeyboardInterrupt),
        ):
            run(settings, folder)
        assert run(settings, folder)["status"] == "done"
    assert difference(trace(settings), traced(folder)) is None


@pytest.mark.parametrize(("key", "value"), [("share", 0.0), ("share", 1.5), ("rate", -1.0)])
def test_a_share_is_a_share(key: str, value: float) -> None:
    with pytest.raises(UserError, match=rf"algorithm\.{key} = {value}"):
        build_state(tiny_settings(algorithm__name="darts-pt", **{f"algorithm__{key}": value}))


# --- oles -----------------------------------------------------------------------------------------


def test_an_operation_is_stopped_as_the_published_code_does() -> None:
    """A plain loop over steps; the code of PasaLab/oles at d90455c agrees in every bit."""
    name, threshold, window = "cells.0.edges.0.op.weight", 1.1, 2
    algorithm, total, count, stopped = oles(threshold, window), 0.0, 0, False
    assert algorithm.start is not None
    assert algorithm.on_weight_gradients is not None
    memory, last = dict(algorithm.start()), None
    for step in range(12):
        train, valid = normal(step).view(5, 3, 2, 1), normal(step + 100).view(5, 3, 2, 1)
        memory[f"valid/{name}"] = valid
        if last is not None and not stopped:
            total += float(F.cosine_similarity(last + valid, last, dim=0).mean())
            count += 1
            if count == window + 1:
                stopped, total, count = total / window < threshold, 0.0, 0
        last = train
        seen = algorithm.on_weight_gradients({name: train}, Progress(1, 2, memory=memory))
        memory |= seen.memory or {}
        assert_close(seen.gradients[name], train * (not stopped))
    assert stopped


def test_the_train_gradients_of_oles_are_remembered_after_clipping() -> None:
    """As in the published code, which clips, steps, and then keeps the gradients."""
    kept = []
    for max_norm in (0.0, 0.01):
        settings = tiny_settings(
            algorithm__name="oles", clipping__max_norm=max_norm, clipping__also_counts="nothing"
        )
        state = build_state(settings)
        weight_step(state, train_batch(state, torch.arange(16)), Progress(1, 2))
        held = {
            name.removeprefix("train/"): tensor
            for name, tensor in state.memory.items()
            if name.startswith("train/")
        }
        assert held
        for name, gradient in held.items():
            assert_close(gradient, state.supernet.weights[name].grad)
        grads = [each.grad for each in state.supernet.weights.values() if each.grad is not None]
        kept.append((held, float(torch.stack([each.norm() for each in grads]).norm())))
    (whole, norm), (clipped, small) = kept
    assert small == pytest.approx(0.01, rel=1e-3)
    for name, gradient in clipped.items():
        assert_close(gradient, whole[name] * 0.01 / norm, rtol=1e-3, atol=1e-9)


# --- gaea -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("arch", ["SGD", "Adam"])
def test_alpha_is_the_logarithm_of_a_point_of_the_simplex(arch: str) -> None:
    """Beside liamcli/gaea_release, 1604615: 4.4e-15; the twin of its steps is in test_steps.py.

    Ten steps of its architect and of its training loop, on a network of two channels in double
    precision, at lr 0.1 and at lr 40, where the floor is reached: the largest difference of theta
    and w.
    """
    own = {"name": arch, "lr": 1.0, "weight_decay": 0.5}
    state = build_state(
        tiny_settings(algorithm__name="gaea", algorithm__floor=0.1, arch_optimizer=own)
    )
    assert_close(state.alpha_EO.detach().exp(), torch.full((6, 5), 0.2).double())
    for _ in range(2):
        arch_step(state, train_batch(state, torch.arange(16)), valid_batch(state), Progress(1, 2))
        theta_EO = state.alpha_EO.detach().exp()
        assert_close(theta_EO.sum(-1), torch.ones(6).double())
        assert_close(state.algorithm.relax(state.alpha_EO.detach(), Progress(1, 2)), theta_EO)
        assert float(theta_EO.min()) > 0.05


# --- lambda-darts ---------------------------------------------------------------------------------


@pytest.mark.parametrize("alignment", ["cosine", "sign"])
def test_cells_are_aligned_pair_by_pair_within_a_kind(alignment: AlignmentName) -> None:
    """Two kinds of two rows and three, a cell of each and two of both: loops over pairs."""
    g_LEO = torch.stack([normal(seed)[:5] for seed in range(4)])
    g_LEO[0, 2:] = 0
    g_LEO[1, :2] = 0
    leaf_LEO, twin_LEO = (g_LEO.clone().requires_grad_() for _ in range(2))
    expected = torch.zeros(()).double()
    for rows, cells in ((slice(0, 2), (0, 2, 3)), (slice(2, 5), (1, 2, 3))):
        for i, j in itertools.combinations(cells, 2):
            a, b = twin_LEO[i, rows].flatten(), twin_LEO[j, rows].flatten()
            size = a.norm() * b.norm() if alignment == "cosine" else a.abs() @ b.abs()
            expected = expected + a @ b / size / 3
    found = aligned(leaf_LEO, [2, 3], alignment)
    assert_close(found, expected)
    mine, theirs = (
        torch.autograd.grad(each, leaf)[0]
        for each, leaf in ((found, leaf_LEO), (expected, twin_LEO))
    )
    assert_close(mine, theirs)


@pytest.mark.parametrize("alignment", ["cosine", "sign"])
def test_network_weights_are_pulled_to_where_cells_agree(alignment: AlignmentName) -> None:
    """By differences as by double backward, which the twin of test_steps.py takes.

    Beside dr-faustus/Lambda-DARTS, c7ac3ba: 7.6e-15. Ten steps of its training loop around its
    network's methods (two channels, two cells per stage, double precision), displacement 0.01: the
    largest difference of alpha and w. With its displacement of 0.0001, by which rounding is
    divided, 2.6e-12. Its perturbations of either alignment: 5.6e-17.
    """
    exact, difference = (
        pull(algorithm__alignment=alignment, algorithm__derivative=derivative)
        for derivative in ("exact", "finite-difference")
    )
    assert_close(exact, difference, rtol=1e-4, atol=1e-6)


def pull(**own: Any) -> dict[str, Tensor]:
    """What is subtracted from the gradients of a weight step; nothing in the first epoch."""
    state = build_state(tiny_settings(algorithm__name="lambda-darts", **own))
    look, found = state.algorithm.on_weight_gradients, list[dict[str, Tensor]]()
    assert look is not None

    def spied(gradients: Any, progress: Progress) -> WeightGradients:
        seen = look(gradients, progress)
        found.append({name: gradients[name] - each for name, each in seen.gradients.items()})
        return seen

    object.__setattr__(state.algorithm, "on_weight_gradients", spied)
    for epoch in (1, 2):
        weight_step(state, train_batch(state, torch.arange(16)), Progress(epoch, 2))
    assert found[0] == {}
    assert set(found[1]) == set(state.supernet.weights)
    return found[1]


# --- rsps -----------------------------------------------------------------------------------------


def test_each_operation_of_an_edge_is_trained_as_often_as_any_other() -> None:
    generator, counts_EO = torch.Generator().manual_seed(0), torch.zeros(6, 5)
    A_EO, draw = normal(0).softmax(-1).float(), drawn_cell(space=NAS_BENCH_201)
    for _ in range(2000):
        cell_EO = draw(A_EO, lambda A_EO: A_EO.sum(), Progress(1, 2), generator)
        assert set(cell_EO.flatten().tolist()) == {0.0, 1.0}
        counts_EO += cell_EO
    assert torch.equal(counts_EO.sum(-1), torch.full((6,), 2000.0))
    assert_close(counts_EO / 2000, torch.full((6, 5), 0.2), rtol=0, atol=0.04)


def test_the_most_accurate_of_k_drawn_cells_wins(tmp_path: Path) -> None:
    """Drawn and judged by a loop over images, and by the run, whose last epoch moves no weight.

    Beside D-X-Y/AutoDL-Projects, f46486e: 1.6e-13, and the same one of 100 cells. Ten steps of the
    training loop of RANDOM-NAS.py around its network (two channels, two cells per stage, batch
    statistics, double precision), handed the same cells: the largest difference of w. Then its
    search_find_best, handed the same cells and the whole validation half as its batch.
    """
    settings = tiny(sections("rsps"), {"algorithm": {"cells": 12}, "checkpoints": {"keep": "all"}})
    folder = RunFolder(tmp_path / "run")
    with folder.created(settings.document()):
        assert run(settings, folder)["status"] == "done"
    before, after = build_state(settings), build_state(settings)
    restore(before, folder.kept(1))
    restore(after, folder.checkpoint)
    drawn_KE = torch.randint(5, (12, 6), generator=named_generator(0, "selection-2"))
    batch = clean_batch(before.valid, torch.arange(len(before.valid)), before.dtype)
    rights = []
    for cell_E in drawn_KE:
        logits, _ = before.supernet(
            batch.images_BCHW, F.one_hot(cell_E, 5).double(), statistics=None
        )
        rights.append(int((logits.argmax(-1) == batch.labels_B).sum()))
    best = drawn_KE[rights.index(max(rights))].tolist()
    last, result = folder.read_epochs()[-1], folder.read_result()
    assert result is not None
    assert last["op_weights"] == F.one_hot(torch.tensor(best), 5).tolist()
    assert result["architecture"] == before.space.architecture(best).string
    for name, weight in before.supernet.weights.items():
        assert torch.equal(weight, after.supernet.weights[name])


# --- a2m ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("reading", ["published", "paper"])
def test_alpha_descends_the_loss_from_a_step_uphill(reading: Any) -> None:
    """By double backward, where the loss is smooth; the twin of its steps is in test_steps.py.

    Beside AI-Tech-Research-Lab/AsquaredM, 5a303f9: 5.0e-15. Ten steps of its architect and of its
    training loop on a network of two channels in double precision, with rho from 0.01 to 3, with
    and without beta decay: the largest difference of alpha and w.
    """
    updates: list[bool] = []

    def smooth(A_EO: Tensor, weights: Any = None, *, update: bool = False) -> LossValue:
        updates.append(update)
        return LossValue((A_EO.sin() * normal(1)).sum() + (A_EO.sum(0) ** 2).sum() / 9, None)

    problem: Any = dataclasses.replace(
        IDLE, valid_loss=smooth, update=True, progress=Progress(3, 4)
    )
    rho, weight = 0.3, 2.0
    part = uphill(rho, 1e-4, reading, beta_decay(weight, parts.first_order))
    found = part(problem, normal(0), lambda alpha_EO: alpha_EO)
    assert updates == [True, False, False, False]

    def penalty(alpha_EO: Tensor) -> Tensor:
        return weight * 2 / 4 * alpha_EO.logsumexp(-1).mean()

    def gradient(leaf_EO: Tensor) -> Tensor:
        loss = smooth(leaf_EO).loss + penalty(leaf_EO)
        return torch.autograd.grad(loss, leaf_EO, create_graph=True)[0]

    leaf_EO = normal(0).requires_grad_()
    u_EO = leaf_EO + rho * gradient(leaf_EO)
    v_EO = gradient(u_EO)
    centre_EO = leaf_EO if reading == "paper" else u_EO.detach().requires_grad_()
    (curved_EO,) = torch.autograd.grad(gradient(centre_EO), centre_EO, v_EO.detach())
    assert_close(found.gradient_EO, (v_EO + rho * curved_EO).detach(), rtol=1e-6, atol=1e-6)
    if reading == "paper":
        (whole_EO,) = torch.autograd.grad(smooth(u_EO).loss + penalty(u_EO), leaf_EO)
        assert_close(found.gradient_EO, whole_EO, rtol=1e-6, atol=1e-6)
    assert_close(found.loss, smooth(u_EO).loss.detach())
    assert_close(found.penalty, penalty(u_EO).detach())
    idle = uphill(hypergradient=parts.frozen)(problem, normal(0), lambda alpha_EO: alpha_EO)
    assert idle.gradient_EO is None
