"""The ledger: every claim declared, planted effects found, controls, arms and gaps told."""

from __future__ import annotations

import json
import math
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from cases import command
from tidy import Arm, arms, recorded, study
from topics import text_of

from optnas.analysis import power, tuning
from optnas.analysis.claims import choose_claims, find_claim, names, read_claim, render
from optnas.analysis.claims import judge as claims
from optnas.analysis.claims.columns import column_of
from optnas.analysis.claims.declare import TRANSFORMS
from optnas.analysis.claims.evaluate import sides_of
from optnas.analysis.claims.findings import decide
from optnas.analysis.transforms import FUNCTIONS
from optnas.base.errors import UserError
from optnas.base.records import find_runs

ROOT = Path(__file__).resolve().parents[1]
RANDOM_CELL = 87.06
REFERENCES = {"random cell": {"benchmark.cifar10": RANDOM_CELL}}
HYPOTHESES = [*(f"H{k}" for k in range(1, 4)), "H3b", *(f"H{k}" for k in range(4, 21))]
# The others have tests of their own: test_families, test_indicator_study, test_worlds_study,
# test_sizes.
WORLDS = ["W1f", "W1m", "W3f", "W3m"]
LEDGER = ["C1", "C2", "C3", *HYPOTHESES, "I1", "I2", "I3", "I4", "I5", "I6", "S1", *WORLDS]
COMPUTED = ("H7", "H8", "H13")


def world(sign: int, noise: float = 0.03) -> Any:
    """Responses under which every claim holds (1), fails (-1), or nothing does anything (0)."""

    def respond(arm: Arm, rng: np.random.Generator) -> dict[str, Any]:
        t = np.linspace(0, 1, arm["search.epochs"] + 1)
        seed = np.random.default_rng(arm["search.seed"]).normal()
        algorithm, plain = arm["algorithm.name"], arm["algorithm.name"] in ("darts", "darts-minus")
        w = sign * (0.5 if arm["weight_optimizer.name"] == "SGD" else -0.5)
        a = 0.5 if arm["arch_optimizer.name"] == "SGD" else -0.5
        smooth, cut = algorithm.startswith("sdarts"), arm["augmentation.cutout"] > 0
        extreme = arm.get("weight_optimizer.momentum", 0.9) in (0.0, 0.99)
        unequal = 0 if sign == 1 else sign  # breaks what was to be equal
        gain = 2 * w * (-1 if smooth else 0 if cut else 1) + 2 * unequal * a
        gain -= (sign == 1) * smooth * 0.5 * a  # so that Adam + Adam is better than each
        ahead = 40 * (w * (0.2 if smooth else 1) + unequal * a)  # of H19 and H3b
        fall = sign * (1.5 + extreme)
        accuracy = {1: 91.0, -1: 83.0, 0: RANDOM_CELL}[sign] + gain - fall * t - sign * 2 * extreme
        skips = 2 + sign * 2 * t - 2 * w * plain + (2 * unequal * a if smooth else 0)
        skips = skips + (2 * unequal * w if smooth else 0)
        norm = math.exp(-sign * 0.5 * smooth - 0.6 * w * (plain + (2 if unequal else 0) * smooth))

        def near(value: Any) -> Any:
            return value + noise * (seed + rng.normal(size=len(t)))

        # Of DARTS and DARTS-, and of the noisy ones less than half as much, or more.
        biased = -0.2 * w * (plain + (2 if unequal else 0) * smooth)
        return {
            "benchmark.cifar10": near(accuracy),
            "percentile.cifar10": near(50 + ahead - 5 * fall * t),
            "train_loss": near(2.3 - t + 0.2 * w),
            "op_weight.skip_connect": near(0.3 + 0.2 * sign * t + biased),
            "alpha_displacement_centred": near(4.0),
            "valid_accuracy": near(40 + 15 * t + w),
            "alpha_hessian_max": near(1 - 0.4 * w),
            "measure.curvature.logits_max": near(1 - 0.4 * w),
            "skips": near(skips),
            "measure.gap.gap": near(5.0 - sign * smooth - w),
            "measure.gap.partway_gap": near(5.0 - w),
            "measure.indicator.tau_minus_convolutions": near(-0.1 * sign),
            "measure.landscape.mean_accuracy_drop": near(2 - 0.5 * sign * smooth),
            "measure.landscape.accuracy_residual": near(2 - sign * smooth),
            "measure.curvature.op_weights_spectral": norm * np.exp(noise * rng.normal(size=len(t))),
            "measure.theory.violations": near(0.5 - 0.3 * sign),
            "measure.theory.delta": 0.5,
            "measure.operations.skip_elasticity.deck": near(
                sign * (0.5 - 0.3 * (algorithm == "darts-minus"))
            ),
            "measure.operations.conv_elasticity.deck": 0.0,
        }

    return respond


MOMENTA: dict[str, list[Any]] = {"weight_optimizer__momentum": [0.0, 0.5, 0.99]}
ALL = [
    *arms("darts", "darts-minus", "sdarts-rs", "sdarts-adv"),
    *arms("darts", augmentation__cutout=[8]),
    *[
        arm
        for arm in arms("darts", **MOMENTA)
        if arm["weight_optimizer.name"] == "SGD" and arm["arch_optimizer.name"] == "Adam"
    ],
]
for _arm in ALL:
    if _arm["weight_optimizer.name"] == "SGD":
        _arm.setdefault("weight_optimizer.momentum", 0.9)


def judged(table: pd.DataFrame, *wanted: Any, **more: Any) -> claims.Finding:
    (finding,) = claims.judge(table, wanted, REFERENCES, **more)
    return finding


def parsed(**part: Any) -> claims.Claim:
    """A claim of one part, on skips unless it says otherwise."""
    whole = {"name": "skips", "response": {"column": "skips"}, "direction": "greater", **part}
    return read_claim({"id": "mine", "text": "t", "source": "me", "parts": [whole]}, "mine.toml")


# --- declarations -----------------------------------------------------------------------------


def test_every_hypothesis_is_declared_and_sorted() -> None:
    assert names() == LEDGER
    for name in LEDGER:
        claim = find_claim(name)
        assert claim.id == name
        assert claim.source
        for part in claim.parts:
            assert part.formula
            for column in filter(None, (part.response.column, part.response.other)):
                assert column_of(column).supplied_by != "tabulate runs that record it", column


