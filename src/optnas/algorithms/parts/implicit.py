"""Hypergradients by the implicit function theorem, at the weights as they are.

Where w*(alpha) is a minimum of the inner problem, with H = d2 L_tr / dw2, d the weight decay,
v = d L_val / dw and q the solution of (H + d) q = v,

    d L_val(w*(alpha), A) / d alpha = d L_val / d alpha - (d/d alpha) <d L_tr / dw, q>

The two parts differ in how they solve for q. Both take v, H and the last term at the live w, which
a search never trains to a minimum: that is what they leave out.

Symbols: w network weights, A = relax(alpha) operation weights, L_tr and L_val the losses of the two
batches at hand. Shapes: E edges, O operations.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from optnas.algorithms.base import ComputeHypergradient
from optnas.algorithms.bilevel import Bilevel, Hypergradient
from optnas.algorithms.parts.hypergradients import RelaxNow
from optnas.base.lazy import lazy
from optnas.base.registry import register
from optnas.base.schema import AtLeastOne, NotNegative

if TYPE_CHECKING:
    import torch
    from torch import Tensor
else:
    torch = lazy("torch")


@register(
    "hypergradient",
    "neumann",
    needs=("virtual-step", "train-batch"),
    limit="implicit",
    limit_at={"terms": 200},
)
def neumann(terms: AtLeastOne = 3) -> ComputeHypergradient:
    """The implicit gradient by K terms of a Neumann series in the weight optimizer's own step.

    With Phi(w, alpha) the step that the configured optimizer would take from w under its live
    buffers, whose fixed point is the minimum but for these: under a momentum b it is where
    dL_tr / dw + d w = -mu b,

        q = sum over k < K of (d Phi / dw)^T^k v
        gradient = d L_val / d alpha + (d Phi / d alpha)^T q

    For SGD of learning rate lr the sum is lr sum over k of (I - lr (H + d))^k v. K = 1 is the
    second term of `unrolled` with v at w instead of w'. The series tends to the implicit gradient
    if every eigenvalue of d Phi / dw is below 1 in modulus: a direction in which the train loss
    curves downwards, or by more than 2 / lr, grows with every term.

    Args:
        terms: K.

    Returns:
        The part. It moves the statistics as `first_order` does.

    Reference: Lorraine, Vicol and Duvenaud, AISTATS 2020, algorithms 1 to 3. Deviation: the
    optimizer's own step stands in place of a step of gradient descent.
    """

    def part(problem: Bilevel, alpha_EO: Tensor, relax: RelaxNow) -> Hypergradient:
        here = _here(problem, alpha_EO, relax)
        begun = dict(zip(problem.weights, here.w, strict=True))
        reached = list(problem.virtual_step(here.gradients, begun).values())
        q = term = here.v
        for _ in range(terms - 1):
            term = torch.autograd.grad(reached, here.w, term, retain_graph=True)
            q = [a + b for a, b in zip(q, term, strict=True)]
        (indirect_EO,) = torch.autograd.grad(reached, here.alpha, q)
        return here.found._replace(gradient_EO=here.direct_EO + indirect_EO)

    return part


@register(
    "hypergradient",
    "conjugate-gradient",
    needs=("virtual-step", "train-batch"),
    limit="implicit",
    limit_at={"iterations": 8, "damping": 0.0},
)
def conjugate_gradient(
    iterations: AtLeastOne = 5, damping: NotNegative = 0.01
) -> ComputeHypergradient:
    """The implicit gradient by conjugate gradients: (H + d + rho) q = v.

    Exact after as many iterations as there are weights, where H + d + rho is positive definite.
    Elsewhere the iteration ends at the first direction of no positive curvature, with the q it
    has; nothing waits for that. Of the optimizer's step only the weight decay d enters, which is 0
    where the optimizer decays apart from the gradient (AdamW).

    Args:
        iterations: products with H, at most.
        damping: rho.

    Returns:
        The part. It moves the statistics as `first_order` does.

    Reference: Pedregosa, ICML 2016; damping as in Rajeswaran et al., NeurIPS 2019.
    """

    def part(problem: Bilevel, alpha_EO: Tensor, relax: RelaxNow) -> Hypergradient:
        here = _here(problem, alpha_EO, relax)
        shifts = [each + damping for each in problem.weight_decay().values()]

        def product(p: Sequence[Tensor]) -> list[Tensor]:
            curved = torch.autograd.grad(here.gradients, here.w, p, retain_graph=True)
            return [h + shift * b for h, shift, b in zip(curved, shifts, p, strict=True)]

        q = _solved(product, here.v, iterations)
        (indirect_EO,) = torch.autograd.grad(here.gradients, here.alpha, q)
        return here.found._replace(gradient_EO=here.direct_EO - indirect_EO)

    return part


class _Here(NamedTuple):
    """Both losses at the live weights, differentiated once.

    Attributes:
        alpha: as a leaf.
        w: the weights as leaves, in order.
        direct_EO: d L_val / d alpha.
        v: d L_val / dw.
        gradients: d L_tr / dw, to be differentiated in w and alpha.
        found: the statistics after the validation pass, if the protocol updates them.
    """

    alpha: Tensor
    w: list[Tensor]
    direct_EO: Tensor
    v: Sequence[Tensor]
    gradients: Sequence[Tensor]
    found: Hypergradient


def _here(problem: Bilevel, alpha_EO: Tensor, relax: RelaxNow) -> _Here:
    alpha = alpha_EO.detach().requires_grad_()
    held = {name: weight.detach().requires_grad_() for name, weight in problem.weights.items()}
    w = list(held.values())
    outer, statistics = problem.valid_loss(relax(alpha), held, update=problem.update)
    direct_EO, *v = torch.autograd.grad(outer, [alpha, *w])
    inner = problem.train_loss(relax(alpha), held).loss
    gradients = torch.autograd.grad(inner, w, create_graph=True)
    found = Hypergradient(None, statistics if problem.update else None)
    return _Here(alpha, w, direct_EO, v, gradients, found)


def _solved(
    product: Callable[[Sequence[Tensor]], list[Tensor]], v: Sequence[Tensor], iterations: int
) -> list[Tensor]:
    """Conjugate gradients from 0 for a symmetric matrix given by its products."""
    q = [torch.zeros_like(each) for each in v]
    residual, p = list(v), list(v)
    squared, going = _dot(residual, residual), torch.ones((), device=v[0].device)
    for _ in range(iterations):
        bent = product(p)
        curvature = _dot(p, bent)
        going = going * (curvature > 0)  # also ends once p is 0: solved
        length = going * squared / torch.where(curvature > 0, curvature, 1)
        q = [a + length * b for a, b in zip(q, p, strict=True)]
        residual = [a - length * b for a, b in zip(residual, bent, strict=True)]
        before, squared = squared, _dot(residual, residual)
        ratio = squared / before.clamp(min=torch.finfo(before.dtype).tiny)
        p = [a + ratio * b for a, b in zip(residual, p, strict=True)]
    return q


def _dot(one: Sequence[Tensor], other: Sequence[Tensor]) -> Tensor:
    return torch.stack([(a * b).sum() for a, b in zip(one, other, strict=True)]).sum()
