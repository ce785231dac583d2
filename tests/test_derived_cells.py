"""Which cell is derived where cells keep some of the edges into a node.

Shapes: E edges, O operations.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from cases import command
from tiny import tiny_settings
from torch import Tensor

from optnas.algorithms.base import Algorithm, Progress
from optnas.algorithms.rsps import drawn_cell
from optnas.base import registry
from optnas.base.errors import UserError
from optnas.measures.snapshot import derived
from optnas.spaces import build_space
from optnas.spaces.base import Space
from optnas.spaces.network import build_fixed

KEEPING = [n for n in registry.names("space") if build_space({"name": n}).keeps_some]
EPOCHS = 10


def built(name: str, space: Space, **settings: Any) -> Algorithm:
    found: Algorithm = registry.supply(
        registry.find("algorithm", name),
        registry.complete_settings(
            registry.find("algorithm", name), settings, section="algorithm", skip=("space",)
        ),
        {"space": space},
        section="algorithm",
    )
    return found


def drawn_alpha(algorithm: Algorithm, space: Space, seed: int) -> Tensor:
    shape = (space.edge_count, space.operation_count + algorithm.columns)
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@dataclass
class Trying:
    """A trial that judges operation weights by a function, and notes them."""

    alpha_EO: Tensor
    op_weights_EO: Tensor
    progress: Progress
    judge: Callable[[Tensor], float]
    weight_decay: float = 0.0
    judged: list[Tensor] = field(default_factory=list)

    def evaluate(self, op_weights_EO: Tensor) -> tuple[float, float]:
        self.judged.append(op_weights_EO.clone())
        return 0.0, self.judge(op_weights_EO)

    def generator(self) -> torch.Generator:
        return torch.Generator().manual_seed(self.progress.epoch)

    def alpha_hessian(self, batches: int, batch_size: int) -> Tensor:
        raise NotImplementedError


def hashed(op_weights_EO: Tensor) -> float:
    """An accuracy that depends on every entry, with equals among them."""
    weights_EO = torch.arange(op_weights_EO.numel()).reshape(op_weights_EO.shape)
    return float((op_weights_EO.double() * (weights_EO * 0.7391).sin()).sum().mul(50).round())


def selected(
    algorithm: Algorithm, alpha_EO: Tensor, judge: Callable[[Tensor], float] = hashed
) -> list[tuple[Progress, list[Tensor]]]:
    """Where the search stands after each epoch's selection, and what was judged in it."""
    progress = Progress(EPOCHS, EPOCHS, memory=algorithm.start() if algorithm.start else {})
    if algorithm.select is None:
        return [(progress, [])]
    found = []
    for epoch in range(algorithm.select.begins(EPOCHS), EPOCHS + 1):
        progress = replace(progress, epoch=epoch)
        trial = Trying(alpha_EO, algorithm.relax(alpha_EO, progress), progress, judge)
        progress = replace(progress, memory={**progress.memory, **algorithm.select.choose(trial)})
        found.append((progress, trial.judged))
    return found


@pytest.mark.parametrize("space_name", KEEPING)
@pytest.mark.parametrize("name", registry.names("algorithm"))
def test_every_algorithm_derives_a_cell_that_its_genotype_says(name: str, space_name: str) -> None:
    space = build_space({"name": space_name})
    try:
        algorithm = built(name, space)
    except UserError as error:  # a penalty on skips, where not every edge has one
        assert "not every edge has a skip connection" in str(error)  # noqa: PT017
        return
    for seed in range(3):
        alpha_EO = drawn_alpha(algorithm, space, seed)
        start = Progress(1, EPOCHS, memory=algorithm.start() if algorithm.start else {})
        for progress in (start, *(each for each, _ in selected(algorithm, alpha_EO))):
            cell = space.architecture(derived(algorithm, alpha_EO, progress, space))
            assert space.parse(cell.genotype) == cell


@pytest.mark.parametrize(
    ("name", "entry"),
    [
        ("darts", partial(torch.softmax, dim=-1)),
        ("darts-minus", partial(torch.softmax, dim=-1)),
        ("gdas", partial(torch.softmax, dim=-1)),
        ("dsnas", partial(torch.softmax, dim=-1)),
        ("drnas", partial(torch.softmax, dim=-1)),
        ("nasp", partial(torch.softmax, dim=-1)),
        ("shapley-nas", partial(torch.softmax, dim=-1)),
        ("pr-darts", partial(torch.softmax, dim=-1)),
        ("fair-darts", torch.sigmoid),
    ],
)
def test_edges_are_ranked_as_in_published_code(
    name: str, entry: Callable[[Tensor], Tensor]
) -> None:
    """Each one's `genotype()`, written out: of two operations of one edge the stronger one."""
    space = build_space({"name": "darts"})
    algorithm = built(name, space)
    for seed in range(5):
        alpha_EO = drawn_alpha(algorithm, space, seed)
        found = derived(algorithm, alpha_EO, Progress(1, EPOCHS), space)
        rows = iter(entry(alpha_EO).tolist())
        expected = []
        for _ in range(2):
            for node in range(4):
                W = [next(rows) for _ in range(2 + node)]
                best = [max(range(1, 8), key=lambda o, j=j: W[j][o]) for j in range(2 + node)]
                kept = sorted(range(2 + node), key=lambda j: -W[j][best[j]])[:2]
                expected += [best[j] if j in kept else 0 for j in range(2 + node)]
        assert found == expected
    assert any(found[e] for e in (4, 8, 13))  # not the first two edges of each node


