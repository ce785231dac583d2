"""``stopping``, and its old name ``stop``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from optnas.base.errors import UserError, did_you_mean
from optnas.cli.common import dotted_settings, told_apart

if TYPE_CHECKING:
    from optnas.base.records import RunFolder
    from optnas.measures.stopping import Evaluations, Rule

# The only thing that a file of Hessians tells of a search.
TOLD_BY_A_FILE = ("curvature",)
# Of 0.1.0: what `stop` replayed where no rule was named, in the order of its JSON.
OLD_RULES = ("eigenvalue", "skips", "patience", "fixed", "oracle")
OLD_OPTIONS = ("window", "ratio", "start", "delta", "every", "skips", "patience", "epoch")

Dataset = Annotated[
    str | None, typer.Option(help="benchmark accuracy on this data set [the first]")
]
AsJson = Annotated[bool, typer.Option("--json", help="JSON instead of a table")]


def stopping(
    words: Annotated[
        list[str],
        typer.Argument(
            metavar="DIR...|FILE [RULE]... [KEY=VALUE]...",
            help="run folders, folders of runs, or one file of Hessians as JSON lines; rules, by "
            "default all; settings of the rules, such as patience=5 or eigenvalue.window=3",
        ),
    ],
    *,
    dataset: Dataset = None,
    as_json: AsJson = False,
) -> None:
    """Replay stopping rules on finished searches, or on Hessians that others stored."""
    told = told_apart(words, _rules)
    given = dotted_settings(told.settings)
    _replay(_existing(told.paths, words), told.names, given, dataset, as_json)


def _rules(_: Sequence[str] = ()) -> list[str]:
    from optnas.base.registry import names

    return names("stopping")


def _existing(named: Sequence[str], words: Sequence[str]) -> list[Path]:
    """Folders and files, of the words of a command line."""
    paths = [Path(word) for word in named]
    for path in paths:
        if not path.exists():
            raise UserError(
                "is neither a folder nor a file nor a rule",
                key="DIR...|FILE",
                value=str(path),
                remedy=f"check the path, or name a rule: {', '.join(_rules())}",
            )
    if not paths:
        raise UserError(
            "names no run folder",
            key="DIR...|FILE",
            value=" ".join(words) or None,
            remedy="add a run's folder, or a folder of runs",
        )
    return paths


def stop(
    words: Annotated[list[str], typer.Argument(metavar="DIR...|FILE")],
    *,
    rule: Annotated[str | None, typer.Option()] = None,
    dataset: Dataset = None,
    as_json: AsJson = False,
) -> None:
    """Replay stopping rules: the old name of ``stopping``, with its options of 0.1.0."""
    plain, given = _old_options(words)
    told = told_apart(plain, _rules)
    paths = _existing([*told.paths, *told.settings], plain)
    names = OLD_RULES if rule is None else [each.strip() for each in rule.split(",")]
    if rule is None and any(path.is_file() for path in paths):
        names = []
    _replay(paths, names, given, dataset, as_json)


def _old_options(words: Sequence[str]) -> tuple[list[str], dict[str, Any]]:
    """Words, and ``--KEY VALUE`` or ``--KEY=VALUE`` as settings."""
    plain, settings = [], []
    rest: Iterator[str] = iter(words)
    for word in rest:
        if not word.startswith("--"):
            plain.append(word)
            continue
        key, equals, value = word.removeprefix("--").partition("=")
        if key not in OLD_OPTIONS:
            raise UserError(
                "is no option of stop",
                key=word,
                remedy=f"write optnas stopping; {did_you_mean(key, OLD_OPTIONS)}",
            )
        settings.append(f"{key}={value if equals else next(rest, '')}")
    return plain, dotted_settings(settings)


def _replay(
    paths: Sequence[Path],
    names: Sequence[str],
    given: dict[str, Any],
    dataset: str | None,
    as_json: bool,
) -> None:
    from optnas.measures.stopping import choose, read_hessians

    if any(path.is_file() for path in paths):
        rule = _rule_for_a_file(paths, names, given, dataset)
        _tell_file(rule, read_hessians(paths[0]), as_json)
    else:
        _tell_runs(paths, choose(names, given), dataset, as_json)


def _rule_for_a_file(
    paths: Sequence[Path], names: Sequence[str], given: dict[str, Any], dataset: str | None
) -> Rule:
    from optnas.base import registry
    from optnas.measures.stopping import choose

    if len(paths) > 1:
        raise UserError(
            "a file of Hessians stands alone",
            key="DIR...|FILE",
            value=" ".join(map(str, paths)),
            remedy="name one file, or run folders only",
        )
    every = registry.names("stopping")
    fit = [n for n in every if registry.facts("stopping", n).get("needs") == TOLD_BY_A_FILE]
    rules = list(choose(names or fit, given).values())
    if dataset is not None or any(rule.needs != TOLD_BY_A_FILE for rule in rules):
        key, value = ("RULE", ", ".join(names)) if dataset is None else ("--dataset", dataset)
        raise UserError(
            "a file of Hessians tells eigenvalues only",
            key=key,
            value=value,
            remedy=f"name {' or '.join(fit)} alone, or run folders",
        )
    if len(rules) > 1:
        raise UserError(
            "a file of Hessians is asked for one rule at a time",
            key="RULE",
            value=", ".join(rule.name for rule in rules),
            remedy="name one",
        )
    return rules[0]


def _tell_file(rule: Rule, stored: Evaluations, as_json: bool) -> None:
    from optnas.base.json import dump_json
    from optnas.cli.printing.stopping import print_evaluations
    from optnas.measures.stopping import Trajectory, local_means

    used = stored.every(rule.settings.get("every", 0))
    means = local_means(used.values, rule.settings.get("window", 1))
    decision = rule(Trajectory(stored.epochs, [], [], [], [], stored))
    if as_json:
        told = {"epochs": used.epochs, "values": used.values, "local_means": means}
        stops = {"stop_epoch": decision.stop_epoch, "return_epoch": decision.return_epoch}
        typer.echo(dump_json(told | stops))
    else:
        print_evaluations(used, means, decision)


def _tell_runs(
    paths: Sequence[Path], rules: dict[str, Rule], dataset: str | None, as_json: bool
) -> None:
    import dataclasses

    from optnas.base.json import dump_json
    from optnas.cli.printing.stopping import print_replays
    from optnas.measures.stopping import replay, summary
    from optnas.measures.stopping.replay import trajectory

    runs = _runs(paths)
    table, shown = _benchmark(runs, dataset)
    replays = [replay(trajectory(run, dataset), rules) for run in runs]
    found = summary(each for group in replays for each in group)
    if as_json:
        listed = [
            {"run": str(run.path), **dataclasses.asdict(each)}
            for run, group in zip(runs, replays, strict=True)
            for each in group
        ]
        head = {"table": table, "dataset": shown}
        typer.echo(dump_json({**head, "runs": listed, "rules": found}))
    else:
        print_replays(runs, replays, found, table, shown)


def _runs(paths: Sequence[Path]) -> list[RunFolder]:
    from optnas.base.records import find_runs
    from optnas.study.states import each_once

    runs = {run.path: run for path in paths for run in find_runs(path)}
    if not runs:
        raise UserError(
            "there is no run in or below it",
            key="DIR...",
            value=" ".join(map(str, paths)),
            remedy="check the path; optnas list shows the runs below a folder",
        )
    return each_once(runs.values())


def _benchmark(runs: Sequence[RunFolder], dataset: str | None) -> tuple[str, str | None]:
    """The one table that answered all runs, and the data set that counts."""
    told = [record["benchmark"] for run in runs for record in run.read_epochs()[:1]]
    answered = sorted({(b["table"], dataset or next(iter(b["accuracy"]), None)) for b in told})
    if len(answered) > 1:
        raise UserError(
            "the runs were answered by different benchmark tables"
            f" ({', '.join(' '.join(map(str, each)) for each in answered)})",
            key="DIR...",
            remedy="name runs of one table at a time",
        )
    return answered[0] if answered else ("none", dataset)
