"""The protocols of OptDARTS, the program behind Shin's comparison: every value, and the judging."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from cases import command
from tiny import assert_same, tiny_settings, trained
from torch.testing import assert_close

from optnas.base.records import RunFolder
from optnas.base.seeds import named_generator
from optnas.measures.curvature.hessian import extreme_eigenvalues, in_logits
from optnas.search.exam.base import difference
from optnas.search.exam.searches import trace
from optnas.search.loop import run
from optnas.search.observe import snapshot_of, take
from optnas.search.protocols.compare import differences
from optnas.search.session import Session
from optnas.search.settings.complete import complete_measure
from optnas.search.settings.layers import Layer, resolve
from optnas.search.settings.model import MeasureSection, Settings
from optnas.search.state import SearchState, build_state

PAIRS = list(itertools.product(("SGD", "Adam"), repeat=2))
AUGMENTED = {"evaluation__augmented": True}

# --- every value --------------------------------------------------------------------------------

CONSTANT = {"name": "constant", "warmup_epochs": 0}
COSINE = {"name": "cosine", "warmup_epochs": 0, "final_share": 0.0}
SGD = {"name": "SGD", "momentum": 0.9, "dampening": 0, "weight_decay": 3e-4, "nesterov": False}
ADAM = {"name": "Adam", "betas": [0.5, 0.999], "eps": 1e-8, "weight_decay": 3e-4, "amsgrad": False}
WEIGHTS = {
    "SGD": SGD | {"lr": 0.025, "schedule": COSINE | {"final_lr": 1e-3}},
    "Adam": ADAM | {"lr": 1e-3, "schedule": COSINE | {"final_lr": 1e-4}},
}
ARCH = {
    "SGD": SGD | {"lr": 0.01, "schedule": CONSTANT},
    "Adam": ADAM | {"lr": 1e-3, "schedule": CONSTANT},
}
RADII = {"radius_start": 0.03, "radius_end": 0.3, "projection": "published"}
FIRST_ORDER = {"hypergradient": {"name": "first-order"}}
ALGORITHMS: dict[str, dict[str, Any]] = {
    "darts": {},
    "sdarts-rs": RADII,
    "sdarts-adv": RADII | {"steps": 7},
    "darts-minus": {"beta": 1.0},
}
FADES = {"optdarts": 100, "optdarts-cpu": 0}
SIZES: dict[str, dict[str, dict[str, Any]]] = {
    "optdarts": {"search": {"epochs": 100}, "supernet": {"channels": 16, "cells": 5}},
    "optdarts-cpu": {"search": {"epochs": 40}, "supernet": {"channels": 8, "cells": 1}},
}
SECTIONS: dict[str, dict[str, Any]] = {
    "search": {
        "seed": 0,
        "batch_size": 64,
        "step_order": "arch-first",
        "valid_order": "fresh-batches",
    },
    "supernet": {
        "batch_norm": "running",
        "arch_step_updates_statistics": True,
        "alpha_scale": 1e-3,
        "dtype": "float32",
        "precision": "float32",
    },
    "space": {"name": "nas-bench-201"},
    "clipping": {"max_norm": 5.0, "also_counts": "op-weights"},
    "evaluation": {"batch_size": 256, "augmented": True},
}
PROTOCOLS = pytest.mark.parametrize("protocol", sorted(SIZES))


def chosen(protocol: str, **sections: Any) -> Settings:
    """A run under the protocol on the embedded images; the images of its data set need files."""
    data = {"name": "digits"}
    return resolve([Layer("test", {"protocol": protocol, "data": data, **sections})])


@PROTOCOLS
@pytest.mark.parametrize("algorithm", sorted(ALGORITHMS))
@pytest.mark.parametrize("pair", PAIRS, ids="-".join)
def test_a_run_has_these_values(protocol: str, algorithm: str, pair: tuple[str, str]) -> None:
    weight, arch = pair
    settings = chosen(
        protocol,
        algorithm={"name": algorithm},
        weight_optimizer={"name": weight},
        arch_optimizer={"name": arch},
    )
    document = settings.document()
    for section, values in SECTIONS.items():
        pinned = values | SIZES[protocol].get(section, {})
        assert {key: document[section][key] for key in pinned} == pinned, section
        # A setting that came later is at the default that left every run what it was.
        model = getattr(settings, section)
        for key in document[section].keys() - pinned.keys():
            assert document[section][key] == type(model).model_fields[key].default, (section, key)
    for section, expected in (
        ("weight_optimizer", WEIGHTS[weight]),
        ("arch_optimizer", ARCH[arch]),
    ):
        found = document[section]
        assert {key: found[key] for key in expected} == expected, section
        # What else torch's constructors take moves no number, or is off.
        others = {key: value for key, value in found.items() if key not in expected}
        assert not any(others.values()), section
    fades = {"decay_epochs": FADES[protocol]} if algorithm == "darts-minus" else {}
    expected = {"name": algorithm, **ALGORITHMS[algorithm], **FIRST_ORDER, **fades}
    assert document["algorithm"] == expected


@PROTOCOLS
@pytest.mark.parametrize(
    ("section", "given", "expected"),
    [
        ("weight_optimizer", {"name": "SGD", "momentum": 0.5}, WEIGHTS["SGD"] | {"momentum": 0.5}),
        (
            "weight_optimizer",
            {"name": "Adam", "betas": [0.9, 0.999]},
            WEIGHTS["Adam"] | {"betas": [0.9, 0.999]},
        ),
        ("arch_optimizer", {"name": "SGD", "momentum": 0.99}, ARCH["SGD"] | {"momentum": 0.99}),
        ("arch_optimizer", {"name": "Adam", "lr": 3e-4}, ARCH["Adam"] | {"lr": 3e-4}),
    ],
)
def test_an_arm_of_a_sweep_keeps_the_others(
    protocol: str, section: str, given: dict[str, Any], expected: dict[str, Any]
) -> None:
    found = chosen(protocol, **{section: given}).document()[section]
    assert {key: found[key] for key in expected} == expected


def test_the_rates_of_an_epoch_are_those_of_the_program() -> None:
    """Epoch e of E, from 0, has the cosine at e / E, down to the program's two ends."""
    for name, first, end in (("SGD", 0.025, 1e-3), ("Adam", 1e-3, 1e-4)):
        state = build_state(chosen("optdarts", weight_optimizer={"name": name}))
        parameter = torch.zeros(1, requires_grad=True)
        optimizer = torch.optim.SGD([parameter], lr=first)
        scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 100.0, eta_min=end)
        for epoch in range(1, 101):
            rates = state.learning_rates(epoch)
            assert rates["weight_optimizer"] == pytest.approx(scheduler.get_last_lr()[0], rel=1e-12)
            assert rates["arch_optimizer"] == 1e-3
            optimizer.step()
            scheduler.step()


