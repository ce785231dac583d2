"""Landscapes as panels: maps on one scale, paths, the table of scalars."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from optnas.measures.drawing import COLOURS, NAMES
from optnas.measures.figures import Curve, Grid, Panel, Row, Seed, Table
from optnas.measures.landscape.read import Column, Landscape, Scalar, way_of
from optnas.measures.landscape.surfaces import Way

TITLES = {"darts": "DARTS", "sdarts-rs": "SDARTS-RS", "sdarts-adv": "SDARTS-ADV"}
AXES = {
    "gradient": ("gradient of the loss", "random, orthogonal"),
    "optdarts": ("gradient of the loss, row by row", "random, row by row"),
    "random": ("random", "random, orthogonal"),
    "eigenvectors": ("first eigenvector", "second eigenvector"),
}
MODES = {
    "_recalibrated": ("batch norm by statistics of the point", COLOURS[0], "solid"),
    "": ("batch norm by statistics of the run", COLOURS[1], "dash"),
}
# Quantities below F4: what each is called, decimals.
TABLE = {
    "accuracy": ("accuracy at the centre", 1),
    "mean_accuracy_drop": ("mean drop within the radius", 1),
    "worst_accuracy_drop": ("worst drop within the radius", 1),
    "accuracy_residual": ("accuracy off its quadratic fit", 2),
    "mean_loss_rise": ("mean rise of the loss", 3),
    "loss_smoothness": ("largest change of the loss's slope", 1),
    "loss_residual": ("loss off its quadratic fit", 3),
    "curvature_x": ("curvature of the loss along x", 2),
    "curvature_y": ("curvature of the loss along y", 2),
    "path_accuracy_drop_recalibrated": ("worst drop towards the cell", 1),
}
SHORTEST_WAY = 0.1  # that is drawn, of the half-width of the plane; the centre's mark takes 0.06
UNITS = {"percent": "%", "percentage points": "points"}


def caption(found: Sequence[Landscape]) -> str:
    """What is drawn, in two lines."""
    first = found[0]
    data = sorted({NAMES.get(e.config["data"]["name"], e.config["data"]["name"]) for e in found})
    epochs = sorted({each.epoch for each in found})
    where = "operation weights" if first.settings["space"] == "op-weights" else "logits"
    own = "" if first.settings["statistics"] == "run" else ", batch norm recalibrated at each point"
    told = "epoch " if len(epochs) == 1 else "epochs "
    return (
        f"Validation accuracy around the {where} of the search\n{', '.join(data)}, "
        f"{told}{', '.join(map(str, epochs))}, network weights fixed, "
        f"{first.values['images']} validation images{own}"
    )


def accuracy_row(found: Sequence[Landscape], titles: Sequence[str]) -> Row:
    """Maps of the validation accuracy with contours of the loss; pictures show surfaces too."""
    ways = [way_of(each) for each in found]
    panels = [
        Panel(
            title,
            "y",
            x=_direction(each),
            scale="accuracy",
            remarks=_told_way(each, way),
            grid=Grid(
                each.arrays["axis"].tolist(),
                each.arrays["accuracy"],
                "validation accuracy (%)",
                contours=each.arrays["loss"],
                contours_unit="loss (nats)",
                surface=True,
                way=[(x, y) for x, y in way.points_T2.tolist()]
                if way is not None and _seen(each, way)
                else [],
            ),
        )
        for each, title, way in zip(found, titles, ways, strict=True)
    ]
    return Row("", panels)


def _told_way(found: Landscape, way: Way | None) -> list[str]:
    """How much of the search's way the plane shows, and which epochs lie beside the picture."""
    if way is None:
        return []
    of = "operation weights" if found.settings["space"] == "op-weights" else "alpha"
    share = f"{100 * way.share:.3g} % of whose variance is in the plane"
    if not _seen(found, way):
        reach = np.abs(way.points_T2).max()
        return [f"not drawn: the way of {of}, {share}: within {reach:.2g} of the centre there"]
    told = f"orange line: the way of {of}, {share}"
    beyond = np.flatnonzero(np.abs(way.points_T2).max(axis=1) > found.arrays["axis"][-1])
    if len(beyond):
        told += f"; epochs {beyond[0]} to {beyond[-1]} are outside"
    return [told]


def _seen(found: Landscape, way: Way) -> bool:
    """Whether a way comes out from under the mark of the centre."""
    return bool(np.abs(way.points_T2).max() > SHORTEST_WAY * found.arrays["axis"][-1])


def benchmark_row(found: Sequence[Landscape]) -> Row:
    """Maps of what the benchmark says of each point's cell; no panel without a benchmark."""
    told = found[0].values["benchmark"]
    dataset = next(iter(told["accuracy"]), None)
    if dataset is None:
        return Row("")
    unit = f"{NAMES.get(dataset, dataset)} {told['split']} (%), table {told['table']}"
    panels = [
        Panel(
            f"{_name(each)}, seed {each.seed}",
            "y",
            x=_direction(each),
            scale="benchmark",
            grid=Grid(
                each.arrays["axis"].tolist(), each.arrays[f"benchmark_{dataset}"], unit, "viridis"
            ),
        )
        for each in found
    ]
    return Row("Benchmark accuracy of the argmax cell of each point", panels)


def path_row(found: Sequence[Landscape], quantity: str, unit: str, log: bool) -> Row:
    """A quantity on the way from A to the derived cell."""
    panels = [
        Panel(
            f"{_name(each)}, seed {each.seed}",
            unit,
            [
                Curve(
                    name,
                    each.arrays["path_t"].tolist(),
                    [
                        Seed(
                            each.seed,
                            each.run.path.name,
                            each.arrays[f"path_{quantity}{mode}"].tolist(),
                        )
                    ],
                    colour,
                    dash,
                )
                for mode, (name, colour, dash) in MODES.items()
            ],
            x="t",
            scale=f"path {quantity}",
            log=log,
        )
        for each in found
    ]
    return Row(f"{quantity.capitalize()} from A (t = 0) to the derived cell (t = 1)", panels)


def table_of(columns: Sequence[Column]) -> Table:
    """The scalars of each algorithm over its seeds."""
    heads = ["", *(f"{_name(column.shown)}, n = {len(column.seeds)}" for column in columns)]
    rows = []
    for key, (words, digits) in TABLE.items():
        found = [column.scalars[key] for column in columns]
        cells = [told(each, digits) for each in found]
        rows.append([f"{words} ({short_unit(found[0].unit)})", *cells])
    return Table(heads, rows)


def _name(found: Landscape) -> str:
    return TITLES.get(found.algorithm, found.algorithm)


def _direction(found: Landscape) -> str:
    """What x is; y is orthogonal to it."""
    return f"x: {AXES[found.settings['plane']][0]}; y: {AXES[found.settings['plane']][1]}"


def short_unit(unit: str) -> str:
    """A unit as it stands beside a number."""
    return UNITS.get(unit, unit.replace(" a ", " per "))  # as earlier records have it


def told(scalar: Scalar, digits: int) -> str:
    """A quantity over seeds in words, such as ``9.3 ± 0.4``."""
    if scalar.mean is None:
        return "not finite"
    spread = "" if scalar.sd is None else f" ± {scalar.sd:.{digits}f}"
    return f"{scalar.mean:.{digits}f}{spread}"
