"""Runs below a folder as a study that nobody declared: its axes are what the runs differ in."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from optnas.base.errors import UserError
from optnas.base.records import RunFolder
from optnas.search.settings.model import Settings
from optnas.study.axes import IDLE, IMAGES
from optnas.study.declare import ID_LENGTH, SEED, PlannedRun, Study, describe_settings
from optnas.study.folder import require_record, runs_of

FINGERPRINT = "data.fingerprint"
# The name of the file that a run's settings come from is none of them.
NAMELESS = ("protocol",)


def gathered(out: Path, numbers_version: int | None = None) -> tuple[Study, dict[str, RunFolder]]:
    """Every run below a folder, as a study.

    A section whose component differs between runs, such as ``weight_optimizer``, is an axis as a
    whole; of the others each setting that differs is one.

    Args:
        out: the folder.
        numbers_version: of the runs, see `optnas.study.folder.runs_of`.

    Returns:
        The study, its runs in the order of their values, and their folders by id.

    Raises:
        UserError: no run is there, one has the settings of another program, or all differ in their
            seed alone.
    """
    folders = {
        str(run.read_identity()["hash"])[:ID_LENGTH]: run
        for run in runs_of(None, out, numbers_version=numbers_version)
    }
    require_record(folders)
    told = {name: describe_settings(run.read_config()) for name, run in folders.items()}
    axes = _axes(told)
    if not axes:
        raise UserError(
            "the runs there differ in nothing but the seed",
            key="--out",
            value=str(out),
            remedy="name a folder of runs that differ in a setting",
        )
    points = {
        name: {key: _value(each, key) for key in axes} | {SEED: each[SEED]}
        for name, each in told.items()
    }
    order = sorted(folders, key=lambda name: [*map(_place, points[name].values())])
    runs = {name: PlannedRun(name, _settings(folders[name]), points[name]) for name in order}
    study = Study(str(out), "", "", str(out), runs, len(runs))
    return study, {name: folders[name] for name in order}


def _axes(told: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """What runs differ in: a section where its name does, else a setting."""
    keys = dict.fromkeys(key for each in told.values() for key in each)
    varied = [key for key in keys if len({repr(each.get(key)) for each in told.values()}) > 1]
    varied = [k for k in varied if k.partition(".")[0] not in (*IDLE, *NAMELESS) and k != SEED]
    whole = [key.removesuffix(".name") for key in varied if key.endswith(".name")]
    found = (next((each for each in whole if key.startswith(f"{each}.")), key) for key in varied)
    # Of images a study knows where they lie; which they are is in the place of that.
    return list(dict.fromkeys(IMAGES[0] if key == FINGERPRINT else key for key in found))


def _value(settings: Mapping[str, Any], axis: str) -> Any:
    if axis == IMAGES[0]:
        return settings.get(FINGERPRINT)
    name = f"{axis}.name"
    return {"name": settings[name]} if name in settings else settings.get(axis)


def _place(value: Any) -> tuple[bool, float, str]:
    """Numbers in their order, before words."""
    number = isinstance(value, (int, float))
    return not number, value if number else 0.0, str(value)


def _settings(run: RunFolder) -> Settings:
    try:
        return Settings.recorded(run.read_config())
    except ValueError as error:
        raise UserError(
            "holds no complete settings of a run", where=run.config, remedy="leave the run out"
        ) from error
