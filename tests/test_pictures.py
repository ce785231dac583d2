"""The committed pictures of docs/images are those that their scripts draw from the records."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from topics import script

# Draws some twenty pictures.
pytestmark = pytest.mark.slow

IMAGES = Path(__file__).resolve().parents[1] / "docs" / "images"
ROUNDING = 20  # pixels at which another processor may round another way


# Script: how the names of its pictures begin.
SCRIPTS = {
    **{name: f"{name}-" for name in ("inside", "pilot", "results", "theory")},
    **{"first_light": "first-light", "indicator": "indicator", "kernels": "roofline"},
}


@pytest.mark.parametrize("name", SCRIPTS)
def test_pictures_are_as_drawn(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not (Path(os.environ.get("OPTNAS_DATA", "")) / "nas-bench-201").is_dir():
        pytest.skip("OPTNAS_DATA has no official table")
    module = script(name)
    monkeypatch.setattr(module, "IMAGES", tmp_path)
    monkeypatch.setattr(module, "write_text", lambda path, text: None, raising=False)
    monkeypatch.setattr("sys.argv", [name])
    module.main()
    drawn = sorted(tmp_path.glob("*.png"))
    assert drawn
    for picture in drawn:
        kept, now = (
            np.asarray(Image.open(each).convert("RGB")) for each in (IMAGES / picture.name, picture)
        )
        assert kept.shape == now.shape, f"{picture.name}: make figures"
        different = int((kept != now).any(axis=2).sum())
        assert different <= ROUNDING, f"{picture.name}, {different} pixels: make figures"
    every = {each.name for each in IMAGES.glob(f"{SCRIPTS[name]}*.png")}
    assert every == {each.name for each in drawn}, "a picture that nothing draws"
