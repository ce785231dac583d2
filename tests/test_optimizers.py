"""Optimizers beyond torch.optim, for the network weights and for alpha.

Each case sits the same exam: it lowers a loss, three steps at changing rates are those of its
package used by hand, a search resumes bit for bit, and leaves without gradient stay.
"""

from __future__ import annotations

import inspect
import math
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import pytorch_optimizer
import schedulefree
import torch
import torch.nn.functional as F  # noqa: N812
from tiny import TINY, assert_same, fingerprint, tiny_settings, train_batch, trained, valid_batch
from torch import Tensor
from torch.testing import assert_close

from optnas.algorithms.base import Progress
from optnas.base import registry
from optnas.base.errors import UserError
from optnas.base.seeds import named_generator
from optnas.optimizers import limits, signatures
from optnas.optimizers.adapter import build, set_learning_rate
from optnas.optimizers.signatures import complete_settings, facts, torch_optimizers
from optnas.optimizers.stepping import (
    parts,
    take_step,
    takes_closure,
    to_evaluation_point,
    to_training_point,
)
from optnas.optimizers.swap import Swap
from optnas.search import api
from optnas.search.checkpoints import restore, save
from optnas.search.session import Session
from optnas.search.state import SearchState, build_state
from optnas.search.steps import Batch, arch_step, recalibrated_statistics, weight_step

SECTIONS = ("weight_optimizer", "arch_optimizer")
TIGHT = {"rtol": 1e-10, "atol": 1e-12}
# pytorch_optimizer's SAM takes the norm in single precision.
BY_HAND = {"rtol": 1e-6, "atol": 1e-8}
SHAPES = {
    "weight_optimizer": {
        "stem.conv.weight": (4, 1, 3, 3),
        "cells.0.conv.weight": (4, 2, 3, 3),
        "cells.0.linear.weight": (3, 5),
        "head.norm.bias": (4,),
        "head.linear.weight": (2, 4),
    },
    "arch_optimizer": {"alpha": (6, 5)},
}
Leaves = dict[str, Tensor]
Evaluate = Callable[[], Tensor]
# What a person writes who uses the package: leaves -> optimizers, and how one step is taken.
ByHand = Callable[[Leaves], list[torch.optim.Optimizer]]


class Case(NamedTuple):
    settings: dict[str, Any]
    by_hand: ByHand
    first: Callable[[torch.optim.Optimizer, Evaluate], Any] | None = None
    shares: tuple[float, ...] = (1.0,)


def by_path(module: Any, name: str, **options: Any) -> Case:
    return Case(
        {"name": f"{module.__name__}:{name}", **options},
        lambda leaves: [getattr(module, name)(list(leaves.values()), **options)],
    )


def two_passes(optimizer: torch.optim.Optimizer, evaluate: Evaluate) -> None:
    evaluate()
    optimizer.step(evaluate)  # type: ignore[arg-type]


def by_name(theirs: str, **options: Any) -> Case:
    """One of the short names for a class of pytorch_optimizer."""
    make = getattr(pytorch_optimizer, theirs)
    return Case(
        {"name": theirs.lower(), **options},
        lambda leaves: [make(list(leaves.values()), **options)],
    )


def sam(base: str, rho: float, adaptive: bool, **options: Any) -> Case:
    named = {"name": "asam"} if adaptive else {"name": "sam"}
    return Case(
        {**named, "lr": 0.05, "rho": rho, "base": {"name": base, **options}},
        lambda leaves: [
            pytorch_optimizer.SAM(
                list(leaves.values()),
                getattr(torch.optim, base),
                rho=rho,
                adaptive=adaptive,
                lr=0.05,
                **options,
            )
        ],
        two_passes,
    )


class SlowWeights(pytorch_optimizer.Lookahead):
    """Judged at the slow weights, as the paper's algorithm returns them."""

    def train(self) -> None: ...

    def eval(self) -> None:
        self.backup_and_load_cache()


def ahead(leaves: Leaves) -> list[torch.optim.Optimizer]:
    base = torch.optim.SGD(list(leaves.values()), lr=0.05, momentum=0.9)
    return [SlowWeights(base, k=2, alpha=0.5)]


def turns(leaves: Leaves) -> list[torch.optim.Optimizer]:
    """Two steps of SGD, then Adam at half of the scheduled rate."""
    one = torch.optim.SGD(list(leaves.values()), lr=0.2, momentum=0.9)
    other = torch.optim.Adam(list(leaves.values()), lr=0.1)
    one.turns = iter([one, one, other])  # type: ignore[attr-defined]
    return [one, other]


def next_turn(optimizer: torch.optim.Optimizer, evaluate: Evaluate) -> None:
    evaluate()
    next(optimizer.turns).step()  # type: ignore[attr-defined]


SWAP = {
    "name": "swap",
    "lr": 0.2,
    "first": {"name": "SGD", "momentum": 0.9},
    "then": {"name": "Adam", "lr": 0.1},
    "after": 2,
}


