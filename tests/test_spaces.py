import contextlib
import dataclasses
import io
import itertools
import json
import pickle
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.figure import Figure

from optnas.base import registry
from optnas.base.errors import UserError
from optnas.spaces import (
    NAS_BENCH_201,
    Architecture,
    Space,
    draw_cell,
    function_string,
    is_connected,
    unique_string,
    without_dead_edges,
)

SPACE = NAS_BENCH_201
NONE, SKIP, CONV1, CONV3, POOL = range(5)
EDGES = ((0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3))
# Every path from node 0 to node 3, as places in EDGES.
PATHS = ((3,), (0, 4), (1, 5), (0, 2, 5))
NAMES = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")
BEST = (
    "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|"
    "+|skip_connect~0|nor_conv_3x3~1|nor_conv_1x1~2|"
)

Operations = tuple[int, ...]
operation_tuples = st.tuples(*[st.integers(0, 4)] * 6)


@pytest.fixture(scope="module")
def cells() -> list[Architecture]:
    return list(SPACE.all())


# ---- the codec and the order


def naive_string(operations: Operations) -> str:
    a, b, c, d, e, f = (NAMES[operation] for operation in operations)
    return f"|{a}~0|+|{b}~0|{c}~1|+|{d}~0|{e}~1|{f}~2|"


def test_the_space_is_the_published_one() -> None:
    assert registry.find("space", "nas-bench-201")() is SPACE
    assert (SPACE.edges, SPACE.operations, SPACE.nodes) == (EDGES, NAMES, 4)
    assert (SPACE.edge_count, SPACE.operation_count, SPACE.size) == (6, 5, 15_625)
    assert (SPACE.operations[SPACE.none], SPACE.operations[SPACE.skip]) == NAMES[:2]
    assert [SPACE.operations[index] for index in SPACE.weighted] == [NAMES[CONV1], NAMES[CONV3]]


@given(operation_tuples)
def test_strings_equal_the_naive_twin_and_round_trip(operations: Operations) -> None:
    cell = SPACE.architecture(operations)
    assert cell.string == str(cell) == naive_string(operations)
    assert SPACE.parse(f" {cell.string}\n") == cell
    for text in (str(operations), str(list(operations)), ",".join(map(str, operations))):
        assert SPACE.parse(f" {text}\n") == cell
    assert cell.operation_names == tuple(NAMES[operation] for operation in operations)
    assert [cell.count(name) for name in NAMES] == [operations.count(i) for i in range(5)]


def test_all_cells_round_trip(cells: list[Architecture]) -> None:
    assert len({cell.string for cell in cells}) == len(set(cells)) == 15_625
    assert [SPACE.index(SPACE.parse(cell.string)) for cell in cells] == list(range(15_625))
    assert [SPACE.architecture_at(place) for place in (0, 15_624)] == [cells[0], cells[-1]]


def test_the_official_order_begins_as_published() -> None:
    assert [SPACE.architecture_at(place).operations for place in range(3)] == [
        (POOL, CONV1, SKIP, CONV1, SKIP, SKIP),
        (CONV3, CONV3, POOL, SKIP, CONV3, SKIP),
        (POOL, CONV3, CONV3, POOL, POOL, POOL),
    ]


def test_cells_and_spaces_are_values() -> None:
    cell = SPACE.architecture(np.array([1, 0, 2, 3, 4, 1]))
    assert cell == SPACE.architecture([1, 0, 2, 3, 4, 1])
    assert hash(cell) == hash(SPACE.architecture((1, 0, 2, 3, 4, 1)))
    assert pickle.loads(pickle.dumps(cell)) == cell
    assert repr(cell) == "Architecture(operations=(1, 0, 2, 3, 4, 1))"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (BEST.replace("nor_conv_1x1", "nor_conv1x1"), "did you mean nor_conv_1x1?"),
        (BEST.replace("nor_conv_1x1", "xyz"), "use one of: avg_pool_3x3, none, nor_conv_1x1"),
        (BEST.replace("~2", "~1"), "write |op~0|+|op~0|op~1|+|op~0|op~1|op~2| with each op one of"),
        (BEST.rpartition("+")[0], "this is no cell of nas-bench-201"),
        (BEST + "|none~3|", "this is no cell of nas-bench-201"),
        ("", "this is no cell of nas-bench-201"),
        ("(3, 1, 3, 1, 1)", "write 6 indices from 0 to 4: 0 none, 1 skip_connect"),
        ("3,1,3,1,1,5", "write 6 indices from 0 to 4: 0 none, 1 skip_connect"),
        ("|nor_conv_3x3~0|\n+", "this is no cell of nas-bench-201"),
    ],
)
def test_a_bad_string_is_told_in_one_line(text: str, message: str) -> None:
    with pytest.raises(UserError) as caught:
        SPACE.parse(text, where="cells.txt", key="cell")
    assert str(caught.value).startswith("cells.txt: cell = ")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@given(st.text(alphabet="|~+ \n012nonekip_ct", max_size=60))