@pytest.mark.parametrize(
    ("part", "told"),
    [
        (
            {"half_of": [{"axis": "a", "plus": 1, "minus": 2}], "direction": "less-than-half"},
            "parts.0.half_of.* is a table of settings; write half_of = { KEY = VALUE } in parts.0",
        ),
        ({"response": {"transform": "max"}}, "is missing; add column = VALUE in parts.0.response"),
    ],
)
def test_what_a_claim_file_lacks_is_told_as_a_file_writes_it(
    part: dict[str, Any], told: str
) -> None:
    """It advised the words of a command line."""
    with pytest.raises(UserError, match=re.escape(told).replace(r"\.\*", ".*")):
        parsed(**part)


def test_every_transform_is_implemented() -> None:
    assert FUNCTIONS.keys() == TRANSFORMS.keys()


def test_a_contrast_is_its_weighted_cells() -> None:
    part = find_claim("H14").parts[0]
    terms = {
        (cell["weight_optimizer.name"], cell["algorithm.name"], cell["arch_optimizer.name"]): weight
        for weight, cell in part.expanded()
    }
    assert len(terms) == 8
    assert terms["Adam", "sdarts-rs", "SGD"] == terms["SGD", "darts", "Adam"] == 0.5
    assert terms["SGD", "sdarts-rs", "SGD"] == terms["Adam", "darts", "Adam"] == -0.5
    pilot = ROOT / "results" / "pairs-cpu" / "claims" / "H14.toml"
    weights = [weight for weight, _ in find_claim(str(pilot)).parts[2].expanded()]
    assert weights == pytest.approx([1, -1 / 3, -1 / 3, -1 / 3])


def test_unequal_weights_are_refused_but_in_the_pilots_own_claims(tmp_path: Path) -> None:
    """Flipping signs is exact where swapping exchangeable arms turns the sign of the contrast."""
    pilot = ROOT / "results" / "pairs-cpu" / "claims"
    for file in sorted(pilot.glob("*.toml")):
        assert find_claim(str(file)).version == 1
    for name in LEDGER:
        assert all(part.balanced for part in find_claim(name).parts)
    (tmp_path / "H14.toml").write_text((pilot / "H14.toml").read_text().replace("version = 1", ""))
    with pytest.raises(UserError, match=r"better than each' as one part per comparison"):
        find_claim(str(tmp_path / "H14.toml"))


MINE = """\
id = "mine"
text = "Cells of sdarts-rs have fewer skips."
source = "me"

[[parts]]
name = "skips"
response = { column = "skips" }
where = { "weight_optimizer.name" = "SGD", "arch_optimizer.name" = "Adam" }
contrast = [{ axis = "algorithm.name", plus = "sdarts-rs", minus = "darts" }]
direction = "less"
"""


def test_a_claim_of_ones_own_from_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mine.toml").write_text(MINE)
    Path("mine.py").write_text(
        "from optnas.analysis.claims import read_claim\nfrom optnas.base.toml import parse_toml\n"
        f"def mine():\n    return read_claim(parse_toml({MINE!r}, 'mine'), 'mine')\n"
        "def other():\n    return 1\n"
    )
    assert find_claim("./mine.toml") == find_claim("./mine.py:mine")
    assert judged(study(ALL, world(1)), "./mine.toml").id == "mine"
    with pytest.raises(UserError, match="does not return a Claim"):
        find_claim("./mine.py:other")
    with pytest.raises(UserError, match=r"missing\.toml: cannot read it"):
        find_claim("missing.toml")


def test_the_noise_floor_is_the_margin_of_an_equivalence_that_fixes_none(tmp_path: Path) -> None:
    text = MINE.replace('"less"', '"equivalent"').replace('"skips" }', '"benchmark.cifar10" }')
    file, table = tmp_path / "mine.toml", study(ALL, world(1))
    file.write_text(text)
    floor = {"benchmark.cifar10": ((93.0, 0.25), (80.0, 0.40))}
    assert judged(table, str(file), noise=floor).parts[0].hypothesis == "within 0.25 of 0"
    unknown = judged(table, str(file))
    assert unknown.verdict == "not testable"
    assert unknown.parts[0].missing == (
        "no noise floor of benchmark.cifar10 is known, which would be the margin"
    )
    file.write_text(text + "margin = 0.1\n")
    assert judged(table, str(file), noise=floor).parts[0].hypothesis == "within 0.1 of 0"


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("text =", "txet =", r"mine.toml: txet = .*; did you mean text\?"),
        (
            'direction = "less"',
            'direktion = "less"',
            r"parts.0.direktion = .*; did you mean direction\?",
        ),
        ('"skips" }', '"skips", transfrom = "max" }', "transfrom.*did you mean transform"),
        ('"skips" }', '"skips", transform = "maximum" }', "no transform 'maximum'; use one of"),
        ('"skips" }', '"skips", transform = "difference" }', "needs another column"),
        ('"less"', '"equivalent"', "'margin' belongs to direction 'equivalent'"),
        ('"less"', '"u"', "'along' belongs to directions"),
        ('"less"', '"less"\nprimary = false', "no part is primary"),
        ('"less"', '"smaller"', "direction = 'smaller': there is no such choice; use one of"),
        ('text = "', "text = 3 # ", "text = 3: must be text"),
        ('direction = "less"', "", "parts.0.direction: is missing"),
    ],
)
def test_what_is_wrong_with_a_claim_file_is_told(
    old: str, new: str, told: str, tmp_path: Path
) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(MINE.replace(old, new))
    with pytest.raises(UserError, match=told):
        find_claim(str(file))


def test_an_unknown_claim_is_answered_with_the_nearest() -> None:
    with pytest.raises(UserError, match="did you mean H3"):
        find_claim("H3c")


def test_claims_are_chosen_by_name_file_and_folder(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(MINE)
    (tmp_path / "second.toml").write_text(MINE.replace('"mine"', '"second"'))
    chosen = choose_claims(["H3", str(tmp_path), "H3", str(tmp_path / "mine.toml")])
    assert [claim.id for claim in chosen] == ["H3", "mine", "second"]
    assert [claim.id for claim in choose_claims(None)] == LEDGER
    (tmp_path / "second.toml").write_text(MINE.replace("fewer", "more"))
    with pytest.raises(UserError, match=r"second\.toml: id = 'mine': another claim of this id"):
        choose_claims(["all", str(tmp_path)])
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="the folder holds no claim"):
        choose_claims([str(tmp_path / "empty")])


# --- planted effects --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def true_world() -> pd.DataFrame:
    return study(ALL, world(1), seeds=8)


@pytest.fixture(scope="module")
def false_world() -> pd.DataFrame:
    return study(ALL, world(-1), seeds=8)


@pytest.mark.parametrize("name", [name for name in HYPOTHESES if name not in COMPUTED])
def test_a_planted_effect_is_found_in_its_direction(
    name: str, true_world: pd.DataFrame, false_world: pd.DataFrame
) -> None:
    for table, verdict in ((true_world, "supported"), (false_world, "contradicted")):
        finding = judged(table, name)
        assert finding.verdict == verdict, finding.reason
        assert finding.lr_arm == "default"
        assert finding.p <= 0.05


