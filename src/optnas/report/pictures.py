"""Figures by name as files: for ``optnas plot``, and those of a report for a paper.

What a registered figure returns decides how it is written: a `Figure` is drawn, a matplotlib figure
is written as it is, the file of a slide is copied.
"""

from __future__ import annotations

import base64
import inspect
import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from optnas.base import registry
from optnas.base.errors import UserError
from optnas.base.files import write_text, writing
from optnas.base.folder import Place, folder_path
from optnas.base.records import RunFolder, given_runs
from optnas.measures.drawing import FORMATS, PLAIN, check_format, require_runs, write_figure
from optnas.measures.figures import Figure, Row
from optnas.report import static
from optnas.report.data import Drawn, drawn
from optnas.report.material import material_of_runs
from optnas.study.states import each_once

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Drawing

DPI = 300
SUPPLIED = ("runs", "material", "table", "folder", "reference")


@dataclass(frozen=True)
class Picture:
    """A figure that a matplotlib figure is: its name, title, and the drawing."""

    name: str
    title: str
    drawing: Drawing

    def embedded(self) -> str:
        """The drawing as the address of an image in a page."""
        return f"data:image/png;base64,{base64.b64encode(self._repr_png_()).decode()}"

    def _repr_png_(self) -> bytes:
        """What a notebook shows."""
        file = io.BytesIO()
        self.drawing.savefig(file, format="png", dpi=120)
        return file.getvalue()


class Absent(NamedTuple):
    """A figure that a study's runs cannot supply, why in a few words, and what it would need."""

    name: str
    why: str
    rows: Sequence[Row] = ()


def plot_figure(
    name: str | Callable[..., Any],
    runs: Place | Iterable[Place],
    path: str | Path,
    options: Mapping[str, Any] | None = None,
    *,
    table: str | None = None,
    folder: Place | None = None,
    reference: Sequence[str] | None = None,
    hold: Mapping[str, Any] | None = None,
) -> None:
    """Draw a figure by name.

    Args:
        name: a registered figure, ``./file.py:function``, or the function itself.
        runs: one or several that it is drawn from: folders of runs by path, or `RunFolder`; an
            empty list for a diagram.
        path: a file that ends in .png, .svg or .pdf.
        options: the figure's own, checked against its signature.
        table: ask this benchmark table again, for figures that show one.
        folder: the data folder, for ``table`` and ``reference``.
        reference: horizontal lines, for figures that have them; see
            `optnas.report.epochs.epochs`.
        hold: for figures that compare runs of one value of each setting, such as F7: the values,
            by dotted key; by default those of most runs.

    Raises:
        UserError: there is no such figure, it takes other arguments, or it cannot be written.

    Example:
        >>> plot_figure("epochs", "runs/first", "first.png")  # doctest: +SKIP
        >>> plot_figure("mixed-cell", [], "cell.svg")  # doctest: +SKIP
    """
    path = Path(path)
    data = None if folder is None else folder_path(folder)
    name, figure = _found(name)
    offered = _asked(name, figure, each_once(given_runs(runs)), table, data, reference, hold)
    check_format(path)
    match _drawable(figure, name, offered, options or {}):
        case Figure() as made:
            static.write(drawn(name, made), path, captioned=True)
        case Traversable() as slide:
            _copy(name, slide, path)
        case drawing:
            write_figure(drawing, path)


def picture_of(
    name: str | Callable[..., Any],
    runs: Sequence[RunFolder],
    options: Mapping[str, Any] | None = None,
) -> Picture:
    """Draw a figure of runs to look at, such as in a notebook.

    Args:
        name: a registered figure, ``./file.py:function``, or the function itself.
        runs: the runs it is drawn from.
        options: the figure's own, checked against its signature.

    Raises:
        UserError: there is no such figure, it takes other arguments, or it shows nothing of runs.
    """
    name, figure = _found(name)
    offered = _asked(name, figure, each_once(runs), None, None, None)
    match _drawable(figure, name, offered, options or {}):
        case Figure() as made:
            return Picture(name, made.title, static.draw(drawn(name, made), captioned=True))
        case drawing:
            return Picture(name, name, drawing)


def _found(name: str | Callable[..., Any]) -> tuple[str, registry.Factory]:
    """What to call a figure, and its function."""
    if callable(name):
        return name.__name__, name
    return name, registry.find("figure", name, key="--figure")