def matrices_and_rest(leaves: Leaves) -> list[torch.optim.Optimizer]:
    """Muon over every filter but the stem's, flattened to two dimensions; AdamW over the rest."""
    inside = [n for n in leaves if n.startswith("cells.") or n == "alpha"]
    made: list[torch.optim.Optimizer] = []
    for name in inside:
        leaves[name] = leaves[name].detach().flatten(1).clone().requires_grad_()
    made.append(torch.optim.Muon([leaves[n] for n in inside], lr=0.05, momentum=0.9))
    rest = [leaf for n, leaf in leaves.items() if n not in inside]
    if rest:
        made.append(torch.optim.AdamW(rest, lr=0.01, weight_decay=0.1))
    return made


MUON = {
    "name": "muon",
    "lr": 0.05,
    "momentum": 0.9,
    "rest": {"name": "AdamW", "lr": 0.01, "weight_decay": 0.1},
}
CASES = {
    "sam": sam("SGD", 0.1, False, momentum=0.9, weight_decay=1e-2),
    "asam, Adam": sam("Adam", 0.5, True, amsgrad=True),
    "muon": Case(MUON, matrices_and_rest, shares=(1.0, 0.2)),
    "schedule-free-sgd": Case(
        {"name": "schedule-free-sgd", "lr": 0.5, "weight_decay": 1e-3},
        lambda leaves: [
            schedulefree.SGDScheduleFree(list(leaves.values()), lr=0.5, weight_decay=1e-3)
        ],
    ),
    "schedule-free-adamw": Case(
        {"name": "schedule-free-adamw", "lr": 0.05, "warmup_steps": 2},
        lambda leaves: [
            schedulefree.AdamWScheduleFree(list(leaves.values()), lr=0.05, warmup_steps=2)
        ],
    ),
    "RAdamScheduleFree": by_path(
        schedulefree, "RAdamScheduleFree", lr=0.05, betas=(0.9, 0.9), silent_sgd_phase=False
    ),
    "LBFGS": Case(
        {"name": "LBFGS", "lr": 0.5, "max_iter": 4},
        lambda leaves: [torch.optim.LBFGS(list(leaves.values()), lr=0.5, max_iter=4)],
        lambda optimizer, evaluate: optimizer.step(evaluate),
    ),
    "lion": by_name("Lion", lr=0.02, weight_decay=0.1),
    "soap": by_name("SOAP", lr=0.05, precondition_frequency=2),
    "adabelief": by_name("AdaBelief", lr=0.05, eps=1e-12),
    "lookahead": Case(
        {"name": "lookahead", "lr": 0.05, "k": 2, "base": {"name": "SGD", "momentum": 0.9}},
        ahead,
    ),
    "swap": Case(SWAP, turns, next_turn, shares=(1.0, 0.5)),
    "Prodigy": by_path(pytorch_optimizer, "Prodigy", lr=1.0, d0=1e-2),
    "Adan": by_path(pytorch_optimizer, "Adan", lr=0.05),
    "Shampoo": by_path(pytorch_optimizer, "Shampoo", lr=0.5),
    "ScheduleFreeAdamW": by_path(pytorch_optimizer, "ScheduleFreeAdamW", lr=0.05),
}
cases = pytest.mark.parametrize("case", CASES)
sections = pytest.mark.parametrize("section", SECTIONS)


def make_leaves(section: str) -> Leaves:
    generator = torch.Generator().manual_seed(0)
    return {
        name: torch.randn(shape, generator=generator, dtype=torch.float64).requires_grad_()
        for name, shape in SHAPES[section].items()
    }


def evaluation(leaves: Leaves) -> Evaluate:
    """A bowl around 2 with a quartic wall: its gradient depends on where it is taken."""

    def evaluate() -> Tensor:
        for leaf in leaves.values():
            leaf.grad = None
        joined = torch.cat([leaf.reshape(-1) for leaf in leaves.values()]) - 2
        steepness = torch.linspace(0.1, 1.0, len(joined), dtype=torch.float64)
        loss = (steepness * joined.square() + joined**4 / 50).mean()
        loss.backward()
        return loss.detach()

    return evaluate


def make(given: dict[str, Any], leaves: Leaves, section: str) -> torch.optim.Optimizer:
    settings = dict(given)
    name = settings.pop("name")
    complete = complete_settings(name, settings, section=section)
    return build(name, complete, list(leaves.values()), section=section, names=list(leaves))


def refused(given: dict[str, Any], section: str = "weight_optimizer") -> str:
    with pytest.raises(UserError) as caught:
        make(given, make_leaves(section), section)
    return str(caught.value)


@cases
@sections
def test_it_lowers_a_loss(section: str, case: str) -> None:
    leaves = make_leaves(section)
    optimizer, evaluate = make(CASES[case].settings, leaves, section), evaluation(leaves)
    start = evaluate()
    to_training_point(optimizer)
    for _ in range(40):
        take_step(optimizer, evaluate)
    to_evaluation_point(optimizer)
    assert float(evaluate()) < 0.8 * float(start)


@cases
@sections
def test_three_scheduled_steps_are_those_of_the_package_by_hand(section: str, case: str) -> None:
    given, by_hand, first, shares = CASES[case]
    ours, theirs = make_leaves(section), make_leaves(section)
    optimizer = make(given, ours, section)
    references = by_hand(theirs)
    to_training_point(optimizer)
    for reference in references:
        if hasattr(reference, "train"):
            reference.train()
    for factor in (1.0, 0.5, 0.8):
        rate = given["lr"] * factor
        set_learning_rate(optimizer, rate)
        for reference, share in zip(references, shares, strict=False):
            reference.param_groups[0]["lr"] = rate * share
        take_step(optimizer, evaluation(ours))
        if first is not None:
            first(references[0], evaluation(theirs))
            continue
        evaluation(theirs)()
        for reference in references:
            reference.step()
    to_evaluation_point(optimizer)
    for reference in references:
        if hasattr(reference, "eval"):
            reference.eval()
    for name, leaf in ours.items():
        assert_close(leaf.detach(), theirs[name].detach().reshape(leaf.shape), **BY_HAND)