# --- darts-pt: edges after operations ------------------------------------------------------------


def pt_twin(
    space: Space, alpha_EO: Tensor, epochs: list[int], last: int
) -> tuple[list[list[int]], list[Tensor]]:
    """Rows of the cell by epoch, and all that is judged: as `projection.py` of darts-pt has it.

    -1 an open edge, -2 one that is left out. In its loop over edges every round judges anew, with
    the edges deleted before in place.
    """
    groups, row = [], 0
    for _ in range(2):
        for node in range(4):
            groups.append(list(range(row, row + 2 + node)))
            row += 2 + node
    nodes = [group for group in groups if len(group) > 2]
    chosen, told, judged = [-1] * 28, [], list[Tensor]()

    def projected() -> Tensor:
        weights_EO = alpha_EO.softmax(-1)
        for e, operation in enumerate(chosen):
            if operation != -1:
                weights_EO[e] = 0
            if operation >= 0:
                weights_EO[e, operation] = 1
        return weights_EO

    def judge(weights_EO: Tensor) -> float:
        if not any(torch.equal(weights_EO, each) for each in judged):
            judged.append(weights_EO)
        return hashed(weights_EO)

    decisions, done, open_nodes = 28 + len(nodes), 0, list(nodes)
    for k, epoch in enumerate(epochs):
        stream = torch.Generator().manual_seed(epoch)
        due = decisions if epoch == last else 1 + math.floor(k * (decisions - 1) / len(epochs))
        while done < due:
            places: list[Any] = [e for e in range(28) if chosen[e] == -1] or open_nodes
            place = places[int(torch.randint(len(places), (), generator=stream))]
            if isinstance(place, int):
                extreme = None
                for operation in range(space.operation_count):
                    if space.columns_at(place)[operation] == space.none:
                        continue
                    weights_EO = projected()
                    weights_EO[place, operation] = 0
                    accuracy = judge(weights_EO)
                    if extreme is None or accuracy < extreme:
                        extreme, best = accuracy, operation
                chosen[place] = best
            else:
                remaining = list(place)
                while len(remaining) > 2:
                    extreme = None
                    for edge in remaining:
                        weights_EO = projected()
                        weights_EO[edge] = 0
                        accuracy = judge(weights_EO)
                        if extreme is None or not accuracy < extreme:
                            extreme, delete = accuracy, edge
                    remaining.remove(delete)
                for edge in set(place) - set(remaining):
                    chosen[edge] = -2
                open_nodes.remove(place)
            done += 1
        told.append(list(chosen))
    return told, judged


@pytest.mark.parametrize("space_name", ["darts", "darts-s1", "darts-s2"])
@pytest.mark.parametrize("share", [0.3, 1.0])
def test_edges_stay_whose_removal_costs_most(space_name: str, share: float) -> None:
    space = build_space({"name": space_name})
    algorithm = built("darts-pt", space, share=share)
    alpha_EO = drawn_alpha(algorithm, space, 0)
    found = selected(algorithm, alpha_EO)
    epochs = [progress.epoch for progress, _ in found]
    told, judged = pt_twin(space, alpha_EO, epochs, EPOCHS)
    assert [progress.memory["chosen_E"].tolist() for progress, _ in found] == told
    everything = list(itertools.chain(*(each for _, each in found)))
    assert len(everything) == len(judged)
    assert all(map(torch.equal, everything, judged))
    last = found[-1][0]
    cell = derived(algorithm, alpha_EO, last, space)
    kept = [e for e, operation in enumerate(cell) if operation != space.none]
    assert kept == [e for e, operation in enumerate(told[-1]) if operation >= 0]
    assert kept != [e for e in range(28) if space.edges[e][0] < 2]  # not the first two of each node
    weights_EO = algorithm.relax(alpha_EO, last)
    assert torch.equal(weights_EO.double(), torch.tensor(space.one_hot(cell)).double()) or (
        space.column_of(space.none) is not None
    )
    left = [e for e in range(28) if e not in kept]
    assert not weights_EO[left].any()


# --- rsps ----------------------------------------------------------------------------------------


@pytest.mark.thorough
def test_drawn_cells_are_cells_of_the_space_all_as_likely() -> None:
    space = build_space({"name": "darts-s3"})
    draw, generator = drawn_cell(space=space), torch.Generator().manual_seed(0)
    A_EO = torch.zeros(28, 3)
    pairs, operations, count = Counter[tuple[int, ...]](), Counter[tuple[int, int]](), 3000
    for _ in range(count):
        cell_EO = draw(A_EO, lambda A_EO: A_EO.sum(), Progress(1, 2), generator)
        choice = [row.index(1.0) if 1.0 in row else 0 for row in cell_EO.tolist()]
        cell = space.architecture(choice)
        assert space.parse(cell.genotype) == cell
        kept = tuple(e for e in range(9, 14) if choice[e])  # the edges into the last node
        pairs[kept] += 1
        operations[choice[kept[0]], choice[kept[1]]] += 1
    assert len(pairs) == math.comb(5, 2)
    assert all(abs(n / count - 1 / 10) < 0.02 for n in pairs.values())
    assert len(operations) == 4
    assert all(abs(n / count - 1 / 4) < 0.03 for n in operations.values())


