"""The report of a study, computed and written."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import importlib.resources
import inspect
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from optnas.analysis.claims.declare import NAMES as NAMES_OF_ARMS
from optnas.analysis.claims.judge import judge
from optnas.analysis.claims.read import Claimed, choose_claims
from optnas.analysis.claims.render import by_family, evidence, in_reach
from optnas.analysis.references import noise_of, noise_words, references
from optnas.analysis.tuning import in_no_arm, rate_arms
from optnas.base import registry
from optnas.base.errors import UserError
from optnas.base.escapes import for_shell
from optnas.base.files import write_text, writing
from optnas.base.folder import folder_path
from optnas.base.loading import registered_by
from optnas.base.records import RunFolder
from optnas.measures.figures import Row
from optnas.measures.ways import labels_of
from optnas.report import summary
from optnas.report.comparison import (
    NO_PAIR,
    by_file,
    forest,
    heading,
    interval,
    remarks,
    strips,
    tick,
    write_tables,
)
from optnas.report.data import Drawn
from optnas.report.inventory import Entry, chosen, counted, inventory, study_command
from optnas.report.labels import Labels
from optnas.report.material import Material, material_of
from optnas.report.pages import page
from optnas.report.pictures import Absent, Picture, figure_of_report, write_pictures
from optnas.report.runs import listing
from optnas.spaces.tables import data_folder
from optnas.study.axes import axes_of
from optnas.study.comparing import compare_runs
from optnas.study.declare import STUDIES
from optnas.study.folder import opened
from optnas.study.judging import declared_arms
from optnas.study.tables import answering_table, table_of

NEWEST = 50


def report(
    study: str,
    out: str | Path,
    to: str | Path | None = None,
    *,
    runs: Sequence[str] = (),
    claims: Sequence[Claimed] | None = None,
    figures: Sequence[str] = (),
    responses: Sequence[str] = (),
    benchmark: str | None = None,
    recorded: bool = False,
    hold: Mapping[str, Any] | None = None,
    data: Path | None = None,
    numbers_version: int | None = None,
) -> Path:
    """Write ``report.html`` and ``figures/`` of a study.

    Args:
        study: a shipped name, or the path of a study.
        out: the study's folder, or a folder of records.
        to: where to write; default: ``out``.
        runs: ids of the runs that get a page; default: the newest `NEWEST`.
        claims: as of `optnas.analysis.claims.choose_claims`.
        figures: further figures by name or as ``./file.py:function``.
        responses: what the arms are compared by, as of `optnas.study.comparing.compare_runs`.
        benchmark: ask this benchmark table instead of each run's own.
        recorded: take benchmark accuracies as the runs recorded them; needs no table.
        hold: values at which figures and claims hold settings that vary in the study; by default
            each is held at the value of most runs.
        data: the data folder; default: the variable ``OPTNAS_DATA``.
        numbers_version: of the runs; default: the present one.

    Returns:
        The path of ``report.html``.

    Raises:
        UserError: the study, a record, a claim or a figure is wrong, no run has a record yet, a run
            named is not there, or the folder cannot be written.
    """
    judged = choose_claims(claims)
    for each in figures:
        registry.find("figure", each, key="--figure")
    loaded, folders = opened(study, folder_path(out, "out"), data, numbers_version)
    entries = inventory(loaded, folders)
    paged = chosen(entries, runs, NEWEST)
    table = table_of(folders.values(), benchmark=benchmark, data=data, recorded=recorded)
    known = data_folder(data, "data")
    material = material_of(table, list(folders.values()), known, entries=entries, hold=hold)
    axes = axes_of(loaded)
    labels = Labels(loaded, axes, entries)
    by_id = {entry.id: entry.folder for entry in entries}
    drawings, absent = figures_of(material, by_id, labels, figures)
    lines = summary.summary(material, labels)
    answering = answering_table(table, known)
    arms = declared_arms(loaded)
    findings = judge(
        table,
        judged,
        references=references(answering) if answering else None,
        noise=noise_of(answering) if answering else None,
        lr_arms=arms,
        hold=hold,
    )
    listed, rest = in_reach(findings)
    noise = noise_words(answering) if answering else {}
    compared = (
        compare_runs(loaded, folders, table, responses=responses, noise=noise, axes=axes)
        if axes
        else []
    )
    files = by_file(compared, responses=responses)
    tested = [name for name, held in files.items() if any(each.tested for each in held)]
    forests = [
        Picture(name, "Comparison of the arms", forest(files[name], name)) for name in tested
    ]
    target = Path(out if to is None else to)
    text = _render(
        study=loaded,
        study_text=STUDIES.text_of(study),
        command=study_command(study, folder_path(out, "out")),
        report_command=f"optnas study report {for_shell(study)} --out {for_shell(out)}"
        + "".join(f" --hold {for_shell(f'{key}={value}')}" for key, value in (hold or {}).items())
        + "".join(f" --response {for_shell(each)}" for each in responses),
        version=importlib.metadata.version("optnas"),
        entries=entries,
        counts=counted(entries),
        strips=[strips(each) for each in compared],
        files={name: name in tested for name in files},
        no_pair=NO_PAIR,
        listing=listing(loaded, axes, entries, material.runs),
        figures=drawings,
        absent=labels.within(absent),
        columns=summary.COLUMNS,
        summary=lines,
        summary_fields=[dataclasses.asdict(line) for line in lines],
        told=summary.told,
        brackets=summary.BRACKETS,
        findings=findings,
        families=by_family(listed),
        rest=rest,
        in_no_arm=in_no_arm(material.runs, [*rate_arms(material.runs), *arms]),
        interval=interval,
        remarks=remarks,
        heading=heading,
        tick=tick,
        evidence=evidence,
        pages=[page(entry) for entry in paged],
        benchmark=material.benchmark,
        design=_design(entries),
        held=_held(material),
        hold=hold or {},
        tied=_tied(material),
    )
    with writing("the report", key="--to", path=target):
        (target / "figures").mkdir(parents=True, exist_ok=True)
        empty = [*(each.name for each in absent), *(name for name in files if name not in tested)]
        write_pictures([*drawings, *forests], empty, target / "figures")
        for name, held in files.items():
            write_tables(held, target / "figures", name)
        write_text(target / "figures" / "T1.csv", summary.as_csv(lines))
        write_text(target / "figures" / "T1.tex", summary.as_latex(lines))
        write_text(target / "report.html", text)
    return target / "report.html"


def figures_of(
    material: Material,
    folders: Mapping[str, RunFolder],
    labels: Labels,
    more: Sequence[str] = (),
) -> tuple[list[Drawn | Picture], list[Absent]]:
    """Every registered figure with ``in_report``, those of files that the study names, and more.

    A figure of runs is handed those that are done, at the held value of every setting but
    algorithm and pair, and in which everything that it ``needs`` was measured.

    Args:
        material: what figures are made of.
        folders: the runs by id.
        labels: what the study calls them.
        more: figures that are asked for, by name or address.

    Returns:
        The figures, and those that these runs cannot supply.
    """
    comparable = material.selection.comparable({}, set(NAMES_OF_ARMS))
    # Where nothing is held, a figure of runs tells them apart by their settings.
    shown = comparable if comparable.any() else material.selection.allowed
    ids = material.runs.settings.loc[shown, "id"].astype(str)
    ready = {name: folders[name] for name in ids}
    found: list[Drawn | Picture] = []
    absent = []
    named, broken = _registered(folders.values())
    for each in more:
        if each not in named.values():
            name, file = _plain_name(each), Path(each.rpartition(":")[0]).stem
            named[f"{file}-{name}" if name in named else name] = each
    for name, address in named.items():
        needs = registry.facts("figure", address).get("needs", ())
        runs = {
            key: run for key, run in ready.items() if all(_measured(run, each) for each in needs)
        }
        if needs and not runs:
            absent.append(_unmeasured(name, address, needs))
            continue
        figure = registry.find("figure", address)
        handed = list(runs) if "runs" in inspect.signature(figure).parameters else None
        figure = labels.naming(figure, handed)
        offered = {"runs": list(runs.values()), "material": material}
        made = figure_of_report(name, figure, offered)
        if isinstance(made, Absent):
            absent.append(made)
        else:
            found.append(made)
    tied = _tied(material)
    if tied and not comparable.any():
        why = f"several values are equally common of {', '.join(tied)}"
        absent = [each._replace(why=why) for each in absent]
    return found, [*absent, *broken]


def _registered(folders: Iterable[RunFolder]) -> tuple[dict[str, str], list[Absent]]:
    """Addresses of the figures of a report by name, in its order; then what cannot be loaded."""
    found, broken = {}, []
    for name in registry.names("figure"):
        try:
            if registry.facts("figure", name).get("in_report"):
                found[name] = name
        except UserError as error:
            broken.append(Absent(name, error.reason))
    for file in _files(folders):
        for kind, name in registered_by(file):
            address = f"{file}:{name}"
            if kind == "figure" and registry.facts("figure", address).get("in_report"):
                found[f"{Path(file).stem}-{name}" if name in found else name] = address
    return {name: found[name] for name in sorted(found, key=_place)}, broken


def _files(folders: Iterable[RunFolder]) -> list[str]:
    """Files that the measures of runs are addressed in."""
    names = [
        str(section.get("name", ""))
        for folder in folders
        if folder.config.exists()
        for section in folder.read_config().get("measures", {}).values()
    ]
    return list(dict.fromkeys(n.rpartition(":")[0] for n in names if ".py:" in n))


def _plain_name(address: str) -> str:
    """A figure's name on the page: that of its function, for ``./file.py:function``."""
    return re.sub(r"[^\w-]", "-", address.rpartition(":")[2])