@cases
@sections
def test_leaves_without_gradient_stay(section: str, case: str) -> None:
    """What a frozen alpha relies on."""
    leaves = make_leaves(section)
    before = {name: leaf.detach().clone() for name, leaf in leaves.items()}
    optimizer = make(CASES[case].settings, leaves, section)
    to_training_point(optimizer)
    take_step(optimizer, lambda: torch.zeros(()))
    to_evaluation_point(optimizer)
    assert_same({name: leaf.detach() for name, leaf in leaves.items()}, before)


# Every case on w and every case on alpha, in one search each.
PAIRS = [
    pytest.param(w, a, marks=() if i % 2 == 0 else pytest.mark.thorough)
    for i, (w, a) in enumerate(zip(CASES, [*list(CASES)[3:], *list(CASES)[:3]], strict=True))
]


@pytest.mark.parametrize(("w", "a"), PAIRS)
def test_a_search_resumes_bit_for_bit(w: str, a: str, tmp_path: Path) -> None:
    pair = {"weight_optimizer": CASES[w].settings, "arch_optimizer": CASES[a].settings}
    state = trained(pair, 1)
    assert not torch.equal(state.alpha_EO, state.alpha_start_EO)
    save(state, tmp_path / "last.pt")
    before = fingerprint(state)
    Session(state).measure()
    assert_same(before, fingerprint(state))
    again = build_state(tiny_settings(**pair))
    restore(again, tmp_path / "last.pt")
    assert_same(fingerprint(state), fingerprint(again))
    for each in (state, again):
        Session(each).train_epoch()
    assert_same(fingerprint(state), fingerprint(again))


# --- two passes inside a search ---------------------------------------------------------------

SAM_BY_HAND = {"name": "sam", "lr": 0.5, "rho": 0.2, "base": {"name": "SGD"}}
PROGRESS = Progress(1, 2)


def clipped(gradients: Sequence[Tensor], limit: float) -> list[Tensor]:
    norm = math.sqrt(sum(float(g.square().sum()) for g in gradients))
    return [g * min(1.0, limit / (norm + 1e-6)) for g in gradients]


def displacement(gradients: Sequence[Tensor], rho: float) -> list[Tensor]:
    norm = math.sqrt(sum(float(g.square().sum()) for g in gradients))
    return [g * rho / norm for g in gradients]


def batches(state: SearchState) -> tuple[Batch, Batch]:
    return train_batch(state, torch.arange(16)), valid_batch(state)


def test_a_weight_step_of_two_passes_by_hand() -> None:
    """Same batch, same perturbation, each pass clipped, statistics moved once."""
    state = build_state(
        tiny_settings(
            algorithm__name="sdarts-rs",
            weight_optimizer=SAM_BY_HAND,
            clipping={"max_norm": 0.3, "also_counts": "nothing"},
        )
    )
    train, _ = batches(state)
    A_EO = state.algorithm.relax(state.alpha_EO.detach(), PROGRESS)
    stream = torch.Generator()
    stream.set_state(state.generators["perturbation"].get_state())
    perturbed_EO = state.algorithm.perturb(A_EO, lambda _: torch.zeros(()), PROGRESS, stream)
    names = list(state.supernet.weights)
    w = [state.supernet.weights[n].detach().clone() for n in names]

    def gradients(at: Sequence[Tensor], **how: Any) -> tuple[list[Tensor], Any, Tensor]:
        held = [v.clone().requires_grad_() for v in at]
        weights = dict(zip(names, held, strict=True))
        logits, after = state.supernet(train.images_BCHW, perturbed_EO, weights=weights, **how)
        loss = F.cross_entropy(logits, train.labels_B)
        return clipped(torch.autograd.grad(loss, held), 0.3), after, loss.detach()

    first, after, loss = gradients(w, statistics=state.statistics, update=True)
    e = displacement(first, 0.2)
    second, _, _ = gradients([v + d for v, d in zip(w, e, strict=True)], statistics=None)
    expected = [v - 0.5 * g for v, g in zip(w, second, strict=True)]

    score = weight_step(state, train, PROGRESS)
    assert_close(score.loss_sum / 16, loss, **TIGHT)
    assert state.statistics is not None
    assert_close(state.statistics.mean_S, after.mean_S, **TIGHT)
    assert_close(state.statistics.variance_S, after.variance_S, **TIGHT)
    assert_close([state.supernet.weights[n].detach() for n in names], expected, **TIGHT)
    assert torch.equal(stream.get_state(), state.generators["perturbation"].get_state())


