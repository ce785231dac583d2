"""Alpha with further columns and an initial value of its own, from the first step to the measures.

Shapes: E edges, O operations.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from optnas.base.errors import UserError
from optnas.base.records import RunFolder
from optnas.base.seeds import named_generator
from optnas.measures.landscape.maths import Chart
from optnas.search.checkpoints import restore
from optnas.search.exam import examine, subjects
from optnas.search.exam.searches import searched, tiny
from optnas.search.loop import run
from optnas.search.observe import snapshot_of
from optnas.search.state import build_state
from optnas.spaces import build_space

# The normalization of edges alone.
WIDE = {"algorithm": {"name": "pc-darts", "k": 1, "warmup": 0.0}}


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copy(Path(__file__).with_name("wide.py"), "wide.py")


def test_operations_start_as_in_every_algorithm_of_the_seed() -> None:
    """The further column is drawn after them, from the same stream and at the same scale."""
    narrow, wide = (build_state(tiny(each)).alpha_EO for each in ({}, WIDE))
    assert torch.equal(wide[:, :5], narrow)
    stream = named_generator(0, "alpha-init")
    torch.randn(6, 5, generator=stream, dtype=torch.float64)
    column = torch.randn(6, 1, generator=stream, dtype=torch.float64)
    assert torch.equal(wide[:, 5:], 1e-3 * column)


def test_a_start_of_its_own() -> None:
    state = build_state(tiny({"algorithm": {"name": "./wide.py:on-the-simplex"}}))
    algorithm = state.algorithm
    assert algorithm.initial is not None
    expected_EO = algorithm.initial(
        build_space({"name": "nas-bench-201"}), named_generator(0, "alpha-init")
    )
    assert torch.equal(state.alpha_EO.detach(), expected_EO)
    assert torch.equal(state.alpha_start_EO, expected_EO)
    assert state.alpha_EO.is_leaf


def test_a_start_of_another_shape_is_told() -> None:
    with pytest.raises(UserError, match=r"its initial alpha is \[6, 5\], not \[6, 6\]"):
        build_state(tiny({"algorithm": {"name": "./wide.py:misshapen"}}))


def test_a_start_from_a_global_generator_is_refused() -> None:
    with pytest.raises(UserError, match=r"algorithm\.name = .*draws from torch's global generator"):
        build_state(tiny({"algorithm": {"name": "./wide.py:drawn-anew"}}))


def test_a_cell_is_read_from_the_operation_weights() -> None:
    """The largest entry of a row of alpha may be one of a further column."""
    state = build_state(tiny(WIDE))
    with torch.no_grad():
        state.alpha_EO[:, 5] = 9.0
    choice = snapshot_of(state).choice
    assert choice == state.alpha_EO[:, :5].argmax(-1).tolist()


MEASURES = {
    "agreement": {"every": 1, "batches": 2, "batch_size": 8},
    "curvature": {"every": 1, "batches": 2, "batch_size": 8, "recalibration": 2},
    "gap": {"every": 1, "batches": 2},
    "operations": {"every": 1},
    "sharpness": {"every": 1},
}


def landscape(plane: str, space: str) -> dict[str, Any]:
    return {
        "name": "landscape",
        "every": 2,
        "plane": plane,
        "space": space,
        "points": 5,
        "images": 40,
        "batches": 2,
        "path_points": 5,
    }


@pytest.mark.thorough
def test_records_checkpoints_and_measures_have_it() -> None:
    planes = {
        f"{plane}-{space}": landscape(plane, space)
        for plane in ("gradient", "eigenvectors")
        for space in ("op-weights", "logits")
    }
    settings = tiny(WIDE, {"measures": MEASURES | planes, "tracking": {"name": "tensorboard"}})
    with searched(settings) as folder:
        (*_, last) = folder.read_epochs()
        alpha_EC = torch.tensor(last["alpha"], dtype=torch.float64)
        assert alpha_EC.shape == (6, 6)
        assert torch.tensor(last["op_weights"]).shape == (6, 5)
        assert last["alpha_margin"] == pytest.approx(margin(alpha_EC[:, :5]), abs=1e-12)
        assert not folder.warnings.exists()
        for label in settings.measures:
            for line in folder.read_measures(label):
                assert line["status"] == "ok", line
        state = build_state(settings)
        restore(state, folder.checkpoint)
        assert state.alpha_EO.tolist() == last["alpha"]
        for space in ("op-weights", "logits"):
            snapshot = snapshot_of(state)
            assert Chart(snapshot, space).choice(torch.zeros(6, 5)) == snapshot.choice  # type: ignore[arg-type]


def margin(alpha_EO: torch.Tensor) -> float:
    top_E2 = alpha_EO.double().softmax(-1).topk(2).values
    return float((top_E2[:, 0] - top_E2[:, 1]).mean())


def test_a_checkpoint_of_another_width_is_refused(tmp_path: Path) -> None:
    settings = tiny(WIDE, {"search": {"epochs": 1}})
    folder = RunFolder(tmp_path / "run")
    with folder.created(settings.document()):
        run(settings, folder)
    content = torch.load(folder.checkpoint, weights_only=True)
    content["alpha"] = content["alpha"][:, :5]
    torch.save(content, folder.checkpoint)
    with pytest.raises(UserError, match=r"alpha is torch\.float64 \[6, 5\]"):
        restore(build_state(settings), folder.checkpoint)


@pytest.mark.thorough
def test_the_exam_knows_them() -> None:
    (subject, *_) = subjects("./wide.py:on-the-simplex")
    assert [(o.check, o.why) for o in examine(subject) if o.verdict != "ok"] == []
