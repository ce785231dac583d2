"""Components: their lists, the exam, measures, protocols side by side."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from optnas.base.json import dump_json
from optnas.cli.printing.text import aligned, say

if TYPE_CHECKING:
    from optnas.base.measurements import Line
    from optnas.search.exam import Outcome
    from optnas.search.protocols.compare import Difference


def print_differences(a: str, b: str, found: Sequence[Difference]) -> None:
    """The settings in which two protocols differ, side by side."""
    if not found:
        say("no difference")
        return

    def shown(value: Any) -> str:
        if value is None:
            return "-"
        return value if isinstance(value, str) else dump_json(value)

    rows = [[each.key, shown(each.a), shown(each.b)] for each in found]
    say("\n".join(aligned(("setting", a, b), rows)))


def print_outcomes(outcomes: Iterable[Outcome]) -> int:
    """Print the exam's table, one line per check as it comes, and their number.

    Returns:
        How many failed.
    """
    counts = {"ok": 0, "failed": 0, "expected failure": 0, "not examined": 0}
    say(f"{'verdict':<16} {'component':<32} check")
    for outcome in outcomes:
        counts[outcome.verdict] += 1
        settings = ", ".join(f"{k}={v}" for k, v in outcome.subject.settings.items())
        component = f"{outcome.subject.kind} {outcome.subject.name}"
        label = f"{component} ({settings})" if settings else component
        found = outcome.why
        if outcome.verdict == "expected failure":
            found = f"{outcome.expected} ({outcome.why})"
        why = f": {found}" if found else ""
        say(f"{outcome.verdict:<16} {label:<32} {outcome.check}{why}", flush=True)
    say(", ".join(f"{count} {verdict}" for verdict, count in counts.items() if count))
    return counts["failed"]


def outcome_entry(outcome: Outcome) -> dict[str, Any]:
    """The same for JSON; ``passed`` is None where the check was not examined."""
    passed = {"ok": True, "not examined": None}.get(outcome.verdict, False)
    return {
        "kind": outcome.subject.kind,
        "name": outcome.subject.name,
        "settings": dict(outcome.subject.settings),
        "check": outcome.check,
        "passed": passed,
        "reason": outcome.why or None,
        "expected_failure": outcome.expected or None,
    }


def measure_line(label: str, line: Line) -> str:
    """One line of a measure in words: its scalars, or why there are none."""
    took = line.get("cost", {}).get("cpu_seconds")
    note = "" if took is None else f" ({took:.2f} CPU s)"
    values = [
        f"{name} {_quantity(value, line['units'].get(name, ''))}"
        for name, value in line["values"].items()
        if isinstance(value, (int, float))
    ]
    reason = [f"{line['status']}: {line['reason']}"] if "reason" in line else []
    return f"{label}, epoch {line['epoch']}{note}: {', '.join(reason + values)}"


# Units that a number has no word, or a shorter one, behind it for.
SHORT = {"": "", "1": "", "percent": " %", "percentage points": " points"}


def _quantity(value: float, unit: str) -> str:
    """A number with its unit, without what else is said of that."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    unit = unit.partition(",")[0]
    return f"{value:.4g}{SHORT.get(unit, f' {unit}')}"


def print_measures() -> None:
    """Every registered measure: its cost, its cadence, its settings, what it finds."""
    from optnas.base import registry
    from optnas.measures.base import Measure

    for name in registry.names("measure"):
        factory = registry.find("measure", name)
        settings = registry.complete_settings(factory, {}, section=name)
        measure: Measure = factory(**settings)
        cadence = measure.cadence
        say(f"{name}: {(factory.__doc__ or '').strip().splitlines()[0]}")
        say(f"  cost      {measure.cost}")
        say(f"  taken     every = {cadence.every}, at = {list(cadence.at)}")
        say(f"  settings  {', '.join(f'{k} = {v}' for k, v in settings.items()) or 'none'}")
        for key, quantity in measure.quantities.items():
            better = "" if quantity.better == "neither" else f", {quantity.better} is better"
            say(f"  finds     {key} [{quantity.unit}{better}]")


# Columns whose title, or whose word for nothing, is not their key or a dash.
TITLES = {"summary": "what it is", "step_cost": "<step / DARTS"}
MISSING = {"step_cost": "not measured"}


def print_components(found: Sequence[Mapping[str, Any]]) -> None:
    """Components, one per line: name, what it needs, what it is, and what else its kind says."""
    shown = [_with_paper(each) for each in found]
    heads = list(shown[0])
    rows = [[_cell(each[key], MISSING.get(key, "-")) for key in heads] for each in shown]
    say("\n".join(aligned([TITLES.get(key, key) for key in heads], rows)))


def _with_paper(said: Mapping[str, Any]) -> dict[str, Any]:
    """A paper stands behind what the component is, not in a column of its own."""
    shown = {key: value for key, value in said.items() if key != "paper"}
    if said.get("paper"):
        shown["summary"] = f"{said['summary']} {said['paper']}"
    return shown


def _cell(value: Any, missing: str) -> str:
    if isinstance(value, list):
        return ", ".join(value) or missing
    if isinstance(value, float):
        return f"{value:.2f}"
    return missing if value is None else str(value)
