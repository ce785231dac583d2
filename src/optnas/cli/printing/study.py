"""What the commands of a study print. Computes nothing."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from optnas.base.escapes import for_shell, for_terminal
from optnas.base.records import RunFolder
from optnas.cli.printing.text import aligned, say
from optnas.study.added import begun_without
from optnas.study.axes import Beside, axes_of, beside
from optnas.study.declare import PlannedRun, Study, describe_settings
from optnas.study.folder import told_versions
from optnas.study.progress import Progress, Watch, counts, duration
from optnas.study.states import State, look, state_of, with_queue

if TYPE_CHECKING:
    from optnas.study.comparing import Comparison
    from optnas.study.judging import Ledger

OPEN: tuple[State, ...] = ("missing", "unfinished", "interrupted", "running")
WRONG: tuple[State, ...] = ("failed", "timeout", "unreadable", "diverged")
MEASURES = "measures."  # how their settings begin
QUIET = 30.0  # seconds between lines of progress where there is no terminal


class StudyLines:
    """A line for every change; on a terminal also a line of progress that stays at the bottom.

    Args:
        look: the study now.
        jobs: how many runs go on at a time; None: whatever a cluster lets.
    """

    def __init__(self, look: Callable[[], Progress], jobs: int | None):
        self._look, self._jobs = look, jobs
        self._live: Any = None
        self._last = 0.0

    def __enter__(self) -> StudyLines:
        if sys.stdout.isatty():
            from rich.live import Live

            self._live = Live(refresh_per_second=2, transient=True)
            self._live.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        if self._live is not None:
            self._live.__exit__(*error)

    def change(self, run: PlannedRun, state: State, why: str) -> None:
        """Tell of a run's new state."""
        line = f"{state:<11} {run.id}  {run.label}" + (f"  ({why})" if why else "")
        if self._live is not None:
            self._live.console.print(for_terminal(line), markup=False, highlight=False)
        else:
            say(line, flush=True)

    def tick(self) -> None:
        """Show how far the study is, now and then."""
        now = time.monotonic()
        if now - self._last < (2.0 if self._live is not None else QUIET):
            return
        self._last = now
        line = self._look().line(self._jobs)
        if self._live is not None:
            from rich.text import Text

            self._live.update(Text(for_terminal(line)))
        else:
            say(line, flush=True)


def print_cost(run: PlannedRun, count: int, seconds: float | None, left_out: str) -> None:
    """What a kind of run costs, as soon as it is measured; that it is measured before.

    Args:
        run: the first of the kind.
        count: how many runs are of it.
        seconds: of each; None before it is measured.
        left_out: what they leave out; mostly empty.
    """
    kind = run.label.rpartition(", seed")[0]
    told = f"{kind} and its like ({count} runs)" if count > 1 else kind
    if seconds is None:
        say(f"measuring a few steps: {told}", flush=True)
    else:
        note = f" ({left_out})" if left_out else ""
        say(f"{duration(seconds):>10} each{note}: {told}", flush=True)


def print_plan(
    study: Study,
    folders: Mapping[str, RunFolder],
    costs: Mapping[str, float],
    jobs: int,
    others: Mapping[int, int] = MappingProxyType({}),
    edited: str = "",
) -> None:
    """The runs of a study, which of them exist already, and what the others would take.

    Args:
        study: the study.
        folders: the folder of each run by id.
        costs: seconds of each run by id; empty if they were not measured.
        jobs: how many runs would go on at a time.
        others: records that lie there and are not counted, by numbers version.
        edited: likewise, as `optnas.study.folder.of_edited_files` says.
    """
    states = {name: state_of(folder) for name, folder in folders.items()}
    merged = study.declared - len(study.runs)
    say(f"study {study.name}: {study.question}" if study.question else f"study {study.name}")
    print_note(study)
    for name, run in study.runs.items():
        cost = f"  {duration(costs[name]) if name in costs else '-':>10}" if costs else ""
        say(f"{name}  {states[name]:<11}{cost}  {run.label}")
    say(f"{len(study.runs)} runs" + (f" ({merged} declared twice)" if merged else ""), end="")
    say(f": {counts(Counter(states.values()))}")
    from optnas.study.comparing import undecidable

    axes = axes_of(study)
    for each in beside(study, axes):
        if together := _together(each):
            say(f"values of {each.axis} differ beside what the study says of them:")
        for values, told in together.items():
            say(f"  {values}: {told}")
        if measured := _measured(each):
            say(f"measures, no part of a search, differ by {each.axis} too: {measured}")
    added = begun_without(study, folders)
    for warning in [*_warnings(others, edited), *added, *undecidable(study, axes)]:
        say(warning)
    if costs:
        left = sum(costs.get(name, 0) for name, state in states.items() if state in OPEN)
        measured, unknown = "all runs", len(study.runs) - len(costs)
        if unknown:
            measured = f"the {len(costs)} runs that were measured"
            say(f"{unknown} runs are of kinds that a minute was too short to measure")
        say(
            f"time on this machine, measured on a few steps: {duration(sum(costs.values()))} for "
            f"{measured} one after the other; {duration(left / jobs)} for the rest, "
            f"{jobs} at a time"
        )
        say("not in it: starting a process for each run, some seconds; images and files")
        from optnas.study.timing import beside_the_record

        more = {label for run in study.runs.values() for label in beside_the_record(run.settings)}
        if more:
            say(
                f"measures beside the record ({', '.join(sorted(more))}) come on top; a study says "
                "with its first finished run what they take"
            )