def test_no_text_breaks_the_parser(text: str) -> None:
    with contextlib.suppress(UserError):
        assert SPACE.parse(text).string == text.strip()


def test_misuse_is_refused() -> None:
    with pytest.raises(UserError, match="index = 15625: nas-bench-201 has 15625 cells; use 0 to"):
        SPACE.architecture_at(15_625)
    with pytest.raises(UserError, match="index = -1"):
        SPACE.architecture_at(-1)
    with pytest.raises(ValueError, match="has 6 edges, not 5"):
        SPACE.architecture([0] * 5)
    with pytest.raises(ValueError, match="operation indices of nas-bench-201 end at 4"):
        SPACE.architecture([0, 0, 0, 0, 0, 5])
    with pytest.raises(ValueError, match="did you mean skip_connect"):
        SPACE.architecture([0] * 6).count("skip_conect")


TRIANGLE = Space(
    name="triangle",
    nodes=3,
    edges=((0, 1), (0, 2), (1, 2)),
    operations=("conv", "zero", "identity"),
    none=1,
    skip=2,
    weighted=(0,),
)


def test_another_space_needs_no_code() -> None:
    cells = list(TRIANGLE.all())
    assert [cell.operations for cell in cells] == list(itertools.product(range(3), repeat=3))
    assert cells[5].string == "|conv~0|+|zero~0|identity~1|"
    assert all(TRIANGLE.parse(cell.string) == cell for cell in cells)
    assert function_string(TRIANGLE.parse("|conv~0|+|zero~0|identity~1|")) == "conv[0](x)"
    assert function_string(TRIANGLE.parse("|zero~0|+|conv~0|conv~1|")) == "conv[0](x)"
    with pytest.raises(ValueError, match="a cell of triangle has no place in nas-bench-201"):
        SPACE.index(cells[0])
    with pytest.raises(ValueError, match="edges of bad must run forward"):
        Space("bad", 3, ((1, 2), (0, 1)), ("zero", "identity"), 0, 1)
    with pytest.raises(ValueError, match="out of range"):
        Space("bad", 2, ((0, 1),), ("zero", "identity"), 0, 2)


def test_every_cell_of_a_space_of_columns_is_one_of_its_cells() -> None:
    """Columns were taken for operations: cells of `all` were no cells, and others had no index."""
    by_edge = dataclasses.replace(TRIANGLE, columns=((0, 2), (2, 0), (0, 1)))
    cells = list(by_edge.all())
    assert [cell.operations for cell in cells] == list(itertools.product((0, 2), (2, 0), (0, 1)))
    for place, cell in enumerate(cells):
        assert by_edge.parse(str(cell)) == cell == by_edge.architecture_at(place)
        assert by_edge.index(cell) == place


# ---- canonical forms


def naive_live(operations: Operations) -> Operations:
    paths = [path for path in PATHS if all(operations[edge] != NONE for edge in path)]
    used = {edge for path in paths for edge in path}
    return tuple(op if edge in used else NONE for edge, op in enumerate(operations))


def naive_rule(operations: Operations, node: int = 3) -> str:
    # The benchmark's string with zeros simplified, by plain recursion from the output.
    if node == 0:
        return "0"
    terms = []
    for (source, target), operation in zip(EDGES, operations, strict=True):
        if target == node:
            inner = naive_rule(operations, source)
            if operation == NONE or inner == "#":
                terms.append("#")
            elif operation == SKIP:
                terms.append(inner)
            else:
                terms.append("(" + inner + ")@" + NAMES[operation])
    return "+".join(sorted(terms))


def naive_expression(operations: Operations, numbers: Sequence[int], node: int = 3) -> list[str]:
    # The terms of a node; each convolution carries the number of its edge.
    if node == 0:
        return ["x"]
    terms = []
    for edge, ((source, target), operation) in enumerate(zip(EDGES, operations, strict=True)):
        inner = naive_expression(operations, numbers, source) if target == node else []
        if operation == SKIP:
            terms += inner
        elif inner and operation != NONE:
            number = numbers[edge] if operation in (CONV1, CONV3) else ""
            terms.append(f"{operation}.{number}[{' '.join(inner)}]")
    return sorted(terms)


def naive_function(operations: Operations) -> list[str]:
    # Smallest expression over all numberings of all six edges.
    return min(
        naive_expression(naive_live(operations), numbers)
        for numbers in itertools.permutations(range(6))
    )


