"""The engine for Ray: a cluster of this machine that loses a node."""

from __future__ import annotations

import fcntl
import signal
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
from optnas.study.folder import epochs_of, state_of
from optnas.study.runner import Runner
from optnas.study.starts import StartLog

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


def test_fractions_of_a_gpu_are_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a GPU only that Ray hears of them."""
    import ray

    asked: dict[str, Any] = {}

    class Remote:
        def __call__(self, function: Any) -> Any:
            return self

        def remote(self, *arguments: Any) -> str:
            return "reference"

    def remote(**options: Any) -> Remote:
        asked.update(options)
        return Remote()

    monkeypatch.setattr(ray, "is_initialized", lambda: True)
    monkeypatch.setattr(ray, "remote", remote)
    from optnas.study.engines.base import Job

    engine = registry.find("engine", "ray")(gpus=0.25, retries=2)
    assert engine.start(Job(Path("a"), {}, 2)) == "reference"
    assert asked == {"num_cpus": 2, "num_gpus": 0.25, "max_retries": 2, "max_calls": 1}


def test_no_ray_cluster_here(alone_with_ray: None, tmp_path: Path) -> None:
    words = ["study", "run", "quickstart", "--out", "out", "--engine", "ray"]
    code, out, err = console(words, tmp_path)
    assert (code, out) == (2, [])
    assert "address=local" in err[-1]
