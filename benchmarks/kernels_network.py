"""The supernet of NAS-Bench-201, all but its head, by the kernels of benchmarks/kernels.c.

What `benchmarks/kernels.py` takes whole steps with. A measurement, no part of optnas: one autograd
function, once differentiable, for passes that move the statistics. `docs/decisions/0016-kernels.md`
says what is missing.
Shapes: N images, C channels, H x H pixels; planes of P >= H H numbers, whole vectors.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import os
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor
from torch.autograd.function import once_differentiable

from optnas.spaces.network import Output, Statistics, Supernet

SOURCE = Path(__file__).with_name("kernels.c")
FLAGS = ["-O3", "-march=native", "-ffp-contract=fast", "-fno-math-errno", "-fno-trapping-math"]
FLAGS += ["-Wno-psabi", "-shared", "-fPIC"]
WIDE = ["-mprefer-vector-width=512"]
NARROW = ["-mno-avx512f"]
NODES = 4
EDGES = [(i, j) for i in range(1, NODES) for j in range(i)]
COLUMNS = (3, 2)  # of the 3x3 and the 1x1 convolution
SLACK = 128  # numbers around a buffer that a shifted load may touch


def narrow() -> bool:
    """Whether torch was told to use no more than AVX2; the kernels then use no more either."""
    return os.environ.get("ATEN_CPU_CAPABILITY") == "avx2" or "avx512f" not in Path(
        "/proc/cpuinfo"
    ).read_text(encoding="utf-8")


class Size(NamedTuple):
    """What a library is compiled for.

    Attributes:
        channels: C of the cells.
        side: H of their images.
        inputs: channels of what stands before the cells.
        stride: 1 behind the stem, 2 behind a reduction.
        double: in double precision.
    """

    channels: int
    side: int
    inputs: int
    stride: int
    double: bool

    def flags(self) -> list[str]:
        """For the compiler."""
        bits = 64 if self.double else 32
        lanes = (256 if narrow() else 512) // bits
        given = {
            **{"REAL": "double" if self.double else "float", "INT": f"int{bits}_t"},
            **{"LANES": lanes, "VT": 2 if narrow() else 4, "C": self.channels, "H": self.side},
            **{"W": self.side, "CI": self.inputs, "STRIDE": self.stride},
        }
        return [
            *(NARROW if narrow() else WIDE),
            *(f"-D{key}={value}" for key, value in given.items()),
        ]


@functools.cache
def library(size: Size, folder: Path) -> Any:
    """The kernels of one size, from the folder if they were compiled into it before."""
    flags = [*FLAGS, *size.flags()]
    told = SOURCE.read_bytes() + " ".join(flags).encode() + Path("/proc/cpuinfo").read_bytes()[:512]
    place = folder / f"{hashlib.sha256(told).hexdigest()[:24]}.so"
    if not place.is_file():
        with tempfile.NamedTemporaryFile(dir=folder, suffix=".so", delete=False) as made:
            subprocess.run(["gcc", *flags, str(SOURCE), "-o", made.name, "-lm"], check=True)
        Path(made.name).replace(place)
    kernels = ctypes.CDLL(str(place))
    kernels.prepare()
    return kernels


def addresses(tensors: Sequence[Tensor]) -> np.ndarray:
    """Where tensors lie, as C reads it."""
    return np.array([tensor.data_ptr() for tensor in tensors], dtype=np.int64)


def pointer(held: np.ndarray | Tensor | None) -> ctypes.c_void_p:
    """To the first number."""
    if held is None:
        return ctypes.c_void_p(0)
    return ctypes.c_void_p(held.data_ptr() if isinstance(held, Tensor) else held.ctypes.data)


def buffer(*shape: int, dtype: torch.dtype) -> Tensor:
    """Zeros with room around them."""
    count = int(np.prod(shape))
    return torch.zeros(count + 2 * SLACK, dtype=dtype)[SLACK:-SLACK].view(shape)


class Part:
    """Stem, reduction or cell: its library, the names of its weights, its buffers for N images.

    Attributes:
        names: of its weights, in the order in which the kernels take them.
        places: of its batch norms' channels among all.
        order: of the moments that go there.
    """

    def __init__(self, net: Supernet, size: Size, images: int, folder: Path, cell: Any, name: str):
        self.size, self.kernels, self.cell = size, library(size, folder), cell
        dtype = torch.float64 if size.double else torch.float32
        channels, plane = size.channels, self.kernels.plane()
        make = functools.partial(buffer, images, dtype=dtype)
        self.out, self.plane = make(channels, plane), plane
        offsets = net._offsets
        if cell is None:
            tail = ["conv_a.weight", "norm_a.weight", "norm_a.bias", "conv_b.weight"]
            tail += ["norm_b.weight", "norm_b.bias", "shortcut.weight"]
            norms = ["norm_a", "norm_b"]
            if size.stride == 1:
                tail, norms = ["conv.weight", "norm.weight", "norm.bias"], ["norm"]
            self.names = [f"{name}.{each}" for each in tail]
            slices = [offsets[f"{name}.{each}"] for each in norms]
            self.values = [make(channels, plane) for _ in norms]
            self.gradients = [make(channels, plane)]
            self.moments = np.zeros((3, len(norms) * channels))
            self.order = np.arange(len(norms) * channels)
            self.input_gradient = make(size.inputs, self.kernels.input_plane())
        else:
            self.names = [cell.filter_name(e, c) for c in COLUMNS for e in range(len(EDGES))]
            slices = [offsets[cell.norm_name(j, c)] for j in range(NODES - 1) for c in COLUMNS]
            self.nodes = [make(channels, plane) for _ in range(NODES - 2)]
            self.values = [make(2 * (NODES - 1 - j) * channels, plane) for j in range(NODES - 1)]
            self.gradients = [make(channels, plane) for _ in range(NODES - 1)]
            row = 2 * (NODES - 1) * channels
            self.moments = np.zeros((3, NODES - 1, row))
            self.order = np.concatenate(
                [j * row + np.arange(2 * (NODES - 1 - j) * channels) for j in range(NODES - 1)]
            )
        self.places = np.concatenate([np.arange(each.start, each.stop) for each in slices])

    def forward(self, images: int, x: Tensor, a: Tensor, weights: Sequence[Tensor]) -> Tensor:
        """Its output; what its backward needs stays in its buffers."""
        self.x, self.weights = x, addresses(weights)
        where = [pointer(each) for each in self.moments]
        values = addresses(self.values)
        if self.cell is None:
            self.kernels.entry_forward(
                *(images, pointer(x), pointer(self.weights), pointer(values), pointer(self.out)),
                *where,
            )
        else:
            nodes = addresses([x, *self.nodes, self.out])
            self.kernels.cell_forward(
                *(images, pointer(nodes), pointer(values), pointer(a), pointer(self.weights)),
                *where,
            )
        return self.out

    def backward(
        self,
        images: int,
        g: Tensor,
        a: Tensor,
        alpha_EO: np.ndarray | None,
        to: list[Tensor],
        on: bool,
    ) -> Tensor:
        """The gradient of its input, if it is asked for; those of its weights are added to `to`."""
        values, given = addresses(self.values), addresses(to)
        mean, inverse, _ = (pointer(each) for each in self.moments)
        if self.cell is None:
            before = self.input_gradient if on else None
            self.kernels.entry_backward(
                *(images, pointer(g), pointer(self.x), pointer(self.weights), pointer(values)),
                *(mean, inverse, int(bool(to)), pointer(before), pointer(self.gradients[0])),
                pointer(given),
            )
            return self.input_gradient
        nodes = addresses([self.x, *self.nodes, self.out])
        back = addresses([*self.gradients, g])
        self.kernels.cell_backward(
            *(images, pointer(back), pointer(nodes), pointer(values), pointer(a)),
            *(pointer(self.weights), mean, inverse, int(alpha_EO is not None), int(bool(to))),
            *(int(on), pointer(alpha_EO), pointer(given)),
        )
        return self.gradients[0]


class Plan:
    """Parts of a network one after another, for N images of a side.

    Args:
        parts: of the network.
        images: N.
        inputs: shape of what the first part takes, but N.
        plane: numbers of a plane there.
        dtype: of all.
    """

    def __init__(self, parts: list[Part], images: int, inputs: int, plane: int, dtype: torch.dtype):
        self.parts = parts
        self.inputs = buffer(images, inputs, plane, dtype=dtype)
        self.places = np.concatenate([part.places for part in parts])
        self.names = [name for part in parts for name in part.names]
        self.first_cell = next(i for i, part in enumerate(parts) if part.cell is not None)


def all_parts(net: Supernet, images: int, side: int, folder: Path) -> list[Part]:
    """Stem, cells and reductions in the order in which images pass."""
    double = next(iter(net.weights.values())).dtype == torch.float64
    parts: list[Part] = []
    for stage, cells in enumerate(net.stages):
        channels = cells[0].channels
        inputs, stride = (channels // 2, 2) if stage else (3, 1)
        size = Size(channels, side >> stage, inputs, stride, double)
        name = f"reductions.{stage - 1}" if stage else "stem"
        parts.append(Part(net, size, images, folder, None, name))
        parts += [Part(net, size, images, folder, cell, cell.name) for cell in cells]
    return parts


Moved = Callable[[np.ndarray, np.ndarray], None]


class Body(torch.autograd.Function):
    """Images to what the head takes."""

    @staticmethod
    def forward(ctx: Any, plan: Plan, x: Tensor, a: Tensor, moved: Moved, *leaves: Tensor) -> Any:
        """See `Fused`."""
        images, side = x.shape[0], x.shape[2]
        plan.inputs[..., : side * side].unflatten(2, (side, side)).copy_(x)
        here, weights = plan.inputs, list(leaves)
        held, means, variances = a.detach().contiguous(), [], []
        for part in plan.parts:
            own, weights = weights[: len(part.names)], weights[len(part.names) :]
            here = part.forward(images, here, held, own)
            count = images * part.size.side**2
            means.append(part.moments[0].reshape(-1)[part.order])
            variances.append(part.moments[2].reshape(-1)[part.order] * (count / (count - 1)))
        moved(np.concatenate(means), np.concatenate(variances))
        ctx.plan, ctx.a, ctx.leaves = plan, held, leaves
        side = part.size.side
        return here[..., : side * side].reshape(images, -1, side, side).clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: Tensor) -> Any:
        """Of the operation weights, or of the leaves, or of both: as asked."""
        plan, images = ctx.plan, len(g)
        alpha_EO = np.zeros((len(EDGES), 5)) if ctx.needs_input_grad[2] else None
        weights = any(ctx.needs_input_grad[4:])
        gradients = [torch.zeros_like(leaf) for leaf in ctx.leaves] if weights else []
        here, end = (
            F.pad(g.flatten(2), (0, plan.parts[-1].plane - g[0, 0].numel())),
            len(ctx.leaves),
        )
        for place in reversed(range(len(plan.parts))):
            part = plan.parts[place]
            own, end = gradients[end - len(part.names) : end], end - len(part.names)
            on = place > (0 if weights else plan.first_cell) or ctx.needs_input_grad[1]
            here = part.backward(images, here, ctx.a, alpha_EO, own, on)
            if not on:
                break
        alpha = None if alpha_EO is None else torch.from_numpy(alpha_EO).to(g.dtype)
        before = None
        if ctx.needs_input_grad[1]:
            side = plan.parts[0].size.side
            before = here[..., : side * side].unflatten(2, (side, side)).clone()
        return (None, before, alpha, None, *(gradients or [None] * len(ctx.leaves)))


class Fused:
    """A supernet's pass with batch statistics that moves the running ones.

    A plan's buffers are overwritten by the next pass over as many images: one backward per forward.

    Args:
        net: the supernet.
        folder: where compiled kernels are kept.
        cells_alone: whether torch takes stem and reductions.
    """

    def __init__(self, net: Supernet, folder: Path, *, cells_alone: bool = False):
        self.net, self.folder, self.cells_alone = net, folder, cells_alone
        self.plans: dict[tuple[int, int], list[Plan]] = {}

    def __call__(
        self,
        x_BCHW: Tensor,
        op_weights_EO: Tensor,
        *,
        weights: Mapping[str, Tensor] | None = None,
        statistics: Statistics,
        update: bool = True,
    ) -> Output:
        """As `SearchNetwork.__call__` with ``update``."""
        plans = self._plans(x_BCHW.shape[0], x_BCHW.shape[2])
        held, normalise, after = self.net.begin(weights, statistics, True)
        assert after is not None

        def through(plan: Plan, x: Tensor) -> Tensor:
            def moved(mean_S: np.ndarray, variance_S: np.ndarray) -> None:
                for have, new in ((after.mean_S, mean_S), (after.variance_S, variance_S)):
                    flat = have.data.numpy()
                    flat[plan.places] += 0.1 * (new - flat[plan.places])

            leaves = [held[name] for name in plan.names]
            y: Tensor = Body.apply(plan, x, op_weights_EO, moved, *leaves)
            return y

        if self.cells_alone:
            of_cell = {plan.parts[0].cell.name: plan for plan in plans}
            x = self.net.stem(x_BCHW, held, normalise)
            logits = self.net.after_stem(
                lambda cell, x, held, norm: through(of_cell[cell.name], x), x, held, normalise
            )
            return Output(logits, after)
        x = through(plans[0], x_BCHW)
        x = normalise(x, "head.norm", None, None).relu().mean(dim=(2, 3))
        logits = F.linear(x, held["head.linear.weight"], held["head.linear.bias"])
        return Output(logits, after)

    def _plans(self, images: int, side: int) -> list[Plan]:
        """One for all, or one per cell."""
        if (images, side) not in self.plans:
            parts, dtype = all_parts(self.net, images, side, self.folder), torch.float32
            if parts[0].size.double:
                dtype = torch.float64
            whole = [(parts, 3, parts[0].kernels.input_plane())]
            cells = [([p], p.size.channels, p.plane) for p in parts if p.cell is not None]
            chosen = cells if self.cells_alone else whole
            self.plans[images, side] = [
                Plan(group, images, inputs, plane, dtype) for group, inputs, plane in chosen
            ]
        return self.plans[images, side]
