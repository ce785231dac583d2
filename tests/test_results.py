"""docs/results*.md and README say what is rebuilt from the committed records, block by block."""

from __future__ import annotations

import collections
import dataclasses
import json
import os
import re
import shutil
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from test_families import BLOCK, confirming, world
from tidy import study
from topics import script

from optnas.analysis.claims.findings import PartFinding
from optnas.analysis.claims.judge import judge
from optnas.analysis.claims.read import find_claim, names
from optnas.base.records import find_runs
from optnas.base.toml import dump_toml
from optnas.search.settings.model import NUMBERS_VERSION, Settings
from optnas.study.declare import ID_LENGTH, STUDIES

# Of records and pages: not before every commit.
pytestmark = pytest.mark.thorough

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def module() -> ModuleType:
    return script("results")


@pytest.fixture
def official() -> None:
    folder = Path(os.environ.get("OPTNAS_DATA", ""))
    if not (folder / "nas-bench-201").is_dir() or not (folder / "cifar10").is_dir():
        pytest.skip("OPTNAS_DATA has no official table, or not CIFAR-10")


@pytest.mark.slow
def test_documents_quote_the_rebuilt_numbers(module: ModuleType, official: None) -> None:
    results = module.Results()
    for document in module.DOCUMENTS:
        text = document.read_text()
        assert "<!-- built:" in text
        assert module.built(text, module.PARTS, results) == text, f"{document.name}: make figures"
        for picture in re.findall(r"\((images/results-\S+)\)", text):
            assert (ROOT / "docs" / picture).exists(), picture


@pytest.mark.slow
def test_the_ledger_can_be_checked_by_hand(module: ModuleType, official: None) -> None:
    """Every part of every claim stands there, with the numbers that its effect is the mean of."""
    results = module.Results()
    text = module.by_hand(results)
    sections = dict(re.findall(r"### (\w+)\n((?:.|\n)*?)(?=\n### |$)", text))
    for finding in results.findings:
        if finding.absent and finding.verdict == "not testable":
            assert finding.id not in sections
            continue
        section = sections[finding.id]
        assert finding.text in section
        for part in finding.parts:
            (told,) = re.findall(rf"- \*\*{re.escape(part.name)}\*\*(.*(?:\n  .*)*)", section)
            if not part.n:
                assert part.missing in told
                continue
            numbers = re.findall(r"\b\d+: ([+-][\d.e-]+)", told[told.index("by seed") :])
            assert len(numbers) == part.n
            values = [float(number.rstrip(".")) for number in numbers]
            rounding = max(1e-3, 5e-4 * max(map(abs, values)))  # they have four digits
            assert sum(values) / part.n == pytest.approx(part.effect, rel=2e-3, abs=rounding)
        if finding.role == "computed":
            assert " for and " not in section
        elif finding.verdict != "not testable":
            deciding = [part for part in finding.parts if part.primary]
            enough = 6 if max(part.n for part in deciding) >= 6 else 1
            ps = [_one_sided(section, part) if part.n >= enough else (1, 1) for part in deciding]
            k, against = len(ps), sorted(q for _, q in ps)
            simes = min(k * q / j for j, q in enumerate(against, start=1))
            by_hand = min(1, 2 * min(max(p for p, _ in ps), simes))
            assert by_hand == pytest.approx(finding.p, abs=2e-3 * k)
    told = module.corrected(results)
    n = results.blocks
    assert f"With n = {n} the smallest p is" in told
    assert "*explanations*" in told


def _one_sided(section: str, part: PartFinding) -> tuple[float, float]:
    """The two p-values of a part as the page tells them."""
    number = r"(?:< )?([\d.]+)"
    told = rf"- \*\*{re.escape(part.name)}\*\*.*p {number} for and {number} against it"
    ((p_for, p_against),) = re.findall(told, section)
    return float(p_for), float(p_against)


