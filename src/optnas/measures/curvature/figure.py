"""The figure of the measure `curvature`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from optnas.base.records import RunFolder
from optnas.base.registry import register
from optnas.measures.figures import Curve, Figure, Panel, Row, Seed
from optnas.measures.lines import Group, curve_of, data_names, groups_of, measured, number

COORDINATES = {"logits": "logits alpha", "op_weights": "operation weights A, zero row sums"}
LEGEND = "algorithm: weight optimizer + architecture optimizer"
ENDS = {"max": "largest", "min": "smallest"}


@register("figure", "curvature", in_report=True, needs=("curvature",))
def curvature(
    runs: Sequence[RunFolder],
    loss: Literal["valid", "train"] = "valid",
    statistics: Literal["batch", "recalibrated"] = "batch",
    batches: int = 0,
) -> Figure:
    """Extreme eigenvalues by epoch, and the spectrum at the last, in logits and operation weights.

    Points are eigenvalues of the mean Hessian over the batches. Bars, where there is one run, are
    95 % intervals of the mean of a single batch's eigenvalue, which need not hold the point: the
    largest eigenvalue of a mean is at most the mean of the largest.

    Args:
        runs: the runs, in each of which `curvature` was measured.
        loss: lines of this setting of the measure.
        statistics: likewise.
        batches: likewise; 0 for any number of them.

    Returns:
        A row for logits and one for operation weights.

    Raises:
        UserError: a run has no such lines, or they were measured with different settings.
    """
    chosen: dict[str, Any] = {"loss": loss, "statistics": statistics}
    found = measured("curvature", runs, **chosen | ({"batches": batches} if batches else {}))
    groups, settings = groups_of(runs, found), found[0][0]["settings"]
    last = sorted({lines[-1]["epoch"] for lines in found})
    half = {"valid": "validation", "train": "training"}[loss]
    data = data_names([run.read_config() for run in runs])
    return Figure(
        f"Exact Hessian of the {half} loss, {data}, last epoch {', '.join(map(str, last))}",
        [_row(groups, coordinates, title) for coordinates, title in COORDINATES.items()],
        f"Eigenvalues of the mean Hessian over n = {settings['batches']} batches, {statistics} "
        "statistics. Bars, where there is one run: 95 % interval of the mean of a single batch's "
        "eigenvalue.",
    )


def _row(groups: Sequence[Group], coordinates: str, title: str) -> Row:
    ends = [
        Panel(
            f"{words} eigenvalue",
            "nats",
            [_extreme(group, f"{coordinates}_{end}") for group in groups],
        )
        for end, words in ENDS.items()
    ]
    return Row(title, [*ends, _spectra(groups, f"{coordinates}_spectrum")], LEGEND)


def _extreme(group: Group, key: str) -> Curve:
    ends = (key, f"{key}_low", f"{key}_high")
    return curve_of(group, *(number(end) for end in ends))


def _spectra(groups: Sequence[Group], key: str) -> Panel:
    """Of the runs whose arrays are there: committed records may be without them."""
    curves, absent = [], 0
    for group in groups:
        seeds = []
        for seed, (run, lines) in zip(group.seeds, group.members, strict=True):
            if run.measures.has_arrays(lines[-1]):
                spectrum = run.measures.arrays(lines[-1])[key][::-1].tolist()
                seeds.append(Seed(seed, run.path.name, spectrum))
            else:
                absent += 1
        if seeds:
            ranks = range(1, len(seeds[0].values) + 1)
            curves.append(Curve(group.label, ranks, seeds, *group.look))
    remarks = [f"not drawn: {absent} runs whose arrays are not there"] if absent else []
    title, x = "spectrum at the last epoch", "rank of the eigenvalue"
    return Panel(title, "nats", curves, x=x, remarks=remarks)
