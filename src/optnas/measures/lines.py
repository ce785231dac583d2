"""What figures of measures share: their lines as curves, their captions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

from optnas.base import registry
from optnas.base.errors import UserError
from optnas.base.escapes import for_shell
from optnas.base.measurements import Line
from optnas.base.records import RunFolder
from optnas.measures.drawing import (
    COLOURS,
    MARKERS,
    NAMES,
    Look,
    require_runs,
    run_labels,
    run_looks,
)
from optnas.measures.figures import Curve, Panel, Seed
from optnas.measures.ways import SOURCE, difference, labels_of, way_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def measured(name: str, runs: Sequence[RunFolder], **chosen: Any) -> list[list[Line]]:
    """The lines of a measure in each run, all taken with one and the same settings.

    Args:
        name: the measure.
        runs: the runs.
        **chosen: settings of the measure, to choose among several.

    Returns:
        By run, in order of epoch.

    Raises:
        UserError: there is no run, one has no such line or several labels of them, or the settings
            differ.
    """
    require_runs(name, runs)
    words = "".join(f" {key}={value}" for key, value in chosen.items())
    found = []
    for run in runs:
        label, lines = lines_of(run, name, **chosen)
        lines = [each for each in lines if each["status"] == "ok"]
        if not lines:
            raise UserError(
                f"the run has no measurement of {name}"
                + (f" with{words}" if words else "")
                + _unnamed(run),
                where=run.path,
                remedy=f"measure it: {measure_command(run, name)}{words}",
            )
        found.append((label, lines))
    ways = []
    for run, (label, lines) in zip(runs, found, strict=True):
        config = run.read_config()
        ways.append([way_of(config, label, line) for line in lines])
    for run, of_run in zip(runs, ways, strict=True):
        for way in of_run:
            told = difference([ways[0][0], way])
            if told is None:
                continue
            key, value, _ = told
            if key == SOURCE:
                _refuse_versions(name, *dict.fromkeys([runs[0], run]))
            raise UserError(
                f"{name} was measured with different {key}",
                where=run.path,
                remedy=f"choose, such as {key}={value}",
            )
    return [lines for _, lines in found]


def lines_of(run: RunFolder, name: str, **chosen: Any) -> tuple[str, list[Line]]:
    """What a run has of a measure, whatever the label that its section gives it.

    Args:
        run: the run.
        name: the measure, or the label of a section.
        **chosen: settings of the measure, to choose among several.

    Returns:
        The label, and its lines in order of epoch, failed ones too; none where there are none.

    Raises:
        UserError: there is no run, or it has lines under several labels of which none is the name.
    """
    labels = labels_of(run.read_config(), name)
    found = {label: lines for label in labels if (lines := run.read_measures(label, **chosen))}
    if len(found) < 2 or name in found:
        label = name if name in found else next(iter(found), name)
        return label, found.get(label, [])
    raise UserError(
        f"the run has lines of {name} as {' and as '.join(found)}, and a figure shows one",
        where=run.path,
        remedy=f"measure it under its own name: {measure_command(run, name, labelled=False)}",
    )


def _unnamed(run: RunFolder) -> str:
    """Labels that were given afterwards: of what measure their lines are, nothing says."""
    known = {*run.read_config().get("measures", {}), *registry.names("measure")}
    labels = [label for label in run.measures.labels() if label not in known]
    told = " and ".join(labels)
    return f" (of what measure the lines of {told} are, its files do not say)" if labels else ""


def measure_command(run: RunFolder | str, name: str, *, labelled: bool = True) -> str:
    """The command that takes a measure of a run.

    Args:
        run: the run, or a word that stands for runs.
        name: the measure.
        labelled: under the label that the run's own section gives it, if one does.
    """
    sections: Mapping[str, Any] = {}
    if isinstance(run, RunFolder):
        sections, run = run.read_config().get("measures", {}), for_shell(run.path)
    own = [label for label in labels_of({"measures": sections}, name) if label in sections]
    if own and labelled:
        asked = own[0]
    elif name in registry.names("measure"):
        asked = name
    else:
        asked = for_shell(sections[own[0]]["name"]) if own else f"FILE:{name}"
    return f"optnas measure {run} {asked}"


def only(lines: Sequence[Line], label: str, run: RunFolder, options: Sequence[str]) -> Line:
    """The one line of an epoch.

    Args:
        lines: of the epoch.
        label: of the measure.
        run: the run.
        options: settings of the measure by which the figure lets one choose.

    Raises:
        UserError: there are several: a figure shows one.
    """
    config = run.read_config()
    told = difference(way_of(config, label, line) for line in lines)
    if told is None:  # where there are two, one is of an earlier version, with fewer settings
        return max(lines, key=lambda line: len(line["settings"]))
    key, value, other = told
    if key == SOURCE:
        _refuse_versions(label, run)
    file = run.measures.path / f"{label}.jsonl"
    raise UserError(
        f"the run has lines of {label} with {key} = {value} and {other}",
        where=run.path,
        remedy=f"choose one: {key}={value}"
        if key in options
        else f"take one out of {file}, and measure it under another label",
    )


def _refuse_versions(name: str, *runs: RunFolder) -> NoReturn:
    paths = " ".join(str(run.path) for run in runs)
    raise UserError(
        f"{name} was measured by different versions of its file",
        where=runs[-1].path,
        remedy=f"measure it once more: optnas measure {paths} FILE:{name} --again; lines of epochs "
        f"that keep no checkpoint are taken out of measures/{name}.jsonl",
    )


def data_names(configs: Sequence[Mapping[str, Any]]) -> str:
    """The data sets that runs searched on."""
    return ", ".join(sorted({NAMES.get(c["data"]["name"], c["data"]["name"]) for c in configs}))


def epochs_of(found: Sequence[Sequence[Line]]) -> str:
    """Such as ``epochs 0 to 40``: the first and the last that were measured."""
    every = sorted({line["epoch"] for lines in found for line in lines})
    return f"epoch {every[0]}" if len(every) == 1 else f"epochs {every[0]} to {every[-1]}"


class Group(NamedTuple):
    """The runs of one algorithm and optimizer pair, which differ in their seed, and their look."""

    label: str
    look: Look
    members: list[tuple[RunFolder, list[Line]]]
    seeds: list[int]

    @property
    def title(self) -> str:
        """Such as ``darts: SGD + Adam, seeds 0, 1``."""
        told = ", ".join(map(str, sorted(self.seeds)))
        return f"{self.label}, seed{'s' if len(self.seeds) > 1 else ''} {told}"


def groups_of(runs: Sequence[RunFolder], found: Sequence[list[Line]]) -> list[Group]:
    """Runs by algorithm and pair.

    Args:
        runs: the runs.
        found: lines of each, as `measured` returns them.

    Returns:
        The groups, in the order of `run_looks`.
    """
    configs = [run.read_config() for run in runs]
    groups = {
        label: Group(label, look, members=[], seeds=[])
        for label, look in run_looks(configs).items()
    }
    for label, config, run, lines in zip(run_labels(configs), configs, runs, found, strict=True):
        group = groups[label]
        group.members.append((run, lines))
        group.seeds.append(config["search"]["seed"])
    return list(groups.values())


Value = Callable[[Line], float | None]


def number(quantity: str, *keys: str) -> Value:
    """One number of a line.

    Args:
        quantity: its name.
        *keys: where in it, for a table of numbers.

    Returns:
        A function from a line to the number; None where the line has none.
    """

    def value(line: Line) -> float | None:
        found = line["values"][quantity]
        for key in keys:
            found = found[key]
        return None if found is None else float(found)

    return value


def curve_of(
    group: Group, value: Value, *ends: Value, look: Mapping[str, str] | None = None
) -> Curve:
    """A number of each line of a group's runs by epoch, as a curve.

    Args:
        group: the runs.
        value: the number, such as `number` gives it.
        *ends: the lower and the upper end of its own interval, or neither.
        look: label, colour, dash and marker where they are not the group's.
    """
    every = sorted({line["epoch"] for _, lines in group.members for line in lines})
    seeds = []
    for seed, (run, lines) in zip(group.seeds, group.members, strict=True):
        at = {line["epoch"]: line for line in lines}
        columns = [
            [None if (line := at.get(epoch)) is None else each(line) for epoch in every]
            for each in (value, *ends)
        ]
        seeds.append(Seed(seed, run.path.name, *columns))
    own = {"label": group.label, **group.look._asdict()}
    return Curve(x=every, seeds=seeds, **own | dict(look or {}))


def by_epoch(
    measure: str, runs: Sequence[RunFolder], quantity: str, title: str, **chosen: Any
) -> Panel:
    """A panel of one quantity of a measure by epoch: a curve for each algorithm and pair.

    Args:
        measure: the measure.
        runs: the runs.
        quantity: one of its numbers; its unit is that which the measure declares.
        title: what it is.
        **chosen: settings of the measure, to choose among several.

    Raises:
        UserError: see `measured`.
    """
    found = measured(measure, runs, **chosen)
    curves = [curve_of(group, number(quantity)) for group in groups_of(runs, found)]
    return Panel(title, found[0][0]["units"][quantity], curves)


def operation_looks(operations: Sequence[str]) -> dict[str, dict[str, str]]:
    """Label, colour and marker of each operation, the same in every figure."""
    return {
        name: {
            "label": name,
            "colour": COLOURS[o % len(COLOURS)],
            "marker": MARKERS[o % len(MARKERS)],
            "dash": "solid",
        }
        for o, name in enumerate(operations)
    }


def finish(ax: Axes) -> None:
    """Integer epochs, a light grid, no frame above and to the right."""
    from matplotlib.ticker import MaxNLocator

    ax.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    ax.grid(alpha=0.25)
    ax.spines[["top", "right"]].set_visible(False)
