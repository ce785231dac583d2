"""The search: one loop, read downwards. It knows no algorithm, optimizer, space or data set."""

from __future__ import annotations

import contextlib
import time
import traceback
from collections.abc import Callable, Iterator
from typing import Any

from optnas.base.contents import Status
from optnas.base.errors import IN_RESULT, UserError, fault_of
from optnas.base.files import present
from optnas.base.records import FIRST_EPOCH, Record, RunFolder
from optnas.search.checkpoints import restore, save
from optnas.search.describe import DivergedError
from optnas.search.driver import driven
from optnas.search.environment import computing, describe_environment, tell_elsewhere
from optnas.search.observe import keeps
from optnas.search.session import Session
from optnas.search.settings.model import Settings
from optnas.search.state import SearchState, build_state
from optnas.search.trackers.guard import Guarded, tracker_of
from optnas.search.turns import forget, tell_idle, tell_untaken, watched

OnEpoch = Callable[[Record], None]
Result = dict[str, Any]  # the content of result.json


def run(settings: Settings, folder: RunFolder, on_epoch: OnEpoch = lambda record: None) -> Result:
    """Search from wherever the folder's checkpoint stands to the last epoch.

    The folder is created and locked by the caller and holds this run's config.toml. Every epoch is
    a record in epochs.jsonl, then the lines of the measures that are due, then a checkpoint; what
    came after the last checkpoint is cut off first, so an interrupted run goes on as if it had not
    been.

    Args:
        settings: the run's settings.
        folder: the run's folder.
        on_epoch: called with each new record.

    Returns:
        The content of result.json; its ``status`` is ``done`` or ``diverged``.

    Raises:
        UserError: the settings or files turn out unusable; nothing was recorded yet.
        KeyboardInterrupt: passed on after ``interrupted`` is recorded.
    """
    tracker = tracker_of(settings, folder)
    with computing(settings), _recorded(folder, tracker) as finish:
        state = build_state(settings)
        if present(folder.checkpoint):
            restore(state, folder.checkpoint)
        elif "driver" in state.needs:
            state.remember(driven(settings, folder.path))
        session = Session(state)
        if state.epoch < FIRST_EPOCH:
            tell_idle(state)
            tell_untaken(state)
        environment = describe_environment(settings.run, state.alpha_EO.device)
        if state.epoch >= FIRST_EPOCH:
            tell_elsewhere(folder.read_starts(), environment, f"after epoch {state.epoch}")
        folder.start(environment, state.records, state.epoch)
        tracker.start(settings)

        def tell(record: Record) -> None:
            tracker.record(record)
            on_epoch(record)

        try:
            last, ended = _loop(session, folder, tell)
        except DivergedError as error:
            return finish("diverged", epoch=state.epoch, reason=str(error))
        return finish("done", **_outcome(state, last), **({"ended": ended} if ended else {}))


def _loop(session: Session, folder: RunFolder, on_epoch: OnEpoch) -> tuple[Record, str]:
    """Every epoch from here on; the last record, and why the search ended early if it did."""
    state, record, ended = session.state, None, ""
    while state.epoch < state.settings.search.epochs:
        started = time.perf_counter()
        turn = watched(state, folder)
        if turn is not None:
            record, ended = None, turn.reason if turn.ends else ""
            if turn.ends:
                # Of the state that it ends with. Killed here, the next start ends it again.
                Session(state).observe(folder, ended=True)
                break
            continue
        trained = session.train_epoch()
        record = {"epoch": state.epoch, **trained, **session.measure()}
        record["seconds"] = time.perf_counter() - started
        state.seconds += record["seconds"]
        state.records = folder.append(record)
        session.observe(folder)
        if keeps(state.settings, state.epoch):
            save(state, folder.kept(state.epoch))
        save(state, folder.checkpoint, keep=folder.previous)
        on_epoch(record)
    forget(state, folder, before=state.epoch + 1)
    # Killed between the last checkpoint and the result: the record is there already.
    return record or folder.read_epochs()[-1], ended


def _outcome(state: SearchState, last: Record) -> dict[str, Any]:
    keys = ("architecture", "benchmark", "valid_accuracy", "alpha_path_length_centred")
    cell = state.space.parse(last["architecture"])
    return {
        "hash": state.settings.hash,
        "epochs": state.epoch,
        "seconds": state.seconds,
        "note": state.note,
        **{key: last[key] for key in keys},
        **({"genotype": cell.genotype} if state.space.keeps_some else {}),
    }


@contextlib.contextmanager
def _recorded(folder: RunFolder, tracker: Guarded) -> Iterator[Callable[..., Result]]:
    """However a start ends is a status, recorded and told; bad input is the caller's to tell."""
    written: list[Result] = []

    def finish(status: Status, **facts: Any) -> Result:
        written.append(folder.finish(status, **facts))
        return written[-1]

    try:
        yield finish
    except UserError:
        raise
    except KeyboardInterrupt:
        with contextlib.suppress(OSError):  # a full disk must not hide who ended it
            finish("interrupted")
        raise
    except Exception as error:
        if isinstance(error, OSError) and folder.refused(error) and not folder.checkpoint.exists():
            raise folder.unwritable(error) from error
        with contextlib.suppress(OSError):  # a full disk may be what failed
            finish(
                "failed",
                reason=f"{type(error).__name__}: {error}",
                fault=fault_of(error),
                traceback=traceback.format_exc().splitlines(),
            )
        error.add_note(IN_RESULT)
        raise
    finally:
        if written:
            tracker.finish(written[-1]["status"])
