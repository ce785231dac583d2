"""One process, one run: go on with a run folder from wherever it stands."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from optnas.base.errors import EXIT_DIVERGED, EXIT_DONE, EXIT_FAILED, UserError, fault_of
from optnas.base.folder import BusyError
from optnas.base.records import FINISHED, RunFolder
from optnas.base.toml import nest
from optnas.search.api import search
from optnas.search.settings.layers import reread
from optnas.study.starts import StartLog

EXIT_BUSY = 75  # EX_TEMPFAIL of sysexits.h


def execute(path: Path, settings: Mapping[str, Any] | None = None) -> int:
    """Go on with a run until it is finished; a finished one is left as it is.

    All an engine has to do, wherever it does it, as often as it likes. The folder's lock keeps a
    second execution out; a failure becomes the run's status. A signal ends it as ``interrupted``.

    Args:
        path: a folder that holds a run's config.toml.
        settings: new values of ``run.*`` and of where data lie, by dotted key.

    Returns:
        An exit code: 0 done, 1 failed, 3 diverged, 75 if another process has the folder.

    Raises:
        KeyboardInterrupt: passed on after ``interrupted`` is recorded.
        UserError: there is no run in the folder, or it cannot be written.
    """
    folder = RunFolder(path)
    folder.read_config()
    try:
        with folder.locked():
            return _alone(folder, settings or {})
    except BusyError:
        return EXIT_BUSY


def _alone(folder: RunFolder, settings: Mapping[str, Any]) -> int:
    log, result = StartLog(folder), folder.read_result()
    if result is not None and result.get("status") in FINISHED:
        log.settle(result["status"])
        return EXIT_DIVERGED if result["status"] == "diverged" else EXIT_DONE
    log.add("start")
    # How an earlier execution ended is no outcome of this one, which may be killed before it has
    # any. What refuses the run writes another result.
    folder.result.unlink(missing_ok=True)
    try:
        status = search(reread(folder.read_config(), folder.config, nest(settings)), folder)[
            "status"
        ]
    except UserError as error:
        folder.finish("failed", reason=str(error), fault=fault_of(error))
        log.add("failed")
        return EXIT_FAILED
    except KeyboardInterrupt:
        folder.finish("interrupted")
        log.add("interrupted")
        raise
    except Exception:
        log.add("failed")
        raise
    log.add(status)
    return EXIT_DIVERGED if status == "diverged" else EXIT_DONE
