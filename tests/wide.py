"""An algorithm whose alpha has a start of its own, and two whose start cannot serve."""

import torch

from optnas import Algorithm, parts, register


@register("algorithm", "on-the-simplex")
def on_the_simplex() -> Algorithm:
    """Alpha is itself a point of the simplex, as in GAEA (Li et al., ICLR 2021)."""

    def initial(space, generator):
        draws_EO = torch.rand(
            space.edge_count, space.operation_count, generator=generator, dtype=torch.float64
        )
        return (1 + 1e-3 * draws_EO) / (1 + 1e-3 * draws_EO).sum(-1, keepdim=True)

    return Algorithm(
        relax=lambda alpha_EO, progress: alpha_EO.clone(),
        perturb=parts.unperturbed,
        hypergradient=parts.first_order,
        discretize=parts.argmax_per_edge,
        initial=initial,
    )


@register("algorithm", "misshapen")
def misshapen() -> Algorithm:
    """Its initial alpha lacks its column."""
    return Algorithm(
        relax=parts.softmax,
        perturb=parts.unperturbed,
        hypergradient=parts.first_order,
        discretize=parts.argmax_per_edge,
        initial=lambda space, generator: torch.zeros(space.edge_count, space.operation_count),
        columns=1,
    )


@register("algorithm", "drawn-anew")
def drawn_anew() -> Algorithm:
    """Its initial alpha does not ask the generator that it is given."""
    return Algorithm(
        relax=parts.softmax,
        perturb=parts.unperturbed,
        hypergradient=parts.first_order,
        discretize=parts.argmax_per_edge,
        initial=lambda space, generator: torch.randn(space.edge_count, space.operation_count),
    )
