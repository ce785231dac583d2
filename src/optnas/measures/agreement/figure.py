"""The figure of the measure `agreement`."""

from __future__ import annotations

from collections.abc import Sequence

from optnas.base.records import RunFolder
from optnas.base.registry import register
from optnas.measures.figures import Curve, Figure, Panel, Row
from optnas.measures.lines import (
    Group,
    curve_of,
    data_names,
    epochs_of,
    groups_of,
    measured,
    number,
    operation_looks,
)

HALVES = {"valid": "validation", "train": "training"}


@register("figure", "agreement", in_report=True, needs=("agreement",))
def agreement(runs: Sequence[RunFolder], batches: int = 0, batch_size: int = -1) -> Figure:
    """Cosines of both halves' gradients by operation, and the gradients of alpha, by epoch.

    Args:
        runs: runs measured by `agreement`.
        batches: lines of this setting of the measure; 0 for any.
        batch_size: likewise; -1 for any.

    Returns:
        A row for each algorithm and pair.

    Raises:
        UserError: there is no run, one has no such lines, or their settings differ.
    """
    chosen = ({"batches": batches} if batches else {}) | (
        {"batch_size": batch_size} if batch_size >= 0 else {}
    )
    found, configs = measured("agreement", runs, **chosen), [run.read_config() for run in runs]
    settings = found[0][0]["settings"]
    size = settings["batch_size"] or configs[0]["search"]["batch_size"]
    rows = [_row(group) for group in groups_of(runs, found)]
    return Figure(
        f"Gradients in the architecture, {data_names(configs)}, {epochs_of(found)}",
        rows,
        f"n = {settings['batches']} batches of {size} images of each half. An operation whose "
        "gradient of alpha is below 0 gains. Bars, where there is one run: 95 % interval over "
        "batches.",
    )


def _row(group: Group) -> Row:
    first = group.members[0][1][0]["values"]
    looks = operation_looks([*first["cosine_by_operation"]])
    cosines = [
        curve_of(group, number("cosine_by_operation", name), look=look)
        for name, look in looks.items()
    ]
    every = {"label": "all operations", "colour": "#000000", "dash": "dash"}
    cosines.append(curve_of(group, number("cosine"), look=every))
    halves = [
        Panel(
            f"mean gradient of alpha, {words} half",
            "nats",
            _gradients(group, f"alpha_gradient_{half}", looks),
            scale="gradient",
        )
        for half, words in HALVES.items()
    ]
    title = "cosine of training and validation gradient in A"
    return Row(group.title, [Panel(title, "cosine", cosines, scale="cosine"), *halves], "operation")


def _gradients(group: Group, key: str, looks: dict[str, dict[str, str]]) -> list[Curve]:
    ends = (key, f"{key}_low", f"{key}_high")
    return [
        curve_of(group, *(number(end, name) for end in ends), look=look)
        for name, look in looks.items()
    ]
