"""The naive twin of the supernet: one module per edge and operation, as published search code runs.

Nothing is merged and nothing is handed in but operation weights: batch-norm statistics are hidden
buffers, the mode is `train()` or `eval()`, a mixed operation is the sum of w * op(x). Slow, obvious
and independent: it imports nothing of optnas, and speaks to it only through names of tensors.

Shapes: B images, C channels, H and W sides, E edges, O operations, K classes.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn


class Zero(nn.Module):
    """No connection."""

    def forward(self, x_BCHW: Tensor) -> Tensor:
        return x_BCHW.mul(0.0)


class ReluConvNorm(nn.Sequential):
    """ReLU, convolution without bias, batch norm; keeps the size at stride 1."""

    def __init__(self, inputs: int, outputs: int, kernel: int, *, stride: int = 1, affine: bool):
        super().__init__(
            nn.ReLU(),
            nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, bias=False),
            nn.BatchNorm2d(outputs, affine=affine),
        )


def operation(name: str, channels: int) -> nn.Module:
    """One candidate operation of an edge, by its name in NAS-Bench-201."""
    match name:
        case "none":
            return Zero()
        case "skip_connect":
            return nn.Identity()
        case "nor_conv_1x1":
            return ReluConvNorm(channels, channels, 1, affine=False)
        case "nor_conv_3x3":
            return ReluConvNorm(channels, channels, 3, affine=False)
        case "avg_pool_3x3":
            return nn.AvgPool2d(3, stride=1, padding=1, count_include_pad=False)
    raise ValueError(name)


class MixedEdge(nn.Module):
    """All candidate operations of one edge, and their weighted sum."""

    def __init__(self, operations: Sequence[str], channels: int):
        super().__init__()
        self.candidates = nn.ModuleList(operation(name, channels) for name in operations)

    def forward(self, x_BCHW: Tensor, weights_O: Tensor) -> Tensor:
        return sum(w * op(x_BCHW) for w, op in zip(weights_O, self.candidates, strict=True))


class Cell(nn.Module):
    """A node is the sum over its incoming edges; the cell's output is its last node."""

    def __init__(self, ends: Sequence[tuple[int, int]], operations: Sequence[str], channels: int):
        super().__init__()
        self.ends = tuple(ends)
        self.edges = nn.ModuleList(MixedEdge(operations, channels) for _ in ends)

    def forward(self, x_BCHW: Tensor, op_weights_EO: Tensor) -> Tensor:
        nodes = [x_BCHW]
        for node in range(1, 1 + max(target for _, target in self.ends)):
            nodes.append(
                sum(
                    self.edges[e](nodes[source], op_weights_EO[e])
                    for e, (source, target) in enumerate(self.ends)
                    if target == node
                )
            )
        return nodes[-1]


class Reduction(nn.Module):
    """Residual block that halves the sides and doubles the channels."""

    def __init__(self, channels: int):
        super().__init__()
        self.branch_a = ReluConvNorm(channels, 2 * channels, 3, stride=2, affine=True)
        self.branch_b = ReluConvNorm(2 * channels, 2 * channels, 3, affine=True)
        self.pool = nn.AvgPool2d(2, stride=2, padding=0)
        self.shortcut = nn.Conv2d(channels, 2 * channels, 1, bias=False)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        return self.shortcut(self.pool(x_BCHW)) + self.branch_b(self.branch_a(x_BCHW))


class NaiveSupernet(nn.Module):
    """Stem, three stages of cells with a reduction between them, and a linear head."""

    def __init__(
        self,
        edges: Sequence[tuple[int, int]],
        operations: Sequence[str],
        *,
        channels: int,
        cells: int,
        classes: int,
        image_channels: int,
        head_affine: bool = True,
    ):
        super().__init__()
        self.operations = tuple(operations)
        self.stem_conv = nn.Conv2d(image_channels, channels, 3, padding=1, bias=False)
        self.stem_norm = nn.BatchNorm2d(channels)
        self.stages = nn.ModuleList(
            nn.ModuleList(Cell(edges, operations, channels * 2**stage) for _ in range(cells))
            for stage in range(3)
        )
        self.reductions = nn.ModuleList(Reduction(channels * 2**stage) for stage in range(2))
        self.head_norm = nn.BatchNorm2d(4 * channels, affine=head_affine)
        self.head_linear = nn.Linear(4 * channels, classes)

    def forward(self, x_BCHW: Tensor, op_weights_EO: Tensor) -> Tensor:
        """Logits, [B, K]; operation weights [E, O], or [L, E, O] with those of each cell."""
        own = iter(op_weights_EO) if op_weights_EO.ndim == 3 else itertools.repeat(op_weights_EO)
        x_BCHW = self.stem_norm(self.stem_conv(x_BCHW))
        for stage, cells in enumerate(self.stages):
            if stage > 0:
                x_BCHW = self.reductions[stage - 1](x_BCHW)
            for cell in cells:
                x_BCHW = cell(x_BCHW, next(own))
        return self.head_linear(self.head_norm(x_BCHW).relu().mean((2, 3)))

    def named_weights(self) -> dict[str, nn.Parameter]:
        """The network weights under the names the fast supernet gives them."""
        weights = {}
        for name, module in self._named_parts().items():
            if isinstance(module, ReluConvNorm):
                weights[f"{name}.weight"] = module[1].weight
            else:
                weights |= {f"{name}.{key}": value for key, value in module.named_parameters()}
        return weights

    def named_statistics(self) -> dict[str, tuple[Tensor, Tensor]]:
        """Running mean and variance of each batch norm, under the names of the fast supernet."""
        norms = {
            name: module[2] if isinstance(module, ReluConvNorm) else module
            for name, module in self._named_parts().items()
        }
        return {
            name: (norm.running_mean, norm.running_var)
            for name, norm in norms.items()
            if isinstance(norm, nn.BatchNorm2d)
        }

    def load(self, weights: Mapping[str, Tensor]) -> None:
        """Copy network weights by name; every name must be there, and no other."""
        own = self.named_weights()
        if own.keys() != weights.keys():
            raise KeyError(sorted(own.keys() ^ weights.keys()))
        with torch.no_grad():
            for name, weight in own.items():
                if weight.shape != weights[name].shape:
                    raise ValueError(f"{name}: {weight.shape} and {weights[name].shape}")
                weight.copy_(weights[name])

    def _named_parts(self) -> dict[str, nn.Module]:
        """Everything with weights; a candidate convolution keeps its (weightless) norm with it."""
        parts: dict[str, nn.Module] = {"stem.conv": self.stem_conv, "stem.norm": self.stem_norm}
        for i, cell in enumerate(cell for cells in self.stages for cell in cells):
            for e, edge in enumerate(cell.edges):
                for name, candidate in zip(self.operations, edge.candidates, strict=True):
                    if isinstance(candidate, ReluConvNorm):
                        parts[f"cells.{i}.edges.{e}.{name}"] = candidate
        for r, reduction in enumerate(self.reductions):
            for key, branch in (("a", reduction.branch_a), ("b", reduction.branch_b)):
                parts[f"reductions.{r}.conv_{key}"] = branch[1]
                parts[f"reductions.{r}.norm_{key}"] = branch[2]
            parts[f"reductions.{r}.shortcut"] = reduction.shortcut
        return parts | {"head.norm": self.head_norm, "head.linear": self.head_linear}