def test_edges_with_none_and_without_it_are_kept_as_often() -> None:
    """The largest of three draws tends to be above that of two: that must not decide."""
    own = [["none" if e % 2 else "avg_pool_3x3", "skip_connect", "sep_conv_3x3"] for e in range(28)]
    space = build_space({"name": "darts", "candidates": own})
    draw, generator, count = drawn_cell(space=space), torch.Generator().manual_seed(0), 3000
    A_EO, kept = torch.zeros(28, 3), Counter[int]()
    for _ in range(count):
        cell_EO = draw(A_EO, lambda A_EO: A_EO.sum(), Progress(1, 2), generator)
        assert not cell_EO[1::2, 0].any()
        kept.update(e for e in range(9, 14) if cell_EO[e].any())
    assert all(abs(kept[e] / count - 2 / 5) < 0.035 for e in range(9, 14))  # four standard errors
    algorithm = built("rsps", space, cells=count)
    ((_, judged),) = selected(algorithm, drawn_alpha(algorithm, space, 0))
    for edge, columns in ((10, 3), (11, 2)):
        shares_O = torch.stack(judged)[:, edge].double()
        rest_O = shares_O.sum(0)[3 - columns :] / shares_O.sum()
        assert ((rest_O - 1 / columns).abs() < 0.06).all()
        assert shares_O.sum(0)[: 3 - columns].sum() == 0


def test_the_best_drawn_cell_is_the_run_s_and_its_rows_are_judged() -> None:
    space = build_space({"name": "darts"})
    algorithm = built("rsps", space, cells=12)
    alpha_EO = drawn_alpha(algorithm, space, 0)
    ((progress, judged),) = selected(algorithm, alpha_EO)
    assert len(judged) == 12
    scores = [hashed(each) for each in judged]
    best_EO = judged[scores.index(max(scores))]
    assert torch.equal(algorithm.relax(alpha_EO, progress), best_EO)
    cell = derived(algorithm, alpha_EO, progress, space)
    expected_EO = torch.tensor(space.one_hot(cell))
    expected_EO[:, 0] = 0  # of an edge that is left out
    assert torch.equal(best_EO, expected_EO)


# --- what is refused -----------------------------------------------------------------------------


@pytest.mark.parametrize("space", ["darts", "darts-s3"])
def test_a_threshold_is_refused_where_cells_keep_a_number_of_edges(space: str) -> None:
    told = r"algorithm\.threshold = 0\.85: derived cells of darts.* keep a number of edges into"
    with pytest.raises(UserError, match=told):
        tiny_settings(
            algorithm__name="fair-darts",
            algorithm__threshold=0.85,
            space__name=space,
            benchmark__table="none",
        )


def test_too_few_edges_with_an_operation_are_refused() -> None:
    space = build_space({"name": "darts-s3"})
    algorithm = replace(built("darts", space), discretize=lambda alpha_EO: [1] * 27 + [0])
    alpha_EO = drawn_alpha(algorithm, space, 0)
    assert derived(algorithm, alpha_EO, Progress(1, 2), space)[27] == 0  # four others are left
    algorithm = replace(algorithm, discretize=lambda alpha_EO: [0] * 2 + [1] * 26)
    told = "keep 2 edges into each node, and the algorithm chose none for them at node 2 of normal"
    with pytest.raises(UserError, match=told):
        derived(algorithm, alpha_EO, Progress(1, 2), space)


def test_a_cell_with_a_node_that_nothing_reaches_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    space = build_space({"name": "darts-s3"})
    unreached = [1, 1, *[0] * 3, *[1] * 23]
    text = space.architecture(unreached).string
    out = ("data.name=digits", "--out", str(tmp_path / "alone"))
    assert command("train", text, "--space", "darts-s3", *out) == 2
    told = capsys.readouterr().err
    assert "node 3 of normal has no way in; give one of its edges another operation" in told
    sizes = {"channels": 2, "cells": 1, "classes": 10, "image_channels": 1}
    drawn = torch.Generator().manual_seed(0)
    with pytest.raises(UserError, match=r"architecture = .*: node 3 of normal has no way in"):
        build_fixed(space.architecture(unreached), generator=drawn, **sizes)
    # One edge is enough to be trained; a genotype cannot say it.
    single = space.parse(str([1, 1, 1, 0, 0, *[1] * 23]).strip("[]"))
    network = build_fixed(single, generator=drawn, **sizes)
    assert network(torch.zeros(2, 1, 8, 8), statistics=None).logits_BK.shape == (2, 10)
    with pytest.raises(UserError, match="names 2 edges into each node, and 1 lead into node 3"):
        _ = single.genotype