@pytest.mark.parametrize("name", COMPUTED)
def test_what_a_formula_gives_is_not_tested(name: str, true_world: pd.DataFrame) -> None:
    finding = judged(true_world, name)
    assert (finding.verdict, finding.verdict_holm) == ("computed", None)
    assert math.isnan(finding.p)
    assert render.evidence(finding) == "computed, for the claim"


def test_numbers_shown_are_of_the_part_that_p_rests_on() -> None:
    """H5: both parts must hold, so that the one least in favour decides."""
    column = "measure.landscape.mean_accuracy_drop"

    def respond(arm: Arm, rng: np.random.Generator) -> dict[str, Any]:
        noisy = arm["algorithm.name"] == "sdarts-rs"
        return {
            "measure.curvature.op_weights_spectral": 1 - 0.9 * noisy + 0.01 * rng.normal(),
            column: 1 - 0.5 * noisy + rng.normal(),
        }

    table = study(arms("darts", "sdarts-rs"), respond, seeds=8)
    finding = judged(table, "H5")
    assert (finding.part, finding.n) == ("landscape drop, random noise", 8)
    part = next(part for part in finding.parts if part.name == finding.part)
    assert finding.p == pytest.approx(2 * min(part.p_for, part.p_against))
    assert finding.effect == pytest.approx(np.mean(list(part.values.values())))
    table.loc[table["search.seed"] >= 3, column] = math.nan
    finding = judged(table, "H5")
    assert (finding.part, finding.n, finding.p) == ("landscape drop, random noise", 3, 1.0)
    assert "landscape drop, random noise: 3 of 8 seeds have it in every arm" in finding.settle


def test_after_holm_six_seeds_are_too_few_for_a_family() -> None:
    table = study(ALL, world(1), seeds=6)
    findings = {f.id: f for f in claims.judge(table, HYPOTHESES, REFERENCES)}
    # A curve of four levels has two places to turn, "less than half" two signs: a factor of two.
    tested = {name: f for name, f in findings.items() if name not in COMPUTED}
    few = {name for name, f in tested.items() if f.verdict != "supported"}
    assert few == {"H3b", "H15", "H16", "H19"}
    told = {f.role: f.verdict_holm for f in findings.values()}
    assert told == {"secondary": "inconclusive", "computed": None, "descriptive": None}
    alone = judged(table, "H1")
    assert (alone.verdict_holm, alone.p_holm) == ("supported", alone.p)


def test_holm_counts_the_family_only() -> None:
    table = study(ALL, world(1), seeds=8)
    findings = {f.id: f for f in claims.judge(table, HYPOTHESES, REFERENCES)}
    family = [f for f in findings.values() if f.role == "secondary"]
    assert findings["H1"].p_holm == pytest.approx(len(family) * findings["H1"].p)
    assert math.isnan(findings["H3"].p_holm)


def false_verdicts(draws: int, wanted: list[str], chosen: list[Arm]) -> dict[str, float]:
    """Share of studies without any effect in which a claim is supported or contradicted."""
    wrong = dict.fromkeys(wanted, 0)
    for draw in range(draws):
        table = study(chosen, world(0, noise=1.0), draw=draw + 1)
        for finding in claims.judge(table, wanted, REFERENCES):
            wrong[finding.id] += finding.verdict in ("supported", "contradicted")
    return {name: count / draws for name, count in wrong.items()}


# Equivalence claims are left out: without an effect they are true.
DIRECTED = [name for name in HYPOTHESES if name not in ("H3b", "H15", "H19")]


@pytest.mark.slow
def test_without_effect_verdicts_are_rare() -> None:
    # Three standard errors above the level.
    for name, share in false_verdicts(40, ["H1", "H2", "H9"], arms("darts")).items():
        assert share <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / 40), name


@pytest.mark.slow
def test_without_effect_no_claim_of_the_ledger_exceeds_its_level() -> None:
    draws = 60
    for name, share in false_verdicts(draws, DIRECTED, ALL).items():
        assert share <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / draws), name


def p_values(contrast_N: np.ndarray, direction: str) -> tuple[float, float]:
    part = (
        find_claim("H3")
        .parts[0]
        .model_copy(
            update={"direction": direction, "margin": 0.5 if direction == "equivalent" else None}
        )
    )
    return sides_of(part, contrast_N, 0.0)


DISTRIBUTIONS = {
    "normal": lambda rng, n: rng.normal(size=n),
    "heavy tails": lambda rng, n: rng.standard_t(2, size=n),
    "collapses": lambda rng, n: rng.choice([-30.0, 0.0, 0.0, 30.0], size=n) + rng.normal(size=n),
}


@pytest.mark.parametrize("draw", DISTRIBUTIONS.values(), ids=DISTRIBUTIONS)
@pytest.mark.parametrize("k", [1, 2, 3])
def test_a_verdict_keeps_its_level_however_many_parts(draw: Any, k: int) -> None:
    """Parts without effect: supported or contradicted in at most alpha of the studies."""
    studies, wrong = 600, 0
    for number in range(studies):
        rng = np.random.default_rng([k, number])
        sides = [p_values(draw(rng, 7), "greater") for _ in range(k)]
        together = claims.combined(*zip(*sides, strict=True))
        wrong += decide(*together, 7, 6, 0.05) != "inconclusive"
    assert wrong / studies <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / studies)


def test_a_difference_at_the_margin_is_rarely_called_equal_or_unequal() -> None:
    verdicts = [
        decide(*p_values(0.5 + np.random.default_rng(k).normal(size=8), "equivalent"), 8, 6, 0.05)
        for k in range(1000)
    ]
    assert verdicts.count("supported") / 1000 <= 0.025 + 0.015
    assert verdicts.count("contradicted") / 1000 <= 0.025 + 0.015


def test_power_is_what_the_outlook_says() -> None:
    """A gap that n seeds see with 80 % is seen in about 80 % of studies."""
    gap = power.detectable(9)
    seen = sum(
        decide(*p_values(gap + np.random.default_rng(k).normal(size=9), "greater"), 9, 6, 0.05)
        == "supported"
        for k in range(500)
    )
    assert seen / 500 == pytest.approx(0.8, abs=0.06)


