"""The theorem's cell against closed forms and a naive twin; the algebra of phi; the command."""

from __future__ import annotations

import importlib
import json
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from optnas.base.errors import UserError
from optnas.base.json import digest
from optnas.base.records import RunFolder
from optnas.cli.main import app
from optnas.theory import compared, formula, inputs, judged, pictures, skips, width
from optnas.theory.cell import Cell, Problem, edges_of, forward, gram, least, uniform
from optnas.theory.convergence import Settings, bound_of
from optnas.theory.descent import Start, centred, elasticities, matched_rate, stable_rate, train


def samples(count: int, colours: int, positions: int) -> Problem:
    generator = torch.Generator().manual_seed(5)
    images = torch.randn(count, colours, positions, generator=generator, dtype=torch.float64)
    images /= images.flatten(1).norm(dim=1)[:, None, None]
    return Problem(images, torch.ones(count, dtype=torch.float64))


# --- two nodes, linear, one position: everything has a closed form -------------------------------

SKIP, CONV, CHANNELS = 0.4, 0.7, 6
LINEAR = uniform(2, CHANNELS, "identity", SKIP, CONV)
START = Start(samples(3, 5, 1), seed=1)


def test_the_linear_cell_has_its_closed_form() -> None:
    """X_0 = W x / sqrt(m), X_1 = (a2 + a3 V / sqrt(m)) X_0; of a patch only the centre is there."""
    parameters = START.parameters(LINEAR)
    centre = slice(4, None, 9)
    W, V = (
        each.detach()[:, centre].numpy() for each in (parameters.stems[0], parameters.conv[0, 1])
    )
    U, T = parameters.heads_LMP.detach()[:, :, 0].numpy()
    x = START.problem.images_NCP[:, :, 0].numpy()
    tau = CHANNELS**-0.5
    X0 = tau * x @ W.T
    X1 = SKIP * X0 + CONV * tau * X0 @ V.T
    back = U + SKIP * T + CONV * tau * V.T @ T
    found = gram(LINEAR, parameters, START.problem.images_NCP)
    outputs = forward(LINEAR, parameters, START.problem.images_NCP).outputs_N.detach()
    assert np.allclose(outputs, X0 @ U + X1 @ T, atol=1e-12)
    assert np.allclose(found.heads[0].detach(), X0 @ X0.T, atol=1e-12)
    assert np.allclose(found.heads[1].detach(), X1 @ X1.T, atol=1e-12)
    assert np.allclose(found.conv[0, 1], (CONV * tau) ** 2 * (T @ T) * X0 @ X0.T, atol=1e-12)
    assert np.allclose(found.stems[0], tau**2 * (back @ back) * x @ x.T, atol=1e-12)


def test_a_small_residual_falls_as_the_tangent_kernel_says() -> None:
    """F(k) / F(0) = (1 - eta lambda / n)^(2k) along an eigenvector: with the 1 / n of the loss."""
    cell = uniform(3, 8, "tanh", SKIP, CONV)
    start = Start(samples(5, 3, 4), seed=0)
    whole = gram(cell, start.parameters(cell), start.problem.images_NCP).whole
    values, vectors = torch.linalg.eigh(whole)
    rate = stable_rate(cell, start)
    assert math.isclose(rate, 0.5 * 5 / float(values[-1]), rel_tol=1e-12)
    losses = train(cell, centred(cell, start, 1e-6 * vectors[:, 0]), "gd", rate, 4).losses
    factor = (1 - rate * float(values[0]) / 5) ** 2
    assert losses == pytest.approx([0.1e-12 * factor**k for k in range(5)], rel=1e-5)


@pytest.mark.parametrize(("n", "fails"), [(6, False), (7, False), (8, True), (9, True)])
def test_the_printed_bound_fails_from_eight_images_on(n: int, fails: bool) -> None:
    """1 - (1 - x)^2 = 2 x - x^2 is less than 2 x: at n = 8 the margin lies below 1 / 4 too."""
    start = Start(samples(n, 3, 4), seed=0)
    row = bound_of(uniform(3, 24, "tanh", SKIP, CONV), start, 1)
    x = row["rate"] * row["lambda_min"] / n
    assert row["margin"]["slowest"] == pytest.approx((2 - x) / n, rel=1e-2)
    assert judged.violated(row, "slowest", "printed") == fails
    assert not judged.violated(row, "slowest", "with 1/n")


