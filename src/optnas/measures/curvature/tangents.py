"""Tangents of a supernet's activations in all operation weights at once, and what they curve.

`Factors` and `Dual` walk through the supernet's own forward pass in the place of tensors (torch's
``__torch_function__``), so that the network is written down once. How two walks make a Hessian is
told in `optnas.measures.curvature.maths`.

Shapes: B images, C channels, H x W pixels, N = B H W, D tangents, E edges, O operations, P = E O.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from optnas.spaces.network.pool import average_pool

# Derivatives by operation weight, its position in A as a vector; those not there are zero.
Tangents = dict[int, Tensor]
CHANNELWISE = (0, 2, 3)
# Elements per tangent in one product of a Gram matrix: what is multiplied stays in the cache.
CHUNK = 1 << 14


class Walk:
    """One forward pass with duals.

    Without adjoints it carries no tangents and notes ``outputs``, of every operation that can
    curve, in order; with the loss's derivatives in these, ``hessian_PP`` sums what each curves.

    Args:
        size: P.
        adjoints: dL / d output, in the order of the pass.
    """

    def __init__(self, size: int, adjoints: Sequence[Tensor] | None = None):
        self.outputs: list[Tensor] = []
        self.hessian_PP = torch.zeros(size, size, dtype=torch.float64)
        self._adjoints: Iterator[Tensor] | None = None if adjoints is None else iter(adjoints)

    def adjoint(self, output: Tensor) -> Tensor | None:
        """Adjoint of a curved operation's output; None, and the output noted, if none are given."""
        if self._adjoints is None:
            self.outputs.append(output)
            return None
        return next(self._adjoints).contiguous(memory_format=torch.channels_last)

    def curve(self, rows: Sequence[int], columns: Sequence[int], block: Tensor) -> None:
        """Add a block and its transpose, each where it belongs."""
        block = block.double().cpu()
        down, across = torch.tensor(rows), torch.tensor(columns)
        self.hessian_PP[down[:, None], across] += block
        self.hessian_PP[across[:, None], down] += block.T