@pytest.mark.slow
@pytest.mark.parametrize(("sign", "verdict"), [(1, "supported"), (-1, "contradicted")])
def test_a_gap_of_eighty_percent_power_is_found_in_four_of_five_studies(
    sign: int, verdict: str
) -> None:
    """From table to verdict; the noise of the contrast is that of one run."""
    draws, seeds = 100, 9
    gap = sign * power.detectable(seeds)

    def respond(arm: Arm, rng: np.random.Generator) -> dict[str, Any]:
        seed = np.random.default_rng(arm["search.seed"]).normal(0, 5)
        return {
            "benchmark.cifar10": 85.0
            + seed
            + gap * (arm["weight_optimizer.name"] == "SGD")
            + rng.normal(size=arm["search.epochs"] + 1)
        }

    claim = find_claim("H3")
    primary = claim.model_copy(update={"parts": claim.parts[:1]})
    found = [
        judged(study(arms("darts"), respond, seeds=seeds, epochs=1, draw=draw), primary).verdict
        for draw in range(draws)
    ]
    error = math.sqrt(0.8 * 0.2 / draws)
    assert found.count(verdict) / draws == pytest.approx(0.8, abs=0.03 + 3 * error)
    assert set(found) <= {verdict, "inconclusive"}


# --- what is missing is told ------------------------------------------------------------------


def test_missing_columns_name_the_command_that_supplies_them(true_world: pd.DataFrame) -> None:
    finding = judged(true_world.drop(columns="measure.gap.partway_gap"), "H10")
    assert finding.verdict == "not testable"
    assert "measure.gap.partway_gap" in finding.reason
    assert "take the measure 'gap' on these runs" in finding.settle
    assert (finding.n, math.isnan(finding.p)) == (0, True)


def test_what_is_named_by_its_file_has_a_name_of_its_own(true_world: pd.DataFrame) -> None:
    own = true_world["arch_optimizer.name"].replace("SGD", "optnas-objects/SGD-1f38.py:SGD")
    table, expected = true_world.assign(**{"arch_optimizer.name": own}), judged(true_world, "H3")
    found = judged(table, "H3")
    assert (found.verdict, found.n, found.effect) == (
        expected.verdict,
        expected.n,
        expected.effect,
    )
    # Of two of one name neither is meant.
    twice = own.where(table["search.seed"] > 2, own.replace(r"^opt.*", "./own.py:SGD", regex=True))
    assert judged(table.assign(**{"arch_optimizer.name": twice}), "H3").n == 0


def test_a_misspelt_column_is_told(true_world: pd.DataFrame) -> None:
    claim = find_claim("H3")
    response = claim.parts[0].response.model_copy(update={"column": "valid_acuracy"})
    part = claim.parts[0].model_copy(update={"response": response})
    finding = judged(true_world, claim.model_copy(update={"parts": (part,)}))
    assert "valid_acuracy" in finding.reason
    assert "did you mean valid_accuracy?" in finding.settle


def test_missing_arms_are_named(true_world: pd.DataFrame) -> None:
    table = true_world[true_world["algorithm.name"] == "darts"]
    finding = judged(table, "H17")
    assert finding.verdict == "not testable"
    assert "no finished runs of [darts-minus: Adam + Adam], " in finding.reason
    assert "algorithm.name=darts-minus" in finding.settle
    # What there is, is told all the same.
    assert finding.parts[0].verdict == "supported"


@pytest.mark.parametrize(
    ("key", "value", "told", "advice"),
    [
        # It advised: optnas search algorithm.nmae=darts.
        (
            "algorithm.nmae",
            "darts",
            "the setting algorithm.nmae",
            "did you mean algorithm.name?",
        ),
        ("search.seed", 1, "search.seed tells no arms apart", "moves the numbers of a run"),
        ("arch_optimizer.name", "Adamm", "+ Adamm]", "Adam, SGD; did you mean Adam?"),
        ("arch_optimizer.name", "eg", "+ eg]", "Adam, SGD; name one that there is, or ./"),
        (
            "arch_optimizer.name",
            "AdamW",
            "+ AdamW]",
            "Adam, SGD; run such arms",
        ),
        ("arch_optimizer.name", "rows", "+ rows]", "name = SGD, which 'rows' is the label of"),
        ("search.epochs", 9, "search.epochs = 9]", "search.epochs = 8; run such arms"),
        # The component is what no run has: its settings are nothing to doubt.
        ("algorithm.radius", 0.1, "[sdarts-rs: ", "algorithm.name = darts; run such arms"),
    ],
)
def test_what_no_run_has_is_told_from_what_was_not_run(
    key: str, value: object, told: str, advice: str
) -> None:
    table = study(arms("darts"), world(1))
    table["arm"] = np.where(table["arch_optimizer.name"] == "SGD", "darts: Adam + rows", "darts")
    where = {key: value, **({"algorithm.name": "sdarts-rs"} if "radius" in key else {})}
    claim = parsed(
        contrast=[{"axis": "weight_optimizer.name", "plus": "SGD", "minus": "Adam"}], where=where
    )
    finding = judged(table, claim)
    assert finding.verdict == "not testable"
    assert told in finding.reason, finding.reason
    assert advice in finding.settle, finding.settle


def test_the_setting_of_a_curve_is_one_of_the_runs() -> None:
    claim = parsed(along="weight_optimizer.momentun", direction="inverted-u")
    finding = judged(study(ALL, world(1), seeds=2), claim)
    assert "no run has the setting weight_optimizer.momentun" in finding.reason
    assert finding.settle == "did you mean weight_optimizer.momentum?"


def test_runs_at_another_value_than_is_held_are_no_missing_runs() -> None:
    """It said that there are no runs of the arm."""
    table = with_second_data_set(seeds=5)
    table.loc[table["data.name"] == "digits", "search.epochs"] = 4
    contrast = {"axis": "weight_optimizer.name", "plus": "SGD", "minus": "Adam"}
    where = {"data.name": "digits", "arch_optimizer.name": "Adam"}
    claim = parsed(where=where, contrast=[contrast])
    finding = judged(table, claim)
    assert "] at search.epochs = 8, which is held" in finding.reason
    assert "hold another value, or run such arms" in finding.settle
    assert "search.epochs=8 search.seed=SEED" in finding.settle


def test_missing_references_are_named(true_world: pd.DataFrame) -> None:
    (finding,) = claims.judge(true_world, ["H12"])
    assert "the reference 'random cell' is not given for benchmark.cifar10" in finding.reason


def test_one_contradicted_part_decides_whatever_else_is_missing(false_world: pd.DataFrame) -> None:
    table = false_world.drop(columns="measure.curvature.op_weights_spectral")
    finding = judged(table, "H15")
    assert (finding.verdict, finding.p) == ("contradicted", 2 * 4 * 2**-8)
    # One of four parts is tested at a quarter of the level, which six seeds cannot reach.
    assert judged(table[table["search.seed"] < 6], "H15").verdict == "not testable"