@pytest.mark.slow
def test_levels_are_those_of_the_claims(module: ModuleType, official: None) -> None:
    """Quarters by epochs give the effects that the claims' own transforms give."""
    levels = script("levels")
    results = module.Results()
    shin, *_ = results.quarters
    pairs = levels.at_pairs(shin, "darts")
    fall = levels.of_seeds(pairs, 1) - levels.of_seeds(pairs, 4)
    (darts,) = (part for part in results.finding("C3").parts if part.name == "DARTS")
    assert fall.to_dict() == pytest.approx(dict(darts.values))
    drops = {}
    for momentum in (0.0, 0.5, 0.9, 0.99):
        arm = levels.at_momentum(shin, "darts", momentum)
        drops[momentum] = levels.of_seeds(arm, 1) - levels.of_seeds(arm, 4)
    contrast = (drops[0.5] + drops[0.9] - drops[0.0] - drops[0.99]) / 2
    assert contrast.to_dict() == pytest.approx(dict(results.finding("C2").parts[0].values))


def test_every_slide_has_the_claims_about_it() -> None:
    """By the claims' own sources; conclusions 2 and 3 stand with the slides they are drawn from."""
    slides = {slide.name: set(slide.claims) for slide in script("deck").SLIDES}
    named: dict[str, set[str]] = {name: set() for name in slides}
    for claim in names():
        for first, last in re.findall(r"\bF(\d+)\b(?: to F(\d+))?", find_claim(claim).source):
            for number in range(int(first), int(last or first) + 1):
                if f"F{number}" in named:
                    named[f"F{number}"].add(claim)
    assert {name: told - {"C2", "C3"} for name, told in slides.items()} == named


def test_conclusions_are_worded_as_on_their_page(module: ModuleType) -> None:
    page = (ROOT / "docs" / "statistics" / "shin.md").read_text()
    for number, words in enumerate(module.CONCLUSIONS.values(), start=1):
        assert f"{number}. {words}.\n" in page


def test_cells_of_other_images_are_said_to_be_judged_by_cifar_10(module: ModuleType) -> None:
    results = module.Results()
    results.worlds = {}
    macro, fashion = module.elsewhere(results).splitlines()
    assert "cells are judged on CIFAR-10" in fashion
    assert "judged" not in macro


@pytest.mark.slow
def test_the_talk_s_own_eigenvalue_is_drawn_where_it_was_recorded(
    module: ModuleType, official: None
) -> None:
    results = module.Results()
    (row,) = results.figures["F7"].rows
    assert "as OptDARTS has it" in row.panels[1].title
    pilot = script("pilot").Pilot()
    (row,) = pilot.figures()["F7"].rows
    assert row.panels[1].title == "top eigenvalue of the alpha-Hessian"


@pytest.mark.parametrize(("sign", "word"), [(1, "holds"), (-1, "does not hold")])
def test_a_decided_conclusion_is_told(module: ModuleType, sign: int, word: str) -> None:
    respond = world(sgd=15 * sign, extreme=30 * sign, fall=25 * sign)
    table = confirming(study(BLOCK, respond, seeds=12))
    told = told_by(module, judge(table, ["C1", "C2", "C3"]))
    by_one = "" if sign > 0 else " by DARTS"
    for row, part in zip(told, ("", "", by_one), strict=True):
        assert re.fullmatch(rf"\*\*{word}\*\*, decided{part} with seed 1\d", row[2]), row[2]
    assert all("n = 12" in row[3] for row in told)
    assert told[2][3].count("n = 12") == 3
    # The second part of the first is asked once that is decided, and may be open.
    assert told[0][5].startswith("its second part: add about ") or not told[0][5]
    assert not told[1][5] + told[2][5]


def test_an_open_conclusion_says_what_it_lacks(module: ModuleType) -> None:
    table = confirming(study(BLOCK, world(sgd=2, fall=3), seeds=6))
    told = told_by(module, judge(table, ["C1", "C2", "C3"]))
    assert [row[2] for row in told] == ["**open**"] * 3
    assert re.match(r"add about \d+ seeds", told[0][5])
    (first, *_) = told_by(module, [])
    assert (first[3], first[5]) == ("n = 0", "the first block")