def _place(name: str) -> tuple[bool, int, str]:
    """Shin's figures by number, then the others by name."""
    numbered = re.fullmatch(r"F(\d+)", name)
    return numbered is None, int(numbered[1]) if numbered else 0, name


def _unmeasured(name: str, address: str, needs: Sequence[str]) -> Absent:
    file = address.rpartition(":")[0] if ".py:" in address else ""
    own = {name for kind, name in registered_by(file) if kind == "measure"} if file else set()
    taken = {each: f"{for_shell(file)}:{each}" if each in own else each for each in needs}
    commands = [f"optnas measure RUN... {each}" for each in taken.values()]
    words = "Take it from the runs' checkpoints, then report again:"
    why = "not measured" if needs == (name,) else f"{' and '.join(needs)} not measured"
    return Absent(name, why, [Row(f"from {', '.join(needs)}", missing=[words, *commands])])


def _measured(run: RunFolder, name: str) -> bool:
    lines = (run.read_measures(label) for label in labels_of(run.read_config(), name))
    return any(line["status"] != "failed" for of_label in lines for line in of_label)


def _design(entries: Sequence[Entry]) -> dict[str, list[str]]:
    """The settings of the study: those that vary with their values, then those that do not.

    One that only runs of some components have is told with these, such as ``SGD: 0.9``.
    """
    values: dict[str, dict[str, None]] = {}
    settings = [entry.settings.keys() for entry in entries]
    of_all = set[str]().union(*settings[:1]).intersection(*settings)
    for entry in entries:
        for key, value in entry.settings.items():
            told = json.dumps(value).strip('"')
            if key not in of_all:
                told = f"{_component(entry.settings, key)}: {told}"
            values.setdefault(key, {})[told] = None
    ordered = sorted(values, key=lambda key: len(values[key]) == 1)
    return {key: list(values[key]) for key in ordered}


def _component(settings: Mapping[str, Any], key: str) -> str:
    """The name of the component that a setting is of; without one, ``where it is set``."""
    while key:
        key = key.rpartition(".")[0]
        for name in (key, f"{key}.name"):
            if isinstance(settings.get(name), str):
                return str(settings[name])
    return "where it is set"


def _held(material: Material) -> list[str]:
    """Settings that vary in the study and are held at one value in every figure but their own."""
    everything = np.ones(len(material.runs), bool)
    everything = np.logical_and.reduce([everything, *material.selection.at_base.values()])
    return [
        f"{column} ({', '.join(filter(None, value.split(', ')))})"
        for column, value in material.selection.held(everything, set(NAMES_OF_ARMS)).items()
        if value
    ]


def _tied(material: Material) -> list[str]:
    """Settings of which two values are equally common: they are held at none."""
    named = set(NAMES_OF_ARMS)
    return [each for each in material.selection.ties({}, named) if each != "benchmark.table"]


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
        style=place.joinpath("report.css").read_text(encoding="utf-8"),
        script=place.joinpath("report.js").read_text(encoding="utf-8"),
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