def partition(labels: Iterable[object]) -> list[int]:
    first: dict[str, int] = {}
    return [first.setdefault(str(label), place) for place, label in enumerate(labels)]


@pytest.mark.thorough
def test_the_published_counts(cells: list[Architecture]) -> None:
    assert len({unique_string(cell) for cell in cells}) == 6_466
    assert len({unique_string(cell, consider_zero=False) for cell in cells}) == 12_751
    assert len({function_string(cell) for cell in cells}) == 5_260
    assert len({without_dead_edges(cell) for cell in cells}) == 9_445
    assert sum(not is_connected(cell) for cell in cells) == 341


def test_dead_edges_equal_the_naive_twin(cells: list[Architecture]) -> None:
    for cell in cells:
        live = without_dead_edges(cell)
        assert live.operations == naive_live(cell.operations)
        assert is_connected(cell) == any(live.operations)


@given(operation_tuples)
def test_the_string_rule_equals_the_naive_twin(operations: Operations) -> None:
    assert unique_string(SPACE.architecture(operations)) == naive_rule(operations)


@pytest.mark.thorough
def test_functions_are_classed_as_the_naive_twin_does() -> None:
    # All cells of two subsets of the operations, since the twin tries 720 numberings per cell.
    for kept in ((NONE, SKIP, CONV3), (SKIP, CONV1, CONV3)):
        some = list(itertools.product(kept, repeat=6))[::10]
        ours = partition(function_string(SPACE.architecture(cell)) for cell in some)
        assert ours == partition(naive_function(cell) for cell in some)


@settings(max_examples=50)
@given(operation_tuples)
def test_canonical_forms_ignore_dead_edges(operations: Operations) -> None:
    cell = SPACE.architecture(operations)
    assert without_dead_edges(without_dead_edges(cell)) == without_dead_edges(cell)
    assert function_string(without_dead_edges(cell)) == function_string(cell)
    assert (function_string(cell) == "#") == (not is_connected(cell))


def test_a_shared_node_is_not_two_equal_ones() -> None:
    # conv(a) + a with a = conv(x), against conv(a) + b with b another conv(x).
    shared = SPACE.architecture((CONV3, NONE, CONV3, NONE, SKIP, SKIP))
    apart = SPACE.architecture((CONV3, NONE, CONV3, CONV3, NONE, SKIP))
    assert unique_string(shared).replace("#+", "") == unique_string(apart).replace("#+", "")
    assert function_string(shared) == "nor_conv_3x3[0](nor_conv_3x3[1](x))+nor_conv_3x3[1](x)"
    assert function_string(apart) == "nor_conv_3x3[0](nor_conv_3x3[1](x))+nor_conv_3x3[2](x)"


# ---- the picture


def test_labels_of_the_picture_do_not_overlap() -> None:
    axes = draw_cell(SPACE.architecture((CONV1, CONV3, CONV3, SKIP, POOL, CONV3)), title="a cell")
    assert isinstance(axes.figure, Figure)
    axes.figure.savefig(io.BytesIO(), format="png")
    boxes = {text: text.get_window_extent() for text in axes.texts}
    assert sorted(text.get_text() for text in boxes)[:4] == ["1", "2", "avg_pool_3x3", "in"]
    assert len(boxes) == 6 + 4
    for one, other in itertools.combinations(boxes.values(), 2):
        assert not one.overlaps(other)
    outside = axes.get_window_extent()
    assert all(outside.x0 <= box.x0 and box.x1 <= outside.x1 for box in boxes.values())


def test_zero_edges_have_no_label_and_axes_can_be_given() -> None:
    figure = Figure()
    axes = figure.add_subplot()
    assert draw_cell(SPACE.architecture((CONV1, NONE, SKIP, NONE, NONE, POOL)), axes) is axes
    assert {text.get_text() for text in axes.texts} >= {"nor_conv_1x1", "skip_connect", "in"}
    assert len(axes.texts) == 3 + 4


@pytest.mark.thorough
def test_spaces_need_neither_torch_nor_plotting_and_drawing_no_pyplot(tmp_path: Path) -> None:
    program = (
        "import json, sys, optnas.spaces as s; before = set(sys.modules);"
        "s.draw_cell(s.NAS_BENCH_201.architecture_at(0)).figure.savefig(sys.argv[1]);"
        "print(json.dumps([sorted(before), sorted(sys.modules)]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "cell.png")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    before, after = map(set, json.loads(done.stdout))
    assert not before & {"torch", "matplotlib", "networkx"}
    assert not after & {"torch", "matplotlib.pyplot"}
