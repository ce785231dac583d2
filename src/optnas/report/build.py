"""The report of a study, computed and written."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import importlib.resources
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from optnas.analysis.claims.declare import NAMES as NAMES_OF_ARMS
from optnas.analysis.claims.judge import judge
from optnas.analysis.references import references
from optnas.analysis.runs import Runs, Selection
from optnas.base.errors import UserError
from optnas.base.files import write_text, writing
from optnas.measures.drawing import NAMES
from optnas.report import summary
from optnas.report.data import Line
from optnas.report.figures import FIGURES, Benchmark, Material
from optnas.report.inventory import Entry, chosen, counted, inventory, study_command
from optnas.report.pages import page
from optnas.report.pictures import write_pictures
from optnas.report.reference_lines import find_references
from optnas.report.surfaces import surfaces
from optnas.spaces.tables import Question, Table, data_folder, load_table
from optnas.spaces.tables.references import Reference
from optnas.study.declare import STUDIES, load_study
from optnas.study.folder import recorded as recorded_in
from optnas.study.tables import table_of

NEWEST = 50
LINE_DASHES = ("dot", "dashdot", "solid")  # random cell, best of ten, best of all
PRIMARY = "benchmark.cifar10"


def report(
    study: str,
    out: str | Path,
    to: str | Path | None = None,
    *,
    runs: Sequence[str] = (),
    benchmark: str | None = None,
    recorded: bool = False,
    data: Path | None = None,
    numbers_version: int | None = None,
) -> Path:
    """Write ``report.html`` and ``figures/`` of a study.

    Args:
        study: a shipped name, or the path of a study.
        out: the study's folder, or a folder of records.
        to: where to write; default: ``out``.
        runs: ids of the runs that get a page; default: the newest `NEWEST`.
        benchmark: ask this benchmark table instead of each run's own.
        recorded: take benchmark accuracies as the runs recorded them; needs no table.
        data: the data folder; default: the variable ``OPTNAS_DATA``.
        numbers_version: of the runs; default: the present one.

    Returns:
        The path of ``report.html``.

    Raises:
        UserError: the study or a record is wrong, no run has a record yet, a run named is not
            there, or the folder cannot be written.
    """
    settings = {} if data is None else {"data.folder": str(data)}
    loaded = load_study(study, settings)
    folders = recorded_in(loaded.runs.values(), Path(out), numbers_version)
    entries = inventory(loaded, folders)
    paged = chosen(entries, runs, NEWEST)
    table = table_of(folders.values(), benchmark=benchmark, data=data, recorded=recorded)
    material = material_of(table, entries, data_folder(data))
    figures = [make(material) for make in FIGURES.values()]
    plane = surfaces(material)
    lines = summary.summary(material)
    answering = _answering(table, data_folder(data))
    findings = judge(table, references=references(answering) if answering else None)
    target = Path(out if to is None else to)
    text = _render(
        study=loaded,
        study_text=STUDIES.text_of(study),
        command=study_command(study, Path(out)),
        report_command=f"optnas study report {study} --out {out}",
        version=importlib.metadata.version("optnas"),
        entries=entries,
        counts=counted(entries),
        figures=figures,
        plane=plane,
        columns=summary.COLUMNS,
        summary=lines,
        summary_fields=[dataclasses.asdict(line) for line in lines],
        told=summary.told,
        findings=findings,
        pages=[page(entry) for entry in paged],
        benchmark=material.benchmark,
        design=_design(entries),
        held=_held(material),
    )
    with writing("the report", key="--to", path=target):
        (target / "figures").mkdir(parents=True, exist_ok=True)
        write_pictures([plane, *figures], target / "figures")
        write_text(target / "figures" / "T1.csv", summary.as_csv(lines))
        write_text(target / "figures" / "T1.tex", summary.as_latex(lines))
        write_text(target / "report.html", text)
    return target / "report.html"


def material_of(table: pd.DataFrame, entries: Sequence[Entry], folder: Path | None) -> Material:
    """What figures are made of.

    Args:
        table: the tidy table.
        entries: the study's runs.
        folder: the data folder, for the reference lines.

    Returns:
        The material.
    """
    runs = Runs(table)
    selection = Selection(runs, np.ones(len(runs), bool), {})
    return Material(runs, selection, _benchmark(table, entries, folder), entries)


def _benchmark(table: pd.DataFrame, entries: Sequence[Entry], folder: Path | None) -> Benchmark:
    """The primary response, or the first data set that the runs' table answers."""
    asked = [c for c in map(str, table) if c.startswith("benchmark.") and c != "benchmark.table"]
    if not asked:
        return Benchmark("", "")
    column = PRIMARY if PRIMARY in asked else asked[0]
    dataset = column.removeprefix("benchmark.")
    name = _most_common_table(table)
    answering = _answering(table, folder)
    if answering is None:
        question = _recorded_question(entries, dataset)
        remark = f"no reference lines: the table {name} is not there"
        rows: list[Reference] = []
    else:
        covered = answering.coverage
        question = Question(dataset, covered.split, covered.epochs)
        rows, remark = find_references(None, name, question, folder)
    title = f"derived cell, {NAMES.get(dataset, dataset)} {question.split} (table {name})"
    lines = [
        Line(row.label, row.accuracy, dash, row.band)
        for row, dash in zip(rows, LINE_DASHES, strict=False)
    ]
    return Benchmark(column, title, lines, remark)


