"""Your own images: check them, search, train the found cell, predict with it.

Run it: ``python examples/05_own_images.py [FOLDER]``, of a folder with a sub-folder of images per
class. Without one it makes 600 images of 48 x 40 pixels in three classes. Writes ``runs/own``. The
search and the training are short: they show the way, not what your images allow.
"""

import shutil
import sys
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps

import optnas

OUT = Path("runs/own")


def make(folder: Path) -> Path:
    """Noisy stripes, chessboards and rings in random colours and places, the same every time."""
    random = np.random.default_rng(0)
    y, x = np.mgrid[:40, :48]
    for name in ("stripes", "chess", "rings"):
        (folder / name).mkdir(parents=True, exist_ok=True)
        for number in range(200):
            across, down = random.uniform(0, 6, 2)
            stripes, rows = np.sin(x / 2 + across), np.sin(y / 2 + down)
            rings = np.sin(np.hypot(x - 20 - across, y - 17 - down) / 2)
            wave = {"stripes": stripes, "chess": stripes * rows, "rings": rings}[name]
            colours = 128 + 70 * wave[..., None] * random.uniform(0.3, 1, 3)
            pixels = (colours + random.normal(0, 125, (40, 48, 3))).clip(0, 255)
            Image.fromarray(pixels.astype(np.uint8)).save(folder / name / f"{number:03}.png")
    return folder


def main() -> None:
    for earlier in (OUT / "a", OUT / "alone"):
        shutil.rmtree(earlier, ignore_errors=True)
    folder = Path(sys.argv[1]) if sys.argv[1:] else make(OUT / "images")
    images = {"data.name": "folder", "data.path": str(folder), "data.side": 16}
    found = optnas.run(images | {"search.epochs": 3, "measures.sharpness.every": 0}, out=OUT / "a")
    print(f"{found['note']}\nfound: {found['architecture']}")

    trained = optnas.train(OUT / "a", {"training.epochs": 8}, out=OUT / "alone")
    low, high = trained["accuracy"]["test"]["interval"]
    print(f"its test accuracy, trained alone: {low:.1f} to {high:.1f} % (95 % interval, 3 seeds)")

    module = optnas.network(OUT / "alone")  # a torch.nn.Module
    path = next(path for path in sorted(folder.rglob("*.*")) if path.name[0] != ".")
    image = ImageOps.exif_transpose(Image.open(path)).convert("RGB")
    seen = np.asarray(ImageOps.fit(image, (16, 16), Image.Resampling.BILINEAR)) / 255  # as trained
    logits = module(torch.tensor(seen).permute(2, 0, 1)[None])
    print(f"{path} shows {module.pictures.class_names[int(logits.argmax())]}")


if __name__ == "__main__":
    main()
