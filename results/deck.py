"""The slides of Shin's comparison: what each reports, and which runs would draw it again."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from optnas.analysis.claims.declare import Cell
from optnas.measures.drawing import NAMES
from optnas.measures.figures import Figure, Row
from optnas.report import named
from optnas.report.arms import ALGORITHM, ARCH, WEIGHT, pair_arms
from optnas.report.figures import DECK, PAIR_LEGEND, benchmark_panel
from optnas.report.material import Material
from optnas.report.reference_lines import benchmark_of
from optnas.spaces.tables import Question, data_folder

TRANSFERS = ("cifar100", "imagenet16-120")


def transfer(material: Material) -> Figure:
    """The cells found on CIFAR-10, by the benchmark's other data sets."""
    questions = [Question(dataset, "test", 200) for dataset in TRANSFERS]
    asked = [benchmark_of("official", each, data_folder(None), None) for each in questions]
    materials = [replace(material, benchmark=each) for each in asked]
    rows = []
    for algorithm in DECK:
        arms = pair_arms(material.selection, algorithm)
        panels = [benchmark_panel(each, arms) for each in materials if arms]
        rows.append(Row(f"{DECK[algorithm]}, {material.searched}", panels, PAIR_LEGEND))
    sets = " and ".join(NAMES.get(each, each) for each in TRANSFERS)
    return Figure("The same cells on other data sets", rows, f"Benchmark accuracy on {sets}.")


FIGURES: Mapping[str, Callable[[Material], Figure]] = {
    **{
        name: getattr(named, name.lower())
        for name in ("F7", "F8", "F9", "F10", "F11", "F12", "F13")
    },
    "transfer": transfer,
}


def pairs(*algorithms: str) -> list[Cell]:
    """Algorithms under the four pairs."""
    return [
        {ALGORITHM: algorithm, WEIGHT: w, ARCH: a}
        for algorithm in algorithms
        for w, a in itertools.product(("SGD", "Adam"), repeat=2)
    ]


def momenta(*algorithms: str) -> list[Cell]:
    """Algorithms under SGD + Adam with the momenta of w that are swept."""
    return [
        {ALGORITHM: a, WEIGHT: "SGD", ARCH: "Adam", "weight_optimizer.momentum": momentum}
        for a in algorithms
        for momentum in (0.0, 0.5, 0.9, 0.99)
    ]


def other_momenta() -> list[Cell]:
    """DARTS with the first betas of Adam on w, and the momenta of SGD on alpha, that are swept."""
    swept: tuple[tuple[str, str, str, tuple[float | str, ...]], ...] = (
        (
            "Adam",
            "Adam",
            "weight_optimizer.betas",
            ("[0.0, 0.999]", "[0.9, 0.999]", "[0.99, 0.999]"),
        ),
        ("SGD", "SGD", "arch_optimizer.momentum", (0.0, 0.5, 0.99)),
    )
    return [
        {ALGORITHM: "darts", WEIGHT: w, ARCH: a, key: value}
        for w, a, key, values in swept
        for value in values
    ]


@dataclass(frozen=True)
class Slide:
    """A figure of the talk.

    ``reports`` is what it says there, ``claims`` are those of the ledger about it, ``cells`` the
    arms that draw it, ``study`` is the one that runs those which the confirming study leaves out,
    ``measure`` what it is drawn from where that is no record, ``note`` how to read it here.
    """

    name: str
    title: str
    reports: str
    claims: Sequence[str] = ()
    cells: Sequence[Cell] = field(default=())
    study: str = ""
    measure: str = ""
    note: str = ""


MORE = "optdarts-cpu-figures"
SDARTS = ("sdarts-rs", "sdarts-adv")
SLIDES = (
    Slide(
        "F4",
        "landscape of the validation accuracy",
        "uneven after DARTS, so that discretization costs more than expected; noise flattens it.",
        ("H4", "H5"),
        [{ALGORITHM: each, WEIGHT: "SGD", ARCH: "Adam"} for each in ("darts", *SDARTS)],
        MORE,
        "landscape",
        "The picture's *accuracy off its quadratic fit* is in points. H4 divides it by the drop of "
        "accuracy along the axis, as a landscape that falls further is further off any fit: by "
        "that share the order of the algorithms can be another (H4's means in the ledger).",
    ),
    Slide(
        "F7",
        "optimizers under DARTS",
        "with SGD on w a higher supernet accuracy, a smaller eigenvalue of the alpha-Hessian and a "
        "better benchmark accuracy than with Adam, whichever optimizer alpha has.",
        ("H1", "H2", "H3", "H3b"),
        pairs("darts"),
        note="The eigenvalue drawn is the one that the talk's program records, on one augmented "
        "batch. H2 is decided by another, a mean over batches, and T1 below has the record's, on "
        "one clean batch: they need not agree, and the ledger has all of them.",
    ),
    Slide(
        "F8",
        "optimizers under DARTS-",
        "the pattern of DARTS; strong cells early and in the middle, DARTS' problem later.",
        ("H11", "H12"),
        pairs("darts-minus"),
        MORE,
        note="How cells fare by quarter under DARTS-: "
        "[exploratory](results-exploratory.md#why-darts--hardly-degrades-by-the-claim).",
    ),
    Slide(
        "F9",
        "optimizers under SDARTS",
        "another pattern: Adam + Adam finds the best cells.",
        ("H14",),
        pairs(*SDARTS),
        MORE,
    ),
    Slide(
        "F10",
        "momentum under DARTS",
        "curves; from them the conclusion that moderate momentum helps against degradation.",
        ("C2", "H16"),
        [*momenta("darts"), *other_momenta()],
        MORE,
    ),
    Slide(
        "F11", "momentum under DARTS-", "curves, as F10.", ("H16",), momenta("darts-minus"), MORE
    ),
    Slide("F12", "momentum under SDARTS", "curves, as F10.", ("H16",), momenta("sdarts-rs"), MORE),
    Slide(
        "F13",
        "algorithms, a panel for each pair",
        "every algorithm finds strong cells early and loses them later.",
        ("C3", "H17"),
        pairs("darts", "darts-minus", *SDARTS),
        MORE,
    ),
    Slide(
        "transfer",
        "the same cells on CIFAR-100 and ImageNet16-120",
        "its program asks the benchmark for both sets too; the text says nothing of them.",
        (),
        pairs("darts", "darts-minus", *SDARTS),
        MORE,
    ),
    Slide("T1", "all arms at a glance", "no table; this one sums the figures up."),
)
