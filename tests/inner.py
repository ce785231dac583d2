"""Hypergradients and an algorithm that use all that a search hands them, each in a few lines."""

import torch

from optnas import Hypergradient, parts, register


def direct(problem, alpha_EO, relax):
    """d L_val / d alpha at fixed weights, d L_val / d w, and alpha as a leaf."""
    alpha = alpha_EO.detach().requires_grad_()
    held = {name: w.detach().requires_grad_() for name, w in problem.weights.items()}
    loss = problem.valid_loss(relax(alpha), held).loss
    gradient_EO, *v = torch.autograd.grad(loss, [alpha, *held.values()])
    return gradient_EO, dict(zip(held, v, strict=True)), alpha


@register(
    "hypergradient",
    "neumann",
    needs=("virtual-step", "train-batch"),
    limit="implicit",
    limit_at={"terms": 100},
)
def neumann(terms: int = 2, rate: float = 0.5, displacement: float = 1e-3):
    """d L_val - (d / d alpha) <d L_tr / d w, p>, p = rate sum_k (I - rate (H + d))^k v.

    H p and the last term by central differences of train gradients at displaced weights
    (Lorraine et al., AISTATS 2020).
    """

    def part(problem, alpha_EO, relax):
        gradient_EO, v, alpha = direct(problem, alpha_EO, relax)
        decay, names = problem.weight_decay(), list(v)

        def along(p, of):
            """d/de of the gradient of L_tr(w + e p) in what ``of`` picks, e = 0."""
            found = []
            for sign in (1.0, -1.0):
                shifted = {
                    n: (w.detach() + sign * displacement * p[n]).requires_grad_()
                    for n, w in problem.weights.items()
                }
                loss = problem.train_loss(relax(alpha), shifted).loss
                found.append(torch.autograd.grad(loss, of(shifted)))
            return [(a - b) / (2 * displacement) for a, b in zip(*found, strict=True)]

        p, term = dict.fromkeys(names, 0.0), v
        for _ in range(terms):
            p = {n: p[n] + rate * term[n] for n in names}
            curved = along(term, lambda shifted: list(shifted.values()))
            term = {
                n: term[n] - rate * (c + decay[n] * term[n])
                for n, c in zip(names, curved, strict=True)
            }
        (second_EO,) = along(p, lambda shifted: [alpha])
        return Hypergradient(gradient_EO - second_EO)

    return part


@register(
    "hypergradient",
    "k-step",
    needs=("virtual-step", "train-batch", "train-batches"),
    limit="one-step",
    limit_at={"steps": 1},
)
def k_step(steps: int = 2):
    """d L_val(w_K, A) / d alpha through K steps of the weight optimizer's map, a batch each."""

    def part(problem, alpha_EO, relax):
        alpha = alpha_EO.detach().requires_grad_()
        op_weights_EO, weights = relax(alpha), problem.weights
        for loss in [problem.train_loss, *problem.more_train_batches(steps - 1)]:
            inner = loss(op_weights_EO, weights).loss
            gradients = torch.autograd.grad(inner, list(weights.values()), create_graph=True)
            weights = problem.virtual_step(gradients, weights)
        (gradient_EO,) = torch.autograd.grad(problem.valid_loss(op_weights_EO, weights).loss, alpha)
        return Hypergradient(gradient_EO)

    return part


@register("hypergradient", "averaged", needs=("memory",))
def averaged(share: float = 0.9):
    """m = share m + (1 - share) d L_val / d alpha."""

    def part(problem, alpha_EO, relax):
        found = parts.first_order(problem, alpha_EO, relax)
        before = problem.progress.memory.get("average_EO", torch.zeros_like(found.gradient_EO))
        average_EO = share * before + (1 - share) * found.gradient_EO
        return found._replace(gradient_EO=average_EO, memory={"average_EO": average_EO})

    return part


def silent():
    """Asks for batches that it has not said it needs."""
    return lambda problem, alpha_EO, relax: problem.more_train_batches(1)