def test_an_alpha_step_of_two_passes_by_hand() -> None:
    """The hypergradient is taken again at the perturbed alpha; statistics moved once."""
    state = build_state(tiny_settings(arch_optimizer=SAM_BY_HAND))
    train, valid = batches(state)
    start_EO = state.alpha_EO.detach().clone()
    held = {n: w.detach() for n, w in state.supernet.weights.items()}

    def gradient(at_EO: Tensor) -> tuple[Tensor, Any]:
        alpha_EO = at_EO.clone().requires_grad_()
        logits, after = state.supernet(
            valid.images_BCHW,
            alpha_EO.softmax(-1),
            weights=held,
            statistics=state.statistics,
            update=True,
        )
        loss = F.cross_entropy(logits, valid.labels_B)
        return torch.autograd.grad(loss, alpha_EO)[0], after

    first_EO, after = gradient(start_EO)
    second_EO, _ = gradient(start_EO + displacement([first_EO], 0.2)[0])
    arch_step(state, train, valid, PROGRESS)
    assert_close(state.alpha_EO.detach(), start_EO - 0.5 * second_EO, **TIGHT)
    assert_close(float(state.path_lengths[0]), float((0.5 * second_EO).norm()), **TIGHT)
    assert state.statistics is not None
    assert_close(state.statistics.mean_S, after.mean_S, **TIGHT)


@pytest.mark.parametrize("hypergradient", ["first-order", "unrolled"])
def test_the_loss_a_closure_hands_back_is_the_outer_objective(hypergradient: str) -> None:
    """A line search on alpha compares it with the gradient it is handed."""
    search = {"name": "LBFGS", "line_search_fn": "strong_wolfe", "max_iter": 5, "lr": 1.0}
    state = build_state(
        tiny_settings(algorithm__hypergradient=hypergradient, arch_optimizer=search)
    )
    train, valid = batches(state)
    handed: list[tuple[Tensor, Tensor]] = []
    step = state.arch_optimizer.step

    def spied(closure: Evaluate) -> None:
        def spy() -> Tensor:
            loss = closure()
            handed.append((state.alpha_EO.detach().clone(), loss))
            return loss

        step(spy)  # type: ignore[arg-type]

    state.arch_optimizer.step = spied  # type: ignore[method-assign, assignment]
    arch_step(state, train, valid, PROGRESS)
    losses = [float(loss) for _, loss in handed]
    assert len(losses) > 2
    assert min(losses) < losses[0]
    for at_EO, loss in handed:
        w = {n: v.detach().requires_grad_() for n, v in state.supernet.weights.items()}
        if hypergradient == "unrolled":  # w' = w - lr (g + wd w), the first step of SGD
            inner = cross_entropy(state, train, at_EO, w)
            group = state.weight_optimizer.param_groups[0]
            pairs = zip(w.items(), torch.autograd.grad(inner, [*w.values()]), strict=True)
            w = {n: v - group["lr"] * (g + group["weight_decay"] * v) for (n, v), g in pairs}
        assert_close(loss, cross_entropy(state, valid, at_EO, w).detach(), **TIGHT)


def cross_entropy(state: SearchState, batch: Batch, alpha_EO: Tensor, w: Leaves) -> Tensor:
    logits, _ = state.supernet(batch.images_BCHW, alpha_EO.softmax(-1), weights=w, statistics=None)
    return F.cross_entropy(logits, batch.labels_B)


# --- another point to judge at ----------------------------------------------------------------

TINY_ONE = TINY | {"search.epochs": 1}
FREE = {"name": "schedule-free-adamw", "lr": 0.01}


@pytest.mark.parametrize("section", SECTIONS)
def test_statistics_are_those_of_the_point_judged(section: str) -> None:
    state = trained({section: FREE}, 1)
    before = fingerprint(state)
    found = recalibrated_statistics(state, PROGRESS)
    assert_same(before, fingerprint(state))
    assert found is not None
    assert state.statistics is not None
    assert_same([found.mean_S, found.variance_S], [before["mean"], before["variance"]])

    # Each batch moves running statistics s to 0.9 s + 0.1 b: solved for b, averaged.
    stream = named_generator(0, "recalibration-1")
    A_EO = state.algorithm.relax(state.alpha_EO.detach(), PROGRESS)
    seen = []
    for indices_B in torch.randperm(40, generator=stream).split(16)[:2]:
        pixels, _ = state.train.to_batch(indices_B)
        resolution = pixels.shape[2], pixels.shape[3]
        draws_KB = state.augmentation.draw(len(pixels), resolution, stream)
        images = state.augmentation.apply(
            pixels, state.train.mean_C, state.train.std_C, draws_KB, torch.float64
        )
        with torch.no_grad():
            _, after = state.supernet(images, A_EO, statistics=state.statistics, update=True)
        assert after is not None
        seen.append((after.mean_S - 0.9 * state.statistics.mean_S) / 0.1)
    assert_close(found.mean_S, torch.stack(seen).mean(0), **TIGHT)


def test_batch_statistics_need_no_recalibration() -> None:
    norm = {"supernet__batch_norm": "batch", "supernet__arch_step_updates_statistics": False}
    state = trained({"weight_optimizer": FREE} | norm, 1)
    assert recalibrated_statistics(state, PROGRESS) is None


def test_only_an_optimizer_that_averages_has_another_point() -> None:
    leaves = make_leaves("weight_optimizer")
    assert not to_evaluation_point(make(CASES["sam"].settings, leaves, "weight_optimizer"))
    assert to_evaluation_point(make(FREE, leaves, "weight_optimizer"))
    inside = {"name": "sam", "lr": 0.1, "base": {"name": "schedule-free-sgd"}}
    assert to_evaluation_point(make(inside, leaves, "weight_optimizer"))


