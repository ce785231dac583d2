"""The look of every picture: colours, names, formats, the label of a run; writing it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from optnas.algorithms.composed import composed
from optnas.base.errors import UserError
from optnas.base.files import write_atomically, writing
from optnas.base.schema import parameters_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FORMATS = ("png", "svg", "pdf")
# Okabe and Ito's palette: told apart by colour-blind readers too.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#F0E442")
STYLES = ("-", "--", "-.", ":")
NAMES = {"cifar10": "CIFAR-10", "cifar100": "CIFAR-100", "imagenet16-120": "ImageNet16-120"}


def run_label(config: Mapping[str, Any]) -> str:
    """A run's algorithm, its hypergradient if not the usual one, and its optimizer pair."""
    pair = f"{config['weight_optimizer']['name']} + {config['arch_optimizer']['name']}"
    usual = parameters_of(composed)["hypergradient"].default
    chosen = config["algorithm"].get("hypergradient", usual)
    name = chosen["name"] if isinstance(chosen, Mapping) else chosen  # 0.1.0 wrote a name
    return f"{config['algorithm']['name']}{'' if name == usual else f' ({name})'}: {pair}"


def check_format(path: Path) -> None:
    """Refuse a picture file whose ending is not one of `FORMATS`.

    Args:
        path: the file.

    Raises:
        UserError: its ending is another.
    """
    if path.suffix.lstrip(".") not in FORMATS:
        raise UserError(
            "not a picture format",
            key="-o",
            value=str(path),
            remedy=f"end it in .{', .'.join(FORMATS)}",
        )


def write_figure(figure: Figure, path: Path, *, dpi: int = 150) -> None:
    """Write a picture atomically; the same figure gives the same bytes.

    Args:
        figure: the figure.
        path: a file that `check_format` accepts.
        dpi: pixels an inch of a .png.

    Raises:
        UserError: the file cannot be written.
    """
    from matplotlib import rc_context

    kind = path.suffix[1:]
    undated = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}.get(kind)

    def write(file: IO[bytes]) -> None:
        figure.savefig(file, format=kind, dpi=dpi, metadata=undated)

    with writing("the picture", key="-o", path=path), rc_context({"svg.hashsalt": "optnas"}):
        write_atomically(path, write)
