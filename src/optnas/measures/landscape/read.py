"""What the measure ``landscape`` found in runs, as plain data. Draws nothing; without torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from optnas.base.errors import UserError
from optnas.base.escapes import for_shell
from optnas.base.records import RunFolder
from optnas.measures.drawing import pair_name, require_runs, run_labels
from optnas.measures.landscape.surfaces import SMOOTHNESS_UNIT, Way, projected, smoothness
from optnas.measures.lines import lines_of, only

LABEL = "landscape"
# The deck's figure F4, from left to right.
F4 = ("darts", "sdarts-rs", "sdarts-adv")
OPTIONS = ("plane", "space", "statistics")  # of the figure, to choose among several
NOT_SCALARS = ("images", "architecture", "benchmark")


@dataclass(frozen=True)
class Landscape:
    """One measured landscape.

    Attributes:
        run: the run's folder.
        config: its config.toml.
        epoch: the epoch.
        settings: of the measure.
        values: its quantities by name; None for one that is not finite.
        units: of the quantities.
        arrays: grids, directions and paths by name; see docs/measures/landscape.md.
    """

    run: RunFolder
    config: Mapping[str, Any]
    epoch: int
    settings: Mapping[str, Any]
    values: Mapping[str, Any]
    units: Mapping[str, str]
    arrays: Mapping[str, npt.NDArray[Any]]

    @property
    def algorithm(self) -> str:
        """The name of the algorithm."""
        return str(self.config["algorithm"]["name"])

    @property
    def pair(self) -> str:
        """Weight and architecture optimizer, such as ``SGD + Adam``."""
        return pair_name(self.config)

    @property
    def seed(self) -> int:
        """The run's seed."""
        return int(self.config["search"]["seed"])


def way_of(found: Landscape) -> Way | None:
    """The search's way to the point of a landscape, projected into its plane.

    Returns:
        Of the operation weights or of alpha, whichever the plane is in, from epoch 0 to that of the
        landscape; None where the landscape's directions were not kept, or nothing moved.
    """
    if "directions" not in found.arrays:
        return None
    directions_2EO = np.asarray(found.arrays["directions"], float)
    key = "op_weights" if found.settings["space"] == "op-weights" else "alpha"
    records = [each for each in found.run.read_epochs() if each["epoch"] <= found.epoch]
    # Alpha may have further columns than those of the operations.
    operations = directions_2EO.shape[-1]
    trajectory_TEO = np.array([each[key] for each in records], float)[..., :operations]
    way = projected(trajectory_TEO, trajectory_TEO[-1], directions_2EO)
    return way if np.isfinite(way.share) else None


@dataclass(frozen=True)
class Scalar:
    """A quantity over the seeds of an algorithm.

    Attributes:
        unit: of the numbers.
        mean: over the seeds; None if one has no finite value.
        sd: sample standard deviation, None for fewer than two seeds.
        n: seeds.
    """

    unit: str
    mean: float | None
    sd: float | None
    n: int


@dataclass(frozen=True)
class Column:
    """One algorithm of F4.

    Attributes:
        algorithm: its name.
        shown: the landscape to draw, that of the lowest seed.
        seeds: of all its runs, ascending.
        scalars: by name of quantity.
    """

    algorithm: str
    shown: Landscape
    seeds: tuple[int, ...]
    scalars: Mapping[str, Scalar]


def read_landscapes(
    runs: Sequence[RunFolder], label: str = LABEL, epoch: int = -1, **wanted: Any
) -> list[Landscape]:
    """One landscape per run, all measured with the same settings.

    Args:
        runs: the runs.
        label: under which they were measured.
        epoch: the epoch; -1 for the last measured one of each run.
        **wanted: settings of the measure, to choose among several.

    Returns:
        The landscapes in the order of the runs.

    Raises:
        UserError: no run is given, a run has none, or the settings are not one and the same.
    """
    require_runs("landscape", runs)
    found = [_of_run(run, label, epoch, wanted) for run in runs]
    for each in found[1:]:
        _require_equal(found[0], each)
    return found