def test_elasticities_of_a_power_are_its_exponents() -> None:
    """In the linear cell the Gram matrix of the last convolution is a3^2 times what has no a2."""

    def quantities(cell: Cell) -> dict[str, float]:
        found = gram(cell, START.parameters(cell), START.problem.images_NCP)
        return {"last": least(found.last_convolutions)}

    found = elasticities(quantities, LINEAR)
    assert found["conv"]["last"] == pytest.approx(2.0, abs=1e-6)
    assert found["skip"]["last"] == pytest.approx(0.0, abs=1e-6)


def test_adam_is_matched_to_the_first_step_of_gradient_descent() -> None:
    cell = uniform(3, 4, "softplus", SKIP, CONV)
    start = centred(cell, Start(samples(4, 1, 4), seed=2))
    rate = stable_rate(cell, start)
    adam = train(cell, start, "adam", matched_rate(cell, start, "adam", rate), 1).losses[1]
    assert adam == pytest.approx(train(cell, start, "gd", rate, 1).losses[1], rel=1e-2)


# --- the Gram matrix against gradients, one by one ------------------------------------------------


@pytest.mark.parametrize(
    "cell", [uniform(4, 4, "softplus", SKIP, CONV), uniform(4, 4, "tanh", SKIP, CONV).branched()]
)
def test_the_gram_matrix_is_that_of_the_gradients(cell: Cell) -> None:
    problem = samples(3, 2, 9)
    parameters = Start(problem, seed=3).parameters(cell)
    outputs_N = forward(cell, parameters, problem.images_NCP).outputs_N
    rows = [torch.autograd.grad(u, parameters.leaves(), retain_graph=True) for u in outputs_N]
    found = gram(cell, parameters, problem.images_NCP)
    blocks = [*found.stems.values(), *found.conv.values()]
    for place, block in enumerate(blocks):
        flat = torch.stack([row[place].flatten() for row in rows])
        assert torch.allclose(block, flat @ flat.T, atol=1e-12)
    flat = torch.stack([torch.cat([each.flatten() for each in row]) for row in rows])
    assert torch.allclose(found.whole, flat @ flat.T, atol=1e-12)
    last = sum(found.conv[source, 3] for source in range(3))
    assert torch.allclose(found.last_convolutions, torch.as_tensor(last))


@pytest.mark.thorough
def test_the_kernel_at_infinite_width_is_what_wide_cells_have_on_average() -> None:
    """Twin: nodes of 60 cells of 64 channels; the mean of a node's kernel is exact up to 1 / m."""
    problem, edges = samples(2, 2, 4), edges_of(4)
    weights = [
        {edge: 0.2 + 0.1 * ((k * step) % 7) for k, edge in enumerate(edges)} for step in (3, 5)
    ]
    for cell in (Cell(64, "softplus", *weights), Cell(64, "tanh", *weights).branched()):
        nodes = [
            torch.stack(forward(cell, Start(problem, s).parameters(cell), problem.images_NCP).nodes)
            for s in range(60)
        ]
        drawn_SLNR = torch.stack(nodes).detach().flatten(3)
        grams_SLNN = drawn_SLNR @ drawn_SLNR.mT
        found_LNN = torch.stack(width.heads(cell, problem.images_NCP))
        error_LNN = grams_SLNN.std(0) / 60**0.5 + 0.01 * found_LNN.abs()
        assert bool(((grams_SLNN.mean(0) - found_LNN).abs() < 4 * error_LNN).all())


# --- the algebra of phi ---------------------------------------------------------------------------


def printed(b: float) -> float:
    """E_skip at h = 4 and equal weights: phi = a^2 (1 + b^2 + b^4)."""
    return 2 * (b**2 + 2 * b**4) / (1 + b**2 + b**4)


def skip_elasticity(cell: Cell, auxiliary: float = 0.0, reading: str = "deck") -> float:
    found = formula.phi(cell, auxiliary)[reading]
    assert found.skip_elasticity is not None
    assert found.conv_elasticity == pytest.approx(2)
    return found.skip_elasticity


