"""Studies on images of one's own: their folders, and trainings of the cells that were found."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from cases import command, write_files
from made import png
from studies import tiny_study

from optnas.base.errors import UserError
from optnas.base.records import RunFolder, find_runs
from optnas.measures.drawing import run_labels
from optnas.search import api
from optnas.study.axes import axes_of
from optnas.study.comparing import compare
from optnas.study.declare import load_study
from optnas.study.tables import table


def noise(*seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (16, 16, 3), dtype=np.uint8)


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A study of two folders of one name of data, and its two runs below ``out``."""
    monkeypatch.chdir(tmp_path)
    for seed, place in enumerate(("pets", "others")):
        images = {
            f"{c}/{n}.png": png(noise(seed, n, len(c) + ord(c[0])))
            for c in ("cat", "dog")
            for n in range(4)
        }
        write_files(tmp_path / place, images)
    grid = '[[grid]]\n"data.path" = ["pets", "others"]\n'
    own = {"data__name": "folder", "data__side": 8, "data__train_size": 4, "data__valid_size": 4}
    name = tiny_study(tmp_path, "[0]", grid, **own, search__batch_size=2, search__epochs=1)
    for planned in load_study(name).runs.values():
        api.run(planned.settings.document(), out=tmp_path / "out" / planned.id)
    return name


def test_two_folders_are_two_data_sets(study: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Their runs were pooled under one label, and compared with nothing."""
    out = Path("out")
    [axis] = axes_of(load_study(study))
    assert (axis.key, len(axis.levels)) == ("data.path", 2)
    found, _ = compare(study, out, recorded=True)
    assert len(found.arms) == 2
    assert len(set(run_labels([run.read_config() for run in find_runs(out)]))) == 2
    assert table(None, out, recorded=True)["data.fingerprint"].nunique() == 2
    Path("others/dog/0.png").write_bytes(png(noise(9, 9)))
    assert command("study", "status", study, "--out", "out") == 0
    told = capsys.readouterr().out
    assert "1 run of other images in folder, not counted: what was edited makes another" in told


def test_trained_cells_are_compared_where_they_were_trained_alike(study: str) -> None:
    """Three epochs of one arm stood beside sixty of the other."""
    out = Path("out")
    for epochs, run in zip((3, 3), find_runs(out), strict=True):
        put(run, epochs, run.path.name)  # of other images, hence another training
    _, first, _ = compare(study, out, recorded=True)
    assert first.words == "test accuracy of the trained cell, final"
    assert table(None, out, recorded=True)["measure.alone.settings"].dropna().nunique() == 1
    put(run, 60)
    _, supernet = compare(study, out, recorded=True)
    assert any("trained cell, final is not compared: measured with" in t for t in supernet.remarks)
    with pytest.raises(UserError, match="measured with epochs = "):
        compare(study, out, responses=["measure.alone.test"], recorded=True)


def put(run: RunFolder, epochs: int, training: str = "0") -> None:
    settings = {"protocol": "cpu", "epochs": epochs, "seeds": [0], "hash": training}
    line = {"epoch": 1, "status": "ok", "settings": settings, "values": {"test": 50.0}}
    run.measures.replace("alone", line | {"units": {"test": "percent"}})
