"""Rules for the whole suite: one thread, no touching of global generators, no silent skips."""

from __future__ import annotations

import os
import sys
from collections import defaultdict
from pathlib import Path

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")

ALLOWED_SKIPS = {
    line
    for line in Path(__file__).with_name("allowed_skips.txt").read_text().splitlines()
    if line and not line.startswith("#")
}
# Of a test with more cases than these, `make check` takes as many, evenly spread.
CASES_IN_CHECK = 2
# Of a matrix over everything that is registered the default tier takes this share, spread by
# multiples of the golden section: no row or column of the matrix is left out or taken whole.
SHARE_OF_A_MATRIX = 1 / 3
GOLDEN = (5**0.5 - 1) / 2
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


def _cases(items: list[pytest.Item], *without: str) -> list[list[pytest.Item]]:
    """The cases of each test, but those that have one of the markers."""
    tests: dict[str, list[pytest.Item]] = defaultdict(list)
    for item in items:
        if not any(item.get_closest_marker(marker) for marker in without):
            tests[item.nodeid.partition("[")[0]].append(item)
    return list(tests.values())


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for cases in _cases(items, "slow"):
        if cases[0].get_closest_marker("matrix"):
            for place, case in enumerate(cases):
                if place * GOLDEN % 1 >= SHARE_OF_A_MATRIX:
                    case.add_marker("slow")
    for cases in _cases(items, "slow", "thorough"):
        taken = {place * len(cases) // CASES_IN_CHECK for place in range(CASES_IN_CHECK)}
        if len(cases) > CASES_IN_CHECK:
            for place in set(range(len(cases))) - taken:
                cases[place].add_marker("thorough")


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
