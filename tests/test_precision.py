"""``supernet.precision``: what it changes, what it leaves, and what is refused."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import (
    TINY,
    assert_same,
    every_variant,
    fingerprint,
    in_their_tier,
    tiny_settings,
    trained,
)
from torch.overrides import _get_current_function_mode_stack

import optnas
from optnas.base import registry
from optnas.base.errors import UserError
from optnas.measures.hypergradient_error import hypergradient_error
from optnas.search import api, modules
from optnas.search import session as session_module
from optnas.search.checkpoints import restore, save
from optnas.search.draws import draw_epoch
from optnas.search.environment import computing
from optnas.search.observe import take
from optnas.search.session import Session
from optnas.search.settings.complete import complete_measure
from optnas.search.settings.model import MeasureSection
from optnas.search.state import SearchState, build_state
from optnas.search.steps import weight_step

SMALL = {"supernet__dtype": "float32"}
LOW = {**SMALL, "supernet__precision": "bfloat16"}


def tensors(value: Any) -> list[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        return [value]
    return [each for inner in value.values() for each in tensors(inner)] if value else []


def resumed(changes: dict[str, Any], path: Path) -> SearchState:
    """A search of two epochs, saved after the first and gone on with from the file."""
    save(trained(changes, epochs=1), path)
    state = build_state(tiny_settings(**changes))
    restore(state, path)
    Session(state).train_epoch()
    return state


@pytest.mark.thorough
@pytest.mark.parametrize("name", in_their_tier(dict(every_variant())))
def test_bfloat16_trains_resumes_and_keeps_its_types(name: str, tmp_path: Path) -> None:
    changes = {**LOW, **dict(every_variant())[name]}
    algorithm = changes["algorithm__name"]
    if "full-precision" in registry.facts("algorithm", algorithm)["needs"]:
        with pytest.raises(UserError, match="leaves little but rounding"):
            tiny_settings(**changes)
        return
    if "full-precision" in registry.facts("algorithm", algorithm)["needs_at"]:
        changes["algorithm__derivative"] = "exact"
    state = trained(changes, epochs=2)
    held = fingerprint(state)
    assert_same(fingerprint(resumed(changes, tmp_path / "last.pt")), held)
    exact = fingerprint(trained({**changes, "supernet__precision": "float32"}, epochs=2))
    for key in ("weights", "alpha", "mean", "variance", "w", "a"):
        found = [each for each in tensors({"": held[key]}) if each.is_floating_point()]
        assert {each.dtype for each in found} <= {torch.float32}
        assert all(bool(torch.isfinite(each).all()) for each in found)
    one = torch.cat([each.flatten() for each in held["weights"].values()])
    other = torch.cat([each.flatten() for each in exact["weights"].values()])
    distance = float((one - other).norm() / other.norm())
    assert 0 < distance < 0.2, distance
    for one, other in zip(tensors(held["streams"]), tensors(exact["streams"]), strict=True):
        assert torch.equal(one, other)


def test_what_is_judged_is_judged_in_the_searchs_own_type() -> None:
    low, exact = (build_state(tiny_settings(**changes)) for changes in (LOW, SMALL))
    records = []
    for state in (low, exact):
        session = Session(state)
        session.train_epoch()  # nothing is trained: the same weights in both
        records.append(session.measure())
    assert records[0] == records[1]


@pytest.mark.thorough
def test_what_a_measure_asks_of_a_step_is_computed_in_the_searchs_own_type() -> None:
    found = []
    for changes in (LOW, SMALL):
        session = Session(build_state(tiny_settings(**changes)))
        session.train_epoch()
        section = MeasureSection(
            **complete_measure("hypergradient-error", hypergradient_error().quick)
        )
        found.append(take(session.snapshot, section).line["values"])
    assert found[0] == found[1]


DIFFERENCES: dict[str, tuple[dict[str, Any], str]] = {
    "value-function": (
        {"algorithm__hypergradient": "value-function"},
        r"algorithm\.hypergradient = 'value-function': .*; set supernet\.precision=float32$",
    ),
    "lambda-darts": (
        {"algorithm__name": "lambda-darts"},
        r"algorithm\.derivative = 'finite-difference': .*=float32, or algorithm\.derivative=exact$",
    ),
    "a2m": ({"algorithm__name": "a2m"}, r"algorithm = 'a2m': .*precision=float32$"),
    "uphill of a composition": (
        {"algorithm__name": "composed", "algorithm__hypergradient": "uphill"},
        r"algorithm\.hypergradient = 'uphill': takes a small difference of gradients, of which",
    ),
}


@pytest.mark.parametrize("precision", ["tf32", "bfloat16"])
@pytest.mark.parametrize("name", DIFFERENCES)
def test_small_differences_of_rounded_gradients_are_refused(name: str, precision: str) -> None:
    changes, told = DIFFERENCES[name]
    tiny_settings(**changes, **SMALL)
    with pytest.raises(UserError, match=told):
        tiny_settings(**changes, **SMALL, supernet__precision=precision)


def test_a_measure_of_differences_is_refused_where_it_would_be_rounded_too() -> None:
    taken = {"measures__hypergradient-error__every": 1}
    tiny_settings(**LOW, **taken)
    with pytest.raises(UserError, match=r"or measures\.hypergradient-error\.every=0$"):
        tiny_settings(**SMALL, **taken, supernet__precision="tf32")


def test_only_another_precision_is_another_run() -> None:
    default = tiny_settings(**SMALL)
    assert tiny_settings(**SMALL, supernet__precision="float32").hash == default.hash
    assert tiny_settings(**LOW).hash != default.hash


@pytest.mark.parametrize("precision", ["tf32", "bfloat16"])
def test_another_precision_of_float64_is_refused(precision: str) -> None:
    with pytest.raises(UserError, match="float32 numbers are multiplied") as caught:
        tiny_settings(supernet__dtype="float64", supernet__precision=precision)
    assert caught.value.key == "supernet.precision"


def test_tf32_without_a_gpu_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    chosen = {"supernet.dtype": "float32", "supernet.precision": "tf32", "run.device": "cpu"}
    with pytest.raises(UserError) as caught:
        api.run({**TINY, **chosen}, out=tmp_path / "out")
    assert str(caught.value) == (
        "settings: supernet.precision = 'tf32': is a way of GPUs to multiply, and this run "
        "computes on the cpu; use float32 or bfloat16, or a machine with a GPU"
    )
    assert list(tmp_path.iterdir()) == []


def test_a_supernet_is_built_whatever_its_steps_multiplied_in(tmp_path: Path) -> None:
    """As one in tf32, which a CPU would refuse to search on."""
    chosen = {"supernet.dtype": "float32", "supernet.precision": "bfloat16", "search.epochs": 1}
    api.run({**TINY, **chosen}, out=tmp_path / "out")
    seen: list[str] = []

    def built(settings: Any) -> SearchState:
        seen.append(settings.supernet.precision)
        return build_state(settings)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(modules, "build_state", built)
        assert optnas.supernet(tmp_path / "out").facts["epoch"] == 1
    assert seen == ["float32"]


def test_a_resume_changes_no_precision(tmp_path: Path) -> None:
    api.run({**TINY, "supernet.dtype": "float32", "search.epochs": 1}, out=tmp_path / "out")
    with pytest.raises(UserError, match=r"supernet\.precision"):
        api.resume(tmp_path / "out", {"supernet.precision": "bfloat16"})


def said() -> list[Any]:
    """All that torch has been told about float32 products, the older views of it last."""
    every, cudnn, mkldnn = torch.backends, torch.backends.cudnn, torch.backends.mkldnn
    gpu = (cudnn.conv, cudnn.rnn, torch.backends.cuda.matmul)
    cpu = (mkldnn.conv, mkldnn.rnn, mkldnn.matmul)
    found: list[Any] = [each.fp32_precision for each in (*gpu, *cpu, cudnn, mkldnn, every)]
    found += [cudnn.deterministic, cudnn.benchmark]
    for older in (
        lambda: cudnn.allow_tf32,
        lambda: torch.backends.cuda.matmul.allow_tf32,
        torch.get_float32_matmul_precision,
    ):
        try:
            with warnings.catch_warnings(action="ignore"):  # some versions of torch warn of them
                found.append(older())
        except RuntimeError:
            found.append("cannot be told")
    return found


def following() -> list[Any]:
    """What kinds of product follow a program that says something of all those of a GPU."""
    torch.backends.cudnn.fp32_precision = "ieee"
    found = said()
    torch.backends.cudnn.fp32_precision = "none"
    return found


IEEE, TF32 = 3 * ["ieee"], 3 * ["tf32"]


def two_epochs() -> list[Any]:
    session = Session(build_state(tiny_settings(**SMALL)))
    told = [session.train_epoch() | session.measure() for _ in range(2)]
    return [{key: each[key] for key in ("train_loss", "valid_loss", "alpha")} for each in told]


@pytest.mark.parametrize(
    "mode",
    [
        torch.autocast("cpu", torch.bfloat16),
        torch.inference_mode(),
        torch.no_grad(),
        torch.device("meta"),
    ],
    ids=["autocast", "inference mode", "no gradients", "another device"],
)
def test_modes_of_the_program_stay_outside(mode: Any) -> None:
    """Under autocast a run of float32 had other numbers; the others ended in errors of torch."""
    plain = two_epochs()
    with mode:
        assert two_epochs() == plain
        grad, device = torch.is_grad_enabled(), torch.get_default_device()
        assert grad == (not isinstance(mode, (torch.inference_mode, torch.no_grad)))
        assert (device.type == "meta") == isinstance(mode, torch.device)
        assert torch.is_autocast_enabled("cpu") == isinstance(mode, torch.autocast)


def test_what_is_not_set_is_not_touched() -> None:
    """A mode that stands for a default device would be asked at every call of torch."""
    with computing(tiny_settings()):
        assert not _get_current_function_mode_stack()
        assert not torch.is_autocast_enabled("cpu")


def test_how_products_are_formed_is_said_for_the_run_alone() -> None:
    before, follow = said(), following()
    assert said() == before
    with computing(tiny_settings()):
        assert said()[:6] == [*IEEE, *IEEE]
        assert said()[9:11] == [True, False]
        with computing(tiny_settings(supernet__dtype="float32", supernet__precision="tf32")):
            assert said()[:6] == [*TF32, *IEEE]
        assert said()[:6] == [*IEEE, *IEEE]
    assert said() == before
    assert following() == follow


# One after another, so that each also meets what those before it have said.
STATED = """
from optnas.search.environment import exactly
from test_precision import IEEE, TF32, said
import torch

