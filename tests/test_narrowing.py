"""Spaces narrowed to some candidates: one network with the whole space's, one table, stages."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from tiny import in_their_tier, normal, tiny_settings
from torch import Tensor
from typer.testing import CliRunner

import optnas
from optnas import UserError, build_space
from optnas.algorithms.base import Progress
from optnas.algorithms.parts import softmax_with_skip
from optnas.base import registry
from optnas.cli.main import app
from optnas.measures.curvature.maths import expansion
from optnas.measures.evaluation import Batch
from optnas.measures.indicator.measure import places_of_table
from optnas.measures.indicator.oneshot import score_cells
from optnas.measures.operations.phi import rate
from optnas.search.exam.searches import TINY
from optnas.search.settings.layers import reread
from optnas.spaces import Space
from optnas.spaces.narrowing import candidates_of, narrowed, strongest
from optnas.spaces.network import build_network
from optnas.spaces.tables import Question, load_table
from optnas.spaces.toy import TOY
from optnas.theory.measure import _cell

NONE, SKIP, CONV1, CONV3, POOL = build_space({"name": "nas-bench-201"}).operations
# The same number on each edge, columns of one operation in several places.
BY_EDGE = [
    [SKIP, CONV3],
    [CONV1, POOL],
    [SKIP, POOL],
    [CONV3, POOL],
    [CONV1, CONV3],
    [SKIP, CONV1],
]
WITH_NONE = [[NONE, *names] for names in BY_EDGE]
# Some edges with none, as it is left by stages that rank it.
SOME_NONE = [
    [SKIP, CONV3, POOL],
    [NONE, CONV1, POOL],
    [CONV1, SKIP, POOL],
    [NONE, CONV3, POOL],
    [CONV1, CONV3, POOL],
    [NONE, SKIP, CONV1],
]
WITHOUT_SKIP = [CONV1, CONV3, POOL]
TOY_QUESTION = Question("digits", "test", 20)


def space_of(candidates: Any, name: str = "nas-bench-201") -> Space:
    return build_space({"name": name, "candidates": candidates})


def in_all_columns(op_weights_EO: Tensor, space: Space) -> Tensor:
    """The operation weights of the whole space that are 0 where there is no candidate."""
    found_EO = op_weights_EO.new_zeros(space.edge_count, space.whole.operation_count)
    for edge in range(space.edge_count):
        whole = list(space.whole.columns_at(edge))
        for column, operation in enumerate(space.columns_at(edge)):
            found_EO[edge, whole.index(operation)] = op_weights_EO[edge, column]
    return found_EO


def network_of(space: Space, **more: Any) -> Any:
    return build_network(
        space,
        channels=4,
        cells=1,
        classes=3,
        image_channels=3,
        generator=torch.Generator().manual_seed(0),
        dtype=torch.float64,
        device=torch.device("cpu"),
        **more,
    )


def pair(space: Space, **more: Any) -> tuple[Any, Any]:
    """Supernets of a part and of the whole, the part with the whole's weights of the same names."""
    part, whole = network_of(space, **more), network_of(space.whole, **more)
    with torch.no_grad():
        for name, weight in part.weights.items():
            weight.copy_(whole.weights[name])
    assert len(part.weights) <= len(whole.weights)
    return part, whole


def partial_cell(name: str, channels: int, space: Space) -> Any:
    from optnas.spaces.network.partial import PartialCell

    return PartialCell(name, channels, space, 2)


def darts_with_some_none() -> list[list[str]]:
    """One edge in two has none, the first two of each node among them."""
    return [
        [NONE if edge % 2 else "avg_pool_3x3", "skip_connect", "sep_conv_3x3"] for edge in range(28)
    ]


def darts_by_edge() -> list[list[str]]:
    names = [each for each in build_space({"name": "darts"}).operations if each != NONE]
    return [[names[edge % 7], names[(edge + 2) % 7]] for edge in range(28)]