def test_a_part_with_few_seeds_keeps_no_other_from_deciding(false_world: pd.DataFrame) -> None:
    column = "measure.curvature.op_weights_spectral"
    few = false_world.copy()
    few.loc[few["search.seed"] >= 3, column] = math.nan
    finding = judged(few, "H15")
    assert (finding.verdict, finding.p) == ("contradicted", 2 * 4 * 2**-8)
    assert sorted({part.n for part in finding.parts if part.primary}) == [3, 8]
    assert (finding.n, finding.part in finding.reason) == (8, True)


@pytest.mark.parametrize("ratio", [0.1, 3.0])
@pytest.mark.parametrize("name", ["H3b", "H17"])
def test_where_alpha_stands_still_the_architecture_optimizers_are_not_compared(
    name: str, ratio: float, true_world: pd.DataFrame
) -> None:
    table = true_world.copy()
    moved = "alpha_displacement_centred"
    table.loc[table["arch_optimizer.name"] == "SGD", moved] *= ratio
    # A long path to a place nearby is no displacement.
    table["alpha_path_length"] *= 10
    finding = judged(table, name)
    assert finding.verdict == "not testable"
    assert f"ratio {ratio:.2g}" in finding.reason
    assert "arch_optimizer.lr" in finding.settle


def test_few_seeds_are_inconclusive_however_large_the_effect() -> None:
    finding = judged(study(arms("darts"), world(1), seeds=5), "H3")
    assert finding.verdict == "inconclusive"
    assert "n = 5 seeds, and a verdict needs 6; the smallest p that 5 can reach is 0.0625" in (
        finding.reason
    )
    assert (finding.low, finding.high) == (-math.inf, math.inf)
    assert "run 6 seeds" in finding.settle


def test_the_outlook_names_gap_and_seeds() -> None:
    finding = judged(study(arms("darts"), world(0, noise=1.0), seeds=8), "H1")
    assert finding.verdict == "inconclusive"
    assert "smallest reachable p 0.00781" in finding.settle
    assert "would be seen with 80 %" in finding.settle
    assert "needs n = " in finding.settle
    assert "not judged at learning rates: same, tuned" in finding.settle


def test_unfinished_runs_are_left_out_counted_and_unpair_their_seed() -> None:
    table = study(arms("darts"), world(1), seeds=7)
    bad = (table["search.seed"] == 3) & (table["weight_optimizer.name"] == "Adam")
    table.loc[bad, "state"] = "diverged"
    finding = judged(table, "H3")
    assert (finding.n, finding.unfinished) == (6, {"diverged": 2})
    assert finding.parts[0].incomplete == (3,)
    told = render.as_text([finding])
    assert "left out, not done: 2 diverged" in told
    assert "seeds that lack an arm, left out of the contrast: 3" in told


def test_an_empty_table_leaves_everything_untestable(true_world: pd.DataFrame) -> None:
    table = true_world.assign(state="running")
    findings = claims.judge(table, references=REFERENCES)
    assert {finding.verdict for finding in findings} == {"not testable"}
    with pytest.raises(UserError, match="is not a tidy table"):
        claims.judge(table.drop(columns="search.seed"))


# --- like with like ---------------------------------------------------------------------------


def with_second_data_set(seeds: int) -> pd.DataFrame:
    ours = study(arms("darts"), world(1))
    other = study(arms("darts"), world(-1), seeds=seeds)
    other["id"] = "x" + other["id"]
    return pd.concat([ours, other.assign(**{"data.name": "digits"})], ignore_index=True)


def test_settings_that_vary_are_held_and_the_finding_says_at_what() -> None:
    finding = judged(with_second_data_set(seeds=5), "H3")
    assert (finding.verdict, finding.n) == ("supported", 6)
    assert finding.parts[0].held == {"data.name": "cifar10"}
    assert "held: data.name = cifar10" in render.as_text([finding], details=True)


def test_who_looks_on_is_nothing_to_hold() -> None:
    """A tracker, a measure, the keeping of checkpoints: an older record has no such setting."""
    table = study(arms("darts"), world(1))
    older = table["search.seed"] < 3
    table["tracking.name"] = np.where(older, None, "none")
    table["measures.gap.batches"] = np.where(older, None, 50)
    table["checkpoints.keep"] = np.where(older, None, "named")
    assert judged(table, "H3").n == 6


def test_two_values_equally_common_are_not_mixed() -> None:
    table = with_second_data_set(seeds=6)
    finding = judged(table, "H3")
    assert finding.verdict == "not testable"
    assert "data.name takes several values" in finding.reason
    assert judged(table, "H3", hold={"data.name": "digits"}).verdict == "contradicted"


DROP = {"algorithm.perturbation.name": "drop-one", "algorithm.perturbation.probability": 0.6}
COSINE = {"weight_optimizer.schedule.name": "cosine", "weight_optimizer.schedule.final_lr": 1e-4}


@pytest.mark.parametrize("seeds", [6, 8])
@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"algorithm.perturbation.name": "none"}, DROP),
        ({"weight_optimizer.schedule.name": "constant"}, COSINE),
    ],
)
def test_a_setting_of_a_nested_part_is_held_among_runs_of_that_part(
    one: dict[str, Any], other: dict[str, Any], seeds: int
) -> None:
    """None has no probability, which then took two values, none of them more common."""
    key, setting = other
    common = {"weight_optimizer.name": "SGD", "arch_optimizer.name": "Adam"}
    chosen = [{"algorithm.name": "composed", **common, **each} for each in (one, other)]
    table = study(chosen, lambda arm, rng: {"skips": 1.0 + (arm[key] == other[key])}, seeds=8)
    table = table[(table[key] == one[key]) | (table["search.seed"] < seeds)]
    contrast = {"axis": key, "plus": other[key], "minus": one[key]}
    claim = parsed(contrast=[contrast], direction="greater")
    for hold in ({}, {setting: other[setting]}):
        finding = judged(table, claim, hold=hold)
        assert (finding.verdict, finding.n, finding.effect) == ("supported", seeds, 1.0)


def test_what_to_hold_is_checked() -> None:
    table = with_second_data_set(seeds=5)
    with pytest.raises(UserError, match=r"data\.nmae.*did you mean data\.name"):
        judged(table, "H3", hold={"data.nmae": "digits"})
    with pytest.raises(UserError, match="no run has this value"):
        judged(table, "H3", hold={"data.name": "digit"})


