"""The look of every picture: colours, names, formats, the label of a run; writing it.

An optimizer pair has one colour, whichever other runs it is drawn with.
"""

from __future__ import annotations

import colorsys
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NamedTuple

from optnas.algorithms.composed import composed
from optnas.base.errors import UserError
from optnas.base.files import write_atomically, writing
from optnas.base.json import digest
from optnas.base.records import RunFolder
from optnas.base.schema import parameters_of
from optnas.base.toml import flat
from optnas.measures.base import FORMER_SECTIONS
from optnas.optimizers.introduced import spelled_out

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FORMATS = ("png", "svg", "pdf")
# The numbers of every axis are the values themselves, not what is left above an offset.
PLAIN: dict[Any, Any] = {"axes.formatter.useoffset": False}
# Okabe and Ito's palette: told apart by colour-blind readers too.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#F0E442")
DASHES = ("solid", "dash", "dashdot", "dot", "longdash", "longdashdot")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
# Blues for SGD on w, oranges for Adam on w; dashes for SGD on alpha, so that neither colour vision
# nor colour print is needed.
PAIR_LOOKS = {
    "SGD + SGD": ("#56B4E9", "dash"),
    "SGD + Adam": ("#0072B2", "solid"),
    "Adam + SGD": ("#E69F00", "dash"),
    "Adam + Adam": ("#D55E00", "solid"),
}
# Hues of other pairs in degrees, without those of the four: greens, then violets and pinks.
HUES = (*range(75, 180, 15), *range(255, 345, 15))
LONGEST = 40  # characters of a list in a label
NAMES = {"cifar10": "CIFAR-10", "cifar100": "CIFAR-100", "imagenet16-120": "ImageNet16-120"}


def require_runs(name: str, runs: Sequence[RunFolder]) -> None:
    """Refuse to draw a figure of nothing.

    Args:
        name: of the figure.
        runs: what it is drawn from.

    Raises:
        UserError: there is no run.
    """
    if not runs:
        raise UserError(
            f"the figure {name} is drawn from runs",
            key="DIR...",
            remedy="give one or more run folders",
        )


def pair_look(pair: str) -> tuple[str, str]:
    """Colour and dash of an optimizer pair, of its name alone.

    Args:
        pair: in words, such as ``SGD + Adam``: on w and on alpha.

    Returns:
        The colour, and a name of `DASHES`.

    Example:
        >>> pair_look("SGD + Adam")
        ('#0072B2', 'solid')
    """
    if pair in PAIR_LOOKS:
        return PAIR_LOOKS[pair]
    hue, shade, dash, *_ = hashlib.sha256(pair.encode()).digest()
    parts = colorsys.hls_to_rgb(HUES[hue % len(HUES)] / 360, (0.3, 0.42)[shade % 2], 0.65)
    colour = "#" + "".join(f"{round(255 * part):02X}" for part in parts)
    return colour, DASHES[dash % 4]


def pair_name(config: Mapping[str, Any]) -> str:
    """A run's optimizer pair, such as ``SGD + Adam``."""
    return f"{config['weight_optimizer']['name']} + {config['arch_optimizer']['name']}"


class Look(NamedTuple):
    """How a curve looks: a colour, a name of `DASHES`, one of `MARKERS` or empty."""

    colour: str
    dash: str
    marker: str = ""


def run_looks(configs: Sequence[Mapping[str, Any]]) -> dict[str, Look]:
    """The look of each label of runs that are drawn together.

    The colour is that of the pair. The dash is that of the pair too where there is one algorithm,
    else dash and marker tell the algorithms apart.

    Returns:
        By the labels of `run_labels`: algorithms in the order of the runs, the traditional pairs
        first.
    """
    labels = run_labels(configs)
    pairs = {label: pair_name(config) for label, config in zip(labels, configs, strict=True)}
    algorithms = list(dict.fromkeys(label.removesuffix(pair) for label, pair in pairs.items()))
    traditional = list(PAIR_LOOKS)

    def place(label: str) -> tuple[int, int, str]:
        pair = pairs[label]
        at = traditional.index(pair) if pair in traditional else len(traditional)
        return algorithms.index(label.removesuffix(pair)), at, pair

    looks = {}
    for label in sorted(pairs, key=place):
        colour, dash = pair_look(pairs[label])
        looks[label] = Look(colour, dash)
        if len(algorithms) > 1:
            at = algorithms.index(label.removesuffix(pairs[label]))
            marker = MARKERS[at % len(MARKERS)] if at else ""
            looks[label] = Look(colour, DASHES[at % len(DASHES)], marker)
    return looks


