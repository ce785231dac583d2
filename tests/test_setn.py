"""Cells that alpha makes likely: which are validated, how draws are distributed, and which wins.

The twin of the steps is in test_steps.py.

Shapes: E edges, O operations, K cells.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from naive_supernet import NaiveSupernet
from scipy.stats import chisquare
from test_derived_cells import KEEPING, built, drawn_alpha, hashed, selected
from tiny import normal, tiny_settings
from torch import Tensor

from optnas.algorithms.base import Progress
from optnas.algorithms.setn import choices_of, drawn_cells, likeliest_cells
from optnas.base.errors import UserError
from optnas.base.records import RunFolder
from optnas.base.seeds import named_generator
from optnas.measures.evaluation import clean_batch
from optnas.measures.snapshot import derived
from optnas.search.checkpoints import restore
from optnas.search.exam.base import difference
from optnas.search.exam.searches import tiny, trace
from optnas.search.loop import run
from optnas.search.state import build_state
from optnas.spaces import build_space
from optnas.spaces.base import Space
from optnas.spaces.wiring import Wiring

# Two edges into one node, three into the next, of which cells keep two.
PAIRS = ((0, 2), (1, 2), (0, 3), (1, 3), (2, 3))
SMALL = Space.of_wirings(
    "small",
    (Wiring("small", 4, PAIRS, inputs=2, output="concat", kept=2),),
    ("none", "skip_connect", "nor_conv_1x1"),
    none=0,
    skip=1,
)
SPACES = {name: build_space({"name": name}) for name in ("nas-bench-201", "toy")} | {"small": SMALL}


def plain_cells(space: Space) -> Iterator[list[int]]:
    """Every cell, as the published `gen_all` lists them; -2 on an edge that is left out."""
    if not space.keeps_some:
        yield from map(
            list, itertools.product(range(space.operation_count), repeat=len(space.edges))
        )
        return
    for first, second in itertools.product((1, 2), repeat=2):
        for left in (4, 3, 2):
            for two in itertools.product((1, 2), repeat=2):
                rest = list(two)
                rest.insert(left - 2, -2)
                yield [first, second, *rest]


def plain_log(cell: list[int], log: list[list[float]]) -> float:
    """The published `get_log_prob`, of what the cell has."""
    total = 0.0
    for row, operation in zip(log, cell, strict=True):
        total += row[operation] if operation >= 0 else 0.0
    return total


def plain_likeliest(space: Space, alpha_EO: Tensor, count: int) -> list[list[int]]:
    """The published `return_topK`."""
    log = alpha_EO.log_softmax(-1).tolist()
    pairs = [(plain_log(cell, log), cell) for cell in plain_cells(space)]
    return [cell for _, cell in sorted(pairs, key=lambda pair: -pair[0])][:count]


# --- which cells ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SPACES)
def test_the_likeliest_cells_are_those_of_a_list_of_all(name: str) -> None:
    """Beside D-X-Y/AutoDL-Projects, f46486e, `SETN.py`: 1.7e-13, the same cells, the same chosen.

    Ten steps of its search function around its TinyNetworkSETN (two channels, two cells per stage,
    a stem of one colour, batch statistics) in double precision, handed the same cells, with
    gradients of 0 for what was not drawn; then its get_best_arch, whose batch is the whole
    validation half. The largest difference over three seeds, at the published rates (0.025 and
    0.0003): the gradient of alpha 1.5e-14, alpha 3.9e-17, w 3.2e-15; over three at 0.1 and 0.03,
    alpha drawn from N(0, 1): 3.9e-13, 8.2e-14, 1.7e-13. Its 100 cells came in the same order as
    these, and the same one won, with the trained alpha and with N(0, 1) added to it. With
    gradients of None, as under PyTorch 2, alpha ends 0.0021 and w 0.13 from there.
    """
    space = SPACES[name]
    shape = space.edge_count, space.operation_count
    alphas = [normal(*shape, seed=seed) for seed in range(2)]
    if not space.keeps_some:  # there are many equals, and rounding parts them where sums are nested
        alphas += [alphas[0].round(), torch.zeros(shape, dtype=torch.float64)]
    for alpha_EO in alphas:
        everything = plain_likeliest(space, alpha_EO, 100)
        for count in (1, 7, 100):
            found = likeliest_cells(choices_of(alpha_EO, space), count)
            assert found.tolist() == everything[:count]
    few = {"toy": 64, "small": 48}.get(name)
    assert few is None or len(likeliest_cells(choices_of(alphas[0], space), 1000)) == few


@pytest.mark.parametrize("space_name", KEEPING)
def test_the_likeliest_of_all_is_the_one_that_darts_derives(space_name: str) -> None:
    space = build_space({"name": space_name})
    start = Progress(1, 2)
    for seed in range(5):
        alpha_EO = drawn_alpha(built("darts", space), space, seed)
        (likeliest_E,) = likeliest_cells(choices_of(alpha_EO, space), 1).tolist()
        usual = derived(built("darts", space), alpha_EO, start, space)
        for e, column in enumerate(likeliest_E):
            assert usual[e] == (space.columns_at(e)[column] if column >= 0 else space.none)


@pytest.mark.parametrize("name", ["toy", "small"])
def test_cells_are_drawn_as_alpha_has_them(name: str) -> None:
    space, count = SPACES[name], 20000
    alpha_EO = normal(space.edge_count, space.operation_count, seed=3)
    cells, log = list(plain_cells(space)), alpha_EO.log_softmax(-1).tolist()
    likely = [math.exp(plain_log(cell, log)) for cell in cells]
    assert space.keeps_some or sum(likely) == pytest.approx(1)
    before = torch.random.get_rng_state()
    generator = torch.Generator().manual_seed(0)
    found = Counter(map(tuple, drawn_cells(choices_of(alpha_EO, space), count, generator).tolist()))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert set(found) <= {tuple(cell) for cell in cells}
    expected = [count * each / sum(likely) for each in likely]
    assert chisquare([found[tuple(cell)] for cell in cells], expected).pvalue > 0.01


def test_equal_alphas_draw_every_cell_as_often() -> None:
    drawn_KE = drawn_cells(choices_of(torch.zeros(5, 3), SMALL), 20000, torch.Generator())
    counts = Counter(map(tuple, drawn_KE.tolist()))
    assert len(counts) == 48
    assert chisquare(list(counts.values())).pvalue > 0.01


# --- which of them wins --------------------------------------------------------------------------


def plain_drawn(alpha_EO: Tensor, count: int) -> list[list[int]]:
    """The published `dync_genotype`, edge by edge, for all cells at once."""
    generator = named_generator(0, "selection-2")
    columns = [
        torch.multinomial(row, count, replacement=True, generator=generator).tolist()
        for row in alpha_EO.softmax(-1)
    ]
    return [list(each) for each in zip(*columns, strict=True)]


@pytest.mark.parametrize("candidates", ["likeliest", "drawn"])
@pytest.mark.thorough
def test_the_most_accurate_candidate_is_the_runs_cell(candidates: str, tmp_path: Path) -> None:
    """Listed, and judged by a network of one module per edge and operation.

    The last epoch moves neither alpha nor w.
    """
    own = {"name": "setn", "cells": 12, "candidates": candidates}
    settings = tiny(
        {"algorithm": own, "checkpoints": {"keep": "all"}}, {"arch_optimizer": {"lr": 0.1}}
    )
    folder = RunFolder(tmp_path / "run")
    with folder.created(settings.document()):
        assert run(settings, folder)["status"] == "done"
    before, after = build_state(settings), build_state(settings)
    restore(before, folder.kept(1))
    restore(after, folder.checkpoint)
    space, alpha_EO = before.space, before.alpha_EO.detach()
    cells = plain_likeliest(space, alpha_EO, 12)
    if candidates == "drawn":
        cells = plain_drawn(alpha_EO, 12)
    network = NaiveSupernet(
        space.edges, space.operations, channels=2, cells=1, classes=10, image_channels=1
    ).double()
    network.load({name: weight.detach() for name, weight in before.supernet.weights.items()})
    batch = clean_batch(before.valid, torch.arange(len(before.valid)), before.dtype)
    rights = []
    for cell in cells:
        logits = network.train()(batch.images_BCHW, F.one_hot(torch.tensor(cell), 5).double())
        rights.append(int((logits.argmax(-1) == batch.labels_B).sum()))
    assert len(set(rights)) > 2
    best = cells[rights.index(max(rights))]
    last, result = folder.read_epochs()[-1], folder.read_result()
    assert result is not None
    assert last["op_weights"] == F.one_hot(torch.tensor(best), 5).tolist()
    assert result["architecture"] == space.architecture(best).string
    assert not torch.equal(before.alpha_EO, before.alpha_start_EO)
    assert torch.equal(before.alpha_EO, after.alpha_EO)
    for name, weight in before.supernet.weights.items():
        assert torch.equal(weight, after.supernet.weights[name])


@pytest.mark.parametrize("candidates", ["likeliest", "drawn"])
@pytest.mark.parametrize("space_name", KEEPING)
def test_candidates_are_cells_of_the_space(space_name: str, candidates: str) -> None:
    space = build_space({"name": space_name})
    algorithm = built("setn", space, cells=12, candidates=candidates)
    alpha_EO = drawn_alpha(algorithm, space, 0)
    ((progress, judged),) = selected(algorithm, alpha_EO)
    assert len(judged) == 12
    scores = [hashed(each) for each in judged]
    best_EO = judged[scores.index(max(scores))]
    assert torch.equal(algorithm.relax(alpha_EO, progress), best_EO)
    cell, none = derived(algorithm, alpha_EO, progress, space), space.column_of(space.none)
    for e, row in enumerate(best_EO.tolist()):
        assert cell[e] == (space.columns_at(e)[row.index(1.0)] if any(row) else space.none)
    for each_EO in judged:
        assert set(each_EO.flatten().tolist()) == {0.0, 1.0}
        assert none is None or not each_EO[:, none].any()
        for kind, _, rows in space.joints:
            assert each_EO[list(rows)].sum(-1).sort().values[-kind.kept :].tolist() == [1.0, 1.0]
            assert each_EO[list(rows)].sum() == kind.kept == 2


@pytest.mark.parametrize("stop", [1, 2])
@pytest.mark.thorough
def test_a_search_that_draws_is_resumed_bit_for_bit(stop: int) -> None:
    settings = tiny({"algorithm": {"name": "setn", "candidates": "drawn"}, "search": {"epochs": 3}})
    assert difference(trace(settings), trace(settings, stop=stop)) is None


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"algorithm__candidates": "best"}, r"algorithm\.candidates = 'best': .*drawn, likeliest"),
        ({"algorithm__cells": 0}, r"algorithm\.cells = 0: .*use 1 or more"),
        ({"search__epochs": 1}, r"search\.epochs = 1: .*raise it"),
    ],
)
def test_bad_settings_are_told(changes: dict[str, Any], told: str) -> None:
    with pytest.raises(UserError, match=told) as raised:
        tiny_settings(algorithm__name="setn", **changes)
    assert "\n" not in str(raised.value)
