"""What several commands share: their options, and overrides as dotted settings."""

from __future__ import annotations

from collections.abc import Callable, Container, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer
from typer.core import TyperCommand

from optnas.base.files import present

if TYPE_CHECKING:
    from optnas.base.records import RunFolder

Overrides = Annotated[
    list[str] | None,
    typer.Argument(metavar="[KEY=VALUE]...", help="dotted settings, such as search.epochs=5"),
]
# Of what has begun: see `optnas.search.settings.layers.reread`.
Changes = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[KEY=VALUE]...",
        help="new values of run.*, tracking.* and where data lie, such as run.threads=2",
    ),
]
Device = Annotated[str | None, typer.Option(help="auto, cpu, cuda or cuda:N (run.device)")]
Threads = Annotated[int | None, typer.Option(help="CPU threads (run.threads)")]
DataFolder = Annotated[
    Path | None, typer.Option("--data", help="data folder; default: the variable OPTNAS_DATA")
]


class Words(NamedTuple):
    """Words of a command line, in their order.

    Attributes:
        paths: all that are no others, whether they exist or not.
        names: of components.
        settings: ``KEY=VALUE``.
    """

    paths: list[str]
    names: list[str]
    settings: list[str]


def told_apart(
    words: Sequence[str] | None, known: Callable[[list[str]], Container[str]] | None = None
) -> Words:
    """Words by what they are: what exists is a path, whatever its name.

    Args:
        words: what stands on the command line.
        known: names of components, from the words that are no settings; where it is given, a word
            with ``:`` in it is one too.

    Returns:
        The words.
    """
    words = words or []
    settings = [word for word in words if "=" in word and not present(Path(word))]
    others = [word for word in words if word not in settings]
    names: list[str] = []
    if known is not None:
        valid = known(others)
        names = [w for w in others if w in valid or (":" in w and not present(Path(w)))]
    return Words([word for word in others if word not in names], names, settings)


def dotted_settings(overrides: list[str] | None, **options: Any) -> dict[str, Any]:
    """Dotted settings from ``KEY=VALUE`` words and from options that have a key of their own.

    Args:
        overrides: what stands on the command line.
        **options: ``device``, ``threads``, ``data``; None is not given.

    Returns:
        The settings by dotted key.

    Raises:
        UserError: a word is no setting.
    """
    from optnas.base.toml import parse_override

    dotted = {}
    for text in overrides or []:
        parts, value = parse_override(text)
        dotted[".".join(parts)] = value
    named = {"device": "run.device", "threads": "run.threads", "data": "data.folder"}
    chosen = {named[k]: str(v) if k == "data" else v for k, v in options.items() if v is not None}
    return dotted | chosen


def listing(kind: str) -> type[TyperCommand]:
    """A command whose ``--help`` ends with the registered names of a kind.

    Args:
        kind: one of `optnas.base.registry.KINDS`.

    Returns:
        The class; the names are looked up when the help is asked for.
    """

    class Listing(TyperCommand):
        def format_epilog(self, ctx: Any, formatter: Any) -> None:
            from optnas.base.registry import names

            with formatter.section(f"Names ({kind})"):
                formatter.write_text(", ".join(names(kind)))

    return Listing


def runs_at(paths: Sequence[Path]) -> list[RunFolder]:
    """The runs that paths name: a run's folder, or any folder with runs below it.

    What else a shell's ``DIR/*`` finds in a folder of runs, such as a report and its figures, is
    passed over where other paths name runs.

    Args:
        paths: what stands on the command line.

    Returns:
        The folders, each once; a path that names none stays, for the error that it deserves.
    """
    from optnas.base.records import given_runs

    given = given_runs(paths)
    runs = [each for each in given if each.config.exists()]
    parents = {run.path.parent for run in runs}

    def passed_over(path: Path) -> bool:
        return path.exists() and path.parent in parents

    return runs + [each for each in given if each not in runs and not passed_over(each.path)]