def f4_data(
    runs: Sequence[RunFolder], label: str = LABEL, epoch: int = -1, **wanted: Any
) -> tuple[list[Column], list[str]]:
    """The data of the deck's figure F4: DARTS, SDARTS-RS and SDARTS-ADV under one optimizer pair.

    Args:
        runs: each algorithm one or more seeds. Of several pairs that with landscapes of most
            algorithms is taken, the first of equals.
        label: see `read_landscapes`.
        epoch: see `read_landscapes`.
        **wanted: see `read_landscapes`.

    Returns:
        A column for each algorithm that is there, in this order; then what is left out, in words.

    Raises:
        UserError: no run is of the figure, the runs of an algorithm are no seeds of one another, or
            see `read_landscapes`.
    """
    found = read_landscapes(runs, label, epoch, **wanted)
    of_pairs: dict[str, dict[str, list[Landscape]]] = {}
    for each in found:
        if each.algorithm in F4:
            of_pairs.setdefault(each.pair, {}).setdefault(each.algorithm, []).append(each)
    if not of_pairs:
        raise UserError(
            f"the figure F4 shows {', '.join(F4)}",
            where=found[0].run.config,
            key="algorithm.name",
            value=found[0].algorithm,
            remedy="add a run of one of them, or draw --figure landscape",
        )
    pair = max(of_pairs, key=lambda each: len(of_pairs[each]))
    shown = of_pairs[pair]
    absent = [name for name in F4 if name not in shown]
    left = len(found) - sum(map(len, shown.values()))
    remarks = [f"no landscape of {', '.join(absent)} under {pair}"] if absent else []
    remarks += [f"{left} runs of other algorithms or pairs are left out"] if left else []
    return [_column(name, shown[name]) for name in F4 if name in shown], remarks


def _of_run(run: RunFolder, label: str, epoch: int, wanted: Mapping[str, Any]) -> Landscape:
    config = run.read_config()
    label, every = lines_of(run, label, **wanted)
    lines = [line for line in every if line["status"] != "failed" and epoch in (-1, line["epoch"])]
    if not lines:
        chosen = "".join(f" {key}={value}" for key, value in wanted.items())
        at = '["end"]' if epoch == -1 else f"[{epoch}]"
        raise UserError(
            "the run has no such landscape"
            if wanted or epoch != -1
            else "the run has no landscape",
            where=run.path,
            remedy=f"take it: optnas measure {for_shell(run.path)} {label}{chosen} at='{at}'",
        )
    last = max(line["epoch"] for line in lines)
    line = only([each for each in lines if each["epoch"] == last], label, run, OPTIONS)
    arrays = run.measures.arrays(line)
    values, units = dict(line["values"]), dict(line["units"])
    if "loss_smoothness" not in values:  # measured before there was this quantity
        values["loss_smoothness"] = smoothness(arrays["axis"], arrays["loss"])
        units["loss_smoothness"] = SMOOTHNESS_UNIT
    return Landscape(run, config, last, line["settings"], values, units, arrays)


def _require_equal(one: Landscape, other: Landscape) -> None:
    for key, value in one.settings.items():
        if other.settings.get(key) != value:
            raise UserError(
                f"is {other.settings.get(key)} in {other.run.path}: landscapes are compared only "
                "where they were measured alike",
                where=one.run.path,
                key=key,
                value=value,
                remedy=f"measure both alike: optnas measure DIR... landscape {key}={value}",
            )


def _column(algorithm: str, seeds: list[Landscape]) -> Column:
    labels = list(dict.fromkeys(run_labels([each.config for each in seeds])))
    if len(labels) > 1:
        raise UserError(
            f"the runs of {algorithm} are no seeds of one search but {len(labels)}: "
            f"{' and '.join(labels[:2])}",
            key="DIR...",
            remedy="give runs that differ in their seed alone, or draw --figure landscape",
        )
    ordered = sorted(seeds, key=lambda each: each.seed)
    first = ordered[0]
    scalars = {
        name: _scalar([each.values[name] for each in ordered], unit)
        for name, unit in first.units.items()
        if name not in NOT_SCALARS
    }
    return Column(algorithm, first, tuple(each.seed for each in ordered), scalars)


def _scalar(values: list[float | None], unit: str) -> Scalar:
    finite = [value for value in values if value is not None]
    if len(finite) < len(values):
        return Scalar(unit, None, None, len(values))
    sd = float(np.std(finite, ddof=1)) if len(finite) > 1 else None
    return Scalar(unit, float(np.mean(finite)), sd, len(finite))
