"""When two cells are the same: dead edges, the benchmark's string rule, and equality of functions.

Counts over the 15,625 cells of NAS-Bench-201, asserted by the tests:

====================================================  ======
cells                                                 15,625
`unique_string` with ``consider_zero=False``          12,751
`without_dead_edges`                                   9,445
`supernet_string`                                      7,810
`unique_string`, the benchmark's own number            6,466
`function_string`                                      5,260
cells that are not `is_connected`                        341
====================================================  ======

The benchmark's rule both merges too much (it gives two convolutions of one input the same string
although each has its own weights, so ``conv(conv'(x)) + conv''(x)`` cannot tell whether the inner
one is shared) and too little (``#`` stays in its sums). `function_string` mends both.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping

from optnas.spaces.base import Architecture, Space

ZERO = "#"


def _live_edges(architecture: Architecture) -> list[list[int]]:
    # By kind of cell: edges on a path from an input to the output made of operations other than
    # zero.
    space, before, live = architecture.space, 0, []
    for wiring in space.wirings:
        inputs, last = set(range(wiring.inputs)), wiring.nodes - 1
        reached = set(inputs)
        leading = {last} if wiring.output == "sum" else set(range(wiring.nodes)) - inputs
        used = [
            (edge, source, target)
            for edge, (source, target) in enumerate(wiring.edges, before)
            if architecture.operations[edge] != space.none
        ]
        for _, source, target in used:
            if source in reached:
                reached.add(target)
        for _, source, target in reversed(used):
            if target in leading:
                leading.add(source)
        live.append([e for e, source, target in used if source in reached and target in leading])
        before += len(wiring.edges)
    return live


def is_connected(architecture: Architecture) -> bool:
    """Whether any path of operations other than zero leads from input to output.

    Returns:
        False for a cell whose output is zero whatever its input; of several kinds, if that is so
        for one of them.
    """
    return all(_live_edges(architecture))


def without_dead_edges(architecture: Architecture) -> Architecture:
    """The same function with zero on every edge that no path from input to output uses.

    Returns:
        The cell with its dead edges set to the zero operation; applying it twice changes nothing.
    """
    space, live = architecture.space, set(itertools.chain(*_live_edges(architecture)))
    if space.none is None:
        return architecture
    none = space.none
    return space.architecture(
        [op if edge in live else none for edge, op in enumerate(architecture.operations)]
    )


def unique_string(architecture: Architecture, *, consider_zero: bool = True) -> str:
    """The benchmark's own rule for equal cells.

    s_0 = ``0`` and s_j = the sorted terms of the edges into j, joined by ``+``. The term of an edge
    from i with operation o is s_i for the identity and ``(s_i)@o`` otherwise; with
    ``consider_zero`` it is ``#`` where o is zero or s_i is exactly ``#``, and that ``#`` stays a
    term of the sum.

    Args:
        architecture: the cell.
        consider_zero: simplify zeros (6,466 classes) or keep them as operations (12,751).

    Returns:
        The string of the output node; equal strings are equal cells to the benchmark.
    """
    space = architecture.space
    nodes = space.one_sum().nodes
    terms: list[list[str]] = [[] for _ in range(nodes)]
    strings = ["0"]
    for node in range(1, nodes):
        for edge, index in enumerate(architecture.operations):
            source, target = space.edges[edge]
            if target != node:
                continue
            if consider_zero and (index == space.none or strings[source] == ZERO):
                term = ZERO
            elif space.is_identity(edge, index):
                term = strings[source]
            else:
                term = f"({strings[source]})@{_name(space, edge, index)}"
            terms[node].append(term)
        strings.append("+".join(sorted(terms[node])))
    return strings[-1]


def function_string(architecture: Architecture) -> str:
    """A name for the function a cell computes, up to renaming its weights.

    Node values are sums of terms: v_0 = x, and the edge from i with operation o adds nothing for
    zero, the terms of v_i for the identity, ``o(v_i)`` for an operation without weights and
    ``o[k](v_i)`` for one with, where the number k is that edge's own. Two convolutions of one input
    are so distinct terms, while a node used twice brings the same numbers twice: its value is
    shared. Edges are numbered so that the result is the smallest string of all numberings, hence
    equal strings if and only if the expressions differ by names of weights only. On a strided edge
    ``o/2`` stands for o. Algebra of single operations is not used, such as average pooling being
    linear.

    Returns:
        The output's expression, or ``#`` for a cell that is not connected.
    """
    cell = without_dead_edges(architecture)
    # A term without numbers does not depend on the numbering, so only edges with equal ones can
    # change places: permute inside these groups.
    bare = dict(enumerate(_edge_terms(cell, {})))
    owners = list(_own_numbers(cell))
    owners.sort(key=lambda edge: bare[edge])
    groups = [list(group) for _, group in itertools.groupby(owners, key=lambda edge: bare[edge])]
    numberings = itertools.product(*(itertools.permutations(group) for group in groups))
    return min(
        _output(cell, {edge: k for k, edge in enumerate(itertools.chain(*numbering))})
        for numbering in numberings
    )


def edge_expressions(architecture: Architecture) -> list[tuple[str, ...]]:
    """What each edge adds to its target where every edge has weights of its own, as in a supernet.

    Terms as of `function_string`, but numbered by the edges themselves: a term names one value, in
    whatever cell it occurs, as long as the cells take their weights from the same supernet.

    Args:
        architecture: the cell; its dead edges add nothing.

    Returns:
        The terms of each edge. Of an operation that is neither zero nor the identity, just one.
    """
    cell = without_dead_edges(architecture)
    return _edge_terms(cell, _own_numbers(cell))


def supernet_string(architecture: Architecture) -> str:
    """A name for the function a cell computes with the weights of a supernet.

    Cells with equal strings have equal outputs for any weights. Of the 15,625 cells of
    NAS-Bench-201 7,810 are distinct: `without_dead_edges` leaves 9,445, and weightless operations
    may stand on one edge or another.

    Returns:
        The sorted terms of the last node, see `edge_expressions`; ``#`` if it is not connected.
    """
    cell = without_dead_edges(architecture)
    return _output(cell, _own_numbers(cell))


def _own_numbers(cell: Architecture) -> dict[int, int]:
    return {e: e for e, o in enumerate(cell.operations) if cell.space.has_weights(e, o)}


def functions(space: Space) -> dict[str, list[int]]:
    """The cells of a space, grouped by the function they compute.

    Returns:
        `function_string` to the places of its cells in the official order, in the order of their
        first cells.
    """
    grouped: dict[str, list[int]] = {}
    for place, cell in enumerate(space.all()):
        grouped.setdefault(function_string(cell), []).append(place)
    return grouped


def _edge_terms(cell: Architecture, numbers: Mapping[int, int]) -> list[tuple[str, ...]]:
    # The terms each edge adds to its target, weights named by the given numbers.
    space = cell.space
    values: list[tuple[str, ...]] = [("x",)] + [()] * (space.one_sum().nodes - 1)
    terms = []
    for edge, ((source, target), index) in enumerate(
        zip(space.edges, cell.operations, strict=True)
    ):
        if index == space.none:
            added: tuple[str, ...] = ()
        elif space.is_identity(edge, index):
            added = values[source]
        else:
            number = f"[{numbers[edge]}]" if edge in numbers else ""
            name = f"{_name(space, edge, index)}{number}"
            added = (f"{name}({'+'.join(values[source])})",)
        terms.append(added)
        values[target] = tuple(sorted(values[target] + added))
    return terms


def _name(space: Space, edge: int, index: int) -> str:
    # An operation that halves the sides is another function.
    return space.operations[index] + ("/2" if edge in space.strided else "")


def _output(cell: Architecture, numbers: Mapping[int, int]) -> str:
    added = zip(cell.space.edges, _edge_terms(cell, numbers), strict=True)
    last = cell.space.nodes - 1
    return "+".join(sorted(t for (_, target), ts in added if target == last for t in ts)) or ZERO