def test_a_curve_at_one_effective_rate_takes_runs_of_any_rate() -> None:
    """0.25 = lr / (1 - momentum); the other sweep, at the default rate, is another part's."""
    sgd_adam = {
        "algorithm.name": "darts",
        "weight_optimizer.name": "SGD",
        "arch_optimizer.name": "Adam",
    }
    arms_ = [{**sgd_adam, "weight_optimizer.momentum": mu} for mu in (0, 0.5, 0.9, 0.99)]
    constant = [
        {**arm, "weight_optimizer.lr": 0.25 * (1 - arm["weight_optimizer.momentum"])}
        for arm in arms_
        if arm["weight_optimizer.momentum"] != 0.9
    ]

    def respond(arm: Arm, rng: np.random.Generator) -> dict[str, Any]:
        best = arm["weight_optimizer.momentum"] in (0.5, 0.9)
        height = 5 if arm["weight_optimizer.lr"] != 0.025 or best else 0
        return {"benchmark.cifar10": 80 + height * best + rng.normal(size=9)}

    finding = judged(study([*arms_, *constant], respond, seeds=9), "H16")
    parts = {part.name: part for part in finding.parts}
    at_default = parts["final accuracy, DARTS"]
    at_one = parts["final accuracy at one effective rate, DARTS"]
    assert [len(part.arms) for part in (at_default, at_one)] == [4, 4]
    assert (at_one.n, at_one.verdict) == (9, "supported")
    assert "weight_optimizer.lr" not in at_one.held


# --- learning-rate arms -----------------------------------------------------------------------


def at_rate(table: pd.DataFrame, optimizer: str, rate: float, shift: float) -> pd.DataFrame:
    """The runs of one weight optimizer at another rate, with other accuracies and losses."""
    runs = table[table["weight_optimizer.name"] == optimizer].copy()
    runs["id"] = f"{rate:g}-" + runs["id"]
    runs["benchmark.cifar10"] += shift
    return runs.assign(**{"weight_optimizer.lr": rate, "valid_loss": runs["valid_loss"] - shift})


@pytest.fixture
def sweep() -> pd.DataFrame:
    """Adam at its default is two points worse than SGD, at 0.003 three better, at 0.025 worse."""
    table = study(arms("darts"), world(1)).assign(valid_loss=2.0)
    return pd.concat([table, at_rate(table, "Adam", 0.025, -5), at_rate(table, "Adam", 0.003, 5)])


def test_a_verdict_is_given_for_each_learning_rate_arm(sweep: pd.DataFrame) -> None:
    default, same = claims.judge(sweep, ["H3"], REFERENCES)
    assert [default.lr_arm, same.lr_arm] == ["default", "same"]
    assert same.effect == pytest.approx(default.effect + 5, abs=0.2)
    assert "Adam 0.025 on w" in same.rates
    assert "not judged at learning rates: tuned" in default.settle


def test_rates_tuned_on_other_seeds_may_turn_a_verdict(sweep: pd.DataFrame) -> None:
    chosen = sweep.assign(**{"search.seed": sweep["search.seed"] + 100})
    sgd = chosen[chosen["weight_optimizer.name"] == "SGD"]
    budget = [chosen, *(at_rate(sgd, "SGD", rate, -1) for rate in (0.1, 0.2))]
    arm = tuning.tune(pd.concat(budget).drop(columns="benchmark.cifar10"))
    assert arm.tuned_on == frozenset(range(100, 106))
    assert {row["weight_optimizer.lr"] for row in arm.rows} == {0.025, 0.003}
    default, _, tuned = claims.judge(sweep, ["H3"], REFERENCES, lr_arms=[arm])
    assert (default.verdict, tuned.verdict) == ("supported", "contradicted")
    # Runs of the seeds on which the rates were chosen decide nothing.
    again = claims.judge(
        sweep, ["H3"], REFERENCES, lr_arms=[tuning.RateArm("tuned", arm.rows, frozenset({0}))]
    )
    assert again[-1].n == 5


def rates_of_adam(*diverged: tuple[float, int]) -> pd.DataFrame:
    """A sweep of Adam + Adam on two seeds; the higher the rate, the lower the loss.

    Args:
        diverged: rate and seed of runs that diverged.
    """
    arm = [each for each in arms("darts") if set(each.values()) == {"darts", "Adam"}]
    one = study(arm, world(0), seeds=2).assign(valid_loss=2.0)
    parts = [at_rate(one, "Adam", rate, shift) for rate, shift in ((0.001, 0), (0.01, 1), (0.1, 2))]
    table = pd.concat(parts)
    for rate, seed in diverged:
        mask = (table["weight_optimizer.lr"] == rate) & (table["search.seed"] == seed)
        table.loc[mask, "state"] = "diverged"
    return table[(table["state"] == "done") | (table["epoch"] < 2)]


def chosen_rate(*diverged: tuple[float, int]) -> tuple[float, str]:
    (row,) = (arm := tuning.tune(rates_of_adam(*diverged))).rows
    assert arm.tuned_on == {0, 1}
    return row["weight_optimizer.lr"], str(arm)


def test_a_rate_that_diverged_ranks_behind_those_that_did_not() -> None:
    rate, told = chosen_rate()
    assert (rate, told.partition(" (at the edge")[0]) == (
        0.1,
        "Adam 0.0003 on alpha, Adam 0.1 on w",
    )
    rate, told = chosen_rate((0.1, 1))
    assert rate == 0.01
    assert "ranked last, as runs diverged: darts, Adam, Adam at 0.1, 0.0003 (1 of 2 runs)" in told
    # Where runs of every rate diverged, the one of which fewest did, and that is told.
    rate, told = chosen_rate((0.1, 0), (0.1, 1), (0.01, 1), (0.001, 0), (0.001, 1))
    assert rate == 0.01
    assert "chosen although runs of it diverged: darts, Adam, Adam at 0.01, 0.0003 (1 of 2" in told
    found = tuning.responses(rates_of_adam((0.1, 0), (0.1, 1), (0.01, 0)))
    assert found[["n", "diverged"]].to_numpy().tolist() == [[2, 0], [2, 1], [2, 2]]
    assert found["valid_loss"].isna().tolist() == [False, False, True]


def test_a_rate_that_only_diverged_is_never_chosen() -> None:
    every = [(rate, seed) for rate in (0.001, 0.01, 0.1) for seed in (0, 1)]
    # It counts in the budget, and its seeds are seeds of the sweep.
    assert chosen_rate(*every[2:])[0] == 0.001
    with pytest.raises(UserError, match=r"all runs of darts, Adam, Adam diverged \(6\); .*lower"):
        tuning.tune(rates_of_adam(*every))


def test_a_sweep_that_is_not_finished_is_told() -> None:
    table = rates_of_adam()
    table.loc[(table["weight_optimizer.lr"] == 0.1) & (table["search.seed"] == 1), "state"] = (
        "running"
    )
    assert "1 run of the sweep is not finished" in str(tuning.tune(table))


