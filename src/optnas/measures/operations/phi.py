"""The rate phi of a theory of skip connections, in three readings, and its elasticities.

For a cell of nodes X_0 .. X_{h-1} whose edges t -> l carry zero, skip (weight a2) and convolution
(weight a3), and with edge weights fixed, gradient descent is shown to converge at a rate that grows
with

    phi = sum_{s <= h-2} c_s u_s,    c_s = a3_{s -> h-1}^2

where u_s stands for what reaches node s through skips alone. Plain arithmetic, no torch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from optnas.spaces.base import Space


class Dual(NamedTuple):
    """A number and its derivative in one direction, carried along (forward differentiation)."""

    value: float
    slope: float = 0.0

    def plus(self, other: Dual) -> Dual:
        """The sum."""
        return Dual(self.value + other.value, self.slope + other.slope)

    def times(self, other: Dual) -> Dual:
        """The product."""
        return Dual(self.value * other.value, self.value * other.slope + self.slope * other.value)


ZERO, ONE = Dual(0.0), Dual(1.0)
Squares = Mapping[tuple[int, int], Dual]  # by edge (source, target)
Reach = Callable[[Squares, int], list[Dual]]  # squared skip weights, nodes -> u of each node


def deck(skips: Squares, nodes: int) -> list[Dual]:
    """u_s = product of a2^2 over all edges into node s: the formula as it is printed."""
    reached = [ONE] * nodes
    for (_, target), square in skips.items():
        reached[target] = reached[target].times(square)
    return reached


def chain(skips: Squares, nodes: int) -> list[Dual]:
    """u_s = product of a2^2 along 0 -> 1 -> ... -> s: what the printed formula is explained by."""
    reached = [ONE]
    for target in range(1, nodes):
        reached.append(reached[-1].times(skips.get((target - 1, target), ZERO)))
    return reached


def path_sum(skips: Squares, nodes: int) -> list[Dual]:
    """u_0 = 1, u_l = sum_t a2_{t -> l}^2 u_t: a2^2 multiplied along each path to node l."""
    reached = [ONE] + [ZERO] * (nodes - 1)
    for (source, target), square in skips.items():  # sorted by target: u of a source is complete
        reached[target] = reached[target].plus(square.times(reached[source]))
    return reached


READINGS: dict[str, Reach] = {"deck": deck, "chain": chain, "path": path_sum}


def holds(space: Space) -> bool:
    """Whether a space's cells are those phi is derived for, with the same candidates everywhere."""
    has_skip = space.skip is not None and space.column_of(space.skip) is not None
    return space.is_one_sum and space.is_uniform and has_skip and not space.strided


def columns_of(space: Space) -> tuple[int, list[int]]:
    """The columns of skip and of all convolutions, of a space that phi `holds` for."""
    columns = [space.column_of(operation) for operation in space.weighted]
    return space.skip_column("phi counts them"), [each for each in columns if each is not None]


class Rate(NamedTuple):
    """phi, and by how many percent it grows with one percent more of all skip or all conv weights.

    The elasticities are None where phi is 0.
    """

    phi: float
    skip_elasticity: float | None
    conv_elasticity: float | None


def rate(
    space: Space,
    reading: str,
    skip_E: list[float],
    conv_EO: list[list[float]],
    auxiliary_E: list[float],
) -> Rate:
    """Phi of a cell and its elasticities, with a2 = skip + auxiliary.

        E_skip = sum_e skip_e (d phi / d a2_e) / phi
        E_conv = sum_e,o conv_eo (d phi / d conv_eo) / phi = 2

    The auxiliary weight does not move in E_skip. Several convolutions on an edge have parameters of
    their own, whose Gram matrices add: a3^2 is the sum of their squared weights.

    Args:
        space: the cell.
        reading: one of `READINGS`.
        skip_E: weights of the identity, without the auxiliary.
        conv_EO: weights of the convolutions of each edge.
        auxiliary_E: weights of an auxiliary skip.

    Source: Zhou et al., Theory-Inspired Path-Regularized Differential Network Architecture Search,
    NeurIPS 2020, theorem 1, without its constants. The path sum is this project's.
    """

    def phi(skip_moves: float, conv_moves: float) -> Dual:
        weights = [
            Dual(skip + auxiliary, skip_moves * skip)
            for skip, auxiliary in zip(skip_E, auxiliary_E, strict=True)
        ]
        skips = {e: a2.times(a2) for e, a2 in zip(space.edges, weights, strict=True)}
        reached = READINGS[reading](skips, space.nodes)
        total = ZERO
        for (source, target), conv_O in zip(space.edges, conv_EO, strict=True):
            if target == space.nodes - 1:
                for a3 in (Dual(weight, conv_moves * weight) for weight in conv_O):
                    total = total.plus(a3.times(a3).times(reached[source]))
        return total

    by_skip, by_conv = phi(1, 0), phi(0, 1)
    if by_skip.value == 0:
        return Rate(0.0, None, None)
    return Rate(by_skip.value, by_skip.slope / by_skip.value, by_conv.slope / by_conv.value)
