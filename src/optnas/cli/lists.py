"""``list``: runs below a folder, or components of a kind."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from optnas.base.errors import UserError

# Files that ship with the package, in plural and singular.
FILES = {
    "studies": "study",
    "protocols": "protocol",
    "training-protocols": "training-protocol",
}
AsJson = Annotated[bool, typer.Option("--json", help="JSON instead of a table")]


class WithKinds(TyperCommand):
    """A command whose ``--help`` ends with the kinds of components."""

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        """Write them."""
        from optnas.base.registry import plurals

        with formatter.section("Kinds"):
            formatter.write_text(", ".join([*plurals(), *FILES]))


def list_(
    what: Annotated[
        str, typer.Argument(metavar="[DIR|KIND]", help="where to look for runs, or a kind")
    ] = "runs",
    *,
    as_json: AsJson = False,
) -> None:
    """List the runs of a folder, the components of a kind, or shipped studies and protocols."""
    from optnas.base.json import dump_json
    from optnas.base.registry import kind_of

    kind = kind_of(what)
    if kind is not None or what in {*FILES, *FILES.values()}:
        from optnas.cli.printing.lists import print_components

        found = components(kind) if kind is not None else files(FILES.get(what, what))
        if as_json:
            typer.echo(dump_json(found, indent=1))
        else:
            print_components(found)
        return
    runs = _runs(Path(what))
    if as_json:
        from optnas.study.states import standing

        typer.echo(dump_json([standing(run) for run in runs], indent=1))
    else:
        from optnas.cli.printing.runs import print_runs

        print_runs(runs, Path(what))


def _runs(folder: Path) -> list[Any]:
    from optnas.base.errors import did_you_mean
    from optnas.base.records import find_runs
    from optnas.base.registry import plurals

    if not folder.is_dir():
        raise UserError(
            "there is no such folder, and no kind of this name",
            key="DIR|KIND",
            value=str(folder),
            remedy=f"check the path, or {did_you_mean(str(folder), [*plurals(), *FILES])}",
        )
    return find_runs(folder)


def files(kind: str) -> list[dict[str, Any]]:
    """Every study or protocol that ships with the package.

    Args:
        kind: one of the values of `FILES`.

    Returns:
        By name: ``name``; ``summary``, the question of a study, what a protocol is.
    """
    from optnas.search.protocols import SHELF as SEARCHES
    from optnas.search.standalone.settings import SHELF as TRAININGS
    from optnas.study.declare import STUDIES

    shelf = {"study": STUDIES, "protocol": SEARCHES}.get(kind, TRAININGS)
    return [{"name": name, "summary": shelf.summary(name)} for name in shelf.names()]


def components(kind: str) -> list[dict[str, Any]]:
    """Every component of a kind.

    Args:
        kind: one of `optnas.base.registry.KINDS`.

    Returns:
        By name: ``name``; ``needs``, what it says it needs; ``summary``, the first line of its
        docstring; of optimizers ``refuses``, where they cannot serve; of algorithms ``paper``,
        ``year`` and ``step_cost``, how many times as long as one of DARTS a step takes, each None
        where nobody said or measured it. One that cannot be loaded has the reason as its summary.
    """
    from optnas.base import registry

    if kind == "optimizer":
        return _optimizers()
    if kind == "algorithm":
        return [_algorithm(name) for name in registry.names(kind)]
    return [_component(kind, name) for name in registry.names(kind)]


def _algorithm(name: str) -> dict[str, Any]:
    from optnas.algorithms.costs import step_costs
    from optnas.base import registry

    said = _component("algorithm", name)
    try:
        facts = registry.facts("algorithm", name)
    except UserError:
        facts = {}
    return {
        "name": name,
        "year": facts.get("year"),
        "step_cost": step_costs().get(name),
        "needs": said["needs"],
        "summary": said["summary"],
        "paper": facts.get("paper"),
    }


def _component(kind: str, name: str) -> dict[str, Any]:
    from optnas.base import registry

    try:
        summary = _first_line(registry.find(kind, name).__doc__)
        needs = list(registry.facts(kind, name).get("needs", ()))
    except UserError as error:
        summary, needs = f"cannot be used: {error.reason}", []
    return {"name": name, "needs": needs, "summary": summary}


def _optimizers() -> list[dict[str, Any]]:
    """Registered ones and those of torch.optim; docstrings of torch are read, so torch loads."""
    import torch

    from optnas.base import registry
    from optnas.optimizers import limits, signatures

    of_torch = set(signatures.torch_optimizers()) - set(signatures.REFUSED)
    found = []
    for name in sorted({*of_torch, *registry.names("optimizer")}):
        needs, refuses = list[str](), list[str]()
        try:
            factory = vars(torch.optim).get(name) or registry.find("optimizer", name)
            needs, refuses = limits.needs(name), limits.refuses(name)
            summary = _first_line(factory.__doc__)
        except UserError as error:
            summary = f"cannot be used: {error.reason}"
        found.append({"name": name, "needs": needs, "refuses": refuses, "summary": summary})
    return found


def _first_line(docstring: str | None) -> str:
    return (docstring or "").strip().split("\n", 1)[0]
