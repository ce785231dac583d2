"""The Python surface: run a search, resume one, load one, measure one afterwards."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from optnas.base.errors import UserError
from optnas.base.folder import Place, folder_path
from optnas.base.measurements import Line
from optnas.base.records import FINISHED, Record, RunFolder
from optnas.base.toml import nest, require_table
from optnas.search.given import SETTINGS, settings_of
from optnas.search.objects import named
from optnas.search.settings.complete import complete_measure
from optnas.search.settings.layers import check_format, reread
from optnas.search.settings.model import MeasureSection, Settings
from optnas.search.showing import Epochs
from optnas.search.words import told

if TYPE_CHECKING:
    import pandas as pd

OnEpoch = Callable[[Record], None]
OnLine = Callable[[str, Line], None]
MEASURES = "measures"  # what a UserError calls this argument


def run(
    settings: Mapping[str, Any] | None = None,
    *,
    out: Place,
    config: Place | None = None,
    on_epoch: OnEpoch = lambda record: None,
    where: object = SETTINGS,
    overwrite: bool = False,
    progress: bool | None = None,
) -> dict[str, Any]:
    """Run one search.

    Args:
        settings: dotted keys, nested tables or both, see `settings_of`; what they leave out comes
            from the protocol (``cpu`` by default).
        out: the run's folder, new or empty.
        config: a TOML file of settings; the dotted keys win over it.
        on_epoch: called with each epoch's record.
        where: what to call ``settings`` in error messages.
        overwrite: replace a run that lies in the folder.
        progress: show the epoch and the time that is left; by default in a terminal or notebook.

    Returns:
        The content of result.json.

    Raises:
        UserError: a setting is wrong or the folder is taken; nothing is left behind.

    Example:
        >>> run({"data.name": "digits", "search.epochs": 1}, out="runs/a")  # doctest: +SKIP
        {'status': 'done', ...}
    """
    # First, as code that the settings name may leave the folder.
    folder = RunFolder(folder_path(out, "out"))
    complete = settings_of(settings, config=config, where=where)
    with (
        told(where),
        folder.created(complete.document(), overwrite=overwrite),
        Epochs(complete.search.epochs, progress) as shown,
    ):
        return search(complete, folder, _both(shown.add, on_epoch))


def resume(
    out: Place,
    settings: Mapping[str, Any] | None = None,
    *,
    on_epoch: OnEpoch = lambda record: None,
    where: object = SETTINGS,
    progress: bool | None = None,
) -> dict[str, Any]:
    """Go on with a run from its last checkpoint; a finished run is left as it is.

    Args:
        out: the run's folder.
        settings: new values of ``run.*``, ``tracking.*`` or of where data lie; nothing else can
            change.
        on_epoch: called with each new record.
        where: what to call ``settings`` in error messages.
        progress: as of `run`.

    Returns:
        The content of result.json.

    Raises:
        UserError: there is no run, its files do not fit together, or another process has it.
    """
    folder = RunFolder(folder_path(out, "out"))
    with told(where), named(settings or {}, where) as plain:
        given = nest(plain, where)
        complete = reread(folder.read_config(), folder.config, given)
        result = folder.read_result()
        if result is not None and result.get("status") in FINISHED:
            folder.read_epochs()  # records that are damaged are no finished run's
            return result
        with folder.locked(), Epochs(complete.search.epochs, progress) as shown:
            return search(complete, folder, _both(shown.add, on_epoch))


def _both(one: OnEpoch, other: OnEpoch) -> OnEpoch:
    def on_epoch(record: Record) -> None:
        one(record)
        other(record)

    return on_epoch


def measure(
    out: Place,
    measures: Mapping[str, Mapping[str, Any]],
    settings: Mapping[str, Any] | None = None,
    *,
    again: bool = False,
    on_line: OnLine = lambda label, line: None,
    where: object = SETTINGS,
) -> None:
    """Take measures of a run afterwards, from the checkpoints it kept.

    The lines go to the run's folder, like those of measures taken live, and equal them. A line with
    equal settings that exists already is kept.

    Args:
        out: the run's folder.
        measures: by label, what differs from the run's own section of that label, else from the
            measure's defaults; ``name`` is the measure where the label is not, also a function;
            ``at`` and ``every`` choose among the checkpoints, else all count.
        settings: new values of ``run.*`` or ``data.folder``.
        again: measure also where a line exists already.
        on_line: called with each label and new line.
        where: what to call ``settings`` in error messages.

    Raises:
        UserError: there is no run or no such measure, or a setting is wrong.

    Example:
        >>> measure("runs/a", {"gap": {"at": ["end"]}})  # doctest: +SKIP
    """
    from optnas.search.observe import Wanted, measure_run
    from optnas.search.settings.check import check_measures

    folder = RunFolder(folder_path(out, "out"))
    require_table(measures, MEASURES, "gap={}")
    for label, given in measures.items():
        require_table(given, f"{MEASURES}[{label!r}]", "name=NAME")
        if where == SETTINGS and ":" in label:
            name = label.rpartition(":")[2]
            raise UserError(
                "this is a measure, and a label is due",
                where="arguments",
                key=MEASURES,
                value=label,
                remedy=f"write {{{name!r}: {dict(given) | {'name': label}}}}",
            )
    with told(MEASURES if where == SETTINGS else where), named(measures, MEASURES) as chosen:
        with told(where):
            overrides = nest(settings or {}, where)
            complete = reread(folder.read_config(), folder.config, overrides)
        asked = {label: _section(complete, label, given) for label, given in chosen.items()}
        with complete.origins.told():
            check_measures(complete.model_copy(update={"measures": asked}), afterwards=True)
        wanted = {
            label: Wanted(
                section, section.cadence if {"every", "at"} & set(measures[label]) else None
            )
            for label, section in asked.items()
        }
        measure_run(folder, complete, wanted, again=again, on_line=on_line)


def _section(settings: Settings, label: str, given: Mapping[str, Any]) -> MeasureSection:
    own = settings.measures.get(label)
    same = own is not None and own.name == given.get("name", own.name)
    base = {"name": own.name, **own.settings} if own is not None and same else {}
    return MeasureSection(**complete_measure(label, {**base, **given}, section=label))


def load(out: Place) -> pd.DataFrame:
    """A run as a table: one row per epoch, nested values under dotted column names.

    Args:
        out: the run's folder.

    Returns:
        The table; ``attrs`` has the configuration (``config``) and how the run ended (``result``).

    Raises:
        UserError: there is no run in the folder, or one of a newer format; or it is no path of one
            folder.

    Example:
        >>> tables = [load(out) for out in ("runs/a", "runs/b")]  # doctest: +SKIP
    """
    import pandas as pd

    folder = RunFolder(folder_path(out, "out"))
    config = folder.read_config()
    check_format(config, folder.config)
    table = pd.json_normalize(folder.read_epochs())
    table.attrs = {"config": config, "result": folder.read_result()}
    return table


def search(
    settings: Settings, folder: RunFolder, on_epoch: OnEpoch = lambda record: None
) -> dict[str, Any]:
    """Search in a run folder that this process holds, from wherever it stands.

    Args:
        settings: complete.
        folder: the run's folder.
        on_epoch: called with each new record.

    Returns:
        The content of result.json.

    Raises:
        UserError: a part of the search refuses a setting; told of the place it was written in.
    """
    from optnas.search.loop import run as run_search

    with settings.origins.told():
        return run_search(settings, folder, on_epoch)