def test_a_run_records_and_saves_the_point_judged(tmp_path: Path) -> None:
    """Whoever restores a checkpoint judges the weights its record judged."""
    settings = tiny_settings(weight_optimizer=FREE, arch_optimizer=FREE, search__epochs=1)
    api.run({"weight_optimizer": FREE, "arch_optimizer": FREE, **TINY_ONE}, out=tmp_path / "run")
    (record,) = api.load(tmp_path / "run").iloc[-1:].to_dict("records")
    state = build_state(settings)
    restore(state, tmp_path / "run/checkpoints/last.pt")
    again = Session(state).measure()
    for key in ("valid_loss", "alpha_margin", "weight_norm"):
        assert record[key] == again[key]


# --- declarations, defaults, refusals ---------------------------------------------------------


def test_what_is_shipped_is_examined() -> None:
    shipped = set(registry.names("optimizer"))
    assert shipped
    assert shipped <= {case.settings["name"] for case in CASES.values()} | {
        "exponentiated-gradient"
    }


def test_exponentiated_gradients_multiply_what_the_softmax_gives() -> None:
    """Of alpha alone. The twin holds theta; beside liamcli/gaea_release, 1604615: 1.4e-16."""
    given = {"name": "exponentiated-gradient", "lr": 0.5, "floor": 0.1}
    leaf_EO = make_leaves("arch_optimizer")["alpha"]
    optimizer = make(given, {"alpha": leaf_EO}, "arch_optimizer")
    kept_E, theta_EO = leaf_EO.detach().logsumexp(-1), leaf_EO.detach().softmax(-1)
    for _ in range(3):
        u_EO = theta_EO * torch.exp(-0.5 * (theta_EO - 2))
        u_EO = (u_EO / u_EO.sum(-1, keepdim=True)).clamp(min=0.1)
        theta_EO = u_EO / u_EO.sum(-1, keepdim=True)
        leaf_EO.grad = None
        (leaf_EO.softmax(-1) - 2).square().sum().div(2).backward()
        optimizer.step()
        assert_close(leaf_EO.detach().softmax(-1), theta_EO, **BY_HAND)
        assert_close(leaf_EO.detach().logsumexp(-1), kept_E, **BY_HAND)
    before_EO, leaf_EO.grad = leaf_EO.detach().clone(), None
    optimizer.step()
    assert torch.equal(leaf_EO, before_EO)
    assert "network weights are no such rows" in refused(given)
    assert "floor must be above 0" in refused(given | {"floor": 0.0}, "arch_optimizer")
    inside = {"name": "sam", "lr": 0.1, "base": {"name": "exponentiated-gradient"}}
    for refused_too, key in ((given, "name"), (inside, r"base\.name")):
        with pytest.raises(UserError, match=rf"arch_optimizer\.{key} .* gaea makes that of every"):
            tiny_settings(algorithm__name="gaea", arch_optimizer=refused_too)


def test_beta_decay_is_lost_on_the_simplex_and_so_is_refused_there() -> None:
    given = {"name": "exponentiated-gradient", "lr": 0.5}
    moved = []
    for c in (0.0, 7.0):
        leaf_EO = make_leaves("arch_optimizer")["alpha"]
        ((leaf_EO.softmax(-1) - 2).square().sum() + c * leaf_EO.logsumexp(-1).mean()).backward()
        make(given, {"alpha": leaf_EO}, "arch_optimizer").step()
        moved.append(leaf_EO.detach())
    assert_close(*moved, **BY_HAND)
    lost = {"name": "darts-minus", "hypergradient": "beta-decay"}
    inside = {"name": "sam", "lr": 0.1, "base": {"name": "exponentiated-gradient"}}
    told = "what algorithm{}=beta-d.* adds to the gradient is lost"
    for algorithm, key in (({"name": "beta-darts"}, ""), (lost, r"\.hypergradient")):
        for optimizer in (given, inside):
            with pytest.raises(UserError, match=told.format(key)):
                tiny_settings(algorithm=algorithm, arch_optimizer=optimizer)


@pytest.mark.parametrize(
    ("name", "theirs"),
    [
        ("schedule-free-sgd", schedulefree.SGDScheduleFree),
        ("schedule-free-adamw", schedulefree.AdamWScheduleFree),
        ("muon", torch.optim.Muon),
        ("lion", pytorch_optimizer.Lion),
        ("soap", pytorch_optimizer.SOAP),
        ("adabelief", pytorch_optimizer.AdaBelief),
    ],
)
def test_defaults_are_the_packages(name: str, theirs: Any) -> None:
    ours = complete_settings(name, {}, section="arch_optimizer")
    for key, parameter in inspect.signature(theirs).parameters.items():
        if key in ours and key != "adjust_lr_fn":  # None there means "original"
            value = ours[key]
            assert (tuple(value) if isinstance(value, list) else value) == parameter.default