class Stand:
    """Stands for a tensor in calls of torch's functions."""

    @classmethod
    def __torch_function__(
        cls, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        """Apply the rule of a function that a supernet calls; any other function is a TypeError."""
        return RULES[function](*args, **(kwargs or {})) if function in RULES else NotImplemented


@dataclass
class Factors(Stand):
    """Operation weights as the supernet reads them: the matrix A, entries of it, or repeated ones.

    Attributes:
        walk: the pass.
        values: the matrix, or the entries.
        positions: where they are in A as a vector, shaped as ``values``.
        repeats: how often each entry comes one after the other.
    """

    walk: Walk
    values: Tensor
    positions: Tensor
    repeats: int = 1

    def __getitem__(self, key: Any) -> Factors:
        return Factors(self.walk, self.values[key], self.positions[key])

    def unbind(self) -> list[Factors]:
        """Each entry of a column."""
        return [self[place] for place in range(len(self))]

    @property
    def ndim(self) -> int:
        """Of the matrix; one per cell has a dimension more."""
        return self.values.ndim

    def __len__(self) -> int:
        return len(self.values)

    def repeat_interleave(self, repeats: int) -> Factors:
        """Each entry so often."""
        return Factors(self.walk, self.values, self.positions, repeats)

    def __mul__(self, other: Tensor | Dual) -> Dual:
        """A product a x: its tangent is a dx + da x, its second derivative da dx + dx da."""
        x = other if isinstance(other, Dual) else Dual(self.walk, other)
        product = Dual(self.walk, self.values * x.primal)
        adjoint = self.walk.adjoint(product.primal)
        if adjoint is None:
            return product
        own = int(self.positions)
        if x.tangents:
            met = [torch.dot(_flat(adjoint), _flat(t)) for t in x.tangents.values()]
            self.walk.curve([own], list(x.tangents), torch.stack(met)[None])
        product.tangents = {p: self.values * t for p, t in x.tangents.items()}
        _accumulate(product.tangents, own, x.primal.clone())
        return product


@dataclass
class Dual(Stand):
    """An activation and its derivatives in the operation weights.

    Attributes:
        walk: the pass.
        primal: the activation.
        tangents: its derivatives.
    """

    walk: Walk
    primal: Tensor
    tangents: Tangents = field(default_factory=dict)

    def linear(self, function: Callable[[Tensor], Tensor]) -> Dual:
        """A linear function of it."""
        tangents = {p: function(t) for p, t in self.tangents.items()}
        return Dual(self.walk, function(self.primal), tangents)

    def relu(self) -> Dual:
        """max(x, 0): linear on both sides of its kink, where it has no second derivative."""
        x = self.primal
        tangents = {p: torch.ops.aten.threshold_backward(t, x, 0) for p, t in self.tangents.items()}
        return Dual(self.walk, x.relu(), tangents)

    def mean(self, dim: tuple[int, ...]) -> Dual:
        """Means over dimensions."""
        return self.linear(lambda t: t.mean(dim=dim))

    def clone(self) -> Dual:
        """The same in memory of its own."""
        return self.linear(torch.clone)

    def add_(self, other: Dual) -> Dual:
        """Add to it, in place; the other is not to be used again."""
        self.primal.add_(other.primal)
        for p, t in other.tangents.items():
            _accumulate(self.tangents, p, t)
        return self

    def __add__(self, other: Dual) -> Dual:
        return self.clone().add_(other)


@dataclass
class Parts:
    """A batch norm's output, in the channel groups of the operation weights it was scaled with."""

    parts: list[Dual]

    def split(self, size: int, dim: int) -> list[Dual]:
        """The groups; the supernet asks for no others."""
        assert dim == 1
        assert all(part.primal.shape[1] == size for part in self.parts)
        return self.parts


def _flat(x_BCHW: Tensor) -> Tensor:
    return x_BCHW.permute(0, 2, 3, 1).reshape(-1)


def _accumulate(tangents: Tangents, position: int, term: Tensor) -> None:
    if position in tangents:
        tangents[position].add_(term)
    else:
        tangents[position] = term


# --- batch norm -------------------------------------------------------------------------------


@dataclass
class _Normal:
    """y normalised, without affine terms; what its tangents and curvature need.

    Attributes:
        normed: n = (y - mean) / s.
        inverse_C: 1 / s, of s2 = variance + eps.
        tangents: v_i = dn / dA_i.
        aligned: m_i = mean(n u_i) per channel, of tangents u of y; none in a fixed mode, whose mean
            and variance do not move.
        floor_C: eps / s2.
    """

    normed: Tensor
    inverse_C: Tensor
    tangents: Tangents
    aligned: Tangents
    floor_C: Tensor


def _normal(
    y: Dual, mean: Tensor | None, variance: Tensor | None, training: bool, eps: float
) -> _Normal:
    """With statistics of the batch, v = (u - mean(u) - n mean(n u)) / s; with fixed ones, u / s.

    The map from u to v is symmetric, hence torch's backward of a batch norm is also its tangent.

    Returns:
        The normalised activation and its tangents.
    """
    x = y.primal
    if not training:
        assert mean is not None
        assert variance is not None
        inverse_C = (variance + eps).rsqrt()
        normed = F.batch_norm(x, mean, variance, eps=eps)
        scale = inverse_C[:, None, None]
        tangents = {p: u * scale for p, u in y.tangents.items()}
        return _Normal(normed, inverse_C, tangents, {}, eps * inverse_C**2)
    normed, mean, inverse_C = torch.native_batch_norm(x, None, None, None, None, True, 0.0, eps)
    count = x.numel() // x.shape[1]
    ones_C = torch.ones_like(inverse_C)  # without a weight a GPU hands no gradient of it back
    tangents, aligned = {}, {}
    for p, u in y.tangents.items():
        tangents[p], total_C, _ = torch.ops.aten.native_batch_norm_backward(
            u, x, ones_C, None, None, mean, inverse_C, True, eps, [True, True, True]
        )
        aligned[p] = total_C / count
    return _Normal(normed, inverse_C, tangents, aligned, eps * inverse_C**2)


def _curve_norm(walk: Walk, normal: _Normal, scale_C: Tensor, adjoint: Tensor) -> Tangents:
    """Add sum(l scale d2n / dA_i dA_j), l the adjoint of the batch norm's output; hand t_i back.

    With t_i = sum(l v_i) and r = sum(l n) per channel,

        sum(l d2n_ij) = -(t_i m_j + t_j m_i) / s - r (eps / s2) m_i m_j / s2 - (r / N) <v_i, v_j>

    by differentiating v once more. With fixed statistics n is linear, and nothing is added.

    Returns:
        t_i, by operation weight.
    """
    met = {p: _channel_sums(adjoint, v) for p, v in normal.tangents.items()}
    if not normal.aligned:
        return met
    positions = list(met)
    t_DC, m_DC = (torch.stack(list(x.values())).double() for x in (met, normal.aligned))
    inverse_C, scale = normal.inverse_C.double(), scale_C.double()
    r_C = _channel_sums(adjoint, normal.normed).double()
    crossed = (t_DC * (scale * inverse_C)) @ m_DC.T
    floored = (m_DC * (scale * r_C * normal.floor_C * inverse_C**2)) @ m_DC.T
    count = adjoint.numel() // adjoint.shape[1]
    gram = _gram(list(normal.tangents.values()), (scale * r_C / count).to(adjoint.dtype))
    # `curve` adds the transpose: of what is symmetric already, half is handed over.
    walk.curve(positions, positions, -crossed - (floored + gram) / 2)
    return met


def _channel_sums(x_BCHW: Tensor, y_BCHW: Tensor) -> Tensor:
    return (x_BCHW * y_BCHW).sum(CHANNELWISE)


def _gram(tangents: Sequence[Tensor], weights_C: Tensor) -> Tensor:
    """Sum over images, pixels and channels of weights v_i v_j, [D, D]."""
    channels = len(weights_C)
    rows = [v.permute(0, 2, 3, 1).reshape(-1, channels) for v in tangents]
    step = max(1, CHUNK // channels)
    total = torch.zeros(len(rows), len(rows), dtype=torch.float64)
    for start in range(0, len(rows[0]), step):
        chunk = torch.stack([row[start : start + step] for row in rows])
        total += ((chunk * weights_C).flatten(1) @ chunk.flatten(1).T).double().cpu()
    return total


def _batch_norm(
    input: Tensor | Dual,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | Factors,
    bias: Tensor | None,
    training: bool,
    momentum: float,
    eps: float,
) -> Dual | Parts:
    if isinstance(weight, Factors):
        walk, scale_C = weight.walk, weight.values.repeat_interleave(weight.repeats)
    else:
        assert isinstance(input, Dual)
        walk, scale_C = input.walk, weight
    y = input if isinstance(input, Dual) else Dual(walk, input)
    normal = _normal(y, running_mean, running_var, training, eps)
    output = normal.normed * scale_C[:, None, None]
    output = output if bias is None else output + bias[:, None, None]
    adjoint = walk.adjoint(output)
    met = {} if adjoint is None or not y.tangents else _curve_norm(walk, normal, scale_C, adjoint)
    if isinstance(weight, Factors):
        return _scaled_parts(weight, output, normal, met, tangents=adjoint is not None)
    scale = scale_C[:, None, None]
    return Dual(walk, output, {p: v * scale for p, v in normal.tangents.items()})


def _scaled_parts(
    weight: Factors, output: Tensor, normal: _Normal, met: Tangents, *, tangents: bool
) -> Parts:
    """A group of channels for each operation weight a: d (a n) = a v + da n."""
    parts = []
    for k, primal in enumerate(output.split(weight.repeats, dim=1)):
        part = Dual(weight.walk, primal)
        parts.append(part)
        if not tangents:
            continue
        here = slice(k * weight.repeats, (k + 1) * weight.repeats)
        own, value = int(weight.positions[k]), weight.values[k]
        part.tangents = {p: value * v[:, here] for p, v in normal.tangents.items()}
        _accumulate(part.tangents, own, normal.normed[:, here].clone())
        if met:
            total = torch.stack([t_C[here].sum() for t_C in met.values()])
            weight.walk.curve([own], list(met), total[None])
    return Parts(parts)


def _stack(entries: Sequence[Factors]) -> Factors:
    values, positions = (
        [getattr(each, name) for each in entries] for name in ("values", "positions")
    )
    return Factors(entries[0].walk, torch.stack(values), torch.stack(positions))


def _convolution(x: Dual, weight: Tensor, **options: Any) -> Dual:
    return x.linear(lambda t: F.conv2d(t, weight, **options))


def _block_average(x: Dual, kernel_size: int, **options: Any) -> Dual:
    return x.linear(lambda t: F.avg_pool2d(t, kernel_size, **options))


def _head(x: Dual, weight: Tensor, bias: Tensor) -> Dual:
    tangents = {p: F.linear(t, weight) for p, t in x.tangents.items()}
    return Dual(x.walk, F.linear(x.primal, weight, bias), tangents)


RULES: dict[Any, Callable[..., Dual | Parts | Factors]] = {
    torch.stack: _stack,
    F.batch_norm: _batch_norm,
    F.conv2d: _convolution,
    F.avg_pool2d: _block_average,
    average_pool: lambda x: x.linear(average_pool),
    F.linear: _head,
}
