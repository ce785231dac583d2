"""Tables of decision 16 and docs/speed.md, and docs/images/roofline.png, of results/kernels/.

python benchmarks/kernels.py --json results/kernels/avx512.json
python benchmarks/kernels.py --avx2 --json results/kernels/avx2.json
python benchmarks/kernels.py --pairs N --epochs N --json results/kernels/run.json
python results/kernels.py               rewrite the built parts of both pages, redraw the picture
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from documents import as_table, built

from optnas.base.files import write_text

HERE = Path(__file__).parent
STORED = HERE / "kernels"
DOCS = HERE.parent / "docs"
IMAGES = DOCS / "images"
PAGES = (DOCS / "decisions" / "0016-kernels.md", DOCS / "speed.md")
SIDES = ("oneDNN", "C", "numba")
COLORS = {"oneDNN": "tab:gray", "C": "tab:orange", "numba": "tab:blue"}
WORK = {
    "forward 3x3": ("o", 9, 4),
    "forward 1x1": ("s", 1, 4),
    "input gradient": ("^", 10, 7),
    "weight gradient": ("v", 10, 7),
}
WAYS = {
    "published": "as published code takes it",
    "torch": "`Supernet`, torch alone",
    "cells": "cells by kernels, the rest by torch",
    "kernels": "all but the head by kernels",
}


def stored(name: str) -> dict[str, Any]:
    """What benchmarks/kernels.py wrote."""
    found: dict[str, Any] = json.loads((STORED / f"{name}.json").read_text())
    return found


def both() -> dict[str, dict[str, Any]]:
    """Both instruction sets."""
    return {found["isa"]: found for found in (stored("avx512"), stored("avx2"))}


def convolutions(_: None) -> str:
    """GFLOP/s at the sizes of protocol cpu, AVX-512: median and best."""
    rows: dict[tuple[int, int, str], dict[str, str]] = {}
    for row in stored("avx512")["convolutions"]:
        key = (row["channels"], row["side"], row["work"])
        if row["channels"] * row["side"] != 128:
            continue
        rows.setdefault(key, {})[row["by"]] = f"{row['gflops']:.0f} ({row['gflops_best']:.0f})"
    return as_table(
        ["C", "image", "work", *SIDES],
        [
            [c, f"{s}x{s}", work, *(by.get(side, "") for side in SIDES)]
            for (c, s, work), by in rows.items()
        ],
    )


def steps(_: None) -> str:
    """A step, per instruction set and size."""
    rows = []
    for isa, found in both().items():
        for row in found["steps"]:
            for way, words in WAYS.items():
                here = row[way]
                rows.append(
                    [
                        *(isa, row["setting"], words),
                        f"{here['median_ms']:.1f} ({here['min_ms']:.1f})",
                        f"{here['times_as_fast']:.2f} ({here['times_as_fast_min']:.2f})",
                        f"{row['limit_ms'] / here['min_ms']:.0%}",
                    ]
                )
    return as_table(["set", "size", "step", "CPU ms", "times published", "of the peak"], rows)


def searches(_: None) -> str:
    """A step of a search, and a run by its shares."""
    rows = []
    for isa, found in both().items():
        for way in ("cells", "kernels"):
            here = found["search_step"][way]
            run = found["run"]["ratios"]
            rows.append(
                [
                    *(isa, WAYS[way]),
                    f"{here['times_as_fast']:.2f} ({here['times_as_fast_min']:.2f})",
                    f"{run[f'{way}, median of the search step']:.2f} "
                    f"({run[f'{way}, least of the search step']:.2f})",
                ]
            )
    return as_table(["set", "by", "search step, times torch", "a run, times torch"], rows)


def shares(_: None) -> str:
    """Where a run of protocol cpu goes, by torch."""
    parts = stored("avx512")["run"]["parts"]
    whole = sum(parts.values())
    return as_table(
        ["part", "CPU s", "share"],
        [[name, f"{each:.1f}", f"{each / whole:.1%}"] for name, each in parts.items()],
    )


def runs(_: None) -> str:
    """Whole searches."""
    measured = stored("run")
    found = measured["runs"]
    rows = [
        [
            *(found["epochs"], f"{row['torch']:.1f}", f"{row['kernels']:.1f}"),
            f"{row['ratio']:.2f}",
            "compiled" if row["compiled"] else "loaded",
        ]
        for row in found["pairs"]
    ]
    heads = ["epochs", "torch, CPU s", "kernels, CPU s", "ratio", "kernels were"]
    source = f"By `python {measured['command']}`; protocol `cpu` has 40 epochs."
    return f"{as_table(heads, rows)}\n\n{source}"


def roofline(path: Path) -> None:
    """The convolutions under what the processor allows.

    Args:
        path: of the picture.
    """
    import matplotlib.pyplot as plt
    import numpy as np

    found, narrow = stored("avx512"), stored("avx2")
    figure, axes = plt.subplots(figsize=(8, 5), layout="constrained")
    x = np.geomspace(0.1, 300, 200)
    for label, speed in (("cache", "12"), ("memory", "600")):
        bytes_ = found["gigabytes_per_second"][speed]
        roof = np.minimum(found["peak_gflops"], bytes_ * x)
        axes.plot(x, roof, color="black", lw=1, ls="-" if label == "cache" else "--")
        place = (0.3, bytes_ * 0.3 * 1.25)
        axes.annotate(f"{label}, {bytes_:.0f} GB/s", place, rotation=49, fontsize=8)
    for peak, isa in ((found["peak_gflops"], "AVX-512"), (narrow["peak_gflops"], "AVX2")):
        axes.axhline(peak, color="black", lw=0.6, ls=":")
        axes.annotate(f"peak, {isa}: {peak:.0f} GFLOP/s", (0.11, peak * 1.04), fontsize=8)
    for row in found["convolutions"]:
        if row["work"] in WORK and row["channels"] * row["side"] == 128:
            mark, taps, tensors = WORK[row["work"]]
            place = 6 * row["channels"] * taps / (4 * tensors)
            shift = {"oneDNN": 0.93, "C": 1.0, "numba": 1.07}[row["by"]]
            axes.plot(place * shift, row["gflops"], mark, color=COLORS[row["by"]], ms=6, alpha=0.85)
    (step,) = (row for row in found["steps"] if row["setting"].endswith("16x16"))
    for way, color in (("published", "tab:red"), ("torch", "tab:gray"), ("kernels", "tab:orange")):
        reached = found["peak_gflops"] * step["limit_ms"] / step[way]["min_ms"]
        axes.axhline(reached, xmin=0.75, color=color, lw=2)
        axes.annotate(
            f"whole step, {way}: {reached:.0f}", (32, reached * 1.05), fontsize=8, color=color
        )
    for side, color in COLORS.items():
        axes.plot([], [], "o", color=color, label=side)
    for work, (mark, _, _) in WORK.items():
        axes.plot([], [], mark, color="black", mfc="none", label=work)
    axes.set(
        **{"xscale": "log", "yscale": "log", "xlim": (0.1, 300), "ylim": (8, 400)},
        xlabel="operations per byte of images and gradients (FLOP / byte)",
        ylabel="GFLOP/s, one thread",
        title="Convolutions of one node, C to 3C: 8 at 16x16, 16 at 8x8, 32 at 4x4; batch 64",
    )
    axes.legend(fontsize=8, loc="lower center", ncols=2)
    figure.savefig(path, dpi=110)
    plt.close(figure)


PARTS = {
    **{"convolutions": convolutions, "steps": steps, "searches": searches},
    **{"shares": shares, "runs": runs},
}


def main() -> None:
    """Rebuild."""
    for page in PAGES:
        write_text(page, built(page.read_text(), PARTS, None))
    roofline(IMAGES / "roofline.png")


if __name__ == "__main__":
    main()
