"""A space narrowed to some candidates, on every edge or edge by edge: what is left of pruning one.

Its cells are cells of the whole space, written alike, and the whole space's tables answer for them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, Literal, get_args

from optnas.base.errors import UserError, did_you_mean
from optnas.spaces.base import Space

CANDIDATES = "candidates"
# What becomes of the operation none where a space is narrowed.
OfNone = Literal["stays", "goes", "ranked"]
# What is left to do where nothing can be dropped.
DERIVE = "its cell is derived: take it as it is"


def narrowed(space: Space, candidates: Sequence[str] | Sequence[Sequence[str]]) -> Space:
    """The same cells with fewer candidate operations per edge.

    Columns of alpha are the candidates in the order that the edge has them in; ``none`` comes first
    unless it is its last, so that it has one column where each edge has it. The official order of
    cells is that of the whole space, without those that are left out.

    Args:
        space: the space.
        candidates: names of operations, for every edge; or a list of names per edge, in the order
            of alpha's rows. None at all: the space itself.

    Returns:
        The space; its `Space.within` is the one that was given, or what that is within.

    Raises:
        UserError: an operation is unknown, twice, or no candidate of its edge; an edge has fewer
            than two; edges have different numbers of them; or there is another number of edges.
    """
    if not candidates:
        return space
    by_edge = _by_edge(space, candidates)
    columns = [
        tuple(sorted(_indices(space, edge, names), key=lambda o: _place(space, edge, o)))
        for edge, names in enumerate(by_edge)
    ]
    _check_alike(space, columns, candidates)
    if all(set(own) == set(space.columns_at(edge)) for edge, own in enumerate(columns)):
        return space
    return dataclasses.replace(space, columns=tuple(columns), within=space.whole)


def as_lists(given: Any) -> list[str] | list[list[str]]:
    """What was written as candidates, if it is a list of names or a list of such lists.

    Raises:
        UserError: it is neither.
    """
    if _are_names(given):
        return list(given)
    if isinstance(given, list | tuple) and all(map(_are_names, given)):
        return list(map(list, given))
    raise UserError(
        "is no list of operations",
        key=f"space.{CANDIDATES}",
        value=given,
        remedy='write it as ["skip_connect", "nor_conv_3x3"], or a list of such lists',
    )


def _are_names(given: Any) -> bool:
    return isinstance(given, list | tuple) and all(isinstance(each, str) for each in given)


def _by_edge(space: Space, given: Any) -> list[list[str]]:
    candidates = as_lists(given)
    lists = [each for each in candidates if isinstance(each, list)]
    if not lists:
        return [[each for each in candidates if isinstance(each, str)]] * space.edge_count
    if len(lists) != space.edge_count:
        raise _refused(
            f"has {len(lists)} lists of names, and {space.name} has {space.edge_count} edges",
            candidates,
            "give names for every edge, or a list of names for each",
        )
    return lists


def _indices(space: Space, edge: int, names: Sequence[str]) -> list[int]:
    own = [space.operations[o] for o in space.columns_at(edge)]
    source, target = space.edges[edge]
    for name in names:
        if name not in space.operations:
            told = f"'{name}' is no operation of {space.name}"
            raise _refused(told, name, did_you_mean(name, space.operations))
        if name not in own:
            raise _refused(
                f"edge {source} to {target} of {space.name} has no {name} as a candidate",
                name,
                f"use some of: {', '.join(own)}",
            )
    if len(set(names)) < max(len(names), 2):
        raise _refused(
            f"edge {source} to {target} needs two or more different operations",
            list(names),
            f"use some of: {', '.join(own)}",
        )
    return [space.operations.index(name) for name in names]


def _place(space: Space, edge: int, operation: int) -> int:
    own = space.columns_at(edge)
    return -1 if operation == space.none != own[-1] else own.index(operation)


def _check_alike(space: Space, columns: Sequence[tuple[int, ...]], candidates: Any) -> None:
    counts = sorted(set(map(len, columns)))
    if len(counts) > 1:
        raise _refused(
            f"edges have {' and '.join(map(str, counts))} candidates, and alpha is a matrix",
            candidates,
            "give each edge as many",
        )


def _refused(reason: str, value: Any, remedy: str) -> UserError:
    return UserError(reason, key=f"space.{CANDIDATES}", value=value, remedy=remedy)


def candidates_of(space: Space) -> list[str] | list[list[str]]:
    """The one way to say what a space is narrowed to, so that equal searches are one run.

    Returns:
        Nothing of a whole space; names where every edge has the same, else a list for each.
    """
    if space.within is None:
        return []
    names = space.candidate_names
    return names[0] if space.is_uniform else names


def strongest(
    space: Space, op_weights_EO: Sequence[Sequence[float]], keep: int, *, none: OfNone = "stays"
) -> list[list[str]]:
    """The candidates of largest operation weight of each edge, for the next stage of a search.

    Args:
        space: that was searched.
        op_weights_EO: operation weights, such as softmax(alpha).
        keep: how many an edge keeps; of equally strong ones the first.
        none: what becomes of ``none``, where it is a candidate: it ``stays`` on each of these
            edges, as one of ``keep``; it ``goes``; or it is ``ranked`` as any other operation.

    Returns:
        Names by edge, as `narrowed` takes them.

    Raises:
        UserError: an edge does not have so many, or would have fewer than two.

    Source: the stages of P-DARTS (Chen et al., ICCV 2019; ``ranked``) and of DrNAS (Chen et al.,
    ICLR 2021).
    """
    if none not in get_args(OfNone):
        raise UserError(
            "says nothing of the operation none",
            key="none",
            value=none,
            remedy=f"use one of: {', '.join(get_args(OfNone))}",
        )
    goes = none == "goes" and any(
        space.none in space.columns_at(e) for e in range(space.edge_count)
    )
    candidates = space.operation_count - goes
    if isinstance(keep, bool) or not isinstance(keep, int) or not 2 <= keep <= candidates:
        raise UserError(
            f"each edge has {candidates} that may stay, and keeps two or more of them",
            key="keep",
            value=keep,
            remedy=f"use a number from 2 to {candidates}" if candidates > 2 else DERIVE,
        )
    found = []
    for edge, weights_O in enumerate(op_weights_EO):
        own = space.columns_at(edge)
        ranked = sorted(range(len(own)), key=lambda column: -weights_O[column])
        zero = [column for column in ranked if own[column] == space.none and none != "ranked"]
        others = [column for column in ranked if column not in zero]
        stay = zero if none == "stays" else []
        kept = others[: keep - len(stay)] + stay
        found.append([space.operations[own[column]] for column in sorted(kept)])
    return found