def _together(found: Beside) -> dict[str, str]:
    """Settings in words, by the values of the axis that have them in common."""
    alike: dict[str, list[str]] = {}
    section = found.axis.removesuffix(".name")
    for level, settings in found.settings.items():
        told = ", ".join(
            f"{key.removeprefix(f'{section}.').removesuffix('.name')} {value}"
            for key, value in settings.items()
            if not key.startswith(MEASURES)
        )
        alike.setdefault(told, []).append(level)
    return {", ".join(levels): told for told, levels in alike.items() if told}


def _measured(found: Beside) -> str:
    """The measures in which the values of an axis differ, such as ``Adam: landscape``."""
    labels = {
        level: dict.fromkeys(key.split(".")[1] for key in settings if key.startswith(MEASURES))
        for level, settings in found.settings.items()
    }
    return "; ".join(f"{level}: {', '.join(each)}" for level, each in labels.items() if each)


def print_note(study: Study) -> None:
    """The study's note, if it has one."""
    if study.note:
        say(f"note: {study.note}")


def _warnings(others: Mapping[int, int], edited: str) -> list[str]:
    told = []
    if others:
        what = told_versions(others)
        told.append(f"{what}, not counted: numbers of different versions are not compared")
    if edited:
        told.append(f"{edited}, not counted: what was edited makes another run")
    return told


def plan_document(
    study: Study,
    folders: Mapping[str, RunFolder],
    costs: Mapping[str, float],
    others: Mapping[int, int],
    edited: str,
) -> dict[str, Any]:
    """The plan for JSON; arguments as of `print_plan`.

    Returns:
        ``runs`` (id, settings, state, folder); ``present``, how many of them are done;
        ``other_version``, how many records of other versions lie there; ``core_hours`` of the rest,
        None where some were not measured; ``beside``, the settings in which the values of each axis
        differ beside what the study says of them; ``warnings``, what else a person would be told.
    """
    from optnas.study.comparing import undecidable

    axes = axes_of(study)
    states = {name: state_of(folder) for name, folder in folders.items()}
    left = [name for name, state in states.items() if state in OPEN]
    seconds = sum(costs.get(name, 0) * study.runs[name].settings.run.threads for name in left)
    wrong = [f"{name}: {state}" for name, state in states.items() if state in WRONG]
    return {
        "runs": [
            {
                "id": name,
                "settings": describe_settings(run.settings.document()),
                "state": states[name],
                "folder": str(folders[name].path),
            }
            for name, run in study.runs.items()
        ],
        "present": sum(state == "done" for state in states.values()),
        "other_version": sum(others.values()),
        "core_hours": seconds / 3600 if costs and set(left) <= costs.keys() else None,
        "beside": {each.axis: each.settings for each in beside(study, axes)},
        "warnings": [
            *filter(None, [study.note]),
            *_warnings(others, edited),
            *begun_without(study, folders),
            *undecidable(study, axes),
            *wrong,
        ],
    }


def failed_in_done(progress: Progress) -> str:
    """Measures that failed in runs that are done, such as ``mine in 2 of 4``."""
    done = progress.states["done"]
    told = ", ".join(f"{label} in {each.runs} of {done}" for label, each in progress.failed.items())
    return f"measures that failed in runs that are done: {told}"


