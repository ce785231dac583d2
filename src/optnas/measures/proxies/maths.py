"""Numbers of an untrained network that are to rank networks by what training makes of them.

Of each, higher is said to be better. Shapes: B images, C channels, H x W pixels, K classes, U ReLUs
of a layer.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor
from torch.overrides import TorchFunctionMode

from optnas.measures.evaluation import Batch
from optnas.spaces.network import FixedNetwork, Statistics
from optnas.spaces.network.layers import EPSILON

Weights = Mapping[str, Tensor]
RELUS: frozenset[Callable[..., Any]] = frozenset(
    (F.relu, torch.relu, torch.relu_, Tensor.relu, Tensor.relu_)
)


def proxies_of(network: FixedNetwork, batch: Batch) -> dict[str, float]:
    """Every proxy of a network at its initial weights, by name.

    Args:
        network: nothing of it is changed.
        batch: images, normalised by their own statistics in batch norms; and labels.

    Returns:
        Numbers, of which `naswot` may be -inf.
    """
    held, slopes = filters(network.weights), gradients(network, batch)
    return {
        "grad_norm": grad_norm(slopes),
        "snip": snip(held, slopes),
        "synflow": synflow(network, batch.images_BCHW.shape[1:]),
        "naswot": naswot(network, batch.images_BCHW),
    }


def filters(weights: Weights) -> dict[str, Tensor]:
    """Filters of convolutions and the head's matrix: neither biases nor what a batch norm has."""
    return {name: weight for name, weight in weights.items() if weight.ndim > 1}


def gradients(network: FixedNetwork, batch: Batch) -> dict[str, Tensor]:
    """Slope dL / dw of each tensor of `filters`, L the batch's mean cross-entropy in nats."""
    logits_BK = network(batch.images_BCHW, statistics=None).logits_BK
    return _slopes(F.cross_entropy(logits_BK, batch.labels_B), filters(network.weights))


def grad_norm(slopes: Weights) -> float:
    """The norms of the gradient of the loss, one for each layer, added up.

        grad_norm = sum over layers l of |dL / dw_l|

    Args:
        slopes: the `gradients`.

    Source: Abdelfattah et al., ICLR 2021, and their published code, in which it is the sum of the
    layers' norms and not the norm of all.
    """
    return sum(float(slope.double().norm()) for slope in slopes.values())


def snip(held: Weights, slopes: Weights) -> float:
    """How much the loss depends on factors c = 1 on the weights.

        snip = sum over weights w of |w dL / dw|,    w dL / dw = dL / dc

    Args:
        held: the `filters`.
        slopes: the `gradients`.

    Source: Lee et al., ICLR 2019, summed over the network as in Abdelfattah et al., ICLR 2021.
    """
    products = [held[name].detach() * slope for name, slope in slopes.items()]
    return sum(float(each.double().abs().sum()) for each in products)


def synflow(network: FixedNetwork, image: torch.Size) -> float:
    """How much of what flows through the network flows through each weight, added up.

        synflow = sum over weights w of |w dR / dw|

    with R the sum of the logits of an image of ones in a network whose weights are replaced by
    their absolute values and whose batch norms are the identity. Each ReLU is then the identity too
    and R a sum over paths: w dR / dw is the part of it that goes through w. In double precision,
    for R grows by a factor with each layer.

    Args:
        network: its batch norms have weights of 1 and biases of 0, as they begin.
        image: C, H and W.

    Source: Tanaka et al., NeurIPS 2020, summed over the network as in Abdelfattah et al., ICLR
    2021. Deviation: in their published network of NAS-Bench-201 the batch norms of the two
    reductions stay, and convolutions inside cells have biases.
    """
    positive = {
        name: weight.detach().double().abs().requires_grad_()
        for name, weight in network.weights.items()
    }
    zero_S = torch.zeros_like(network.initial_statistics().mean_S, dtype=torch.float64)
    identity = Statistics(zero_S, torch.full_like(zero_S, 1 - EPSILON))
    ones_1CHW = torch.ones(1, *image, dtype=torch.float64, device=zero_S.device)
    logits_1K = network(ones_1CHW, weights=positive, statistics=identity).logits_BK
    held = filters(positive)
    return snip(held, _slopes(logits_1K.sum(), held))


def naswot(network: FixedNetwork, images_BCHW: Tensor) -> float:
    """How differently the ReLUs treat the images.

        naswot = log |det K|,    K_ij = U - d_ij

    with U the number of ReLUs and d_ij the Hamming distance of the codes of images i and j, one bit
    a ReLU: 1 where its input is above 0. K_ij is the number of ReLUs that are on for both or off
    for both.

    Args:
        network: each of its operations calls its own ReLU, also those that read one node.
        images_BCHW: normalised images.

    Returns:
        The logarithm; -inf where K is singular, as of two images with one code.

    Source: Mellor et al., ICML 2021, and their published code. Deviations: in double precision;
    in stand-alone networks dead edges are left out, whose ReLUs count in the published ones.
    """
    with torch.no_grad(), _Alike(len(images_BCHW)) as alike:
        network(images_BCHW, statistics=None)
    count_BB = alike.count_BB.cpu().numpy()
    if np.linalg.matrix_rank(count_BB, hermitian=True) < len(count_BB):
        return -math.inf  # what rounding leaves of a determinant of 0 would be some number
    return float(np.linalg.slogdet(count_BB)[1])


class _Alike(TorchFunctionMode):
    """Counts, for each pair of images, the ReLUs that treat them alike."""

    def __init__(self, images: int):
        super().__init__()
        self.count_BB = torch.zeros(images, images, dtype=torch.float64)

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:  # of torch's own
        if func in RELUS:
            on_BU = (args[0] > 0).flatten(1).double()
            off_BU = 1 - on_BU
            self.count_BB = self.count_BB.to(on_BU.device) + on_BU @ on_BU.T + off_BU @ off_BU.T
        return func(*args, **(kwargs or {}))


def _slopes(value: Tensor, held: Weights) -> dict[str, Tensor]:
    """Slopes of a value in each, 0 where it does not depend on one."""
    found = torch.autograd.grad(
        value, list(held.values()), allow_unused=True, materialize_grads=True
    )
    return dict(zip(held, found, strict=True))