def test_lookahead_goes_on_from_where_the_base_was() -> None:
    """Judging in between moves nothing: steps of two epochs are those of one."""
    ends = []
    for stops in ((4,), (1, 3)):
        leaves = make_leaves("arch_optimizer")
        optimizer = make(CASES["lookahead"].settings, leaves, "arch_optimizer")
        for steps in stops:
            to_training_point(optimizer)
            for _ in range(steps):
                take_step(optimizer, evaluation(leaves))
            assert to_evaluation_point(optimizer)
            to_evaluation_point(optimizer)  # twice is once
        ends.append({name: leaf.detach().clone() for name, leaf in leaves.items()})
    assert_same(*ends)


def is_a_base(name: str) -> bool:
    """Whether lookahead takes it at all, with nothing but its name and a rate."""
    try:
        make(bases(name), make_leaves("arch_optimizer"), "arch_optimizer")
    except UserError:
        return False
    return True


def bases(name: str, **settings: Any) -> dict[str, Any]:
    return {"name": "lookahead", "lr": 0.05, "k": 2, "base": {"name": name}, **settings}


@pytest.mark.parametrize("pullback", ["reset", "pullback"])
def test_what_becomes_of_the_momentum_changes_the_run_or_is_refused(pullback: str) -> None:
    momentum: dict[str, Any] = {"base": {"name": "SGD", "momentum": 0.9}}
    rms: dict[str, Any] = {"base": {"name": "RMSprop", "momentum": 0.9}}
    everything = {*signatures.torch_optimizers(), *registry.names("optimizer")}
    plain = [bases(name) for name in sorted(everything) if is_a_base(name)]
    refused: dict[str, str] = {}
    for given in (*plain, bases("SGD", **momentum), bases("RMSprop", **rms)):
        ends = []
        for how in ("none", pullback):
            leaves = make_leaves("arch_optimizer")
            try:
                optimizer = make(given | {"pullback_momentum": how}, leaves, "arch_optimizer")
            except UserError as error:
                refused[given["base"]["name"]] = str(error)
                break
            for _ in range(5):
                take_step(optimizer, evaluation(leaves))
            ends.append(leaves["alpha"].detach())
        else:
            assert not torch.equal(*ends), given
    assert refused.keys() >= {"SGD", "Adam", "AdamW", "RMSprop", "lion"}  # SGD without momentum
    expected = f"pullback_momentum = '{pullback}': moves the momentum_buffer of the base"
    assert all(expected in told for told in refused.values())
    assert len(plain) > len(refused)


def test_lists_say_what_is_needed_and_refused() -> None:
    assert limits.needs("lookahead") == ["optnas[optim]", "base.name"]
    assert limits.needs("asam") == ["base.name"]
    assert limits.needs("Adam") == limits.refuses("Adam") == []
    unrolled, graph = "w with a hypergradient that needs virtual-step", "run.stepper=graph"
    assert limits.refuses("Muon") == ["w"]
    assert limits.refuses("lion") == limits.refuses("lookahead") == [unrolled, graph]
    assert limits.needs("swap") == ["first.name", "then.name"]
    assert limits.refuses("swap") == [unrolled, graph]
    assert limits.refuses("asam") == [unrolled, "being an inner optimizer"]


def test_a_swapped_run_is_that_of_the_first_optimizer_until_then() -> None:
    """Of three steps per epoch: equal after one epoch, and the second begins without a state."""
    plain = {"weight_decay": 0.0, "schedule": "constant"}
    alone = {"weight_optimizer": {"name": "SGD", "lr": 0.2, "momentum": 0.9, **plain}}
    swapped = {"weight_optimizer": SWAP | {"after": 3, "schedule": "constant"}}
    for epochs, same in ((1, True), (2, False)):
        one, other = trained(alone, epochs), trained(swapped, epochs)
        pairs = zip(one.supernet.weights.values(), other.supernet.weights.values(), strict=True)
        assert all(torch.equal(*pair) for pair in pairs) == same
    adam = other.weight_optimizer.inner[1]  # type: ignore[attr-defined]
    assert {float(state["step"]) for state in adam.state.values()} == {3.0}


def test_a_selection_does_not_go_back_to_the_first_optimizer() -> None:
    """It begins with a new optimizer, which counted from 0: SGD, Adam, then SGD once more."""
    algorithm = {"name": "darts-pt", "share": 0.5}
    settings = tiny_settings(
        algorithm=algorithm, search__epochs=4, weight_optimizer=SWAP | {"after": 3}
    )
    session = Session(build_state(settings))
    counts = []
    for _ in range(5):
        session.train_epoch()
        swapped = session.state.weight_optimizer
        (own,) = [part for part in parts(swapped) if isinstance(part, Swap)]
        counts.append((own.steps, len(own.inner[0].state), len(own.inner[1].state)))
    # Three steps an epoch; the selection begins with epoch 3, without a state of either.
    assert [steps for steps, *_ in counts] == [0, 3, 6, 9, 12]
    assert [bool(second) for *_, second in counts] == [False, False, True, True, True]
    assert [bool(first) for _, first, _ in counts] == [False, True, True, False, False]


UNREAD = "reads the learning rate in its first step alone"


def rate_is_read(name: str, given: dict[str, Any], factor: float) -> bool:
    """Whether a share of the rate moves what a second epoch of three steps does."""
    ends = []
    for share in (1.0, factor):
        leaves = make_leaves("arch_optimizer")
        optimizer = make({"name": name, **given}, leaves, "arch_optimizer")
        evaluate = evaluation(leaves)
        for epoch_share in (1.0, share):
            set_learning_rate(optimizer, given["lr"] * epoch_share)
            to_training_point(optimizer)
            for _ in range(3):
                take_step(optimizer, evaluate)
            to_evaluation_point(optimizer)
        ends.append(leaves["alpha"].detach())
    return not torch.equal(*ends)


