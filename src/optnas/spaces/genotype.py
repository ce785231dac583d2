"""Genotypes, as code around DARTS writes cells: two cells, each a list of operations and sources.

    Genotype(normal=[('sep_conv_3x3', 0), ('skip_connect', 1), ...], normal_concat=range(2, 6),
             reduce=[...], reduce_concat=range(2, 6))

Two entries after the other lead into one node. Published code lists the stronger edge first; here
the earlier source comes first, which is the same cell.
"""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING, Any

from optnas.base.errors import COMMAND_LINE, UserError, did_you_mean

if TYPE_CHECKING:
    from optnas.spaces.base import Architecture, Space

BEGINS = "Genotype("


def genotype(architecture: Architecture) -> str:
    """A cell as code around DARTS writes it.

    Args:
        architecture: of a space whose derived cells keep some edges per node.

    Raises:
        UserError: the space's derived cells keep every edge.
    """
    space = architecture.space
    _check(space)
    words, rest = [], iter(architecture.operation_names)
    for wiring in space.wirings:
        chosen = [(name, edge[0]) for edge in wiring.edges if (name := next(rest)) != _none(space)]
        words.append(f"{wiring.name}={chosen}")
        words.append(f"{wiring.name}_concat=range({wiring.inputs}, {wiring.nodes})")
    return f"{BEGINS}{', '.join(words)})"


def parse(text: str, space: Space, *, where: object = COMMAND_LINE, key: str) -> Architecture:
    """The cell that a genotype stands for.

    Args:
        text: the genotype.
        space: its space.
        where: where it was written, for the error.
        key: its key, for the error.

    Raises:
        UserError: the text is no genotype of the space.
    """
    _check(space, where=where, key=key)

    told: dict[str, Any] = {"where": where, "key": key, "value": text}
    shape = ", ".join(f"{w.name}=[(operation, source), ...]" for w in space.wirings)
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
        genes = [
            [(str(name), int(source)) for name, source in given[w.name]] for w in space.wirings
        ]
    except (AssertionError, SyntaxError, ValueError, TypeError, KeyError, RecursionError) as error:
        raise UserError("this is no genotype", remedy=f"write {BEGINS}{shape})", **told) from error
    chosen = []
    for wiring, gene in zip(space.wirings, genes, strict=True):
        nodes = wiring.nodes - wiring.inputs
        if len(gene) != wiring.kept * nodes:
            raise UserError(
                f"{wiring.name} has {len(gene)} edges",
                remedy=f"name {wiring.kept} for each of {nodes} nodes",
                **told,
            )
        names = dict.fromkeys(wiring.edges, _none(space))
        for place, (name, source) in enumerate(gene):
            edge = (source, wiring.inputs + place // wiring.kept)
            if name not in space.operations:
                raise UserError(
                    f"'{name}' is no operation of {space.name}",
                    remedy=did_you_mean(name, space.operations),
                    **told,
                )
            if edge not in names or names[edge] != _none(space):
                raise UserError(
                    f"{wiring.name} has no edge from {source} into node {edge[1]}, or has it twice",
                    remedy="name sources before the node, each once",
                    **told,
                )
            names[edge] = name
        chosen += [space.operations.index(name) for name in names.values()]
    return space.architecture(chosen)


def _none(space: Space) -> str:
    assert space.none is not None, "what is not kept is none"
    return space.operations[space.none]


def _check(space: Space, **told: Any) -> None:
    if not space.keeps_some:
        raise UserError(
            f"cells of {space.name} have no genotype, they keep every edge",
            remedy=f"write {space.example}",
            **told,
        )