def test_the_second_part_of_the_first_is_told_once_it_is_asked(module: ModuleType) -> None:
    def told(sgd: float, noisy: float) -> tuple[str, str]:
        table = confirming(study(BLOCK, world(sgd=sgd, noisy=noisy), seeds=12))
        findings = judge(table, ["C1", "C2", "C3"])
        results = module.Results()
        results.findings = findings
        return told_by(module, findings)[0][3], module.sentences(results).splitlines()[0]

    cell, sentence = told(15, 45)
    name = "more so than under SDARTS-RS: "
    assert re.search(rf"n = 12; {name}\*\*does not hold\*\* \(-.*, n = 12, E \d", cell)
    assert f"; {name}**does not hold**" in sentence
    assert re.search(r"decided with seed 1\d; more so than", sentence)
    # Of an effect that is the other way round, "more so" would say the opposite.
    cell, sentence = told(-15, -45)
    assert re.search(r"n = 12; less that under SDARTS-RS: \*\*above 0\*\* \(\+", cell)
    assert "more so" not in cell + sentence
    cell, sentence = told(0, 45)
    assert cell.endswith(f"; {name}not asked yet")
    assert name not in sentence
    assert re.search(r"of 24 blocks( and \d+ added seeds of its own)?; [+-]", sentence)


