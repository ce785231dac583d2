"""The space of DARTS: its network, its derived cells, genotypes.

Run once beside quark0/darts (f276dd3, cnn/model_search.py, on the CPU in float64, C = 4, five
cells, random alpha, the same weights): logits differ by 2.1e-15, gradients of alpha by 1.6e-16, of
the network weights by 2.1e-15, running means by 4e-18, logits by running statistics by 4e-17, and
the derived cell is the published `genotype()`.

Run once beside automl/RobustDARTS (3dec3fe, src/search/model_search.py, in the same way, its noise
replaced by that of `noise_of`), S1, S2, S3, S4: logits differ by 5.3e-15, 6.7e-15, 4.1e-15 and
1.1e-15, gradients of alpha by at most 1.5e-15, of the network weights by 6.9e-15, logits by running
statistics by 2.5e-16; each derived cell is the published `genotype()`.

Run once beside Meituan-AutoML/DARTS- (adb81a8, src/search/model_search.py with ``--auxiliary_skip
--decay linear``, in the same way, two channels): ten steps of `darts-minus` in two epochs, on all
operations, S2 and S3: weights differ by at most 1.2e-14, alpha by 3e-16; on all operations under
{SGD, Adam} x {SGD, Adam} by 2.3e-13 and 2.6e-15.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from cases import command
from tiny import TINY, assert_same, fingerprint, tiny_settings, trained
from torch import Tensor

from optnas.algorithms.base import Progress
from optnas.algorithms.parts import argmax_per_edge, softmax, softmax_with_skip
from optnas.base.errors import UserError
from optnas.base.records import RunFolder, find_runs
from optnas.measures.auxiliary import without_auxiliary
from optnas.measures.evaluation import Batch
from optnas.measures.gap.measure import gap
from optnas.measures.snapshot import strongest, without_none
from optnas.search.checkpoints import restore, save
from optnas.search.draws import draw_epoch
from optnas.search.problem import forward
from optnas.search.session import Session
from optnas.search.state import build_state
from optnas.spaces import build_space
from optnas.spaces.base import Space
from optnas.spaces.darts import DARTS, EDGES, S1, S2, S3, S4
from optnas.spaces.network import build_network
from optnas.spaces.network.darts import JUDGED
from optnas.study.tables import table_of

# What quark0/darts prints for its second-order search on CIFAR-10, cnn/genotypes.py.
DARTS_V2 = (
    "Genotype(normal=[('sep_conv_3x3', 0), ('sep_conv_3x3', 1), ('sep_conv_3x3', 0), "
    "('sep_conv_3x3', 1), ('sep_conv_3x3', 1), ('skip_connect', 0), ('skip_connect', 0), "
    "('dil_conv_3x3', 2)], normal_concat=[2, 3, 4, 5], reduce=[('max_pool_3x3', 0), "
    "('max_pool_3x3', 1), ('skip_connect', 2), ('max_pool_3x3', 1), ('max_pool_3x3', 0), "
    "('skip_connect', 2), ('skip_connect', 2), ('max_pool_3x3', 1)], reduce_concat=[2, 3, 4, 5])"
)
RESULTS = Path(__file__).parents[1] / "results"
TINY_DARTS = {
    "space__name": "darts",
    "benchmark__table": "none",
    "supernet__channels": 2,
    "data__train_size": 24,
    "data__valid_size": 24,
}


def norm(x: Tensor) -> Tensor:
    """Batch norm by the batch, without affine terms."""
    mean, variance = x.mean((0, 2, 3), keepdim=True), x.var((0, 2, 3), correction=0, keepdim=True)
    return (x - mean) / (variance + 1e-5).sqrt()


def plain_operation(
    name: str, x: Tensor, stride: int, w: dict[str, Tensor], drawn: torch.Generator
) -> Tensor:
    """One operation, written out."""
    if name == "noise":
        return torch.randn(x[:, :, ::stride, ::stride].shape, generator=drawn).double()
    if name == "none":
        return 0 * x[:, :, ::stride, ::stride]
    if name == "max_pool_3x3":
        return norm(F.max_pool2d(x, 3, stride, 1))
    if name == "avg_pool_3x3":
        return norm(F.avg_pool2d(x, 3, stride, 1, count_include_pad=False))
    if name == "skip_connect":
        return x if stride == 1 else factorized(x, w["conv_1"], w["conv_2"])
    kernel, dilation = int(name[-1]), 2 if name.startswith("dil") else 1
    for i in range(1 if name.startswith("dil") else 2):
        channels, pad = x.shape[1], dilation * (kernel - 1) // 2
        x = F.conv2d(
            x.relu(), w[f"depth_{i}"], None, stride if i == 0 else 1, pad, dilation, channels
        )
        x = norm(F.conv2d(x, w[f"point_{i}"]))
    return x


def factorized(x: Tensor, one: Tensor, two: Tensor) -> Tensor:
    x = x.relu()
    halves = [F.conv2d(x, one, stride=2), F.conv2d(x[:, :, 1:, 1:], two, stride=2)]
    return norm(torch.cat(halves, 1))


def plain(
    x: Tensor,
    alphas: Sequence[Tensor],
    w: dict[str, Tensor],
    names: Callable[[int], Sequence[str]],
    seed: int,
    beta: float = 0.0,
) -> Tensor:
    """The network of five cells, operation by operation; names of those of a row of alpha.

    With an auxiliary skip of weight beta beside each edge, on a strided one with its own weights.
    """
    drawn = torch.Generator().manual_seed(seed)

    def under(prefix: str) -> dict[str, Tensor]:
        found = {key: value for key, value in w.items() if key.startswith(f"{prefix}.")}
        return {k.removeprefix(f"{prefix}.").removesuffix(".weight"): v for k, v in found.items()}

    s = norm(F.conv2d(x, w["stem.conv.weight"], padding=1))
    s = s * w["stem.norm.weight"][:, None, None] + w["stem.norm.bias"][:, None, None]
    s0 = s1 = s
    for i in range(5):
        reduction, after = i in (1, 3), i - 1 in (1, 3)
        first, second = under(f"cells.{i}.input_0"), under(f"cells.{i}.input_1")
        a = (
            factorized(s0, first["conv_1"], first["conv_2"])
            if after
            else norm(F.conv2d(s0.relu(), first["conv"]))
        )
        nodes = [a, norm(F.conv2d(s1.relu(), second["conv"]))]
        row = 0
        for _ in range(4):
            total: Tensor | float = 0.0
            for j in range(len(nodes)):
                stride = 2 if reduction and j < 2 else 1
                for o, name in enumerate(names(14 * reduction + row)):
                    own = under(f"cells.{i}.edges.{row}.{name}")
                    weight = alphas[int(reduction)][row].softmax(-1)[o]
                    total = total + weight * plain_operation(name, nodes[j], stride, own, drawn)
                if beta:
                    own = under(f"cells.{i}.edges.{row}.auxiliary")
                    skip = plain_operation("skip_connect", nodes[j], stride, own, drawn)
                    total = total + beta * skip
                row += 1
            assert isinstance(total, Tensor)
            nodes.append(total)
        s0, s1 = s1, torch.cat(nodes[2:], 1)
    return F.linear(s1.mean((2, 3)), w["head.linear.weight"], w["head.linear.bias"])


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("space", "beta"),
    [*((space, 0.0) for space in (DARTS, S1, S2, S3, S4)), (DARTS, 0.7), (S2, 0.7), (S3, 0.7)],
    ids=lambda each: getattr(each, "name", each),
)
def test_the_network_equals_its_plain_twin(space: Space, beta: float) -> None:
    network = build_network(
        space,
        None,
        auxiliary=beta > 0,
        channels=4,
        cells=1,
        classes=10,
        image_channels=3,
        generator=torch.Generator().manual_seed(1),
        dtype=torch.float64,
    )
    drawn = torch.Generator().manual_seed(2)
    x = torch.randn(4, 3, 12, 12, generator=drawn, dtype=torch.float64)
    y = torch.randint(10, (4,), generator=drawn)
    alpha = torch.randn(28, space.operation_count, generator=drawn, dtype=torch.float64)
    alpha.requires_grad_()
    leaves = [alpha, *network.weights.values()]

    def names(edge: int) -> list[str]:
        return [space.operations[o] for o in space.columns_at(edge)]

    seed = {"draw": 5} if space is S4 else {}
    relax = softmax_with_skip(beta, space=space) if beta else softmax
    logits, _ = network(x, relax(alpha, Progress(1, 2)), statistics=None, **seed)
    expected = plain(x, alpha.split(14), network.weights, names, 5, beta)
    torch.testing.assert_close(logits, expected, rtol=0, atol=1e-10)
    gradients = [torch.autograd.grad(F.cross_entropy(z, y), leaves) for z in (logits, expected)]
    torch.testing.assert_close(*gradients, rtol=0, atol=1e-10)


@pytest.mark.parametrize("space", [DARTS, S2, S3], ids=lambda space: space.name)
def test_an_auxiliary_skip_is_in_no_cell(space: Space) -> None:
    """Where rows are one-hot, or 0 of an edge that is left out, its branch weighs nothing."""
    sizes: dict[str, Any] = {"channels": 2, "cells": 1, "classes": 3, "image_channels": 3}
    sizes |= {"dtype": torch.float64}
    with_it, without = (
        build_network(
            space, None, auxiliary=has, generator=torch.Generator().manual_seed(1), **sizes
        )
        for has in (True, False)
    )
    own = {name: weight for name, weight in with_it.weights.items() if "auxiliary" in name}
    # The edges from both inputs, in two reduction cells.
    assert {name.split(".")[1] for name in own} == {"1", "3"}
    assert len({tuple(name.split(".")[1:4:2]) for name in own}) == 2 * 8
    # What both have begins the same, so that searches of one seed stay paired.
    assert all(
        torch.equal(with_it.weights[name], weight) for name, weight in without.weights.items()
    )
    x = torch.randn(2, 3, 12, 12, generator=torch.Generator().manual_seed(2)).double()
    alpha = torch.randn(28, space.operation_count, generator=torch.Generator().manual_seed(3))
    cell = strongest(argmax_per_edge(without_none(alpha, space)), alpha.softmax(-1), space)
    hot = torch.tensor(space.one_hot(cell)).double()
    found = [net(x, hot, statistics=None).logits_BK for net in (with_it, without)]
    torch.testing.assert_close(*found, rtol=0, atol=1e-12)
    boosted = softmax_with_skip(0.5, space=space)(alpha.double(), Progress(1, 2))
    own, left = (
        net(x, A_EO, statistics=None).logits_BK
        for net, A_EO in ((with_it, boosted), (without, boosted))
    )
    assert not torch.allclose(own, left)  # the branch is no skip
    by_cell = boosted.expand(with_it.cells, -1, -1)
    assert torch.equal(with_it(x, by_cell, statistics=None).logits_BK, own)
    algorithm: Any = SimpleNamespace(auxiliary_skip=True)
    taken_off, auxiliary = without_auxiliary(boosted, algorithm, space)
    torch.testing.assert_close(taken_off, alpha.double().softmax(-1))
    torch.testing.assert_close(auxiliary, torch.full((28,), 0.5).double())


@pytest.mark.parametrize(("name", "edges"), [("darts-s1", 10), ("darts-s4", 28)])
def test_without_a_skip_on_every_edge_there_is_no_auxiliary_one(name: str, edges: int) -> None:
    space = build_space({"name": name})
    lacking = [e for e in range(28) if space.skip not in space.columns_at(e)]
    assert len(lacking) == edges
    told = (
        f"space.name = '{name}': not every edge has a skip connection as a candidate, and the alg"
    )
    with pytest.raises(UserError, match=told):
        tiny_settings(**TINY_DARTS | {"space__name": name, "algorithm__name": "darts-minus"})


@pytest.mark.parametrize("space", ["darts", "darts-s2"])
def test_the_partway_gap_is_null_where_a_row_of_zeros_hides_the_auxiliary_skip(space: str) -> None:
    given = {"space__name": space, "algorithm__name": "darts-minus", "search__batch_size": 8}
    session = Session(build_state(tiny_settings(**TINY_DARTS | given)))
    session.train_epoch()
    numbers = gap(batches=2).measure(session.snapshot).numbers
    assert (numbers["partway_accuracy"] is None) == (space == "darts-s2")
    assert (numbers["partway_gap"] is None) == (space == "darts-s2")


def test_a_derived_cell_keeps_two_edges_per_node() -> None:
    alpha = torch.randn(28, 8, generator=torch.Generator().manual_seed(0))
    alpha[:, 0] = 9.0  # zero is no candidate
    weights = alpha.softmax(-1)
    choice = strongest(argmax_per_edge(without_none(alpha, DARTS)), weights, DARTS)
    for kind in range(2):
        for target in range(2, 6):
            rows = [14 * kind + e for e, (_, to) in enumerate(EDGES) if to == target]
            best = {row: max(range(1, 8), key=lambda o, row=row: weights[row, o]) for row in rows}
            kept = sorted(rows, key=lambda row: -float(weights[row, best[row]]))[:2]
            assert [choice[row] for row in rows] == [best[r] if r in kept else 0 for r in rows]


def test_genotypes_are_cells() -> None:
    cell = DARTS.parse(DARTS_V2)
    assert DARTS.parse(cell.genotype) == DARTS.parse(cell.string) == cell
    assert cell.count("none") == 28 - 16
    assert cell.genotype.startswith(
        "Genotype(normal=[('sep_conv_3x3', 0), ('sep_conv_3x3', 1), ('sep_conv_3x3', 0), "
    )
    assert ("('skip_connect', 0), ('sep_conv_3x3', 1)") in cell.genotype  # the earlier source first


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("Genotype(normal=[], reduce=[])", "normal has 0 edges; name 2 for each of 4 nodes"),
        ("Genotype(normal=[])", r"no genotype; write Genotype\(normal=\[\(operation, source\)"),
        ("Genotype(normal=open('x'))", "no genotype"),
        ("Genotype(" * 500, "no genotype"),
        (
            DARTS_V2.replace("sep_conv_3x3", "sep_conv_3x4", 1),
            "no operation here; did you mean sep_conv_3x3",
        ),
        (DARTS_V2.replace("('skip_connect', 0)", "('skip_connect', 7)", 1), "no edge from 7"),
        (DARTS_V2.replace("('sep_conv_3x3', 1)", "('sep_conv_3x3', 0)", 1), "or has it twice"),
    ],
)
def test_what_is_no_genotype_is_told(text: str, told: str) -> None:
    with pytest.raises(UserError, match=told):
        DARTS.parse(text)


def test_spaces_without_zero_leave_edges_out() -> None:
    alpha = torch.randn(28, 2, generator=torch.Generator().manual_seed(0))
    for space in (S1, S2, S4):
        choice = strongest(argmax_per_edge(without_none(alpha, space)), alpha.softmax(-1), space)
        cell = space.architecture(choice)
        assert cell.count("none") == 12
        assert space.parse(cell.genotype) == space.parse(cell.string) == cell
        for edge, operation in enumerate(choice):
            column = int(alpha[edge].argmax())
            assert operation in (space.none, space.columns_at(edge)[column])
    told = "edge 0 to 2 of darts-s1 has no sep_conv_3x3 as a candidate; use one of: skip_connect"
    with pytest.raises(UserError, match=told):
        S1.parse(DARTS_V2.replace("skip_connect", "sep_conv_3x3"))
    with pytest.raises(UserError, match="cells of darts-s1 have no index"):
        S1.architecture_at(0)


def test_noise_is_drawn_for_each_batch_of_a_step_and_the_same_where_it_judges() -> None:
    session = Session(build_state(tiny_settings(**TINY_DARTS | {"space__name": "darts-s4"})))
    session.begin_epoch()
    seeds = [seed for draws in draw_epoch(session.state) for seed in draws.of_operations]
    assert None not in seeds
    assert len(set(seeds)) == len(seeds) > 2
    state, snapshot = session.state, session.snapshot
    train, _ = next(iter(draw_epoch(state))).batches(state)

    def logits(batch: Batch) -> Tensor:
        return forward(state, batch, snapshot.op_weights_EO, statistics=None).logits_BK

    assert torch.equal(logits(train), logits(train))
    assert not torch.equal(logits(train), logits(train._replace(draw=seeds[0])))
    judged = logits(train._replace(draw=None))
    assert torch.equal(judged, logits(train._replace(draw=JUDGED)))
    assert snapshot.evaluate(snapshot.op_weights_EO, None) == snapshot.evaluate(
        snapshot.op_weights_EO, None
    )


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("space", "algorithm"),
    [("darts", "darts"), ("darts-s4", "darts"), ("darts-s3", "darts-minus"), ("darts", "p-darts")],
)
def test_a_search_resumes_and_derives_a_genotype(
    space: str, algorithm: str, tmp_path: Path
) -> None:
    settings = TINY_DARTS | {"space__name": space, "algorithm__name": algorithm}
    whole = trained(settings, 2)
    save(trained(settings, 1), tmp_path / "last.pt")
    state = build_state(tiny_settings(**settings))
    restore(state, tmp_path / "last.pt")
    session = Session(state)
    session.train_epoch()
    assert_same(fingerprint(state), fingerprint(whole))
    cell = session.snapshot.space.architecture(session.snapshot.choice)
    assert cell.count("none") == 12
    assert state.space.parse(cell.genotype) == cell


@pytest.mark.thorough
def test_a_run_tells_its_genotype(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = {key.replace("__", "."): value for key, value in TINY_DARTS.items()}
    small = {"space.name": "darts-s3", "measures.sharpness.every": 0, "search.epochs": 1}
    words = [f"{key}={value}" for key, value in (TINY | settings | small).items()]
    assert command("search", *words, "--out", str(tmp_path / "run")) == 0
    result = RunFolder(tmp_path / "run").read_result()
    assert S3.parse(result["genotype"]).string == result["architecture"]
    assert f"genotype: {result['genotype']}" in capsys.readouterr().out


def test_operation_weights_are_averaged_over_the_edges_that_have_the_operation() -> None:
    # The weight of each candidate says which it is, so a mean of others is not its own.
    of_S1 = [[10 * o + 0.1 for o in S1.columns_at(edge)] for edge in range(28)]
    expected = {name: 10 * o + 0.1 for o, name in enumerate(S1.operations) if name != "none"}
    assert S1.means(of_S1) == pytest.approx(expected)
    assert S1.means(of_S1, [0, 5]) == pytest.approx(
        {name: expected[name] for name in ("max_pool_3x3", "skip_connect", "dil_conv_3x3")}
    )
    table = table_of(find_runs(RESULTS / "skip-growth")[:1], recorded=True, arrays=True)
    A_TEO = np.array([json.loads(each) for each in table["op_weights"]])
    for o, name in enumerate(("skip_connect", "sep_conv_3x3")):
        assert table[f"op_weight.{name}"].to_numpy() == pytest.approx(A_TEO[..., o].mean(-1))
    assert "op_weight.none" not in table
