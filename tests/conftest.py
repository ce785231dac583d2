"""Rules for the whole suite: one thread, no touching of global generators, no silent skips."""

from __future__ import annotations

import os
import sys
from collections import defaultdict
from pathlib import Path
from zlib import crc32

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")

ALLOWED_SKIPS = {
    line
    for line in Path(__file__).with_name("allowed_skips.txt").read_text().splitlines()
    if line and not line.startswith("#")
}
# Of a matrix over all that is registered the default tier takes one case in so many.
OF_A_MATRIX = 3
_unexpected: list[str] = []


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    import torch

    torch.set_num_threads(1)


@pytest.fixture(scope="session", autouse=True)
def _no_byte_code() -> None:
    """From here on no byte code is kept: tests write files of one name and time again and again."""
    sys.dont_write_bytecode = True


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Converted benchmark tables go to a folder of the session, not to the user's cache."""
    os.environ["OPTNAS_HOME"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished tiny run, to be copied and never changed."""
    from tiny import TINY

    from optnas.search import api

    out = tmp_path_factory.mktemp("runs") / "done"
    api.run(TINY | {"search.epochs": 1}, out=out)
    return out


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    tests: dict[str, list[pytest.Item]] = defaultdict(list)
    for item in items:
        # By its name alone: a new component moves the case of no other one.
        later = item.get_closest_marker("matrix") and crc32(item.nodeid.encode()) % OF_A_MATRIX
        if later:
            item.add_marker("slow")
        if not any(item.get_closest_marker(tier) for tier in ("slow", "thorough")):
            tests[item.nodeid.partition("[")[0]].append(item)
    # `make check` takes the first and the last of several: cases of a grid that share no value.
    for cases in tests.values():
        for case in cases[1:-1]:
            case.add_marker("thorough")


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.skipped and os.environ.get("CI") and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        reason = reason.removeprefix("Skipped: ")
        if reason not in ALLOWED_SKIPS:
            _unexpected.append(f"{report.nodeid}: {reason}")


def pytest_sessionfinish(session: pytest.Session) -> None:
    if _unexpected and not hasattr(session.config, "workerinput"):
        session.exitstatus = 1


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for line in _unexpected:
        terminalreporter.write_line(f"skip not on tests/allowed_skips.txt: {line}", red=True)