NAMES = sorted({*torch_optimizers(), *registry.names("optimizer")} - {"SparseAdam"})


@pytest.mark.parametrize("name", NAMES)
def test_every_optimizer_reads_its_rate_or_says_that_it_does_not(name: str) -> None:
    """Rprop stepped on as if no schedule were there, and the record showed one."""
    given = {"lr": 0.01, **facts(name).get("examined_with", {})}
    assert rate_is_read(name, given, 0.5) != bool(facts(name).get("own_steps"))


def test_what_does_not_read_its_rate_is_refused_where_one_is_set() -> None:
    cosine = {"schedule": {"name": "cosine"}}
    inner = {"name": "sam", "lr": 0.001, "base": {"name": "Rprop"}}
    for section in SECTIONS:
        for given in ({"name": "Rprop", "lr": 0.001}, inner):
            told = (
                rf"^test: {section}\.schedule = 'cosine': Rprop {UNREAD}.*set {section}\.schedule"
            )
            with pytest.raises(UserError, match=told):
                tiny_settings(**{section: given | cosine})
            # A schedule that stays where it begins sets nothing.
            tiny_settings(**{section: given | {"schedule": {"name": "linear", "final_share": 1.0}}})
    for algorithm in ("darts-pt", "rsps", "setn"):
        for given, key in (({"name": "Rprop"}, "name"), (inner, r"base\.name")):
            with pytest.raises(
                UserError, match=rf"weight_optimizer\.{key} .*{UNREAD}, and {algorithm}"
            ):
                tiny_settings(algorithm__name=algorithm, weight_optimizer=given)
        tiny_settings(algorithm__name=algorithm, arch_optimizer={"name": "Rprop"})
    assert limits.refuses("Rprop")[1:] == [
        "a schedule that moves the rate",
        "w with an algorithm that sets its rate",
    ]


def test_a_closure_is_declared_by_the_signature_of_step() -> None:
    leaf = [torch.zeros(2, requires_grad=True)]
    assert takes_closure(torch.optim.LBFGS(leaf))
    assert not takes_closure(torch.optim.SGD(leaf))
    assert not takes_closure(pytorch_optimizer.Lion(leaf))


def test_defaults_that_no_file_can_hold_are_left_to_the_class() -> None:
    prodigy = complete_settings("pytorch_optimizer:Prodigy", {}, section="weight_optimizer")
    assert "growth_rate" not in prodigy  # infinity
    assert "clip_lambda" not in complete_settings(
        "pytorch_optimizer:ADOPT", {}, section="weight_optimizer"
    )


def test_inner_tables_are_spelt_out() -> None:
    settings = tiny_settings(weight_optimizer=MUON | {"schedule": "cosine"})
    rest = settings.document()["weight_optimizer"]["rest"]
    assert rest["betas"] == [0.9, 0.999]
    api_again = tiny_settings(weight_optimizer=settings.document()["weight_optimizer"])
    assert api_again.hash == settings.hash


def test_muon_moves_what_it_should() -> None:
    leaves = make_leaves("weight_optimizer")
    optimizer = make(MUON, leaves, "weight_optimizer")
    matrices, rest = optimizer.param_groups
    assert [p.shape for p in matrices["params"]] == [(4, 18), (3, 5)]
    assert [p is q for p, q in zip(rest["params"], [*leaves.values()][0:1], strict=False)] == [True]
    assert len(rest["params"]) == 3
    everything = make(MUON | {"excluded": ["head."]}, leaves, "weight_optimizer")
    assert [p.shape for p in everything.param_groups[0]["params"]] == [(4, 9), (4, 18), (3, 5)]


OWN = """
import torch

class Own(torch.optim.SGD):
    {body}

def made(params, lr=0.1):
    return {returned}
"""