def print_status(
    study: Study,
    folders: Mapping[str, RunFolder],
    out: Path,
    others: Mapping[int, int] = MappingProxyType({}),
    edited: str = "",
    queued: Mapping[Path, str] = MappingProxyType({}),
) -> None:
    """How far a study is, and each run that is under way or needs attention.

    Args:
        study: the study.
        folders: of its runs by id.
        out: the study's folder.
        others: as in `print_plan`.
        edited: likewise.
        queued: folders that are in a cluster's queue, and where in it.
    """
    progress = Watch(study.runs, folders, lambda: queued).look()
    for name, epochs, asked in progress.running:
        where = queued.get(folders[name].path.resolve())
        at = f"epoch {epochs}/{asked}" + (f" ({where})" if where else "")
        say(f"{'running':<11} {name}  {at}  {study.runs[name].label}")
    for name, folder in folders.items():
        state, reason = look(folder)
        state = with_queue(state, folder, queued)
        if state == "queued":
            reason = f"({queued[folder.path.resolve()]})"
        if state in (*WRONG, "interrupted", "unfinished", "queued"):
            say(f"{state:<11} {name}  {study.runs[name].label}  {reason}".rstrip())
    say(f"study {study.name}: {progress.line()}")
    if progress.failed:
        say(failed_in_done(progress))
    for label, each in progress.failed.items():
        say(f"{label}: {each.words}; mend it, then: optnas measure {for_shell(out)} {label}")
    for warning in [*_warnings(others, edited), *begun_without(study, folders)]:
        say(warning)


def print_comparisons(comparisons: Sequence[Comparison]) -> None:
    """Arms and pairs of each response, and what has to be known of them."""
    from optnas.report.comparison import NO_PAIR, heading, remarks

    said: set[str] = set()
    for each in comparisons:
        say(f"--- {heading(each)}")
        arms = [
            [arm.arm, str(arm.n), *(f"{x:.4g}" if arm.n else "-" for x in (arm.mean, arm.iqm))]
            for arm in each.arms
        ]
        say("\n".join(aligned(["arm", "<n", "<mean", "<interquartile mean"], arms)))
        say()
        if each.tested:
            _print_pairs(each)
        else:
            say(NO_PAIR)
        # Without pairs the remarks of all responses are the same.
        told = [line for line in remarks(each) if each.tested or line not in said]
        said.update(told)
        for line in told:
            say(line)
        say()
    if not any(each.tested for each in comparisons):
        say("no picture is drawn")


def _print_pairs(comparison: Comparison) -> None:
    from optnas.report.comparison import interval, minus, tick

    unit = f" {comparison.of_difference}" if comparison.of_difference else ""
    better = "above" if comparison.better == "neither" else "better"
    rows = [
        [
            minus(pair),
            str(pair.n),
            *(
                [
                    ", ".join(f"{each:.4g}" for each in pair.means),
                    f"{pair.difference:+.3g}{unit}",
                    interval(pair),
                    f"{pair.p:.3f}",
                    f"{pair.p_holm:.3f}",
                    f"{pair.e:.3g}",
                    f"{pair.improvement:.2f}",
                    tick(pair),
                ]
                if pair.n
                else ["-"] * 8
            ),
        ]
        for pair in comparison.pairs
    ]
    heads = ["pair", "<n", "<means", "<difference", "<95 % interval", "<p", "<Holm", "<E"]
    say("\n".join(aligned([*heads, f"<P({better})", "told apart"], rows)))


def print_claims(ledger: Ledger, *, details: bool) -> None:
    """The claims, each with its verdict under a learning-rate arm, and the lines to compare with.

    Args:
        ledger: what was found.
        details: also parts and arms.
    """
    from optnas.analysis.claims.render import as_text

    say(f"{ledger.name}: runs: {counts(ledger.states)}; benchmark table: {ledger.table}")
    say(as_text(ledger.findings, details=details))
    if ledger.tuned:
        say(f"tuned by the sweep's validation loss: {ledger.tuned}")
    if ledger.in_no_arm:
        say(ledger.in_no_arm)
    if ledger.remark:
        say(ledger.remark)
    for reason in ledger.left_out:
        say(f"left out: {reason}")
    if any(ledger.states.get(state) for state in OPEN):
        say("runs are missing: optnas study plan names them, optnas study run goes on with them")


def claims_document(ledger: Ledger) -> dict[str, Any]:
    """The same for JSON, with everything that was found.

    Returns:
        Plain values; what is infinite or not a number is None.
    """
    from optnas.analysis.claims.render import as_plain

    return {
        "study": ledger.name,
        "states": dict(ledger.states),
        "benchmark_table": ledger.table,
        "remark": ledger.remark,
        "tuned": ledger.tuned,
        "in_no_arm": ledger.in_no_arm,
        "left_out": ledger.left_out,
        "findings": as_plain(ledger.findings),
    }