def _most_common_table(table: pd.DataFrame) -> str:
    return str(table.drop_duplicates("id")["benchmark.table"].mode()[0])


def _answering(table: pd.DataFrame, folder: Path | None) -> Table | None:
    """The benchmark table that answered most runs, None if it is not there or none was asked."""
    try:
        found = load_table(_most_common_table(table), folder=folder)
    except UserError:
        return None
    return found if found.coverage.questions else None


def _recorded_question(entries: Sequence[Entry], dataset: str) -> Question:
    """What the runs wrote of the question that their table answered."""
    entry = next(entry for entry in entries if entry.epochs or entry.state == "done")
    told = entry.folder.read_epochs()[0]["benchmark"]
    return Question(dataset, told["split"], told["epochs"])


def _design(entries: Sequence[Entry]) -> dict[str, list[str]]:
    """The settings of the study: those that vary with their values, then those that all share."""
    values: dict[str, dict[str, None]] = {}
    for entry in entries:
        for key, value in entry.settings.items():
            values.setdefault(key, {})[json.dumps(value)] = None
    ordered = sorted(values, key=lambda key: len(values[key]) == 1)
    return {key: [value.strip('"') for value in values[key]] for key in ordered}


def _held(material: Material) -> list[str]:
    """Settings that vary in the study and are held at one value in every figure but their own."""
    everything = np.ones(len(material.runs), bool)
    everything = np.logical_and.reduce([everything, *material.selection.at_base.values()])
    return [
        f"{column} ({', '.join(filter(None, value.split(', ')))})"
        for column, value in material.selection.held(everything, set(NAMES_OF_ARMS)).items()
    ]


def _render(**values: Any) -> str:
    import jinja2
    from plotly.offline import get_plotlyjs

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("optnas", "report/page"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters |= {"embed": _embed, "number": _number}
    place = importlib.resources.files("optnas").joinpath("report/page")
    return environment.get_template("report.html").render(
        plotly=get_plotlyjs(),
        style=place.joinpath("report.css").read_text(),
        script=place.joinpath("report.js").read_text(),
        **values,
    )


def _embed(value: Any) -> str:
    """A value as JSON for a script element: no text in it can end the element."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = dataclasses.asdict(value)
    text = json.dumps(value, separators=(",", ":"), allow_nan=False)
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def _number(value: float, form: str = ".3g") -> str:
    """A number for people; what is not one is a dash, what is infinite is written so."""
    if np.isnan(value):
        return "-"
    return ("-∞" if value < 0 else "∞") if np.isinf(value) else format(value, form)