SPACES: dict[str, tuple[Space, dict[str, Any]]] = {
    "by-edge": (space_of(BY_EDGE), {}),
    "with-none": (space_of(WITH_NONE), {}),
    "some-none": (space_of(SOME_NONE), {}),
    "without-skip": (space_of(WITHOUT_SKIP), {}),
    "partial-channels": (space_of(BY_EDGE), {"mixed_cell": partial_cell}),
    "toy": (space_of([SKIP, NONE, CONV3], "toy"), {}),
    "chain": (space_of(["mb3_k3", "mb6_k5"], "nas-bench-macro"), {}),
    "darts": (space_of(darts_by_edge(), "darts"), {}),
}


@pytest.mark.parametrize("name", list(SPACES))
def test_the_network_is_the_whole_one_with_zero_weights_elsewhere(name: str) -> None:
    """Logits, and the gradients of operation weights and network weights, to rounding."""
    space, more = SPACES[name]
    part, whole = pair(space, **more)
    images = normal(6, 3, 8, 8, seed=1)
    own_EO = normal(space.edge_count, space.operation_count, seed=2).requires_grad_()

    def gradients(network: Any, op_weights_EO: Tensor) -> tuple[Tensor, ...]:
        logits = network(images, op_weights_EO, statistics=None).logits_BK
        weights = [network.weights[key] for key in part.weights]
        return (logits, *torch.autograd.grad(logits.square().sum(), [own_EO, *weights]))

    found, expected = gradients(part, own_EO), gradients(whole, in_all_columns(own_EO, space))
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", ["by-edge", "with-none", "some-none", "without-skip", "toy"])
def test_where_statistics_are_fixed_it_is_the_same_function(name: str) -> None:
    space, _ = SPACES[name]
    part, _ = pair(space)
    images = normal(6, 3, 8, 8, seed=1)
    op_weights_EO = normal(space.edge_count, space.operation_count, seed=2)
    after = part(images, op_weights_EO, statistics=part.initial_statistics(), update=True)
    judged = part.judged_by(op_weights_EO, after.statistics)(images)
    expected = part(images, op_weights_EO, statistics=after.statistics).logits_BK
    torch.testing.assert_close(judged, expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("name", ["by-edge", "with-none", "some-none"])
def test_its_hessian_is_a_block_of_the_whole_one(name: str) -> None:
    space, _ = SPACES[name]
    part, whole = pair(space)
    for network in (part, whole):
        for weight in network.weights.values():
            weight.requires_grad_(False)
    batch = Batch(normal(6, 3, 8, 8, seed=1), torch.tensor([0, 1, 2, 0, 1, 2]))
    own_EO = normal(space.edge_count, space.operation_count, seed=2)
    found = expansion(part, batch, own_EO, None)
    expected = expansion(whole, batch, in_all_columns(own_EO, space), None)
    places = torch.arange(1.0, own_EO.numel() + 1).reshape(own_EO.shape)
    held = in_all_columns(places, space).reshape(-1)
    order = [int((held == place).nonzero()) for place in places.reshape(-1)]
    block_PP = expected.hessian_PP[order][:, order]
    torch.testing.assert_close(found.hessian_PP, block_PP, rtol=1e-8, atol=1e-8)


def test_one_shot_accuracies_are_those_of_the_whole_network() -> None:
    space, _ = SPACES["by-edge"]
    part, whole = pair(space)
    batch = Batch(normal(12, 3, 8, 8, seed=1), torch.arange(12) % 3)
    cells = [space.architecture_at(place) for place in (0, 7, 20, 63)]
    with torch.no_grad():
        found = score_cells(part, cells, [batch])
        expected = score_cells(whole, [cell.in_whole for cell in cells], [batch])
    torch.testing.assert_close(found.loss_N, expected.loss_N, rtol=1e-10, atol=1e-10)
    assert found.correct_NI.equal(expected.correct_NI)


@pytest.mark.parametrize("candidates", [BY_EDGE, SOME_NONE, WITHOUT_SKIP, [CONV3, SKIP]])
def test_its_cells_are_in_the_order_of_the_whole_space(candidates: Any) -> None:
    space = space_of(candidates)
    places = space.places_in_whole()
    assert space.size == len(set(places))
    assert places == sorted(places)
    for place, cell in enumerate(space.all()):
        assert space.index(cell) == place
        assert space.parse(cell.string) == cell
        assert space.whole.index(cell.in_whole) == places[place]
        assert all(o in space.columns_at(edge) for edge, o in enumerate(cell.operations))


def test_a_zero_in_the_middle_of_the_operations_comes_first() -> None:
    whole = dataclasses.replace(
        TOY, name="middle", operations=(SKIP, NONE, CONV3, POOL), none=1, skip=0, weighted=(2,)
    )
    space = narrowed(whole, [[SKIP, NONE], [NONE, POOL], [CONV3, NONE]])
    assert space.columns == ((1, 0), (1, 3), (1, 2))
    assert space.column_of(space.none) == 0
    assert space.places_in_whole() == sorted(space.places_in_whole())
    assert narrowed(space, [[SKIP, NONE], [NONE, POOL], [CONV3, NONE]]) is space


def test_the_table_of_the_whole_space_answers() -> None:
    space, table = space_of([CONV3, SKIP], "toy"), load_table("toy", folder=None)
    values_N = table.values_of(space, TOY_QUESTION)
    assert len(values_N) == space.size == 8
    for place, cell in enumerate(space.all()):
        whole = cell.in_whole
        assert table.accuracy(cell, TOY_QUESTION) == values_N[place]
        for ask in (table.accuracy, table.percentile, table.rank, table.regret, table.spread):
            assert ask(cell, TOY_QUESTION) == ask(whole, TOY_QUESTION)
    places_N = np.array([0, 3])
    assert places_of_table(space.whole, places_N) is places_N
    found = table.values(TOY_QUESTION)[places_of_table(space, places_N)]
    assert (found == values_N[places_N]).all()


@pytest.mark.parametrize(
    ("candidates", "told"),
    [
        (CONV3, "is no list of operations"),
        ("", "is no list of operations"),
        (0, "is no list of operations"),
        ({}, "is no list of operations"),
        ([CONV3, 1], "is no list of operations"),
        (["skip"], "'skip' is no operation of nas-bench-201; did you mean skip_connect?"),
        ([CONV3], "edge 0 to 1 needs two or more different operations; use some of: none"),
        ([CONV3, CONV3], "needs two or more different operations"),
        ([[SKIP, CONV3]] * 5, "has 5 lists of names, and nas-bench-201 has 6 edges"),
        ([SKIP, [SKIP, CONV3]], "is no list of operations"),
        ([*[[NONE, SKIP]] * 5, [NONE, SKIP, CONV3]], "edges have 2 and 3 candidates"),
    ],
)
def test_candidates_that_cannot_be_are_one_line(candidates: Any, told: str) -> None:
    with pytest.raises(UserError) as caught:
        tiny_settings(space__candidates=candidates)
    assert "space.candidates" in str(caught.value)
    assert told in str(caught.value)


def test_an_operation_that_is_no_candidate_of_the_edge_is_told() -> None:
    s1 = {"name": "darts-s1", "candidates": [["sep_conv_3x3", "skip_connect"]] * 28}
    with pytest.raises(UserError, match="edge 0 to 2 of darts-s1 has no sep_conv_3x3"):
        build_space(s1)
    space = space_of(BY_EDGE)
    with pytest.raises(UserError, match="edge 0 to 1 of nas-bench-201 has no none as a candidate"):
        space.parse("(0, 2, 1, 3, 2, 1)")


def test_all_candidates_are_the_space_itself_and_the_run_it_was() -> None:
    usual = tiny_settings()
    assert build_space(usual.space.model_dump()) is build_space({"name": "nas-bench-201"})
    assert usual.space.candidates == []
    assert "candidates" in usual.document()["space"]
    assert tiny_settings(space__candidates=[]).hash == usual.hash
    assert tiny_settings(space__candidates=WITHOUT_SKIP).hash != usual.hash
    for same in ([*WITHOUT_SKIP][::-1], [WITHOUT_SKIP] * 6):
        assert tiny_settings(space__candidates=same).space.candidates == WITHOUT_SKIP
    assert tiny_settings(space__candidates=[POOL, CONV1, SKIP, CONV3, NONE]).hash == usual.hash
    by_edge = tiny_settings(space__candidates=[names[::-1] for names in BY_EDGE])
    assert by_edge.space.candidates == BY_EDGE
    with pytest.raises(UserError, match=r"no setting 'candidate'; .*candidates"):
        tiny_settings(space__candidate=WITHOUT_SKIP)
    document = usual.document()
    del document["space"]["candidates"]  # of a run that is older than the setting
    assert reread(document, "config.toml", {}).hash == usual.hash


def test_columns_of_its_own_keep_their_order() -> None:
    whole = dataclasses.replace(TOY, name="turned", columns=((2, 1, 0),) * 3)
    space = narrowed(whole, [SKIP, POOL])
    assert space.columns == ((2, 0),) * 3
    assert space.places_in_whole() == sorted(space.places_in_whole())
    with pytest.raises(UserError, match="is no list of operations"):
        narrowed(TOY, [SKIP, CONV3, [POOL, NONE]])


def test_strongest_by_hand() -> None:
    space = space_of([NONE, SKIP, CONV3, POOL], "toy")
    assert space is TOY
    assert candidates_of(space) == []
    assert space.candidate_names == [[SKIP, CONV3, POOL, NONE]] * 3
    rows = [[0.1, 0.4, 0.2, 0.3], [0.3, 0.1, 0.2, 0.4], [0.25, 0.25, 0.25, 0.25]]
    assert strongest(space, rows, 2) == [[CONV3, NONE], [SKIP, NONE], [SKIP, NONE]]
    assert strongest(space, rows, 3) == [
        [CONV3, POOL, NONE],
        [SKIP, POOL, NONE],
        [SKIP, CONV3, NONE],
    ]
    expected = [[CONV3, POOL], [SKIP, POOL], [SKIP, CONV3]]
    assert strongest(space, rows, 2, none="goes") == expected
    rows[1] = [0.3, 0.1, 0.4, 0.2]
    expected = [[CONV3, NONE], [SKIP, POOL], [SKIP, CONV3]]
    assert strongest(space, rows, 2, none="ranked") == expected
    keeps: list[tuple[Any, Any]] = [
        *((each, "stays") for each in (1, 5, 2.5, True)),
        (4, "goes"),
        (5, "ranked"),
    ]
    for keep, none in keeps:
        have = 4 - (none == "goes")
        with pytest.raises(UserError, match=f"keep = {keep}: each edge has {have} that"):
            strongest(space, rows, keep, none=none)
    odd: Any = False
    with pytest.raises(UserError, match=r"none = False: says nothing.*stays, goes, ranked"):
        strongest(space, rows, 2, none=odd)
    least = space_of([NONE, SKIP], "toy")
    with pytest.raises(UserError, match=r"has 1 that may stay.*its cell is derived"):
        strongest(least, [[0.5, 0.5]] * 3, 2, none="goes")


def test_stages_of_a_search(tmp_path: Path) -> None:
    """A run, a narrower one from its settings, and the settings of a third by the command."""
    first = TINY | {"algorithm.name": "darts-minus", "search.epochs": 1}
    optnas.run(first, out=tmp_path / "a", progress=False)
    settings = optnas.narrow(tmp_path / "a", 3)
    (*_, last) = optnas.RunFolder(tmp_path / "a").read_epochs()
    for names, row in zip(settings["space"]["candidates"], last["op_weights"], strict=True):
        own = dict(zip((NONE, SKIP, CONV1, CONV3, POOL), row, strict=True))
        own[SKIP] -= sum(row) - 1  # the auxiliary one is no candidate
        del own[NONE]
        assert set(names) == {NONE, *sorted(own, key=lambda name: -own[name])[:2]}
    settings["algorithm"] = {"name": "darts"}
    result = optnas.run(settings, out=tmp_path / "b", progress=False)
    assert result["status"] == "done"
    (*_, last) = optnas.RunFolder(tmp_path / "b").read_epochs()
    assert np.shape(last["op_weights"]) == (6, 3)
    for names, (o, _) in zip(
        settings["space"]["candidates"],
        (
            term.split("~")
            for term in last["architecture"].replace("+", "").strip("|").split("|")
            if term
        ),
        strict=True,
    ):
        assert o in names
    third = tmp_path / "c.toml"
    words = ["narrow", str(tmp_path / "b"), "--keep", "2", "--none", "goes", "-o", str(third)]
    told = CliRunner().invoke(app, words)
    assert told.exit_code == 0
    assert "2 candidates per edge" in told.output
    result = optnas.run({}, config=third, out=tmp_path / "c", progress=False)
    assert result["status"] == "done"
    assert NONE not in result["architecture"]
    told = CliRunner().invoke(app, ["narrow", str(tmp_path / "c"), "--keep", "3", "-o", str(third)])
    assert isinstance(told.exception, UserError)
    assert "each edge has 2 that may stay" in str(told.exception)


def test_what_a_run_cannot_be_narrowed_to(tmp_path: Path) -> None:
    optnas.run(TINY | {"search.epochs": 1}, out=tmp_path / "a", progress=False)
    words = ["narrow", str(tmp_path / "a"), "--keep", "3", "-o", str(tmp_path / "b.txt")]
    told = CliRunner().invoke(app, words)
    assert isinstance(told.exception, UserError)
    assert "end it in .toml" in str(told.exception)
    assert not (tmp_path / "b.txt").exists()
    config = tmp_path / "a" / "config.toml"
    text = config.read_text()
    config.write_text(text[: text.index("[search]")] + text[text.index("[algorithm]") :])
    with pytest.raises(UserError, match=r"config\.toml"):
        optnas.narrow(tmp_path / "a", 3)


def test_an_auxiliary_skip_is_in_the_column_of_each_edges_skip(tmp_path: Path) -> None:
    own = [[NONE, SKIP, POOL] if edge % 2 else [SKIP, CONV1, CONV3] for edge in range(6)]
    space = space_of(own)
    alpha_EO = normal(6, 3, seed=4)
    A_EO = softmax_with_skip(0.5, space=space)(alpha_EO, Progress(1, 2))
    expected_EO = in_all_columns(alpha_EO.softmax(-1), space)
    expected_EO[:, space.operations.index(SKIP)] += 0.5
    assert in_all_columns(A_EO, space).equal(expected_EO)
    given = TINY | {"algorithm.name": "darts-minus", "space.candidates": own}
    result = optnas.run(given, out=tmp_path / "a", progress=False)
    assert result["status"] == "done"
    (*_, last) = optnas.RunFolder(tmp_path / "a").read_epochs()
    found = optnas.narrow(tmp_path / "a", 2, none="ranked")["space"]["candidates"]
    by_alpha = [
        {names[column] for column in sorted(range(3), key=lambda c, row=row: -row[c])[:2]}
        for names, row in zip(own, last["alpha"], strict=True)
    ]
    assert [set(names) for names in found] == by_alpha
    assert any(SKIP not in names for names in found)  # with its auxiliary one it would be first


@pytest.mark.parametrize("space", ["nas-bench-macro", "darts"])
def test_where_no_edge_has_a_skip_there_is_no_auxiliary_one(space: str) -> None:
    given: dict[str, Any] = {"space__name": space, "benchmark__table": "none"}
    names = build_space({"name": space}).operations
    own = [name for name in names if name not in ("none", "identity", "skip_connect")][:2]
    with pytest.raises(
        UserError, match=r"space\.candidates = .*not every edge has a skip connection"
    ):
        tiny_settings(algorithm__name="darts-minus", space__candidates=own, **given)


def test_pr_darts_needs_weights_and_the_same_candidates() -> None:
    for candidates, told in (
        ([SKIP, POOL], "no operation has weights"),
        ([[SKIP, CONV1]] * 3 + [[SKIP, CONV3]] * 3, "its edges have different candidates"),
    ):
        with pytest.raises(UserError, match=f"space.candidates = .*skip_connect.*{told}"):
            tiny_settings(algorithm__name="pr-darts", space__candidates=candidates)


def test_the_theory_reads_the_candidates_columns(tmp_path: Path) -> None:
    given = {"space.candidates": [SKIP, CONV1, CONV3], "measures.theory.at": ["end"]}
    more = {"measures.theory.channels": 2, "measures.theory.samples": 4, "measures.theory.draws": 2}
    optnas.run(TINY | given | more, out=tmp_path / "a", progress=False)
    run = optnas.RunFolder(tmp_path / "a")
    (line,) = run.read_measures("theory")
    assert line["status"] == "ok"
    rows = torch.tensor(run.read_epochs()[-1]["op_weights"], dtype=torch.float64)
    seen: Any = SimpleNamespace(space=space_of([SKIP, CONV1, CONV3]), op_weights_EO=rows)
    cell = _cell(seen, 2)
    assert list(cell.skip.values()) == rows[:, 0].tolist()
    torch.testing.assert_close(
        torch.tensor([*cell.conv.values()]).double(), rows[:, 1:].norm(dim=1)
    )


def test_phi_is_of_the_candidates_columns(tmp_path: Path) -> None:
    """Where every edge has the same, with the skip in the first column and both convolutions."""
    given = {"space.candidates": [SKIP, CONV1, CONV3], "measures.operations.every": 1}
    optnas.run(TINY | given, out=tmp_path / "a", progress=False)
    run = optnas.RunFolder(tmp_path / "a")
    rows = run.read_epochs()[-1]["op_weights"]
    (*_, line) = run.read_measures("operations")
    skip_E, conv_EO = [row[0] for row in rows], [row[1:] for row in rows]
    for reading, found in line["values"]["phi"].items():
        space = build_space({"name": "nas-bench-201"})
        expected = rate(space, reading, skip_E, conv_EO, [0.0] * 6).phi
        assert found == pytest.approx(expected, rel=1e-12)


def test_a_run_that_is_not_done_is_not_narrowed(tmp_path: Path) -> None:
    optnas.run(TINY | {"search.epochs": 1}, out=tmp_path / "a", progress=False)
    (tmp_path / "a" / "result.json").unlink()
    with pytest.raises(UserError, match="this run is unfinished"):
        optnas.narrow(tmp_path / "a", 3)


@pytest.mark.parametrize("name", in_their_tier(registry.names("algorithm")))
@pytest.mark.parametrize("candidates", ["by-edge", "some-none", "without-skip"])
def test_every_algorithm_searches_it_or_says_why_not(
    name: str, candidates: str, tmp_path: Path
) -> None:
    own: Any = {"by-edge": WITH_NONE, "some-none": SOME_NONE, "without-skip": WITHOUT_SKIP}[
        candidates
    ]
    given = {"algorithm.name": name, "supernet.channels": 4}
    given = TINY | given | {"space.candidates": own}
    if name in ("darts-minus", "pr-darts"):
        with pytest.raises(UserError, match=r"space\.candidates.*not every edge has a skip"):
            optnas.run(given, out=tmp_path / "a", progress=False)
    else:
        result = optnas.run(given, out=tmp_path / "a", progress=False)
        assert space_of(own).parse(result["architecture"])


DARTS_SIZE = {"data.train_size": 24, "data.valid_size": 24, "search.batch_size": 8}


NOT_THERE = {"pc-darts", "pr-darts"}  # other tests say why


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted({*registry.names("algorithm")} - NOT_THERE))
def test_some_edges_with_none_derive_a_cell_without_it(name: str, tmp_path: Path) -> None:
    """In the space of DARTS, whose cells keep two edges into each node, each with an operation."""
    given = TINY | DARTS_SIZE | {"algorithm.name": name, "benchmark.table": "none"}
    given |= {"space.name": "darts", "space.candidates": darts_with_some_none()}
    result = optnas.run(given, out=tmp_path / "a", progress=False)
    space = space_of(darts_with_some_none(), "darts")
    cell = space.parse(result["architecture"])
    for joint in space.joints:
        kept = [edge for edge in joint.rows if cell.operations[edge] != space.none]
        assert len(kept) == joint.kind.kept