def test_equal_weights_never_depend_more_on_skip_at_four_nodes() -> None:
    for b in np.linspace(0.01, 1, 34):
        cell = uniform(4, 1, "tanh", b, 0.3)
        assert skip_elasticity(cell) == pytest.approx(printed(b))
        assert max(skip_elasticity(cell, reading=r) for r in formula.READINGS) < 2 + 1e-12
    assert printed(1.0) == 2


@pytest.mark.parametrize("reading", formula.READINGS)
@pytest.mark.thorough
def test_the_border_moves_with_the_number_of_nodes(reading: str) -> None:
    """Of the equal weight b beyond which E_skip is above E_conv, by bisection."""
    path = {nodes: 1 / math.sqrt(nodes - 3) for nodes in (4, 5, 6, 12)}
    others = {4: 1.0, 5: 0.8107, 6: 0.7535, 40: math.sqrt(1 / 2)}
    for nodes, border in (path if reading == "path" else others).items():
        low, high = 0.01, 1.5
        for _ in range(50):
            b = (low + high) / 2
            above = skip_elasticity(uniform(nodes, 1, "tanh", b, 0.3), reading=reading) > 2
            low, high = (low, b) if above else (b, high)
        assert b == pytest.approx(border, abs=1e-4)
    search = uniform(29, 1, "tanh", 0.2, 0.3)  # where b is 0.2
    assert (skip_elasticity(search, reading=reading) > 2) == (reading == "path")


def test_unequal_weights_reverse_it_where_ratio_times_skip_squared_exceeds_one() -> None:
    for ratio, b in ((0.9, 1.0), (4.1, 0.5), (3.9, 0.5), (26.0, 0.2), (24.0, 0.2)):
        base = uniform(4, 1, "tanh", b, 0.3)
        cell = Cell(1, "tanh", base.skip, {**base.conv, (0, 3): 0.1, (2, 3): 0.1 * ratio})
        for reading in formula.READINGS:
            assert (skip_elasticity(cell, reading=reading) > 2) == (ratio * b**2 > 1)


def test_an_auxiliary_skip_raises_the_dependence_until_far_beyond_one() -> None:
    """E(b, beta) = b f(b + beta), f(x) = printed(x) / x, which rises up to x = 1.206."""
    for b in (0.05, 0.2, 1 / 3, 0.6, 0.8):
        cell = uniform(4, 1, "tanh", b, 0.3)
        for beta in (0.1, 0.5, 1.0):
            x = b + beta
            assert skip_elasticity(cell, beta) == pytest.approx(b * printed(x) / x)
            assert skip_elasticity(cell, beta) > skip_elasticity(cell)
        assert skip_elasticity(cell, 50.0) < skip_elasticity(cell)
    # The derivative itself, unlike the elasticity, only ever rises: d phi / d b = a^2 (2x + 4x^3).
    x = np.linspace(0.01, 4, 400)
    turn = x[np.argmax(printed(x) / x)]
    assert turn == pytest.approx(1.206, abs=0.01)
    assert printed(0.83) / 0.83 > printed(1.83) / 1.83  # one weight for which 1 is far beyond


def test_phi_of_two_branches_has_its_closed_form() -> None:
    """h = 4: node 2 begins a branch, phi_B = a^2 (1 + b^2 + 1); cut edges carry nothing."""
    for b in (0.2, 0.7):
        cell = uniform(4, 1, "tanh", b, 0.3)
        found = formula.two_branches(cell)
        assert found == pytest.approx(dict.fromkeys(formula.READINGS, 0.09 * (2 + b**2)))
        shallow = cell.branched()
        assert {e for e in cell.edges if shallow.conv[e] == 0} == {(0, 2), (1, 2)}
        assert cell.branched(cut=False).conv == cell.conv


# --- figure 2 on supernets --------------------------------------------------------------------


