"""The operation weights of another run, for an algorithm that follows it."""

from __future__ import annotations

import contextlib
from pathlib import Path

import torch

from optnas.algorithms.base import Memory
from optnas.base.errors import UserError
from optnas.base.records import RunFolder, find_runs
from optnas.base.toml import flat, nest
from optnas.search.settings.layers import driver_of
from optnas.search.settings.model import Settings

KEY = "driver"  # the setting, and the name in the memory


def driven(settings: Settings, folder: Path) -> Memory:
    """What an algorithm that follows another run remembers of it: ``[epochs + 1, E, O]``.

    Args:
        settings: of the run that follows.
        folder: its folder; the driver lies beside it.

    Returns:
        Operation weights after each epoch, from epoch 0 on, of a driver that ended early those of
        its last; nothing where no driver is named.

    Raises:
        UserError: the driver is not there, has not ended, or its operation weights are no weights
            of a mixture.
    """
    wanted = driver_of(settings)
    if wanted is None:
        return {}
    beside = folder.absolute().parent
    driver = _in(beside, wanted.hash)
    result = None if driver is None else driver.read_result()
    asked = {"key": f"algorithm.{KEY}", "value": settings.algorithm.settings[KEY]}
    if driver is None or result is None or result["status"] != "done":
        raise UserError(
            f"the run to follow, {wanted.hash[:16]}, is not done in {beside}",
            **asked,
            remedy=f"run it first: this command with {_words(wanted, settings)} in place of "
            f"algorithm.*, and another --out in {beside}",
        )
    told_TEO = torch.tensor(
        [record["op_weights"] for record in driver.read_epochs()], dtype=torch.float64
    )
    if not torch.allclose(told_TEO.sum(-1), torch.ones((), dtype=torch.float64), atol=1e-4):
        raise UserError(
            f"the operation weights of {driver.path} do not add up to 1",
            **asked,
            remedy="follow an algorithm whose operation weights are a softmax",
        )
    missing = settings.search.epochs + 1 - len(told_TEO)
    held_TEO = told_TEO[-1:].expand(max(missing, 0), -1, -1)
    return {KEY: torch.cat([told_TEO, held_TEO])}


def _words(wanted: Settings, settings: Settings) -> str:
    """What the driver's command line has that the follower's has not."""
    told = flat(nest(settings.algorithm.settings[KEY]))
    words = {"algorithm.name": wanted.algorithm.name, **told}
    return " ".join(f"{key}={value}" for key, value in words.items())


def _in(folder: Path, identity: str) -> RunFolder | None:
    """The run of a hash; where several are, one that is done."""
    found = None
    for run in find_runs(folder):
        with contextlib.suppress(UserError):  # what cannot be read is nobody's driver
            if run.read_identity()["hash"] == identity:
                found = run
                if (run.read_result() or {}).get("status") == "done":
                    break
    return found
