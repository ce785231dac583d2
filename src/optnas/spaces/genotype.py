"""Genotypes, as code around DARTS writes cells: two cells, each a list of operations and sources.

    Genotype(normal=[('sep_conv_3x3', 0), ('skip_connect', 1), ...], normal_concat=range(2, 6),
             reduce=[...], reduce_concat=range(2, 6))

Two entries after the other lead into one node. Published code lists the stronger edge first; here
the earlier source comes first, which is the same cell.
"""

from __future__ import annotations

import ast
from collections.abc import Sequence
from typing import Any

from optnas.base.errors import UserError, did_you_mean
from optnas.spaces.wiring import Wiring

BEGINS = "Genotype("


def written(wirings: Sequence[Wiring], names: Sequence[str], none: str) -> str:
    """A cell as code around DARTS writes it.

    Args:
        wirings: its kinds.
        names: of the operations, by edge.
        none: the one on edges that are left out.

    Raises:
        UserError: another number of edges leads into a node than a genotype names.
    """
    words, rest = [], iter(names)
    for wiring in wirings:
        kept = [(name, edge) for edge in wiring.edges if (name := next(rest)) != none]
        for node in range(wiring.inputs, wiring.nodes):
            count = sum(target == node for _, (_, target) in kept)
            if count != wiring.kept:
                raise UserError(
                    f"a genotype names {wiring.kept} edges into each node, and {count} lead into"
                    f" node {node} of {wiring.name}",
                    remedy="write the cell as an architecture string",
                )
        words.append(f"{wiring.name}={[(name, source) for name, (source, _) in kept]}")
        words.append(f"{wiring.name}_concat=range({wiring.inputs}, {wiring.nodes})")
    return f"{BEGINS}{', '.join(words)})"


def read(
    text: str, wirings: Sequence[Wiring], operations: Sequence[str], none: str, **told: Any
) -> list[str]:
    """The names of the operations that a genotype stands for, by edge.

    Args:
        text: the genotype.
        wirings: the kinds of cell.
        operations: those there are.
        none: the one on edges that are left out.
        **told: where the text was written and under which key, for the error.

    Raises:
        UserError: the text is no genotype of these cells.
    """
    told |= {"value": text}
    shape = ", ".join(f"{w.name}=[(operation, source), ...]" for w in wirings)
    try:
        (statement,) = ast.parse(text.strip(), mode="exec").body
        assert isinstance(statement, ast.Expr)
        call = statement.value
        assert isinstance(call, ast.Call)
        given: dict[str, Any] = {
            str(word.arg): ast.literal_eval(word.value)
            for word in call.keywords
            if not str(word.arg).endswith("_concat")
        }
        genes = [[(str(name), int(source)) for name, source in given[w.name]] for w in wirings]
    except (
        AssertionError,
        KeyError,
        MemoryError,
        RecursionError,
        SyntaxError,
        TypeError,
        ValueError,
    ) as error:
        raise UserError("this is no genotype", remedy=f"write {BEGINS}{shape})", **told) from error
    found: list[str] = []
    for wiring, gene in zip(wirings, genes, strict=True):
        nodes = wiring.nodes - wiring.inputs
        if len(gene) != wiring.kept * nodes:
            raise UserError(
                f"{wiring.name} has {len(gene)} edges",
                remedy=f"name {wiring.kept} for each of {nodes} nodes",
                **told,
            )
        names = dict.fromkeys(wiring.edges, none)
        for place, (name, source) in enumerate(gene):
            edge = (source, wiring.inputs + place // wiring.kept)
            if name not in operations:
                raise UserError(
                    f"'{name}' is no operation here", remedy=did_you_mean(name, operations), **told
                )
            if edge not in names or names[edge] != none:
                raise UserError(
                    f"{wiring.name} has no edge from {source} into node {edge[1]}, or has it twice",
                    remedy="name sources before the node, each once",
                    **told,
                )
            names[edge] = name
        found += names.values()
    return found
