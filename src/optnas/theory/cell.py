"""The cell of a convergence theorem, zero, skip and convolution on every edge, and its Gram matrix.

With image X of one sample, m channels, nodes 0 .. h-1, fixed weights a2 of skip, a3 of convolution:

    conv(W; X) = sigma(W Phi(X)) / sqrt(m)
    X_0 = conv(W_stem; X),   X_l = sum_{s < l} a2_ls X_s + a3_ls conv(W_ls; X_s)
    u = sum_s <U_s, X_s>,    F = 1 / (2 n) sum_i (u_i - y_i)^2

Phi takes the 3 x 3 positions around each, zeros outside. The zero operation adds nothing. Every
parameter is drawn from N(0, 1). A node that begins a branch has conv(W_stem,l; X), of a stem of its
own, added to it.

Shapes: N samples, C channels of the image, M channels of a node, R = 9 rows of a patch per channel,
P positions, L nodes (targets), S nodes (sources).

Source: Zhou et al., Theory-Inspired Path-Regularized Differential Network Architecture Search,
NeurIPS 2020, section 3. Deviation: none in the network; patches lie in two dimensions.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

KERNEL = 3
ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "softplus": F.softplus,
    "tanh": torch.tanh,
    "identity": lambda x: x,  # a polynomial, which the theorem excludes: the control
}
Edge = tuple[int, int]  # source, target


class Problem(NamedTuple):
    """Samples of unit norm, and what is to be fitted."""

    images_NCP: Tensor
    targets_N: Tensor


@dataclass(frozen=True)
class Cell:
    """Sizes and fixed weights of a cell.

    Attributes:
        channels: m.
        activation: a key of `ACTIVATIONS`.
        skip: a2 by edge; every edge s < l of the cell is a key.
        conv: a3 by edge, likewise.
        begins: nodes that read the image through a stem of their own; the first does.
    """

    channels: int
    activation: str
    skip: Mapping[Edge, float]
    conv: Mapping[Edge, float]
    begins: tuple[int, ...] = (0,)

    @property
    def nodes(self) -> int:
        """The number of nodes, h."""
        return 1 + max(target for _, target in self.conv)

    @property
    def edges(self) -> list[Edge]:
        """Every edge, by target, then by source."""
        return edges_of(self.nodes)

    def branched(self, *, cut: bool = True) -> Cell:
        """Two branches of half the depth: the middle node begins one, the last node reads both.

        Args:
            cut: no edge leads from the first half into the second but those into the last node;
                else the middle node only gets its own stem, and the cell is as deep as before.
        """
        half, last = self.nodes // 2, self.nodes - 1
        left = {e for e in self.edges if cut and e[0] < half <= e[1] < last}
        return replace(
            self,
            skip={edge: 0.0 if edge in left else value for edge, value in self.skip.items()},
            conv={edge: 0.0 if edge in left else value for edge, value in self.conv.items()},
            begins=(0, half),
        )

    def scaled(self, skip: float = 1.0, conv: float = 1.0, auxiliary: float = 0.0) -> Cell:
        """The cell with its weights multiplied, then an auxiliary skip added to every edge."""
        return replace(
            self,
            skip={edge: value * skip + auxiliary for edge, value in self.skip.items()},
            conv={edge: value * conv for edge, value in self.conv.items()},
        )


def edges_of(nodes: int) -> list[Edge]:
    """Every edge of a cell, by target, then by source."""
    return [(source, target) for target in range(1, nodes) for source in range(target)]


def uniform(nodes: int, channels: int, activation: str, skip: float, conv: float) -> Cell:
    """A cell with the same weights on all edges."""
    edges = edges_of(nodes)
    return Cell(channels, activation, dict.fromkeys(edges, skip), dict.fromkeys(edges, conv))


class Parameters(NamedTuple):
    """What is trained: W_stem by node [M, R C], W by edge [M, R M], U [L, M, P]."""

    stems: dict[int, Tensor]
    conv: dict[Edge, Tensor]
    heads_LMP: Tensor

    def leaves(self) -> list[Tensor]:
        """All tensors: the stems, the convolutions by edge, the heads."""
        return [*self.stems.values(), *self.conv.values(), self.heads_LMP]


def initial(cell: Cell, problem: Problem, generator: torch.Generator) -> Parameters:
    """Parameters drawn from N(0, 1), in float64, that ask for gradients."""
    _, colours, positions = problem.images_NCP.shape

    def draw(*shape: int) -> Tensor:
        values = torch.randn(*shape, generator=generator, dtype=torch.float64)
        return values.requires_grad_()

    rows = KERNEL**2
    stem = draw(cell.channels, rows * colours)
    conv = {edge: draw(cell.channels, rows * cell.channels) for edge in cell.edges}
    heads_LMP = draw(cell.nodes, cell.channels, positions)
    # Last, so that cells with and without further stems share the other parameters.
    more = {node: draw(cell.channels, rows * colours) for node in cell.begins[1:]}
    return Parameters({0: stem, **more}, conv, heads_LMP)


class Convolution(NamedTuple):
    """One convolution of a pass: W Phi(X) [N, M, P] and Phi(X) [N, rows, P]."""

    before: Tensor
    patches: Tensor


class Pass(NamedTuple):
    """A pass over all samples: outputs, nodes, every convolution of a stem and of an edge."""

    outputs_N: Tensor
    nodes: list[Tensor]
    stems: dict[int, Convolution]
    conv: dict[Edge, Convolution]


def patches(images_NCP: Tensor) -> Tensor:
    """Phi(X): the 3 x 3 neighbourhood of each position of a square image, [N, R C, P]."""
    side = math.isqrt(images_NCP.shape[-1])
    return F.unfold(images_NCP.unflatten(-1, (side, side)), KERNEL, padding=KERNEL // 2)


def forward(cell: Cell, parameters: Parameters, images_NCP: Tensor) -> Pass:
    """Outputs of all samples, and what the tangent kernel is made of.

    Args:
        cell: sizes and weights.
        parameters: what is trained.
        images_NCP: samples.
    """
    activation, scale = ACTIVATIONS[cell.activation], cell.channels**-0.5

    def before(weight: Tensor, columns: Tensor) -> Convolution:
        return Convolution(weight @ columns, columns)

    images = patches(images_NCP)
    stems = {node: before(weight, images) for node, weight in parameters.stems.items()}
    begun = {node: scale * activation(stem.before) for node, stem in stems.items()}
    nodes, columns, conv = [begun[0]], [], {}
    for target in range(1, cell.nodes):
        columns.append(patches(nodes[-1]))
        node = begun.get(target, torch.zeros_like(nodes[0]))
        for source in range(target):
            edge = source, target
            conv[edge] = before(parameters.conv[edge], columns[source])
            node = node + cell.skip[edge] * nodes[source]
            node = node + cell.conv[edge] * scale * activation(conv[edge].before)
        nodes.append(node)
    outputs_N = sum(
        ((head * node).sum((1, 2)) for head, node in zip(parameters.heads_LMP, nodes, strict=True)),
        torch.zeros(len(images_NCP), dtype=images_NCP.dtype),
    )
    return Pass(outputs_N, nodes, stems, conv)


def residuals(cell: Cell, parameters: Parameters, problem: Problem) -> Tensor:
    """What is left to fit, u - y, [N]."""
    return forward(cell, parameters, problem.images_NCP).outputs_N - problem.targets_N


def mean_squared(residuals_N: Tensor) -> Tensor:
    """F = 1 / (2 n) sum_i (u_i - y_i)^2."""
    return residuals_N.square().sum() / (2 * len(residuals_N))


class Gram(NamedTuple):
    """Gram matrices [N, N] of the gradients of u_i, by block of parameters; G is their sum."""

    stems: dict[int, Tensor]
    conv: dict[Edge, Tensor]
    heads: list[Tensor]

    @property
    def whole(self) -> Tensor:
        """G = sum over all blocks."""
        stems = torch.stack([*self.stems.values()]).sum(0)
        return stems + sum(self.conv.values()) + sum(self.heads)

    @property
    def last_convolutions(self) -> Tensor:
        """The part the theorem bounds: convolutions into the last node."""
        last = max(target for _, target in self.conv)
        return torch.stack([each for edge, each in self.conv.items() if edge[1] == last]).sum(0)


def gram(cell: Cell, parameters: Parameters, images_NCP: Tensor) -> Gram:
    """Gram matrices of the gradients of the outputs in the parameters.

    A convolution's gradient is D_i Phi_i^T with D_i = d u_i / d (W Phi_i), and

        <D_i Phi_i^T, D_j Phi_j^T> = sum_{p,q} (D_i^T D_j)_pq (Phi_i^T Phi_j)_pq,

    so that no gradient is ever formed. That of a head is its node.

    Args:
        cell: sizes and weights.
        parameters: where.
        images_NCP: samples.
    """
    found = forward(cell, parameters, images_NCP)
    convolutions = [*found.stems.values(), *found.conv.values()]
    inner = [each.before for each in convolutions]
    slopes = torch.autograd.grad(found.outputs_N.sum(), inner)  # samples do not meet in a pass
    with torch.no_grad():
        grams = [
            _inner(slope) * _inner(each.patches)
            for slope, each in zip(slopes, convolutions, strict=True)
        ]
        count, positions = len(images_NCP), images_NCP.shape[-1]
        blocks = [
            each.view(count, positions, count, positions).sum((1, 3)).detach() for each in grams
        ]
        heads = [node.flatten(1) @ node.flatten(1).T for node in found.nodes]
    stems = dict(zip(found.stems, blocks, strict=False))
    conv = dict(zip(found.conv, blocks[len(stems) :], strict=True))
    return Gram(stems, conv, heads)


def _inner(values_NRP: Tensor) -> Tensor:
    """Inner products over rows of all pairs of samples and positions, [N P, N P]."""
    rows = values_NRP.transpose(1, 2).flatten(0, 1)
    return rows @ rows.T


def least(matrix_NN: Tensor) -> float:
    """The smallest eigenvalue of a symmetric matrix."""
    return float(torch.linalg.eigvalsh(matrix_NN)[0])


def separation(images_NCP: Tensor) -> float:
    """lambda_min(K) over pairs: 1 - |cos| of the two most nearly parallel samples.

    The theorem takes the smallest eigenvalue of [[<i, i>, <i, j>], [<j, i>, <j, j>]] over pairs.
    """
    rows = F.normalize(images_NCP.flatten(1))
    cosines = (rows @ rows.T).fill_diagonal_(0.0).abs()
    return float(1 - cosines.max())
