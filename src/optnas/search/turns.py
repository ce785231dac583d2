"""An algorithm's watch over its search: ways back to an earlier epoch, and an early end.

A search is taken back by its own checkpoints: one is kept at each epoch that the watch may lead
back to. What came after that epoch is cut from the records, as after a kill, and moved to
turns.jsonl, so that records are always those of one search.
"""

from __future__ import annotations

import logging
import time

from optnas.algorithms.base import Turn
from optnas.base.errors import UserError
from optnas.base.escapes import for_terminal
from optnas.base.records import FIRST_EPOCH, RunFolder
from optnas.base.seeds import global_states, moved_since
from optnas.search.checkpoints import restore, save
from optnas.search.draws import tell_of_draws
from optnas.search.observe import keeps
from optnas.search.state import SearchState
from optnas.search.steps import SearchTrial, remembering

log = logging.getLogger("optnas")


def tell_idle(state: SearchState) -> None:
    """Say at the start of a search that its watch cannot act on it: the search is too short.

    Args:
        state: before anything is trained.
    """
    watch, epochs = state.algorithm.watch, state.settings.search.epochs
    if watch is not None and watch.first >= epochs:
        log.warning(
            "optnas: warning: the watch of %s cannot turn a search of %d epochs: it first asks "
            "after epoch %d, and never after the last",
            state.settings.algorithm.name,
            epochs,
            watch.first,
        )


def tell_untaken(state: SearchState) -> None:
    """Say at the start of a search which measures it never takes: none of their epochs comes.

    Args:
        state: before anything is trained.
    """
    epochs = state.settings.search.epochs
    for label, section in state.settings.measures.items():
        if section.at and not section.cadence.count(epochs):
            log.warning(
                "optnas: warning: measures.%s.at=%s: none of these epochs is one of the %d of this "
                'search, and the measure is never taken; write "end" for the last',
                label,
                for_terminal(str(section.at)),
                epochs,
            )


def watched(state: SearchState, folder: RunFolder) -> Turn | None:
    """Let the algorithm look at its search, where it watches it and this epoch is due.

    A kill at any point leaves a checkpoint from which the same is decided again.

    Args:
        state: between two epochs; changed: its memory, or all of it after a way back.
        folder: of the run; its records and checkpoints follow the state.

    Returns:
        The turn that was taken, if one was.

    Raises:
        UserError: the way back leads to an epoch that the watch did not look at.
    """
    watch, epoch = state.algorithm.watch, state.epoch
    if watch is None or epoch < FIRST_EPOCH or epoch % watch.every:
        return None
    started = time.perf_counter()
    # As it is before the look: where a way back ends, the search is looked at again.
    save(state, folder.kept(epoch))
    forget(state, folder, before=epoch - watch.back)
    before = global_states()
    turn = watch.look(SearchTrial(state, remembering(state, state.progress(epoch))))
    whose = moved_since(before)
    if whose is not None:
        tell_of_draws(f"the algorithm's watch drew from the global generator of {whose}", epoch)
    if turn.back is None:
        state.remember(turn.memory)
        return turn if turn.ends else None
    there = folder.kept(turn.back)
    if turn.back >= epoch or not there.exists():
        raise UserError(
            f"goes back to epoch {turn.back} after epoch {epoch}, where it did not look",
            key="algorithm.name",
            value=state.settings.algorithm.name,
            remedy="go back by at most Watch.back epochs, to a multiple of Watch.every",
        )
    told = f"{turn.reason}: back to epoch {turn.back}"
    told += ", where the search ends" if turn.ends else ""
    folder.note_turn({"epoch": epoch, "back": turn.back, "ends": turn.ends, "reason": turn.reason})
    seconds = state.seconds
    # Of the decay now: the checkpoint may be older than the last time it was raised.
    decays = [group.get("weight_decay") for group in state.weight_optimizer.param_groups]
    restore(state, there)
    state.remember(turn.memory)
    for group, decay in zip(state.weight_optimizer.param_groups, decays, strict=True):
        if decay is not None:
            group["weight_decay"] = decay * turn.decay
    state.seconds = seconds + time.perf_counter() - started
    save(state, folder.checkpoint)
    folder.previous.unlink(missing_ok=True)  # its records are cut
    folder.cut(state.records, state.epoch)
    log.warning("optnas: %s", told)
    return turn


def forget(state: SearchState, folder: RunFolder, before: int) -> None:
    """Remove kept checkpoints of earlier epochs that only the watch wanted."""
    if state.algorithm.watch is None:
        return
    for epoch in folder.kept_epochs():
        if epoch < before and not keeps(state.settings, epoch):
            folder.kept(epoch).unlink()
