"""The figure of the measure `operations`."""

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

READINGS = {"deck": "solid", "chain": "dash", "path": "dot"}
PHI = {"phi": ("#000000", "phi"), "phi_without_auxiliary": ("#56B4E9", "phi without the skip")}


@register("figure", "operations", in_report=True, needs=("operations",))
def operations(runs: Sequence[RunFolder]) -> Figure:
    """Mass and argmax share of each operation, and phi, by epoch.

    Returns:
        A row for each algorithm and pair.

    Raises:
        UserError: there is no run, or one has no such measurement.
    """
    found, configs = measured("operations", runs), [run.read_config() for run in runs]
    return Figure(
        f"Operation weights of the search, {data_names(configs)}, {epochs_of(found)}",
        [_row(group) for group in groups_of(runs, found)],
        "Mass: mean of an operation's weight A over edges. Share: of the edges on which it is in "
        "the derived cell. Phi is told under three readings.",
    )


def _row(group: Group) -> Row:
    looks = operation_looks([*group.members[0][1][0]["values"]["mass"]])
    panels = [
        Panel(title, "", _by_operation(group, key, looks), scale=key)
        for key, title in (("mass", "mass"), ("share", "share of edges, derived cell"))
    ]
    phi = [
        curve_of(
            group,
            number(key, reading),
            look={"label": f"{words}, {reading}", "colour": colour, "dash": dash},
        )
        for key, (colour, words) in PHI.items()
        for reading, dash in READINGS.items()
    ]
    # In a space whose cells the theory is not about, phi is null.
    if any(value is not None for value in group.members[0][1][0]["values"]["phi"].values()):
        panels.append(Panel("phi, by reading", "", phi, scale="phi", log=True))
    return Row(
        group.title,
        panels,
        "operation; phi and its reading",
    )


def _by_operation(group: Group, key: str, looks: dict[str, dict[str, str]]) -> list[Curve]:
    return [curve_of(group, number(key, name), look=look) for name, look in looks.items()]