def test_a_block_of_which_a_run_diverged_is_whole(
    module: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (first, *others) = module.SHIN.runs[: module.SHIN.block]
    for run in (first, *others):
        shutil.copytree(run.path, tmp_path / module.SHIN.study / run.path.name)
    result = tmp_path / module.SHIN.study / first.path.name / "result.json"
    ends = json.loads(result.read_text())
    monkeypatch.setattr(module, "HERE", tmp_path)
    for status, blocks in (("failed", 0), ("diverged", 1)):
        result.write_text(json.dumps(ends | {"status": status}))
        source = dataclasses.replace(module.SHIN)
        assert len(source.ended) == blocks
        assert len(source.runs) == blocks * (module.SHIN.block - 1)
        assert source.diverged == [8] * blocks


def test_a_block_that_is_not_whole_holds_up_those_after_it(
    module: ModuleType, official: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Passed over, it would change an E at which a claim had been decided once it comes."""
    for run in module.SHIN.runs[: 3 * module.SHIN.block]:
        shutil.copytree(run.path, tmp_path / module.SHIN.study / run.path.name)
    late = module.SHIN.runs[module.SHIN.block + 1]
    shutil.rmtree(tmp_path / module.SHIN.study / late.path.name)
    monkeypatch.setattr(module, "HERE", tmp_path)
    monkeypatch.setattr(module, "SHIN", dataclasses.replace(module.SHIN))
    assert (list(module.SHIN.ended), module.SHIN.held_up) == ([8], [9, 10])
    results = module.Results()
    assert "1 of 24 whole blocks" in module.progress(results)
    assert module.progress(results).endswith(
        " The block of seed 9 is not whole, which holds up seed 10."
    )
    for run in module.SHIN._recorded[9]:  # of which nothing at all is there
        shutil.rmtree(run.path)
    monkeypatch.setattr(module, "SHIN", dataclasses.replace(module.SHIN))
    assert (list(module.SHIN.ended), module.SHIN.held_up) == ([8], [9, 10])


@pytest.mark.parametrize("ended", [True, False])
def test_the_end_of_the_study_is_told(
    module: ModuleType, monkeypatch: pytest.MonkeyPatch, ended: bool
) -> None:
    results = module.Results()
    results.findings = judge(confirming(study(BLOCK, world(), seeds=10)), list(module.CONCLUSIONS))
    results.as_planned = results.findings[0]
    seeds = len(module.SHIN.ended) + (not ended)
    monkeypatch.setattr(module, "SHIN", dataclasses.replace(module.SHIN, seeds=seeds))
    told = module.progress(results)
    assert ("The study has ended; what stays open: C1, C2, C3." in told) == ended


@pytest.mark.slow
def test_the_pages_of_the_records_know_how_many_runs_a_seed_has(
    module: ModuleType, official: None
) -> None:
    pages = script("optdarts_cpu")
    own = module.own_runs(module.OF_FIGURES)
    assert {seed: len(names) for seed, names in own.items()} == pages.OF_FIGURES
    assert dict.fromkeys(range(8, 8 + module.SHIN.seeds), module.SHIN.block) == pages.BLOCKS


@pytest.mark.slow
def test_further_runs_are_judged_but_not_by_the_primary_claims(
    module: ModuleType, official: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """DARTS without weight decay, of the first six seeds: records of the blocks, relabelled."""
    blocks = [run for runs in list(module.SHIN.ended.values())[:6] for run in runs]
    own: dict[int, list[str]] = collections.defaultdict(list)
    for run in blocks:
        shutil.copytree(run.path, tmp_path / module.SHIN.study / run.path.name)
        config = run.read_config()
        w, seed = config["weight_optimizer"], config["search"]["seed"]
        if config["algorithm"]["name"] == "darts" and w.get("momentum", 0.9) == 0.9:
            w["weight_decay"] = 0.0
            document = Settings.recorded(config).document()
            name = document["identity"]["hash"][:ID_LENGTH]
            shutil.copytree(run.path, tmp_path / module.OF_FIGURES / name)
            (tmp_path / module.OF_FIGURES / name / "config.toml").write_text(dump_toml(document))
            own[seed].append(name)
    monkeypatch.setattr(module, "HERE", tmp_path)
    monkeypatch.setattr(module, "own_runs", lambda study: own)
    monkeypatch.setattr(module, "SHIN", dataclasses.replace(module.SHIN))
    results = module.Results()
    without = {each.id: each for each in module.judged(module.SHIN, None)}
    for finding in results.findings:
        if finding.role == "primary":
            assert finding.parts == without[finding.id].parts
    (part,) = [
        part for part in results.finding("H19").parts if part.name == "more so without weight decay"
    ]
    assert part.n == 6
    lost = own[13][0]
    result = tmp_path / module.OF_FIGURES / lost / "result.json"
    result.write_text(json.dumps(json.loads(result.read_text()) | {"status": "diverged"}))
    monkeypatch.setattr(module, "SHIN", dataclasses.replace(module.SHIN))
    assert [run.path.name for run in module.Results().lost] == [lost]
    result.unlink()  # the seed is not whole: none of its runs counts
    names = {run.path.name for run in module.Results().runs}
    assert names.isdisjoint(own[13])
    assert names.issuperset(own[12])


def told_by(module: ModuleType, findings: Any) -> list[list[str]]:
    results = module.Results()
    results.findings = findings
    return [
        [cell.strip() for cell in line.split("|")]
        for line in module.conclusions(results).splitlines()[2:]
    ]


def test_seeds_beyond_the_plan_are_told(
    module: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the conclusion that they were added for, beside what the plan alone would say."""
    results = module.Results()
    results.findings = judge(confirming(study(BLOCK, world(), seeds=10)), list(module.CONCLUSIONS))
    (results.as_planned,) = judge(confirming(study(BLOCK, world(sgd=15), seeds=24)), ["C1"])
    for seeds in ({}, {52: [], 53: []}):
        monkeypatch.setattr(module.Results, "added", seeds)
        told, (first, second, _) = module.progress(results), module.sentences(results).splitlines()
        assert ("For conclusion 1, 2 further seeds are whole of the 16 that" in told) == bool(seeds)
        assert ("by the 24 of the plan alone it is holds (+" in told) == bool(seeds)
        assert ("of 24 blocks and 2 added seeds of its own" in first) == bool(seeds)
        assert "added" not in second


@pytest.mark.slow
def test_every_whole_block_is_a_seed_of_every_conclusion(
    module: ModuleType, official: None
) -> None:
    """Whatever settings the program got between two blocks."""
    found = module.judged(module.SHIN, list(module.CONCLUSIONS))
    for finding in found:
        for part in finding.parts:
            assert part.n + len(part.incomplete) == len(module.SHIN.ended), (finding.id, part.name)


def test_only_whole_blocks_count(module: ModuleType) -> None:
    assert len(module.PILOT.runs) == 48
    assert dataclasses.replace(module.PILOT, block=9).runs == []
    for source in (module.SHIN, module.MACRO):
        runs = find_runs(module.HERE / source.study)
        seeds = collections.Counter(run.read_config()["search"]["seed"] for run in runs)
        assert max(seeds.values(), default=0) <= source.block
        assert len(seeds) <= source.seeds


def test_runs_of_a_block_count_with_it_and_once(
    module: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The study of the figures shares runs with the confirming one, and has both folders."""
    (first, *others) = module.SHIN.runs[: module.SHIN.block]
    figures = tmp_path / module.OF_FIGURES
    figures.mkdir()
    shutil.copytree(first.path, figures / first.path.name)
    (own,) = module.PILOT.runs[:1]  # of no block of the confirming study
    shutil.copytree(own.path, figures / own.path.name)
    monkeypatch.setattr(module, "own_runs", lambda study: {0: [own.path.name]})
    for run in others:
        shutil.copytree(run.path, tmp_path / module.SHIN.study / run.path.name)
    monkeypatch.setattr(module, "HERE", tmp_path)

    def shown() -> list[str]:
        monkeypatch.setattr(module, "SHIN", dataclasses.replace(module.SHIN))
        return sorted(run.path.name for run in module.Results().runs)

    assert shown() == [own.path.name]
    shutil.copytree(first.path, tmp_path / module.SHIN.study / first.path.name)
    assert shown() == sorted(run.path.name for run in (first, *others, own))


def test_the_pages_grow_with_the_records(
    module: ModuleType, official: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The pilot's records in the place of whole blocks: drawn, told, and what is missing named."""
    monkeypatch.setattr(module, "SHIN", module.PILOT)
    monkeypatch.setattr(module, "OF_FIGURES", "none")
    results = module.Results()
    sections = dict(re.findall(r"## (\w+): ((?:.|\n)*?)(?=\n## |$)", module.slides(results)))
    assert {name for name, text in sections.items() if "images/results-" in text} == {
        *("F4", "F7", "F9", "F13", "transfer")
    }
    assert "Waits" not in sections["F7"]
    assert "Waits for darts-minus: SGD + SGD, darts-minus: SGD + Adam" in sections["F8"]
    assert "sdarts-adv: Adam + Adam (study `optdarts-cpu-figures`)" in sections["F9"]
    assert "Waits for darts: SGD + Adam, weight_optimizer.momentum = 0, " in sections["F10"]
    assert "| sdarts-rs | Adam + Adam | 6 |" in sections["T1"]
    assert "In these 48 runs" in module.alpha(results)
    assert "| [H1](#h1) | explanations | supported |" in module.ledger(results)


@pytest.mark.parametrize(
    ("name", "space", "data"),
    [
        (name, *rest)
        for name, *rest in (
            ("worlds-macro", "nas-bench-macro", "cifar10"),
            ("worlds-fashion-mnist", "nas-bench-201", "fashion-mnist"),
        )
        if (ROOT / "results" / name).is_dir()
    ],
)
def test_every_record_of_a_world_is_of_its_study(name: str, space: str, data: str) -> None:
    declared = STUDIES.load(name)[1]["study"]
    for run in find_runs(ROOT / "results" / name):  # none as long as none is recorded
        config = run.read_config()
        assert (config["protocol"], config["space"]["name"]) == ("optdarts-cpu", space)
        assert config["data"]["name"] == data
        assert config["identity"]["numbers_version"] == NUMBERS_VERSION
        assert config["search"]["seed"] in declared["seeds"]
        epochs = declared["base"]["search"]["epochs"]
        assert [each["epoch"] for each in run.read_epochs()] == list(range(epochs + 1))
