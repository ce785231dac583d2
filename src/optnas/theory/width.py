"""The kernel of the theorem's cell at infinite width, in closed form but for one-dimensional sums.

With channels that are independent and m without end, node l of `optnas.theory.cell` has

    x_l = sum_s a2_ls x_s + a3_ls sigma(g_ls),    g_ls ~ N(0, Sigma_s),
    Sigma_s(ip, jq) = sum_r K_s(i p+r, j q+r),    K_l = E[x_l x_l'],

the sum over the positions r of a patch, x one channel times sqrt(m), and g fresh on every edge. The
stem is sigma(g) with Sigma of the images. Since sigma has a mean, moments between nodes are carried
along: C_lk = E[x_l x_k'] and mu_l = E[x_l]. The tangent kernel of a head, its NNGP kernel, is
sum_p K_l(ip, jp). The expectation of a product of two correlated values is Mehler's series

    E[sigma(g) sigma(g')] = sum_k rho^k c_k(s) c_k(s'),   c_k(s) = E[sigma(s z) He_k(z)] / sqrt(k!)

with s, s' the deviations, rho the correlation, and c_k by Gauss and Hermite's quadrature.

Shapes: N samples, P positions; V = N P values of a channel, sample by sample.

Source: W. Chen et al., Deep Architecture Connectivity Matters for Its Convergence, NeurIPS 2022,
section 3, whose bound of the rate is lambda_min of the last node's kernel. Deviation: theirs are
fully connected layers without a mean; the recursion with means and patches is this project's.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from optnas.theory.cell import ACTIVATIONS, KERNEL, Cell, patches

TERMS, POINTS = 48, 128  # of the series, of the quadrature
Activation = Callable[[Tensor], Tensor]


class Moments(NamedTuple):
    """Mean and second moments of sigma(g)."""

    mean_V: Tensor
    second_VV: Tensor


def heads(cell: Cell, images_NCP: Tensor) -> list[Tensor]:
    """What `Gram.heads` tends to as m grows: the NNGP kernel [N, N] of each node.

    Args:
        cell: weights; its channels do not matter.
        images_NCP: samples.

    Example:
        >>> from optnas.theory.cell import uniform
        >>> image = torch.ones(1, 1, 1, dtype=torch.float64)
        >>> [round(float(k), 3) for k in heads(uniform(2, 1, "identity", 0.5, 0.5), image)]
        [1.0, 0.5]
    """
    activation = ACTIVATIONS[cell.activation]
    count, _, positions = images_NCP.shape
    patches_NRP = patches(images_NCP)
    rows = patches_NRP.transpose(1, 2).flatten(0, 1)
    stem = _activated(activation, rows @ rows.T)
    applied: list[Moments] = []  # of sigma(g) from each node
    size = (cell.nodes, count * positions)
    mean_LV = torch.zeros(size, dtype=images_NCP.dtype)
    moments_LLVV = mean_LV.new_zeros(cell.nodes, *size, size[1])
    for l in range(cell.nodes):
        drawn = [(cell.conv[s, l], each) for s, each in enumerate(applied)]
        drawn += [(1.0, stem)] if l in cell.begins else []
        fresh_V, own_VV = torch.zeros_like(mean_LV[0]), torch.zeros_like(moments_LLVV[0, 0])
        for weight, each in drawn:
            fresh_V += weight * each.mean_V
            own_VV += weight**2 * (each.second_VV - torch.outer(each.mean_V, each.mean_V))
        skip_S = mean_LV.new_tensor([cell.skip[s, l] for s in range(l)])
        kept_V = skip_S @ mean_LV[:l]
        with_kept_SVV = torch.einsum("s,stvw->tvw", skip_S, moments_LLVV[:l, :l])
        before_SVV = with_kept_SVV + fresh_V[:, None] * mean_LV[:l, None, :]
        moments_LLVV[l, :l], moments_LLVV[:l, l] = before_SVV, before_SVV.mT
        mean_LV[l] = kept_V + fresh_V
        covariance_VV = torch.einsum("s,svw->vw", skip_S, with_kept_SVV) - torch.outer(
            kept_V, kept_V
        )
        moments_LLVV[l, l] = covariance_VV + own_VV + torch.outer(mean_LV[l], mean_LV[l])
        sigma_VV = _over_patches(moments_LLVV[l, l], count, positions)
        applied.append(_activated(activation, sigma_VV))
    samples = (count, positions, count, positions)
    return [torch.einsum("ipjp->ij", moments_LLVV[l, l].view(samples)) for l in range(cell.nodes)]


def _over_patches(kernel_VV: Tensor, count: int, positions: int) -> Tensor:
    """Sigma(ip, jq) = sum_r K(i p+r, j q+r) over the offsets of a patch, zero outside."""
    side, reach = math.isqrt(positions), KERNEL // 2
    whole = kernel_VV.view(count, side, side, count, side, side)
    found = torch.zeros_like(whole)
    for down in range(-reach, reach + 1):
        for across in range(-reach, reach + 1):
            here, there = [], []
            for shift in (down, across):
                here.append(slice(max(0, -shift), side - max(0, shift)))
                there.append(slice(max(0, shift), side + min(0, shift)))
            every = slice(None)
            found[(every, *here, every, *here)] += whole[(every, *there, every, *there)]
    return found.view_as(kernel_VV)


def _activated(activation: Activation, sigma_VV: Tensor) -> Moments:
    """Of sigma(g), g ~ N(0, Sigma)."""
    deviation_V = sigma_VV.diagonal().clamp_min(0).sqrt()
    divisor_V = torch.where(deviation_V > 0, deviation_V, torch.ones_like(deviation_V))
    rho_VV = (sigma_VV / torch.outer(divisor_V, divisor_V)).clamp(-1, 1)
    points, weights = np.polynomial.hermite_e.hermegauss(POINTS)
    z_Q = torch.from_numpy(points)
    weight_Q = torch.from_numpy(weights / math.sqrt(2 * math.pi))
    values_VQ = activation(deviation_V[:, None] * z_Q) * weight_Q
    before_Q, here_Q = torch.zeros_like(z_Q), torch.ones_like(z_Q)  # He_k / sqrt(k!)
    power_VV, second_VV = torch.ones_like(rho_VV), torch.zeros_like(rho_VV)
    mean_V = values_VQ.sum(1)
    for k in range(TERMS):
        c_V = values_VQ @ here_Q
        second_VV = second_VV + power_VV * torch.outer(c_V, c_V)
        power_VV = power_VV * rho_VV
        after_Q = (z_Q * here_Q - math.sqrt(k) * before_Q) / math.sqrt(k + 1)
        before_Q, here_Q = here_Q, after_Q
    return Moments(mean_V, second_VV)