def _asked(
    name: str,
    figure: registry.Factory,
    runs: Sequence[RunFolder],
    table: str | None,
    folder: Path | None,
    reference: Sequence[str] | None,
    hold: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """What a figure may take of what was asked."""
    taken = inspect.signature(figure).parameters
    for key, value in {"table": table, "reference": reference and ",".join(reference)}.items():
        if value is not None and not {key, "material"} & taken.keys():
            raise UserError(
                f"the figure {name} asks no benchmark table",
                key=f"--{key}",
                value=value,
                remedy="leave it out",
            )
    if hold and "material" not in taken:
        raise UserError(
            f"the figure {name} draws runs whatever their settings",
            key="--hold",
            value=" ".join(hold),
            remedy="leave it out",
        )
    if runs and not {"runs", "material"} & taken.keys():
        raise UserError(
            f"the figure {name} takes no run",
            key="DIR...",
            value=" ".join(str(run.path) for run in runs),
            remedy="leave it out",
        )
    offered: dict[str, Any] = {
        "runs": runs,
        "table": table,
        "folder": folder,
        "reference": reference,
    }
    if "material" in taken:
        require_runs(name, runs)
        offered["material"] = material_of_runs(runs, table, folder, reference, hold)
    return offered


def _drawable(
    figure: registry.Factory, name: str, offered: Mapping[str, Any], options: Mapping[str, Any]
) -> Any:
    """What a figure returns, if there is something in it."""
    made = _made(figure, name, offered, options)
    if isinstance(made, Figure) and not any(row.panels for row in made.rows):
        given = len(offered["runs"])
        raise UserError(
            f"of the {given} run{'s' if given > 1 else ''} given the figure {name} has nothing to "
            f"draw: {made.missing or 'no row has a panel'}",
            key="DIR...",
            remedy=_needs(made),
        )
    return made


def _needs(figure: Figure) -> str:
    """What a figure without a panel would be drawn from, in words."""
    told = next((row.missing for row in figure.rows if row.missing), None)
    if told is None:
        return "give finished runs that it can show"
    first, *each = told
    arms = "; ".join(line.removesuffix(" (none is here)") for line in each)
    return f"{first[0].lower()}{first[1:]} {arms}"


def _made(
    figure: Callable[..., Any], name: str, offered: Mapping[str, Any], options: Mapping[str, Any]
) -> Any:
    from matplotlib import rc_context

    chosen = registry.complete_settings(figure, options, section=name, skip=SUPPLIED)
    with rc_context(PLAIN):  # of a figure that is a matplotlib figure itself
        return registry.supply(figure, chosen, offered, section=name)


def _copy(name: str, slide: Traversable, path: Path) -> None:
    if path.suffix != ".svg":
        raise UserError(
            f"the figure {name} is a slide that is kept as SVG",
            key="-o",
            value=str(path),
            remedy=f"write {path.with_suffix('.svg')} and convert it",
        )
    with writing("the picture", key="-o", path=path):
        write_text(path, slide.read_text(encoding="utf-8"))


def figure_of_report(
    name: str, figure: Callable[..., Any], offered: Mapping[str, Any]
) -> Drawn | Picture | Absent:
    """One figure of a report.

    Args:
        name: what it is called there.
        figure: the registered function.
        offered: what it may ask for, see `SUPPLIED`.

    Returns:
        What is drawn, or why nothing is.
    """
    try:
        made = _made(figure, name, offered, {})
    except UserError as error:
        return Absent(name, error.reason)
    except Exception as error:  # a stranger's code may fail in any way; the page says how
        return Absent(name, f"failed, {type(error).__name__}: {error}")
    if not isinstance(made, Figure):
        title = (inspect.getdoc(figure) or name).partition("\n")[0].removesuffix(".")
        return Picture(name, title, made)
    if not any(row.panels for row in made.rows):
        rows = [row for row in made.rows if row.missing]
        return Absent(name, made.missing or "nothing to draw", rows)
    return drawn(name, made)


def write_pictures(figures: Sequence[Drawn | Picture], absent: Sequence[str], folder: Path) -> None:
    """Every figure in every format, each figure by a process of its own as far as cores go.

    Args:
        figures: the figures.
        absent: names of those with nothing to draw: they leave no file of an earlier time.
        folder: where to write.

    Raises:
        UserError: a file cannot be written.
    """
    import joblib

    for name in absent:
        for kind in FORMATS:
            (folder / f"{name}.{kind}").unlink(missing_ok=True)
    if figures:
        jobs = min(len(figures), joblib.cpu_count())
        place = folder.absolute()  # joblib keeps its processes, and they stay where they began
        each = (joblib.delayed(_write)(figure, place) for figure in figures)
        joblib.Parallel(n_jobs=jobs, batch_size=1)(each)


def _write(figure: Drawn | Picture, folder: Path) -> None:
    for kind in FORMATS:
        path = folder / f"{figure.name}.{kind}"
        if isinstance(figure, Picture):
            write_figure(figure.drawing, path, dpi=DPI)
        else:
            static.write(figure, path, dpi=DPI)
