"""The convolutions of kernels.c in numba, to be timed beside them by benchmarks/kernels.py.

numba knows no vectors: a vector is a type of its own here, with load, store and a fused
multiply-add as intrinsics. Nothing is unrolled but by hand: numba has no switch for it. NaN and
infinity go through. Single precision, planes of whole vectors.
Layouts as in kernels.c: shifted planes ``[kx][ci][G][S]``, weights ``[tile][ci][kx][ky][4]``.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import llvmlite.binding
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic, models, register_model

LANES = 16 if llvmlite.binding.get_host_cpu_features().get("avx512f") else 8
FLOATS = ir.VectorType(ir.FloatType(), LANES)
WORDS = ir.VectorType(ir.IntType(32), LANES)
OPTIONS = {"error_model": "numpy", "boundscheck": False, "nogil": True, "cache": True}


class Vector(types.Type):
    """As many single-precision numbers as a register holds."""

    def __init__(self) -> None:
        super().__init__("Vector")


@register_model(Vector)
class _Model(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: Any) -> None:
        super().__init__(manager, kind, FLOATS)


V = Vector()
I64 = types.int64


def _place(builder: Any, base: Any, index: Any, kind: Any) -> Any:
    offset = builder.mul(index, ir.Constant(ir.IntType(64), 4))
    return builder.inttoptr(builder.add(base, offset), kind.as_pointer())


def _turned(builder: Any, vector: Any, places: list[int]) -> Any:
    return builder.shuffle_vector(
        vector, ir.Constant(FLOATS, ir.Undefined), ir.Constant(WORDS, places)
    )


@intrinsic
def load(_: Any, base: Any, index: Any) -> Any:
    return V(I64, I64), lambda c, b, s, a: b.load(_place(b, a[0], a[1], FLOATS), align=4)


@intrinsic
def splat(_: Any, base: Any, index: Any) -> Any:
    def make(c: Any, b: Any, s: Any, a: Any) -> Any:
        number = b.load(_place(b, a[0], a[1], ir.FloatType()), align=4)
        first = ir.Constant(ir.IntType(32), 0)
        return _turned(
            b, b.insert_element(ir.Constant(FLOATS, ir.Undefined), number, first), [0] * LANES
        )

    return V(I64, I64), make


@intrinsic
def zero(_: Any) -> Any:
    return V(), lambda c, b, s, a: ir.Constant(FLOATS, [0.0] * LANES)


@intrinsic
def store(_: Any, base: Any, index: Any, v: Any) -> Any:
    def make(c: Any, b: Any, s: Any, a: Any) -> Any:
        b.store(a[2], _place(b, a[0], a[1], FLOATS), align=4)
        return c.get_dummy_value()

    return types.none(I64, I64, V), make


@intrinsic
def fma(_: Any, u: Any, v: Any, w: Any) -> Any:
    """The product plus w, rounded once; of all fast-math flags this one alone is set."""

    def make(c: Any, b: Any, s: Any, a: Any) -> Any:
        return b.fadd(b.fmul(a[0], a[1], flags=("contract",)), a[2], flags=("contract",))

    return V(V, V, V), make


@intrinsic
def add(_: Any, u: Any, v: Any) -> Any:
    return V(V, V), lambda c, b, s, a: b.fadd(*a)


@intrinsic
def kept(_: Any, v: Any, base: Any, index: Any) -> Any:
    """The lanes of v whose mask is all ones, 0 elsewhere."""

    def make(c: Any, b: Any, s: Any, a: Any) -> Any:
        mask = b.load(_place(b, a[1], a[2], WORDS), align=4)
        return b.bitcast(b.and_(b.bitcast(a[0], WORDS), mask), FLOATS)

    return V(V, I64, I64), make


@intrinsic
def rectified(_: Any, v: Any) -> Any:
    """v, but 0 where v <= 0; NaN stays."""

    def make(c: Any, b: Any, s: Any, a: Any) -> Any:
        nought = ir.Constant(FLOATS, [0.0] * LANES)
        return b.select(b.fcmp_ordered("<=", a[0], nought), nought, a[0])

    return V(V), make


@intrinsic
def add_total(_: Any, base: Any, index: Any, v: Any) -> Any:
    """Adds the sum of the lanes to one number in memory."""

    def make(c: Any, b: Any, s: Any, a: Any) -> Any:
        x, half = a[2], LANES // 2
        while half:
            x = b.fadd(x, _turned(b, x, [(i + half) % LANES for i in range(LANES)]))
            half //= 2
        place = _place(b, a[0], a[1], ir.FloatType())
        number = b.extract_element(x, ir.Constant(ir.IntType(32), 0))
        b.store(b.fadd(b.load(place, align=4), number), place, align=4)
        return c.get_dummy_value()

    return types.none(I64, I64, V), make


class Kernels(NamedTuple):
    """Functions of addresses and sizes, over all images of a batch.

    Attributes:
        forward: x, scratch for shifted planes, 3x3 and 1x1 filters, inputs, outputs K, which of
            both are wanted, y ``[N][2 K][P]``, images, masks, sums of y and of y y or 0.
        input_gradient: gradient of y, scratch, filters, K, inputs, dx by 3x3 and by 1x1, images,
            masks.
        weight_gradient: x, gradient of y, scratch for both, inputs, K, images, dw ``[K][ci][3][3]``
            and ``[K][ci]``, masks.
    """

    forward: Callable[..., None]
    input_gradient: Callable[..., None]
    weight_gradient: Callable[..., None]


def _of(count: int) -> str:
    return f"void({','.join(['int64'] * count)})"


@functools.cache
def kernels(width: int, plane: int, stride: int, group: int) -> Kernels:
    """The kernels of one size.

    Args:
        width: of an image, in pixels.
        plane: elements of a plane, whole vectors.
        stride: S, elements from plane to plane.
        group: G, images whose planes stand together.
    """
    each = plane // LANES
    tiles = max(1, each // 4)
    o1, o2, o3 = (
        v * LANES if each >= 4 else v // each * stride + v % each * LANES for v in (1, 2, 3)
    )

    @njit(_of(7), **OPTIONS)
    def shifted(x, out, channels, image, rectify, left, right):
        step = channels * group * stride
        for c in range(channels):
            to = (c * group + image) * stride
            for p in range(0, plane, LANES):
                q = c * plane + p
                u, v, w = load(x, q - 1), load(x, q), load(x, q + 1)
                if rectify:
                    u, v, w = rectified(u), rectified(v), rectified(w)
                store(out, to + p, kept(u, left, p))
                store(out, to + step + p, v)
                store(out, to + 2 * step + p, kept(w, right, p))

    @njit(_of(7), **OPTIONS)
    def forward(xs, w, inputs, outputs, three, y, step):
        low, high = (0, 3) if three else (1, 2)
        s1, s2, s3 = LANES, 2 * LANES, 3 * LANES
        if each == 2:
            s2, s3 = step, step + LANES
        if each == 1:
            s1, s2, s3 = step, 2 * step, 3 * step
        for o in range(0, outputs, 4):
            for t in range(tiles):
                a0, a1, a2, a3 = zero(), zero(), zero(), zero()
                b0, b1, b2, b3 = zero(), zero(), zero(), zero()
                c0, c1, c2, c3 = zero(), zero(), zero(), zero()
                d0, d1, d2, d3 = zero(), zero(), zero(), zero()
                f = o * inputs * (high - low) ** 2
                for i in range(inputs):
                    for kx in range(low, high):
                        for ky in range(low, high):
                            x = (
                                (kx * inputs + i) * group * stride
                                + (ky - 1) * width
                                + t * 4 * LANES
                            )
                            x0, x1 = load(xs, x), load(xs, x + o1)
                            x2, x3 = load(xs, x + o2), load(xs, x + o3)
                            u = splat(w, f)
                            a0, a1 = fma(u, x0, a0), fma(u, x1, a1)
                            a2, a3 = fma(u, x2, a2), fma(u, x3, a3)
                            u = splat(w, f + 1)
                            b0, b1 = fma(u, x0, b0), fma(u, x1, b1)
                            b2, b3 = fma(u, x2, b2), fma(u, x3, b3)
                            u = splat(w, f + 2)
                            c0, c1 = fma(u, x0, c0), fma(u, x1, c1)
                            c2, c3 = fma(u, x2, c2), fma(u, x3, c3)
                            u = splat(w, f + 3)
                            d0, d1 = fma(u, x0, d0), fma(u, x1, d1)
                            d2, d3 = fma(u, x2, d2), fma(u, x3, d3)
                            f += 4
                e = o * plane + t * 4 * LANES
                store(y, e, a0)
                store(y, e + s1, a1)
                store(y, e + s2, a2)
                store(y, e + s3, a3)
                e += plane
                store(y, e, b0)
                store(y, e + s1, b1)
                store(y, e + s2, b2)
                store(y, e + s3, b3)
                e += plane
                store(y, e, c0)
                store(y, e + s1, c1)
                store(y, e + s2, c2)
                store(y, e + s3, c3)
                e += plane
                store(y, e, d0)
                store(y, e + s1, d1)
                store(y, e + s2, d2)
                store(y, e + s3, d3)

    @njit(_of(6), **OPTIONS)
    def weight(dy, xs, inputs, outputs, images, dw):
        for o in range(0, outputs, 4):
            for kx in range(3):
                for i in range(inputs):
                    a0, a1, a2 = zero(), zero(), zero()
                    b0, b1, b2 = zero(), zero(), zero()
                    c0, c1, c2 = zero(), zero(), zero()
                    d0, d1, d2 = zero(), zero(), zero()
                    for g in range(images):
                        for p in range(0, plane, LANES):
                            x = ((kx * inputs + i) * group + g) * stride + p
                            u0, u1, u2 = load(xs, x - width), load(xs, x), load(xs, x + width)
                            e = (o * group + g) * stride + p
                            v = load(dy, e)
                            a0, a1, a2 = fma(v, u0, a0), fma(v, u1, a1), fma(v, u2, a2)
                            v = load(dy, e + group * stride)
                            b0, b1, b2 = fma(v, u0, b0), fma(v, u1, b1), fma(v, u2, b2)
                            v = load(dy, e + 2 * group * stride)
                            c0, c1, c2 = fma(v, u0, c0), fma(v, u1, c1), fma(v, u2, c2)
                            v = load(dy, e + 3 * group * stride)
                            d0, d1, d2 = fma(v, u0, d0), fma(v, u1, d1), fma(v, u2, d2)
                    n = inputs * 9
                    e = (o * inputs + i) * 9 + kx
                    add_total(dw, e, a0)
                    add_total(dw, e + 3, a1)
                    add_total(dw, e + 6, a2)
                    e += n
                    add_total(dw, e, b0)
                    add_total(dw, e + 3, b1)
                    add_total(dw, e + 6, b2)
                    e += n
                    add_total(dw, e, c0)
                    add_total(dw, e + 3, c1)
                    add_total(dw, e + 6, c2)
                    e += n
                    add_total(dw, e, d0)
                    add_total(dw, e + 3, d1)
                    add_total(dw, e + 6, d2)

    @njit(_of(6), **OPTIONS)
    def weight1(dy, xs, inputs, outputs, images, dw):
        for o in range(outputs):
            for i in range(0, inputs, 4):
                a, b, c, d = zero(), zero(), zero(), zero()
                for g in range(images):
                    for p in range(0, plane, LANES):
                        v = load(dy, (o * group + g) * stride + p)
                        x = ((inputs + i) * group + g) * stride + p
                        a = fma(v, load(xs, x), a)
                        b = fma(v, load(xs, x + group * stride), b)
                        c = fma(v, load(xs, x + 2 * group * stride), c)
                        d = fma(v, load(xs, x + 3 * group * stride), d)
                e = o * inputs + i
                add_total(dw, e, a)
                add_total(dw, e + 1, b)
                add_total(dw, e + 2, c)
                add_total(dw, e + 3, d)

    @njit(_of(3), **OPTIONS)
    def moments(y, planes, out):
        for k in range(planes):
            s, q = zero(), zero()
            for p in range(0, plane, LANES):
                v = load(y, k * plane + p)
                s = add(s, v)
                q = fma(v, v, q)
            add_total(out, k, s)
            add_total(out, planes + k, q)

    @njit(_of(13), **OPTIONS)
    def all_forward(x, xs, w3, w1, inputs, outputs, three, one, y, images, left, right, sums):
        step = 2 * outputs * plane
        for n in range(0, images, group):
            for i in range(group):
                shifted(x + 4 * (n + i) * inputs * plane, xs, inputs, i, 1, left, right)
            to = y + 4 * n * step
            if three:
                forward(xs, w3, inputs, outputs, 1, to, step)
            if one:
                forward(xs, w1, inputs, outputs, 0, to + 4 * outputs * plane, step)
            if sums:
                for i in range(group):
                    moments(to + 4 * i * step, 2 * outputs, sums)

    @njit(_of(11), **OPTIONS)
    def all_input(g, gs, w3, w1, outputs, inputs, dx3, dx1, images, left, right):
        step = inputs * plane
        for n in range(0, images, group):
            for kind in range(2):
                for i in range(group):
                    at = g + 4 * (2 * (n + i) + kind) * outputs * plane
                    shifted(at, gs, outputs, i, 0, left, right)
                if kind == 0:
                    forward(gs, w3, outputs, inputs, 1, dx3 + 4 * n * step, step)
                else:
                    forward(gs, w1, outputs, inputs, 0, dx1 + 4 * n * step, step)

    @njit(_of(11), **OPTIONS)
    def all_weight(x, g, xs, gs, inputs, outputs, images, d3, d1, left, right):
        for n in range(0, images, group):
            for i in range(group):
                shifted(x + 4 * (n + i) * inputs * plane, xs, inputs, i, 1, left, right)
                for k in range(2 * outputs):
                    at, to = ((n + i) * 2 * outputs + k) * plane, (k * group + i) * stride
                    for p in range(0, plane, LANES):
                        store(gs, to + p, load(g, at + p))
            weight(gs, xs, inputs, outputs, group, d3)
            weight1(gs + 4 * outputs * group * stride, xs, inputs, outputs, group, d1)

    return Kernels(all_forward, all_input, all_weight)