def test_the_parts_that_are_turned_into_skips_are_nested_and_exact() -> None:
    initial = {s: skips.turned(s).initial for s in skips.SHARES}
    before: set[int] = set()
    for share, draw in initial.items():
        assert draw is not None
        alpha_EO = draw(skips.eight_edges(), torch.Generator().manual_seed(0))
        assert torch.equal(alpha_EO.sum(1), torch.ones(16, dtype=torch.float64))
        chosen = set(alpha_EO[:, 1].nonzero().flatten().tolist())
        assert len({e for e in chosen if e < 8}) == len({e for e in chosen if e >= 8}) == 8 * share
        assert before <= chosen
        before = chosen


@pytest.mark.thorough
def test_the_command_trains_supernets_with_skips(tmp_path: Path) -> None:
    sizes = ["--images", "64", "--epochs", "2", "--cells", "1", "--channels", "2", "--seeds", "1"]
    given = ["--dataset", "digits", *sizes, "--jobs", "1", "--json", "--out", str(tmp_path)]
    done = CliRunner().invoke(app, ["theory", "skips", *given])
    assert done.exit_code == 0, done.output
    stored = json.loads((tmp_path / "skips.json").read_text())
    assert json.loads(done.stdout) == stored
    (seed,) = stored["seeds"]
    assert len({tuple(losses) for losses in seed["losses"].values()}) == 3
    assert len(set(seed["hashes"].values())) == 3
    assert {each["verdict"] for each in stored["verdicts"]} == {"inconclusive"}
    assert (tmp_path / "skips.png").exists()


@pytest.mark.thorough
def test_seeds_side_by_side_read_the_data_of_the_caller(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """joblib's processes are kept, with the folder and the variables of an earlier call."""
    settings = Settings("digits", seeds=2)
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        monkeypatch.chdir(tmp_path / name)
        monkeypatch.setenv("OPTNAS_DATA", "data")
        found = inputs.run_seeds(lambda _s, folder, seed: (str(folder), seed), settings, None, 2)
        assert found["seeds"] == [(str(tmp_path / name / "data"), seed) for seed in (0, 1)]


# --- the page ---------------------------------------------------------------------------------

ROOT = Path(__file__).resolve().parents[1]


def _says_what_the_page_says(verdicts: list[dict]) -> None:
    """The list at the head of the page, at the chosen size."""

    def those(claim: str, words: str) -> set[str]:
        return {
            each["verdict"]
            for each in verdicts
            if each["claim"] == claim and not each["size"] and words in each["reading"]
        }

    printed = judged.READINGS["printed"]
    assert those("H7", f"{printed}; targets that leave the residual") == {"contradicted"}
    assert those("H7", judged.READINGS["with 1/n"]) == {"supported"}
    assert those("H8", "") == {"contradicted"}
    assert those("H13", f"{judged.RATE}; an auxiliary skip of weight 1, as") == {"contradicted"}
    assert those("H13", f"{judged.RATE}; an auxiliary skip of weight 10") == {"supported"}
    assert those("H13", "the first gradient") == {"supported"}
    assert those("H9", "at equal train loss") == {"contradicted"}


@pytest.mark.thorough
def test_the_page_quotes_what_the_command_stored() -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "results"))
        module = importlib.import_module("theory")
    found = module.stored()
    listed = re.findall(r"^\| \[\w+\]\(theory/(\w+\.md)\)", module.PAGES[0].read_text(), re.M)
    assert sorted(listed) == [page.name for page in module.PAGES[1:]]
    text = "".join(page.read_text() for page in module.PAGES)
    assert set(re.findall(r"<!-- built: (.*) -->", text)) == set(module.PARTS)
    assert module.built(text, module.PARTS, found) == text, "make figures"
    noise = module.pairs()["estimates"]
    low, high = (noise["at equal train loss"]["escape_random"][end] for end in ("low", "high"))
    assert low < 0 < high
    assert {each["n"] for each in noise["at equal norm"].values()} == {2}
    for each in module.stored("skips").values():
        assert each["hash"] == digest({key: each[key] for key in ("settings", "data")})
        assert skips.verdicts(each["seeds"]) == each["verdicts"]
        assert [v["verdict"] for v in each["verdicts"]] == [
            *4 * ["supported"],
            *2 * ["inconclusive"],
        ]
    for name, each in found.items():
        assert each["data"]["name"] == each["settings"]["dataset"] == name
        assert each["hash"] == digest({key: each[key] for key in ("settings", "data")})
        assert judged.verdicts(each) == each["verdicts"]
        _says_what_the_page_says(each["verdicts"])
    flat = {each["reading"].split()[0]: each["verdict"] for each in module.pairs()["verdicts"]}
    assert {name for name, verdict in flat.items() if verdict == "supported"} == {
        *("asam", "filter"),
    }
    assert flat.keys() == {"asam", "filter", "by_coordinate"}
    eighth = re.findall(r"^\| \w+ \| 8 \| 0.250 \| (\S+) \[.*?\] \| (6 of 6) \|", text, re.M)
    assert [float(margin) < 0.25 for margin, _ in eighth] == [True, True]
    for name in [*pictures.figures(found["digits"]), "skips", "noise"]:
        assert f"(../images/theory-{name}.png)" in text
        assert (module.IMAGES / f"theory-{name}.png").exists()