def test_unequal_budgets_are_refused(sweep: pd.DataFrame) -> None:
    with pytest.raises(UserError, match=r"unequal budgets.*3 learning rates.*SGD.* 1;"):
        tuning.tune(sweep)


def test_arms_of_the_same_runs_are_told_once() -> None:
    table = study(arms("darts"), world(1)).assign(valid_loss=2.0)
    other = table.assign(**{"search.seed": table["search.seed"] + 100})
    finding = judged(table, "H3", lr_arms=[tuning.tune(other)])
    assert finding.lr_arm == "default"
    assert "learning rates tuned: the runs of default" in finding.settle
    assert "not judged at learning rates: same" in finding.settle


def test_rates_that_are_no_protocols_are_called_as_run() -> None:
    table = study(arms("darts"), world(1))
    assert judged(table, "H3").lr_arm == "default"
    own = table.replace({"weight_optimizer.name": {"Adam": "./mine.py:Own"}})
    assert judged(pd.concat([table, own.assign(id="o" + own["id"])]), "H3").lr_arm == "as run"
    table.loc[table["weight_optimizer.name"] == "SGD", "weight_optimizer.lr"] = 0.07
    assert judged(table, "H3").lr_arm == "as run"


def test_claims_of_other_arms_are_one_line() -> None:
    table = study(arms("darts"), world(1))
    found = claims.judge(table, ["H3", "H11", "H16"], REFERENCES)
    told = render.as_text(found)
    assert "no run is of their arms (--details says which): H11, H16" in told
    assert "DARTS- repeats" not in told
    assert "DARTS- repeats" in render.as_text(found, details=True)
    assert "means over n = 6 seeds (%): darts: SGD + SGD" in told
    assert "by seed (pp): 0: " in told


# --- what is shown ----------------------------------------------------------------------------


def test_json_is_strict_and_complete() -> None:
    findings = claims.judge(study(arms("darts"), world(1), seeds=2), references=REFERENCES)
    told = json.loads(render.as_json(findings), parse_constant=lambda name: 1 / 0)
    assert [each["id"] for each in told] == LEDGER
    first = told[LEDGER.index("H1")]
    assert first["interval"] == [None, None]
    assert first["parts"][0]["arms"][0]["n"] == 2
    assert told[0]["references"] == REFERENCES
    frame = render.as_frame(findings)
    assert list(frame["id"]) == LEDGER


def test_the_text_shows_parts_arms_and_reference_lines(true_world: pd.DataFrame) -> None:
    text = render.as_text([judged(true_world, "H3")], details=True)
    for line in (
        "darts: SGD + Adam",
        "CIFAR-100 (secondary, does not decide)",
        "reference: random cell: benchmark.cifar10 87.06",
        "not testable: no run has the column benchmark.cifar100",
    ):
        assert line in text
    assert max(map(len, text.splitlines())) <= 110


def test_two_seeds_of_real_records_decide_nothing() -> None:
    table = recorded(find_runs(ROOT / "results" / "first-light"))
    findings = {f.id: f for f in claims.judge(table, references=REFERENCES)}
    assert list(findings) == LEDGER
    assert {f.verdict for f in findings.values()} == {"inconclusive", "not testable"}
    told = {name for name, f in findings.items() if f.verdict == "inconclusive"}
    assert told == {"H1", "H3", "H20"}
    assert findings["H3"].p >= 0.5
    assert findings["H3"].parts[0].held == {"algorithm.hypergradient": "first-order"}
    # The mean of four differences that can be read off docs/first-light.md.
    by_hand = (93.48 - 88.33 + 88.56 - 89.78) / 4 + (91.95 - 93.47 + 93.84 - 93.17) / 4
    assert findings["H3"].effect == pytest.approx(by_hand, abs=0.01)


def test_a_line_of_reference_stands_beside_every_level(true_world: pd.DataFrame) -> None:
    (finding,) = claims.judge(true_world, ["H3"], REFERENCES)
    lines = {part.name: dict(part.lines) for part in finding.parts}
    assert lines["final cell"] == lines["at equal train loss"] == {"random cell": RANDOM_CELL}
    assert lines["drop from the best epoch"] == {}
    assert "random cell 87.06" in render.as_text([finding])
    early = judged(true_world, "H12").parts[1]
    assert early.hypothesis == "> random cell (87.06)"


def test_arms_at_equal_train_loss_are_over_shared_seeds(true_world: pd.DataFrame) -> None:
    true_world = true_world.assign(train_loss=2.3 - true_world["epoch"] / 8)
    part = next(p for p in judged(true_world, "H3").parts if p.name == "at equal train loss")
    means = [arm.iqm for arm in part.arms]
    assert [arm.n for arm in part.arms] == [8] * 4
    # All runs have one loss curve here, so that the level is that of the last epoch.
    assert means == pytest.approx([arm.iqm for arm in judged(true_world, "H3").parts[0].arms])


# --- the command ------------------------------------------------------------------------------

RECORDS = ROOT / "results" / "first-light"


