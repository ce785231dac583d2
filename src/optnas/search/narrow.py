"""The next stage of a search: its settings, with the space narrowed to what a run found strong."""

from __future__ import annotations

from typing import Any

from optnas.base.errors import UserError
from optnas.base.escapes import for_shell
from optnas.base.folder import Place, folder_path
from optnas.base.records import RunFolder
from optnas.search.settings.layers import recorded_in
from optnas.search.settings.needs import needs_in
from optnas.spaces import build_space
from optnas.spaces.narrowing import OfNone, strongest


def narrow(run: Place, keep: int, *, none: OfNone = "stays") -> dict[str, Any]:
    """A finished run's settings, with the strongest operations of each edge as its candidates.

    Strong is what has a large operation weight after the last epoch, without an auxiliary skip.

    Args:
        run: the run's folder.
        keep: how many candidates an edge keeps.
        none: as of `strongest`.

    Returns:
        Settings for `optnas.run`; network weights and alpha of such a search begin anew.

    Raises:
        UserError: there is no such run, it is not done, or its edges cannot keep so many.

    Example:
        >>> optnas.run(optnas.narrow("runs/a", 3), out="runs/b")  # doctest: +SKIP
    """
    folder = RunFolder(folder_path(run, "run"))
    document, result = folder.read_config(), folder.read_result()
    status = "unfinished" if result is None else result["status"]
    if status != "done":
        raise UserError(
            "this run diverged: it ranks no operations"
            if status == "diverged"
            else f"this run is {status}: it does not rank its operations yet",
            where=folder.path,
            remedy="narrow another" if status == "diverged" else f"optnas resume {for_shell(run)}",
        )
    settings = recorded_in(document, folder.config)
    space = build_space(settings.space.model_dump(), where=folder.config)
    rows = folder.read_epochs()[-1]["op_weights"]
    if "auxiliary-skip" in {each.need for each in needs_in(settings, beside=False)}:
        # As `optnas.measures.auxiliary` takes it off, without torch.
        for place, column in space.skip_entries("an auxiliary one stands beside each"):
            for row in rows[place]:
                row[column] -= sum(row) - 1
    found = {key: each for key, each in document.items() if key != "identity"}
    try:
        candidates = strongest(space, rows, keep, none=none)
    except UserError as error:
        raise error.at(folder.path) from error
    return {**found, "space": {**document["space"], "candidates": candidates}}
