"""The engine for Ray: a cluster of this machine that loses a node."""

from __future__ import annotations

import fcntl
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from cases import console
from studies import (
    PAIR,
    assert_each_completed_once,
    timeless_table,
    tiny_study,
)

from optnas.base import registry
from optnas.study.declare import load_study
from optnas.study.engines import ray as engines
from optnas.study.engines.base import Job
from optnas.study.engines.local import local
from optnas.study.runner import Runner, at_a_time
from optnas.study.starts import StartLog
from optnas.study.states import epochs_of, state_of

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1800),
    # Ray leaves sockets and its own deprecations behind.
    pytest.mark.filterwarnings("default"),
]

EPOCHS = 240


@pytest.fixture
def whole(tmp_path: Path) -> Any:
    """The table of the same study, run by processes that no one disturbs."""

    def run(name: str) -> pd.DataFrame:
        out = tmp_path / "whole"
        assert console(["study", "run", name, "--out", str(out)], tmp_path)[0] == 0
        return timeless_table(name, out)

    return run


@pytest.fixture
def alone_with_ray(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Ray finds any cluster of the machine: tests side by side must not see each other's."""
    with (tmp_path_factory.getbasetemp().parent / "ray.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@pytest.fixture
def cluster(alone_with_ray: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A head that computes nothing and two nodes of one core."""
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    ray = pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    head = {"num_cpus": 0, "include_dashboard": False, "object_store_memory": 80 * 2**20}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    nodes = [cluster.add_node(num_cpus=1, object_store_memory=80 * 2**20) for _ in range(2)]
    ray.init(address=cluster.address, log_to_driver=False)
    cluster.wait_for_nodes()
    yield cluster, nodes
    ray.shutdown()
    cluster.shutdown()


def test_an_interruption_and_a_lost_node(cluster: Any, whole: Any, tmp_path: Path) -> None:
    alive, nodes = cluster
    name = tiny_study(tmp_path, "[0, 1]", PAIR, search__epochs=EPOCHS)
    out = tmp_path / "out"
    engine = registry.find("engine", "ray")(retries=3)
    told: list[str] = []
    runner = Runner(load_study(name), out, engine, jobs=2)

    def interrupt() -> None:
        if sum(0 < epochs_of(folder) < EPOCHS for folder in runner.folders.values()) == 2:
            signal.raise_signal(signal.SIGTERM)

    runner.on_tick = interrupt
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    with pytest.raises(KeyboardInterrupt):
        runner.go()
    signal.signal(signal.SIGTERM, before)
    states = sorted(state_of(folder) for folder in runner.folders.values())
    assert states == ["interrupted", "interrupted", "missing", "missing"]

    reached = {each: epochs_of(folder) for each, folder in runner.folders.items()}
    runner = Runner(load_study(name), out, engine, jobs=2)
    runner.on_change = lambda run, state, why: told.append(f"{state} {run.id} {why}")

    def lose_a_node() -> None:
        begun = {each: epochs_of(folder) for each, folder in runner.folders.items()}
        moving = [reached[each] < epochs < EPOCHS for each, epochs in begun.items()]
        if len(nodes) == 2 and sum(moving) == 2:
            print(f"lose a node at {begun}")
            alive.remove_node(nodes.pop(), allow_graceful=False)

    runner.on_tick = lose_a_node
    assert runner.go()
    print("\n".join(told))
    assert len(nodes) == 1
    assert_each_completed_once(name, out)
    starts = [
        sum(event["event"] == "start" for event in StartLog(folder).read())
        for folder in runner.folders.values()
    ]
    assert sum(starts) > 4 + 2, starts  # the lost one went on
    assert all(not line.startswith("unfinished") for line in told), "Ray submitted it again itself"
    pd.testing.assert_frame_equal(timeless_table(name, out), whole(name))


@pytest.mark.parametrize(("gpus", "threads", "at_a_time"), [(0.25, 1, 4), (0.0, 2, 2)])
def test_as_many_runs_go_on_as_cpus_and_gpus_carry(
    gpus: float,
    threads: int,
    at_a_time: int,
    alone_with_ray: None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Four CPUs and, as Ray counts, one GPU."""
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    ray = pytest.importorskip("ray")

    def stay(folder: str, settings: dict[str, Any]) -> int:
        Path(folder, "begun").touch()
        while not Path(folder).with_name("end").exists():
            time.sleep(0.1)
        return 0

    monkeypatch.setattr(engines, "_execute", stay)
    memory = 80 * 2**20
    ray.init(num_cpus=4, num_gpus=1, include_dashboard=False, object_store_memory=memory)
    try:
        engine = registry.find("engine", "ray")(gpus=gpus)
        folders = [tmp_path / str(number) for number in range(at_a_time + 1)]
        for folder in folders:
            folder.mkdir()
        handles = [engine.start(Job(folder, {}, threads)) for folder in folders]
        while len(list(tmp_path.glob("*/begun"))) < at_a_time:
            assert engine.wait(handles, 0.1) == {}
        assert engine.wait(handles, 3.0) == {}
        assert len(list(tmp_path.glob("*/begun"))) == at_a_time
        (tmp_path / "end").touch()
        ended: dict[Any, str] = {}
        while len(ended) < len(handles):
            ended |= engine.wait([each for each in handles if each not in ended], 1.0)
        assert set(ended.values()) == {"exit code 0"}
    finally:
        ray.shutdown()


def test_no_ray_cluster_here(alone_with_ray: None, tmp_path: Path) -> None:
    words = ["study", "run", "quickstart", "--out", "out", "--engine", "ray"]
    code, out, err = console(words, tmp_path)
    assert (code, out) == (2, [])
    assert "address=local" in err[-1]


@pytest.mark.parametrize("refuses", [AttributeError, OSError])
def test_processes_end_where_no_descriptor_tells_of_it(
    refuses: type[Exception], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other systems have no pidfd: the process ran on, and nobody waited for it."""

    def missing(pid: int) -> int:
        raise refuses

    monkeypatch.setattr("os.pidfd_open", missing)
    monkeypatch.setattr("sys.executable", shutil.which("false"))
    engine = local()
    handle = engine.start(Job(tmp_path, {}, 1))
    assert engine.wait([handle], 60) == {handle: "exit code 1"}
    began = time.monotonic()
    slow = tmp_path / "slow"
    slow.write_text("#!/bin/sh\nexec sleep 60\n")
    slow.chmod(0o755)
    monkeypatch.setattr("sys.executable", str(slow))
    running = engine.start(Job(tmp_path, {}, 1))
    assert engine.wait([running], 0.3) == {}
    assert 0.3 <= time.monotonic() - began < 30
    running.process.terminate()  # SIGINT may be ignored here: pytest or its caller may ignore it
    assert engine.wait([running], 60) == {running: f"signal {signal.SIGTERM}"}


def test_as_many_runs_at_a_time_as_cores_may_be_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 64)
    monkeypatch.setattr("joblib.cpu_count", lambda: 3)
    assert at_a_time(None, None) == 3
    assert at_a_time(None, 2) == 1
    assert at_a_time(5, 2) == 5