# settings | parts of the one line
REFUSALS: list[tuple[dict[str, Any], list[str]]] = [
    ({"name": "pytorch_optimizer:Lionn"}, ["weight_optimizer.name", "Lionn"]),
    ({"name": "samm"}, ["there is no optimizer of this name", "did you mean sam?"]),
    ({"name": "fractions:Fraction"}, ["not a torch.optim.Optimizer", "name an optimizer"]),
    (
        {"name": "pytorch_optimizer:Lion", "betta": 1},
        ["weight_optimizer.betta = 1", "did you mean betas?"],
    ),
    ({"name": "SGD", "schedul": "x"}, ["weight_optimizer.schedul", "did you mean schedule?"]),
    ({"name": "SparseAdam"}, ["sparse gradients only", "choose another"]),
    ({"name": "sam", "lr": 0.1}, ["weight_optimizer.base", "add weight_optimizer.base.name=NAME"]),
    ({"name": "sam", "base": {"name": "SGD"}}, ["weight_optimizer.lr", "=VALUE"]),
    (
        {"name": "sam", "lr": 0.1, "base": {"name": "SGD", "lr": 0.1}},
        ["weight_optimizer.base.lr = 0.1", "remove it, and set weight_optimizer.lr"],
    ),
    (
        {"name": "sam", "lr": 0.1, "base": {"name": "SGD", "momentun": 0.1}},
        ["weight_optimizer.base.momentun", "did you mean momentum?"],
    ),
    ({"name": "sam", "lr": 0.1, "base": 3}, ["write weight_optimizer.base=NAME"]),
    (
        {"name": "sam", "lr": 0.1, "base": {"name": "LBFGS"}},
        ["weight_optimizer.base.name = 'LBFGS'", "through a closure"],
    ),
    (
        {"name": "sam", "lr": 0.1, "base": {"name": "SGD", "momentum": -1.0}},
        ["weight_optimizer.base.momentum = -1.0", "Invalid momentum"],
    ),
    (
        {"name": "lookahead", "lr": 0.1, "base": {"name": "schedule-free-sgd"}},
        ["a step fails", "not in train mode"],
    ),
    ({"name": "lookahead", "lr": 0.1, "base": {"name": "SGD"}, "k": 0}, ["weight_optimizer.k = 0"]),
    ({"name": "sam", "lr": 0.1, "rho": -1, "base": {"name": "SGD"}}, ["weight_optimizer.rho = -1"]),
    ({"name": "muon"}, ["weight_optimizer.rest.name", "3 leaves", "stem.conv.weight", "AdamW"]),
    (SWAP | {"after": -1}, ["weight_optimizer.after = -1", "a number of steps"]),
    *(
        (
            SWAP | {turn: {"name": "lookahead", "base": {"name": "SGD"}, **rate}},
            [f"weight_optimizer.{turn}.name = 'lookahead'", "outside its turn", "such as SGD"],
        )
        for turn, rate in (("first", {}), ("then", {"lr": 0.1}))
    ),
    (SWAP | {"lr": 0.0}, ["weight_optimizer.lr = 0.0", "must be positive"]),
    ({"name": "muon", "excluded": 3}, ["weight_optimizer.excluded", "a list of words"]),
    ({"name": "Muon"}, ["matrices only", "use muon"]),
    ({"name": "LBFGS", "lr": -1.0}, ["weight_optimizer.lr = -1.0", "Invalid learning rate"]),
    ({"name": "Adam", "betas": [2, 2]}, ["weight_optimizer.betas = [2.0, 2.0]", "Invalid beta"]),
    (
        {"name": "pytorch_optimizer:SAM"},
        ["weight_optimizer.base_optimizer", "needs this setting"],
    ),
    ({"name": "pytorch_optimizer:AdaHessian"}, ["a step fails (RuntimeError", "declare what"]),
    ({"name": "pytorch_optimizer:BSAM", "num_data": 9}, ["a step fails (NoClosureError", "decl"]),
    ({"name": "pytorch_optimizer:SPAM"}, ["draws from torch's global generator"]),
    ({"name": "pytorch_optimizer:AdaShift"}, ["its state holds a collections.deque"]),
]


@pytest.mark.parametrize(("given", "parts"), REFUSALS, ids=lambda x: str(x)[:60])
def test_refusals(given: dict[str, Any], parts: list[str]) -> None:
    told = refused(given)
    assert all(part in told for part in parts), told
    assert "\n" not in told


@pytest.mark.parametrize(
    ("body", "returned", "name", "parts"),
    [
        ("pass", "[params]", "made", ["made a list, not a torch.optim.Optimizer"]),
        ("pass", "1 / 0", "made", ["refuses its settings (division by zero)"]),
        (
            "def step(self, closure=None): self.count = getattr(self, 'count', 0) + 1; "
            "self.param_groups[0]['params'][0].data.add_(self.count)",
            "Own(params)",
            "made",
            ["state_dict() leaves out what its steps depend on"],
        ),
    ],
)
def test_a_file_that_cannot_serve(
    tmp_path: Path, body: str, returned: str, name: str, parts: list[str]
) -> None:
    path = tmp_path / "own.py"
    path.write_text(OWN.format(body=body, returned=returned))
    told = refused({"name": f"{path}:{name}"})
    assert all(part in told for part in parts), told


def test_a_missing_package_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    for package in ("schedulefree", "pytorch_optimizer"):
        monkeypatch.setitem(sys.modules, package, None)
    for name in (
        "schedule-free-sgd",
        "lion",
        "pytorch_optimizer:Lion",
        "schedulefree:SGDScheduleFree",
    ):
        assert "pip install 'optnas[optim]'" in refused({"name": name})


def test_a_refused_value_is_told_of_the_file_it_is_from(tmp_path: Path) -> None:
    config = tmp_path / "c.toml"
    config.write_text("[weight_optimizer]\nlr = -1.0\n")
    with pytest.raises(UserError, match=r"c.toml: weight_optimizer.lr = -1.0: SGD refuses"):
        api.run(TINY_ONE, config=config, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_unrolled_through_these_is_refused() -> None:
    with pytest.raises(UserError, match="not of sam"):
        tiny_settings(weight_optimizer=CASES["sam"].settings, algorithm__hypergradient="unrolled")


def test_the_other_optimizers_files_are_part_of_a_runs_identity(tmp_path: Path) -> None:
    path = tmp_path / "own.py"
    path.write_text(OWN.format(body="pass", returned="Own(params, lr)"))
    base = {"name": "sam", "lr": 0.1, "base": {"name": f"{path}:Own"}}
    assert str(path) in tiny_settings(weight_optimizer=base).sources
