"""An algorithm whose alpha has a column beside the operations, and a start of its own.

The normalization of edges of PC-DARTS (Xu et al., ICLR 2020):
A[e, o] = softmax(alpha[e, :O])[o] softmax(b)[e], b the last column among the edges into one node.
"""

import torch

from optnas import Algorithm, HypergradientName, Space, parts, register


@register("algorithm", "edge-normalised")
def edge_normalised(hypergradient: HypergradientName = "first-order", *, space: Space) -> Algorithm:
    """DARTS with normalised edges."""
    targets = torch.tensor([target for _, target in space.edges])
    same_EE = targets[:, None] == targets[None, :]

    def relax(alpha_EC, progress):
        odds_E = alpha_EC[:, -1].exp()
        shares_E = odds_E / (same_EE.to(odds_E) @ odds_E)
        return alpha_EC[:, :-1].softmax(-1) * shares_E[:, None]

    return Algorithm(
        relax=relax,
        perturb=parts.unperturbed,
        hypergradient=hypergradient,
        discretize=parts.argmax_per_edge,
        columns=1,
    )


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