@pytest.fixture
def no_data(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPTNAS_DATA", raising=False)


@pytest.mark.usefixtures("no_data")
@pytest.mark.thorough
def test_the_command_tells_what_records_can_say(capsys: pytest.CaptureFixture[str]) -> None:
    asked = ("study", "claims", "--out", str(RECORDS), "--table", "analog-nasbench")
    assert command(*asked) == 0
    told = capsys.readouterr().out
    for text in (
        "runs: 12 done; benchmark table: analog-nasbench",
        "H1     default    inconclusive  inconclusive    2",
        "no run has the column measure.gap.gap",
        "no run is of their arms (--details says which): ",
        "best of 10 random cells (oracle: by test)",
        "rates default: Adam 0.0003 on alpha",
    ):
        assert text in told, text
    assert max(map(len, told.splitlines())) <= 110
    assert command(*asked, "--claims", "H3", "--details") == 0
    assert "(secondary, does not decide)" in capsys.readouterr().out


@pytest.mark.usefixtures("no_data")
@pytest.mark.thorough
def test_the_command_in_json_from_records_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine.toml").write_text(MINE)
    words = ["--claims", str(tmp_path), "--claims", "H3", "--hold", "data.name=cifar10"]
    sweep = ["--sweep", str(ROOT / "results" / "pairs-cpu")]
    out = ["study", "claims", "--out", str(RECORDS), "--recorded", "--json"]
    assert command(*out, *words) == 0
    told = json.loads(capsys.readouterr().out, parse_constant=lambda name: 1 / 0)
    assert told["states"] == {"done": 12}
    assert "no reference lines: the official table needs a data folder" in told["remark"]
    assert [each["id"] for each in told["findings"]] == ["mine", "H3"]
    # As in the test of these records above, from what docs/first-light.md prints.
    effect = told["findings"][1]["effect"]
    assert effect == pytest.approx((3.93 - 0.85) / 4, abs=0.01)
    # The rates of the sweep are the default ones, chosen on other seeds.
    assert command(*out, "--claims", "H3", *sweep) == 0
    told = json.loads(capsys.readouterr().out)
    assert "Adam 0.001 on w" in told["tuned"]
    assert "learning rates tuned: the runs of default" in told["findings"][0]["settle"]


@pytest.mark.usefixtures("no_data")
def test_a_sweep_that_only_diverged_is_told_as_that(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = sorted((ROOT / "results" / "pairs-cpu").glob("*/result.json"))[0].parent
    shutil.copytree(run, tmp_path / "run")
    ended = {"status": "diverged", "epoch": 40, "reason": "the train loss is nan"}
    (tmp_path / "run" / "result.json").write_text(json.dumps(ended))
    asked = ["study", "claims", "--out", str(RECORDS), "--recorded", "--sweep", str(tmp_path)]
    assert command(*asked) == 2
    assert "all runs of darts" in (told := capsys.readouterr().err)
    assert "diverged (1); add lower learning rates" in told


@pytest.mark.usefixtures("no_data")
@pytest.mark.thorough
def test_each_way_out_of_an_absent_table_works(capsys: pytest.CaptureFixture[str]) -> None:
    asked = ("study", "claims", "--out", str(RECORDS), "--claims", "H3")
    assert command(*asked) == 2
    told = capsys.readouterr().err
    assert "the official table needs a data folder; set OPTNAS_DATA to the folder" in told
    named = re.search(r"or use the table (\S+), or .*: (--recorded)$", told)
    assert named is not None
    assert command(*asked, "--table", named[1]) == 0
    assert command(*asked, named[2]) == 0


# command | how the line goes on after "optnas: error: " | a part of the rest
COMMANDS = """
--out r | command line: --out: | run it first
--out r --claims H3c | command line: claim = 'H3c': | did you mean H3
--out {records} --recorded --claims none.toml | none.toml: cannot read it | check the path
--out {records} --recorded --hold data.nmae=x | command line: data.nmae = 'x': | data.name
--out {records} --recorded --sweep r | command line: --sweep = 'r': | a learning-rate sweep
"""


CONTROL = """
[[controls]]
name = "moves"
response = { column = "alpha_displacement" }
contrast = { axis = "weight_optimizer.name", plus = "SGD", minus = "Adam" }
remedy = "none"
"""
# what is added to a claim | its key and value in the line | a part of the reason
EMPTY = """
against = nan | parts.0.against = nan: | must be a finite number
against = inf | parts.0.against = inf: | must be a finite number
against = [1] | parts.0.against = [1]: | must be a number or text
direction = "equivalent"; margin = inf | parts.0.margin = inf: | must be a finite number
direction = "equivalent"; margin = nan | parts.0.margin = nan: | must be a finite number
where = { a = nan } | parts.0.where.a = nan: | must be a finite number
where = { a = { above = nan } } | parts.0.where.a.above = nan: | must be a finite number
where = { a = {} } | parts.0.where.a: | must be text or a truth value or a
average = { "a.b" = [] } | parts.0.average.a.b = []: | must have at least 1 value;
average = { a = [nan] } | parts.0.average.a.0 = nan: | must be a finite number
terms = [{ weight = 0.0, cell = {} }, { weight = 1, cell = {} }] | parts.0.terms.0.weight = 0.0: | weight 0
terms = [{ weight = inf, cell = {} }] | parts.0.terms.0.weight = inf: | must be a finite number
CONTROL; within = [nan, nan] | controls.0.within.0 = nan: | must be a finite number
CONTROL; within = [3, 1] | controls.0.within = [3, 1]: | the lower bound comes first
CONTROL; within = [0, 1]; average = { a = [] } | controls.0.average.a = []: | at least 1 value;
"""  # noqa: E501


@pytest.mark.parametrize("row", EMPTY.strip().splitlines(), ids=lambda row: row.split(" | ")[0])
def test_a_claim_that_would_hold_or_fail_whatever_is_measured_is_refused(
    row: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Against nan every difference was 'supported', p < 0.001."""
    added, key, reason = row.split(" | ")
    lines = added.replace("CONTROL", CONTROL).split("; ")
    text = MINE.replace("contrast = ", "# ") if "terms" in row else MINE
    for line in lines:  # TOML knows no key twice
        name = line.partition(" = ")[0]
        text = "\n".join(own for own in text.splitlines() if not own.startswith(f"{name} ="))
        text += f"\n{line}\n"
    file = tmp_path / "mine.toml"
    file.write_text(text)
    words = ("--out", str(RECORDS), "--recorded", "--claims", str(file))
    assert command("study", "claims", *words) == 2
    told = capsys.readouterr().err
    assert told.startswith(f"optnas: error: {file}: {key}"), told
    assert reason in told


@pytest.mark.parametrize("row", COMMANDS.strip().splitlines(), ids=lambda row: row.split(" | ")[0])
def test_wrong_commands(
    row: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    words, begin, rest = row.format(records=RECORDS).split(" | ")
    assert command("study", "claims", *words.split()) == 2
    told = capsys.readouterr().err
    assert told.startswith(f"optnas: error: {begin}")
    assert rest in told


# --- the document -----------------------------------------------------------------------------


def ledger_rows() -> list[str]:
    """The ledger as the document tells it: claim by claim, the primary parts and what is said."""
    rows = []
    for name in names():
        claim = find_claim(name)
        rows.append(f"**{name}.** {claim.text}")
        rows += [
            f"- {part.name}: `{part.formula}` is {part.hypothesis}"
            for part in claim.parts
            if part.primary
        ]
        rows += [
            f"- control: {each.name}, a ratio within {each.within[0]:g} and {each.within[1]:g}"
            for each in claim.controls
        ]
    return rows


def test_the_document_lists_the_ledger() -> None:
    told = re.findall(r"(?s)<!-- ledger -->(.*?)<!-- end of ledger -->", text_of("statistics"))
    assert [line for line in "".join(told).splitlines() if line] == ledger_rows()


def test_the_documents_claim_is_one(tmp_path: Path, true_world: pd.DataFrame) -> None:
    text = (ROOT / "docs" / "statistics" / "own-claims.md").read_text()
    (tmp_path / "mine.toml").write_text(text.partition("```toml\n")[2].partition("```")[0])
    assert judged(true_world, f"{tmp_path}/mine.toml").n == 8
    for transform in TRANSFORMS:
        assert f"`{transform}`" in text