def run_label(config: Mapping[str, Any]) -> str:
    """A run's algorithm, its hypergradient if not the usual one, and its optimizer pair."""
    usual = parameters_of(composed)["hypergradient"].default
    chosen = config["algorithm"].get("hypergradient", usual)
    name = chosen["name"] if isinstance(chosen, Mapping) else chosen  # 0.1.0 wrote a name
    note = "" if name == usual else f" ({name})"
    return f"{config['algorithm']['name']}{note}: {pair_name(config)}"


# What tells no two curves apart: where it was computed, who looked on, what it is judged by.
APART = (
    "identity",
    "format",
    "protocol",
    "run",
    "tracking",
    "measures",
    "checkpoints",
    "benchmark",
)
ALIKE = ("search.seed", "data.folder", "data.path", "data.split_file")


def run_labels(configs: Sequence[Mapping[str, Any]]) -> list[str]:
    """The label of each of some runs: those of one label differ in nothing but their seed.

    Where runs of one algorithm and pair have different settings, these stand in the label too, such
    as ``darts, weight_optimizer.lr=0.1: SGD + Adam``: they are different experiments, and no mean
    is taken over them.

    Args:
        configs: of the runs.

    Returns:
        In their order.
    """
    told = []
    for config, own in zip(configs, own_settings(configs), strict=True):
        pair = pair_name(config)
        extra = "".join(f", {setting(key, value)}" for key, value in own.items())
        told.append(f"{run_label(config).removesuffix(f': {pair}')}{extra}: {pair}")
    return told


def own_settings(configs: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """By what some runs of the same `run_label` differ, their seed and what is in `APART` aside.

    Args:
        configs: of the runs.

    Returns:
        In their order: dotted key to value.
    """
    settings = [_counted(config) for config in configs]
    labels = [run_label(config) for config in configs]
    first = dict(zip(reversed(labels), reversed(settings), strict=True))
    differing: dict[str, set[str]] = {label: set() for label in labels}
    for label, own in zip(labels, settings, strict=True):
        keys = own.keys() | first[label].keys()
        differing[label] |= {key for key in keys if own.get(key) != first[label].get(key)}
    return [
        {key: value for key, value in own.items() if key in differing[label]}
        for label, own in zip(labels, settings, strict=True)
    ]


def _counted(config: Mapping[str, Any]) -> dict[str, Any]:
    """Settings that tell two curves apart; for the place of the images stands what they are."""
    # A setting that is newer than a run is no difference at the default it came with.
    whole = {
        section: spelled_out(section, value) if isinstance(value, Mapping) else value
        for section, value in config.items()
        if section not in (*APART, *FORMER_SECTIONS)
    }
    counted = {key: value for key, value in flat(whole).items() if key not in ALIKE}
    images = str(config.get("identity", {}).get("fingerprint", ""))[:8]
    return {**counted, "data.fingerprint": images}


def setting(key: str, value: Any) -> str:
    """One setting in a label; of a long list the beginning, and what tells it from others."""
    text = f"{value:g}" if isinstance(value, float) else str(value)
    if isinstance(value, list | tuple) and len(text) > LONGEST:
        text = f"{text[:LONGEST]}... ({digest(value)[:4]})"
    return f"{key}={text}"


def check_format(path: Path) -> None:
    """Refuse a picture file whose ending is not one of `FORMATS`.

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
        dpi: pixels per inch of a .png.

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