def data_of(protocol: str) -> dict[str, dict[str, Any]]:
    from optnas.search import protocols

    tables: dict[str, dict[str, Any]] = protocols.load(protocol)[1]["datasets"]
    return tables


def test_the_small_protocol_has_the_images_of_the_protocol_cpu() -> None:
    assert data_of("optdarts-cpu") == data_of("cpu")
    assert data_of("optdarts") == data_of("sdarts")


# --- two protocols side by side -----------------------------------------------------------------

TABLE = {
    "algorithms.darts-minus.decay_epochs": (100, 0),
    "arch_optimizers.Adam.lr": (1e-3, 3e-4),
    "arch_optimizers.Adam.weight_decay": (3e-4, 1e-3),
    "arch_optimizers.SGD.lr": (0.01, 0.003),
    "arch_optimizers.SGD.weight_decay": (3e-4, 1e-3),
    "evaluation.augmented": (True, False),
    "measures.curvature-optdarts.every": (1, None),
    "weight_optimizers.Adam.betas": ([0.5, 0.999], [0.9, 0.999]),
    "weight_optimizers.Adam.schedule.final_lr": (1e-4, 4e-5),
}


def test_diff_is_the_table_of_what_differs_defaults_included(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert command("protocol", "diff", "optdarts", "sdarts", "--json") == 0
    entries = json.loads(capsys.readouterr().out)
    assert all(list(entry) == ["key", "a", "b"] for entry in entries)
    found = {entry["key"]: (entry["a"], entry["b"]) for entry in entries}
    assert {key: tuple(map(_listed, pair)) for key, pair in found.items()} == TABLE
    assert command("protocol", "diff", "sdarts", "optdarts") == 0
    out = capsys.readouterr().out
    heading, *rows = out.splitlines()
    assert heading.split() == ["setting", "sdarts", "optdarts"]
    assert [row.split("  ", 1)[0] for row in rows] == list(TABLE)
    assert "evaluation.augmented" in out
    assert "false" in out
    assert command("protocol", "diff", "cpu", "cpu") == 0
    assert capsys.readouterr().out == "no difference\n"


def _listed(value: Any) -> Any:
    return list(value) if isinstance(value, (list, tuple)) else value


def test_a_default_written_down_is_no_difference() -> None:
    written = {
        "search": {"seed": 0},
        "weight_optimizers": {"Adam": {"betas": [0.9, 0.999], "schedule": "constant"}},
        "measures": {"sharpness": {"batch_size": 64}},
        "algorithms": {"darts-minus": {"beta": 1.0}},
    }
    assert differences(("a", written), ("b", {})) == []
    assert differences(("a", {}), ("b", {"search": {"seed": 1}})) == [("search.seed", 0, 1)]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("spaces = 3", "p.toml: spaces = 3"),
        ("weight_optimizers.SGD = 3", "p.toml: weight_optimizers.SGD = 3"),
        ("weight_optimizers.SGD.lrr = 3", "p.toml: weight_optimizer.lrr = 3"),
    ],
)
def test_a_protocol_that_cannot_be_read_is_told(
    content: str, told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "p.toml"
    path.write_text(content)
    assert command("protocol", "diff", "cpu", str(path)) == 2
    error = capsys.readouterr().err
    assert told in error
    assert error.count("\n") == 1


# --- judged on augmented images -----------------------------------------------------------------


def cropped(pixels: torch.Tensor, padding: int, generator: torch.Generator) -> torch.Tensor:
    """Each image cut out of its zero-padded self at an offset of its own."""
    count, _, height, width = pixels.shape
    rows, columns = torch.randint(2 * padding + 1, (2, count), generator=generator).tolist()
    padded = torch.nn.functional.pad(pixels, (padding,) * 4)
    places = zip(padded, rows, columns, strict=True)
    return torch.stack([image[:, r : r + height, c : c + width] for image, r, c in places])


def flipped(pixels: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    mirrored = torch.rand(len(pixels), generator=generator) < 0.5
    pairs = zip(pixels, mirrored.tolist(), strict=True)
    return torch.stack([image.flip(-1) if mirror else image for image, mirror in pairs])


def judged_by_hand(state: SearchState) -> tuple[float, float]:
    """Loss and accuracy over the validation half, cropped and flipped by the epoch's stream."""
    generator = named_generator(state.settings.search.seed, f"evaluation-{state.epoch}")
    half, loss_sum, right = state.valid, 0.0, 0
    for indices_B in torch.arange(len(half)).split(state.settings.evaluation.batch_size):
        pixels = cropped(half.images_NCHW[indices_B], state.augmentation.crop_padding, generator)
        if state.augmentation.flip:
            pixels = flipped(pixels, generator)
        images = (pixels.double() / 255 - half.mean_C[:, None, None]) / half.std_C[:, None, None]
        A_EO = state.algorithm.relax(state.alpha_EO.detach(), state.progress(state.epoch))
        logits = state.supernet(images, A_EO, statistics=state.statistics).logits_BK.detach()
        labels = half.labels_N[indices_B]
        loss_sum += float(torch.nn.functional.cross_entropy(logits, labels, reduction="sum"))
        right += int((logits.argmax(-1) == labels).sum())
    return loss_sum / len(half), 100 * right / len(half)


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.thorough
def test_an_augmented_pass_is_that_of_the_epochs_own_stream(flip: bool) -> None:
    changes: dict[str, Any] = AUGMENTED | {
        "evaluation__batch_size": 20,
        "augmentation__crop_padding": 1,
        "augmentation__flip": flip,
    }
    for epochs in (0, 1, 2):
        state = trained(changes, epochs)
        record = Session(state).measure()
        found = record["valid_loss"], record["valid_accuracy"]
        assert_close(found, judged_by_hand(state), rtol=1e-9, atol=1e-9)
        assert (
            record["valid_loss"] != Session(trained(changes | NOT, epochs)).measure()["valid_loss"]
        )


NOT = {"evaluation__augmented": False}


def records(folder: Path, **changes: Any) -> list[dict[str, Any]]:
    settings = tiny_settings(augmentation__crop_padding=1, **changes)
    kept = RunFolder(folder)
    with kept.created(settings.document()):
        run(settings, kept)
    return [{k: v for k, v in each.items() if k != "seconds"} for each in kept.read_epochs()]


def test_it_moves_nothing_but_what_the_pass_finds(tmp_path: Path) -> None:
    clean, augmented = records(tmp_path / "a"), records(tmp_path / "b", **AUGMENTED)
    for one, other in zip(clean, augmented, strict=True):
        differ = {key for key in one if one[key] != other[key]}
        assert "valid_loss" in differ
        assert differ <= {"valid_loss", "valid_accuracy"}


def test_pairs_of_one_seed_are_judged_on_the_same_images(tmp_path: Path) -> None:
    begin = [
        records(
            tmp_path / f"{w}-{a}",
            weight_optimizer__name=w,
            arch_optimizer__name=a,
            search__epochs=1,
            **AUGMENTED,
        )[0]
        for w, a in PAIRS
    ]
    assert all(record == begin[0] for record in begin)


def test_relaxations_and_measures_see_the_same_images() -> None:
    """DARTS- without a skip left is judged as DARTS is, in one record and by every measure."""
    state = trained(
        AUGMENTED | {"algorithm__name": "darts-minus", "algorithm__beta": 0.0}, epochs=1
    )
    record = Session(state).measure()
    assert record["valid_accuracy"] == record["valid_accuracy_without_skip"]
    snapshot = snapshot_of(state)
    first = snapshot.evaluate(snapshot.op_weights_EO, snapshot.statistics)
    again = snapshot.seen_by("gap").evaluate(snapshot.op_weights_EO, snapshot.statistics)
    assert first == again == (record["valid_loss"], record["valid_accuracy"])


def test_a_resumed_search_is_judged_on_the_same_images() -> None:
    settings = tiny_settings(**AUGMENTED, augmentation__crop_padding=1)
    assert difference(trace(settings), trace(settings, stop=1)) is None


# --- its curvature panel ------------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", ["darts", "darts-minus"])
@pytest.mark.thorough
def test_the_curvature_panel_is_the_shifted_hessian_of_one_augmented_batch(algorithm: str) -> None:
    """The twin differentiates the loss plus half the decay times |alpha|^2 twice, as a whole."""
    state = trained({"algorithm__name": algorithm, "augmentation__crop_padding": 1}, epochs=1)
    section = MeasureSection(
        **complete_measure("curvature-optdarts", {"batch_size": 8, "weight_decay": 0.5})
    )
    found = take(snapshot_of(state), section).line["values"]["top_eigenvalue"]

    generator = named_generator(0, "measure/curvature-optdarts/1")
    indices_B = torch.randperm(len(state.valid), generator=generator)[:8]
    pixels = cropped(state.valid.images_NCHW[indices_B], 1, generator)
    mean_C11, std_C11 = state.valid.mean_C[:, None, None], state.valid.std_C[:, None, None]
    images = (pixels.double() / 255 - mean_C11) / std_C11
    alpha_EO, progress = state.alpha_EO.detach(), state.progress(1)

    def loss(alpha_P: torch.Tensor) -> torch.Tensor:
        A_EO = state.algorithm.relax(alpha_P.reshape(alpha_EO.shape), progress)
        logits = state.supernet(images, A_EO, statistics=None).logits_BK
        cross_entropy = torch.nn.functional.cross_entropy(logits, state.valid.labels_N[indices_B])
        return cross_entropy + 0.5 * alpha_P.square().sum() / 2

    hessian = torch.autograd.functional.hessian(loss, alpha_EO.reshape(-1))
    eigenvalues = torch.linalg.eigvals(hessian).real
    assert found == pytest.approx(abs(float(eigenvalues.max())), rel=1e-9)
    assert found >= 0.5


def test_the_decay_is_a_floor_of_the_panel_where_a_constant_changes_no_row() -> None:
    """At a maximum of the loss in A: rows of softmax have a null direction, of sigmoid none."""
    alpha_EO = torch.zeros(2, 3, dtype=torch.float64)
    flat, dome = torch.zeros(6).double(), -torch.eye(6).double()
    tops = [
        extreme_eigenvalues(in_logits(flat, dome, relax, alpha_EO) + 0.01 * torch.eye(6))[0]
        for relax in (lambda alpha: alpha.softmax(-1), torch.sigmoid)
    ]
    assert tops == pytest.approx([0.01, 0.01 - 1 / 16])


def test_a_default_is_no_part_of_a_runs_hash() -> None:
    assert tiny_settings(**NOT).hash == tiny_settings().hash != tiny_settings(**AUGMENTED).hash
    minus: dict[str, Any] = {"algorithm__name": "darts-minus"}
    assert tiny_settings(**minus).hash == tiny_settings(**minus, algorithm__decay_epochs=0).hash
    assert tiny_settings(**minus).hash != tiny_settings(**minus, algorithm__decay_epochs=100).hash
    assert_same(tiny_settings().document()["evaluation"]["augmented"], False)