def check(stated):
    before = said()
    for tf32 in (False, True):
        with exactly(1, tf32=tf32):
            assert said()[:6] == [*(TF32 if tf32 else IEEE), *IEEE], (stated, said())
            assert said()[9:11] == [True, False], (stated, said())
        assert said() == before, (stated, before, said())

torch.backends.cudnn.benchmark = True
check("nothing")
for stated in {stated!r}:
    exec(stated)
    check(stated)
"""
STATEMENTS = [
    *(f"torch.backends.fp32_precision = {value!r}" for value in ("tf32", "ieee", "bf16")),
    *(f"torch.backends.cudnn.fp32_precision = {value!r}" for value in ("ieee", "tf32", "none")),
    "torch.backends.cuda.matmul.fp32_precision = 'tf32'",
    "torch.backends.mkldnn.matmul.fp32_precision = 'bf16'",
    "torch.set_float32_matmul_precision('high')",
    "torch.set_float32_matmul_precision('medium')",
    "torch.backends.fp32_precision = 'none'",
    "torch.backends.cudnn.conv.fp32_precision = 'ieee'",
    "torch.backends.cudnn.conv.fp32_precision = 'tf32'",
    "torch.backends.cudnn.allow_tf32 = False",
    "torch.set_float32_matmul_precision('highest')",
]


@pytest.mark.thorough
def test_a_program_may_have_said_how_products_are_formed() -> None:
    """By either generation of torch's switches; in a process that keeps what it said."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", STATED.format(stated=STATEMENTS)],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-1500:]


def test_a_session_in_a_program_computes_as_its_settings_say(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As `optnas search` does: on a GPU torch would multiply in tf32 by itself."""
    seen = []

    def looking(state: Any, *given: Any) -> Any:
        cudnn = torch.backends.cudnn
        seen.append((cudnn.conv.fp32_precision, cudnn.deterministic, torch.get_num_threads()))
        return weight_step(state, *given)

    monkeypatch.setattr(session_module, "weight_step", looking)
    before = said()
    session = Session(build_state(tiny_settings(run__threads=1)))
    for _ in range(2):
        session.train_epoch()
    session.begin_epoch()
    session.step(draw_epoch(session.state)[0])
    assert set(seen) == {("ieee", True, 1)}
    assert said() == before