# --- the command ----------------------------------------------------------------------------------

TINY = [
    *("--nodes", "3", "--channels", "2", "--samples", "4", "--side", "2", "--steps", "4"),
    *("--cells", "4", "--seeds", "2", "--jobs", "1"),
]


@pytest.mark.thorough
def test_the_command_writes_numbers_and_figures(tmp_path: Path) -> None:
    done = CliRunner().invoke(
        app, ["theory", "convergence", *TINY, "--json", "--out", str(tmp_path)]
    )
    assert done.exit_code == 0, done.output
    stored = json.loads((tmp_path / "convergence.json").read_text())
    assert json.loads(done.stdout) == stored
    assert {each["claim"] for each in stored["verdicts"]} == {"H7", "H8", "H9", "H13", "theorem 4"}
    assert all(each["verdict"] == "inconclusive" for each in stored["verdicts"] if each["n"] == 2)
    assert stored["estimates"]["controls"]["a sample twice"]["mean"] == pytest.approx(0, abs=1e-9)
    assert len(list(tmp_path.glob("convergence-*.png"))) == 4


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"nodes": 2}, "--nodes = 2: is at least 3"),
        ({"activation": "tahn"}, "did you mean tanh"),
        ({"weight": 0.0}, "--weight = 0.0: is a positive weight"),
    ],
)
def test_bad_sizes_are_refused(settings: dict, told: str) -> None:
    with pytest.raises(UserError, match=told):
        Settings(**settings).check()


@pytest.mark.parametrize(("key", "value", "least"), [("images", 20, 64), ("cells", 0, 1)])
def test_bad_sizes_of_supernets_are_refused(key: str, value: int, least: int) -> None:
    with pytest.raises(UserError, match=f"--{key} = {value}: is at least {least}"):
        skips.Settings(**{key: value}).check()  # type: ignore[arg-type]


def test_pairs_are_alike_but_for_the_weight_optimizer(tmp_path: Path) -> None:
    def run(optimizer: str, **others: Any) -> compared.Run:
        config = {
            "algorithm": {"name": "darts", "driver": others.get("driver", "")},
            "data": {"name": others.get("data", "digits")},
            "search": {"seed": others.get("seed", 0)},
            "weight_optimizer": {"name": optimizer, "lr": len(optimizer)},
        }
        return compared.Run(RunFolder(tmp_path), config, [], [])

    driven = [run(name, driver=driver) for name in ("SGD", "Adam") for driver in ("SGD", "Adam")]
    others = [run("swap"), run("swap", data="cifar10")]  # both on w, one after the other
    pairs = compared._pairs(compared._under_either([*driven, *others]))
    assert len(pairs) == 2
    # Two pairs of one seed are one number, their mean; what is not known is left out.
    values = iter([1.0, 2.0])
    assert compared._by_seed(pairs, lambda one, other: next(values)) == [1.5]
    values = iter([None, 2.0])  # type: ignore[list-item]
    assert compared._by_seed(pairs, lambda one, other: next(values)) == [2.0]
    assert compared._by_seed(pairs, lambda one, other: math.nan) == []
    with pytest.raises(UserError, match="there is no pair"):
        compared._pairs([run("SGD"), run("Adam", data="cifar10")])
    with pytest.raises(UserError, match="another run is of this seed"):
        compared._pairs([run("SGD"), run("SGD")])
