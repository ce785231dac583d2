"""One cell trained alone, and networks as modules."""

from __future__ import annotations

import functools
import json
import operator
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from cases import command, console, copied, start
from PIL import Image
from test_darts_space import DARTS_V2
from tiny import TINY, assert_same, tiny_settings

import optnas
from optnas import UserError
from optnas.analysis.claims.columns import column_of
from optnas.base.records import RunFolder
from optnas.base.seeds import named_generator
from optnas.base.toml import dump_toml, parse_toml
from optnas.cli.printing.training import print_start, print_trained
from optnas.search import state as state_module
from optnas.search.checkpoints import read_content
from optnas.search.settings.layers import Layer
from optnas.search.standalone.cell import Epoch, summary, tables_say
from optnas.search.standalone.found import find, plan
from optnas.search.standalone.journal import begin, held
from optnas.search.standalone.settings import load_settings
from optnas.search.standalone.train import Training, load_parts, sizes_of
from optnas.search.standalone.train import train as train_whole
from optnas.search.state import build_state
from optnas.spaces import NAS_BENCH_201
from optnas.spaces.network import build_fixed
from optnas.study.alone import Trained, train_cells
from optnas.study.tables import table_of

CELL = "|nor_conv_3x3~0|+|none~0|avg_pool_3x3~1|+|skip_connect~0|nor_conv_1x1~1|none~2|"
DATA = {"name": "digits", "train_size": 96, "valid_size": 64}
SMALL = {"network": {"channels": 4}, "training": {"epochs": 3, "seeds": [0, 1]}, "data": DATA}

GIVEN = {"network": {"channels": 4}, "training": {"epochs": 2, "seeds": [3, 4], "batch_size": 16}}


def of(out: Path) -> dict[str, Any]:
    """All that a training leaves behind but times and machines."""
    checkpoints = {p.name: read_content(p) for p in sorted((out / "checkpoints").iterdir())}
    for each in checkpoints.values():
        del each["seconds"]
    lines = [json.loads(line) for line in (out / "trainings.jsonl").read_text().splitlines()]
    lines = [{k: v for k, v in line.items() if k != "seconds"} for line in lines]
    texts = [(out / name).read_text() for name in ("result.json", "training.toml")]
    return {"checkpoints": checkpoints, "lines": lines, "texts": texts}


@pytest.mark.thorough
def test_killed_in_any_epoch_and_resumed_equals_uninterrupted(tmp_path: Path) -> None:
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    result = optnas.train(CELL, SMALL, out=whole)
    for seed, epoch in ((0, 1), (0, 3), (1, 2)):

        def stop(at: Epoch, where: tuple[int, int] = (seed, epoch)) -> None:
            if (at.seed, at.epoch) == where:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            optnas.train(CELL, SMALL, out=cut, on_epoch=stop)
        assert not (cut / "result.json").exists()
    assert optnas.train(CELL, SMALL, out=cut) == result
    assert_same(of(cut), of(whole))

    # The same numbers as of a training in one go, and of a further seed beside them.
    settings = load_settings(NAS_BENCH_201, "cpu", over=[Layer("test", SMALL)])
    again = train_whole(settings, load_parts(settings), NAS_BENCH_201.parse(CELL), 1)
    assert (again.test, again.valid) == tuple(
        result["accuracy"][part]["per_seed"][1] for part in ("test", "valid")
    )
    more = {**SMALL, "training": {"epochs": 3, "seeds": [1, 2]}}
    added = optnas.train(CELL, more, out=cut, on_epoch=lambda each: only(each.seed, 2))
    assert added["accuracy"]["test"]["per_seed"][0] == again.test
    with pytest.raises(
        UserError, match=r"another space: training\.epochs 3 there, 4 asked; choose"
    ):
        optnas.train(CELL, {**SMALL, "training": {"epochs": 4}}, out=cut)


@pytest.mark.thorough
def test_a_training_that_goes_on_elsewhere_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def stop(at: Epoch) -> None:
        if at.epoch == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        optnas.train(CELL, SMALL, out=tmp_path / "cut", on_epoch=stop)
    place = tmp_path / "cut/environment.json"
    (start,) = json.loads(place.read_text())
    place.write_text(json.dumps([start | {"processor": "a slide rule"}]))
    optnas.train(CELL, SMALL, out=tmp_path / "cut")
    (told,) = [each for each in caplog.messages if "goes on" in each]
    assert "goes on with seed 0 after epoch 2 with another processor" in told


@pytest.mark.slow
def test_killed_at_any_moment_no_more_than_an_epoch_is_lost(tmp_path: Path) -> None:
    words = ["train", CELL, "data.name=digits", "data.train_size=400", "data.valid_size=64"]
    words += ["network.channels=4", "--epochs", "30", "--seeds", "0,1", "--out"]
    assert console([*words, "whole"], tmp_path)[0] == 0
    for pause in (0.0, 0.11, 0.3, 0.05):
        process = start([*words, "cut"], tmp_path)
        before = kept(tmp_path / "cut")
        while kept(tmp_path / "cut") == before:
            assert process.poll() is None
            time.sleep(0.01)
        time.sleep(pause)
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
    code, _, errors = console([*words, "cut"], tmp_path)
    assert (code, errors) == (0, [])
    assert_same(of(tmp_path / "cut"), of(tmp_path / "whole"))


def kept(folder: Path) -> list[tuple[str, int]]:
    """The checkpoints there, and when each was written."""
    return sorted((p.name, p.stat().st_mtime_ns) for p in (folder / "checkpoints").glob("*.pt"))


def only(seed: int, expected: int) -> None:
    assert seed == expected


def test_a_plain_loop_of_torch_trains_the_same_network() -> None:
    """The published recipe written out: SGD with Nesterov momentum under torch's own cosine."""
    given = {"data": DATA, "network": {"channels": 3}, "augmentation": {"crop_padding": 0}}
    given["training"] = {"epochs": 3, "batch_size": 32}
    settings = load_settings(NAS_BENCH_201, "cpu", over=[Layer("test", given)])
    parts, cell, seed = load_parts(settings), NAS_BENCH_201.parse(CELL), 4
    own = Training(settings, parts, cell, seed)
    net = build_fixed(cell, **sizes_of(settings, parts.dataset, seed))
    sgd = torch.optim.SGD(net.weights.values(), 0.1, 0.9, weight_decay=5e-4, nesterov=True)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(sgd, T_max=3)
    order, statistics = named_generator(seed, "train-order"), net.initial_statistics()
    images = parts.train
    for _ in range(3):
        own.train_epoch()
        total = 0.0
        for at in torch.randperm(len(images), generator=order).split(32):
            pixels = images.images_NCHW[at] / 255
            pixels = (pixels - images.mean_C.view(-1, 1, 1)) / images.std_C.view(-1, 1, 1)
            out = net(pixels.float(), statistics=statistics, update=True)
            loss = torch.nn.functional.cross_entropy(out.logits_BK, images.labels_N[at])
            sgd.zero_grad()
            loss.backward()
            sgd.step()
            assert out.statistics is not None
            statistics, total = out.statistics, total + loss.item() * len(at)
        schedule.step()
        assert own.losses[-1] == pytest.approx(total / len(images), rel=1e-4)


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "a"
    split = {"data.split": "random-halves", "search.seed": 5, "augmentation.crop_padding": 0}
    optnas.run(TINY | split | {"supernet.dtype": "float32"}, out=out)
    return out


@pytest.mark.thorough
def test_a_found_cell_is_trained_and_judged_on_the_images_of_its_search(
    searched: Path, tmp_path: Path
) -> None:
    found = find(searched)
    assert found.architecture.string == RunFolder(searched).read_result()["architecture"]  # type: ignore[index]
    complete = load_settings(
        found.architecture.space, "cpu", below=found.below, over=[Layer("test", GIVEN)]
    )
    state, parts = build_state(found.settings), load_parts(complete)  # type: ignore[arg-type]
    assert parts.valid is not None
    assert parts.test is not None
    for mine, theirs in ((parts.train, state.train), (parts.valid, state.valid)):
        assert torch.equal(mine.images_NCHW, theirs.images_NCHW)
    assert len(parts.test) == 1797 - len(parts.train) - len(parts.valid)
    assert complete.augmentation.crop_padding == 0

    # Predictions of the module are those that were counted.
    result = optnas.train(searched, GIVEN, out=tmp_path / "t")
    module = optnas.network(tmp_path / "t", seed=4)
    pixels = parts.test.images_NCHW / 255
    guesses = module(pixels).argmax(1)
    share = 100 * (guesses == parts.test.labels_N).double().mean().item()
    assert share == pytest.approx(result["accuracy"]["test"]["per_seed"][1], abs=0.1)
    assert result["searched"] == found.settings.hash  # type: ignore[union-attr]
    assert result["tables"] == []

    # Anything of Python's may be named in its settings.
    adam = GIVEN | {"optimizer": {"name": torch.optim.Adam}, "optimizer.lr": 1e-3}
    optnas.train(
        searched, adam | {"training": GIVEN["training"] | {"epochs": 1}}, out=tmp_path / "u"
    )
    assert 'name = "Adam"' in (tmp_path / "u" / "training.toml").read_text()

    # Written and read back it is the same function; trained on, its statistics move.
    module.save(tmp_path / "cell.safetensors")
    again = optnas.network(tmp_path / "cell.safetensors")
    assert torch.equal(again(pixels[:9]), module(pixels[:9]))
    assert again.pictures == module.pictures
    before = again.running_mean.clone()
    again.train()(pixels[:9]).sum().backward()
    assert not torch.equal(again.running_mean, before)
    assert all(p.grad is not None for p in again.parameters())
    for place, wrong in (
        ("t", {"classes": 3}),
        ("t", {"space": "darts"}),
        ("cell.safetensors", {"channels": 99}),
        ("cell.safetensors", {"seed": 9}),
    ):
        with pytest.raises(UserError, match=r"is for initial weights, and .*leave it out"):
            optnas.network(tmp_path / place, **wrong)  # type: ignore[arg-type]
    assert optnas.network(tmp_path / "t", classes=10, seed=3).facts == module.facts
    with pytest.raises(
        UserError, match=r"seed = 7: this seed has not been trained; use one of: 3, 4"
    ):
        optnas.network(tmp_path / "t", seed=7)

    # Other images than those it is made for are refused, not judged or left to torch.
    x = torch.rand(2, 1, 8, 8)
    nearest = torch.nn.functional.interpolate(x, size=16)
    for bad in ((x * 255).byte(), x[0], nearest, x.expand(2, 3, 8, 8), x.numpy()):
        with pytest.raises(UserError, match=r"shape \(B, 1, 8, 8\) with float values in 0 to 1"):
            module(bad)
    assert torch.equal(module(x.double()), module(x.double().float()))


def test_an_index_is_a_cell_whatever_folder_has_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("5673").mkdir()
    module = optnas.network(5673, classes=3, channels=2, cells=1)
    assert module.facts["architecture"] == NAS_BENCH_201.architecture_at(5673).string
    assert module(torch.rand(2, 3, 8, 8)).shape == (2, 3)
    with pytest.raises(UserError, match=r"shape \(B, 3, H, W\)"):
        module(torch.rand(3, 8, 8))


def pictures(folder: Path, count: int) -> Path:
    """Two classes of so many images, a fifth of them for testing."""
    for name, grey in (("dark", 50), ("light", 200)):
        (folder / name).mkdir(parents=True)
        for k in range(count):
            Image.new("RGB", (8, 8), (grey + k % 40, k % 7, grey)).save(folder / name / f"{k}.png")
    return folder


@pytest.mark.thorough
def test_what_a_search_took_of_its_images_says_nothing_about_others(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    small, other = pictures(tmp_path / "small", 30), pictures(tmp_path / "other", 50)
    copy, run = pictures(tmp_path / "copy", 30), tmp_path / "run"
    where = {"data.name": "folder", "data.path": str(small), "data.side": 8}
    few = {"data.train_size": 24, "data.valid_size": 20, "benchmark.table": "none"}
    optnas.run(TINY | where | few | {"search.epochs": 1}, out=run)

    def sizes(**data: Any) -> tuple[int, int, bool | None]:
        planned = plan(run, {"data": data, "training.batch_size": 8})
        return (
            planned.settings.data.train_size,
            planned.settings.data.valid_size,
            planned.same_images,
        )

    assert sizes() == sizes(path=str(copy)) == sizes(name="folder") == (24, 20, True)
    assert sizes(path=str(other)) == sizes(path=str(other), test="none") == (40, 40, False)
    assert sizes(path=str(other), train_size=9, name="folder") == (9, 40, False)
    protocol = tmp_path / "mine.toml"
    written = Path(load_settings.__code__.co_filename).with_name("cpu.toml").read_text()
    protocol.write_text(f'{written}\n[data]\nname = "folder"\npath = "{other}"\n')
    assert (
        plan(run, {"training.batch_size": 8}, protocol=str(protocol)).settings.data.train_size == 40
    )

    # What is said of validation images that the search never saw.
    asked = ["network.channels=2", "data.test=none", "--epochs", "1", "--seeds", "0"]
    asked += ["training.batch_size=16"]
    for words, told in (
        (["data.name=digits"], ""),
        ([], "; the search chose the cell by images of"),
    ):
        out = tmp_path / f"t{len(words)}"
        assert command("train", str(run), *words, *asked, "--out", str(out)) == 0
        assert f"there are no test images{told}" in capsys.readouterr().out
        kept = json.loads((out / "result.json").read_text())
        assert (kept["judged_on"], kept["same_images"]) == ("valid", bool(told))


def test_a_cell_without_a_path_is_told_and_a_deleted_network_is_trained_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cut = "|none~0|+|none~0|nor_conv_3x3~1|+|none~0|skip_connect~1|none~2|"
    words = ["train", cut, "network.channels=2", "data.name=digits", "data.train_size=64"]
    words += ["data.valid_size=64", "--epochs", "2", "--seeds", "0,1", "--out"]
    out = tmp_path / "t"
    assert command(*words, str(out)) == 0
    told, result = capsys.readouterr().out, json.loads((out / "result.json").read_text())
    assert told.index("no path leads through the cell") < told.index("epoch 1 of 2")
    assert result["connected"] is False
    before, path = of(out), out / "checkpoints" / "seed-0.pt"

    def kill(at: Epoch) -> None:
        raise KeyboardInterrupt

    path.unlink()
    with pytest.raises(UserError, match=r"seed = 0: its checkpoint is not there; use one of: 1; "):
        optnas.network(out)
    given = {"network.channels": 2, "data": {**DATA, "train_size": 64}, "training.epochs": 2}
    with pytest.raises(KeyboardInterrupt):
        optnas.train(cut, given, out=out, on_epoch=kill)
    with pytest.raises(UserError, match=r"at epoch 1 of 2; let optnas train finish it"):
        optnas.network(out)
    assert command(*words, str(out)) == 0
    assert_same(of(out), before)
    path.write_bytes(b"x")
    assert command(*words, str(out)) == 2
    assert "delete it to train this seed from the beginning" in capsys.readouterr().err


def test_a_supernet_is_that_of_its_run(searched: Path) -> None:
    module = optnas.supernet(searched)
    record = RunFolder(searched).read_epochs()[-1]
    state = build_state(find(searched).settings)  # type: ignore[arg-type]
    guesses = module(state.valid.images_NCHW / 255).argmax(1)
    share = 100 * (guesses == state.valid.labels_N).double().mean().item()
    assert share == pytest.approx(record["valid_accuracy"], abs=100 / len(guesses) + 1e-9)
    assert module.op_weights is not None
    assert module.op_weights.tolist() == record["op_weights"]


def test_a_supernet_is_on_the_cpu_unless_a_device_is_given(
    searched: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As `network` is, so that one batch of pictures suits both: the run may have had a GPU."""
    asked: list[str] = []

    def picked(name: str) -> torch.device:
        asked.append(name)
        return torch.device("cpu")

    assert RunFolder(searched).read_config()["run"]["device"] == "auto"
    monkeypatch.setattr(state_module, "pick_device", picked)
    optnas.supernet(searched)
    optnas.supernet(searched, {"run.threads": 1})
    optnas.supernet(searched, {"run.device": "auto"})
    optnas.supernet(searched, {"run": {"device": "cuda"}})
    assert asked == ["cpu", "cpu", "auto", "cuda"]
    with pytest.raises(UserError, match=r"run = 'fast'"):
        optnas.supernet(searched, {"run": "fast"})


def test_the_published_recipe() -> None:
    """NAS-Bench-201's own 200E.config; its networks have 16 channels and 5 cells per stage."""
    given = {"data": {"name": "photos", "resolution": 32}}
    settings = load_settings(NAS_BENCH_201, "nas-bench-201", over=[Layer("test", given)])
    training, sgd = settings.training, settings.optimizer
    assert (training.epochs, training.batch_size) == (200, 256)
    assert (settings.network.channels, settings.network.cells) == (16, 5)
    expected = {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.0005, "nesterov": True}
    assert sgd.name == "SGD"
    assert expected.items() <= sgd.settings.items()
    assert (sgd.schedule.name, sgd.schedule.settings["final_lr"]) == ("cosine", 0.0)
    assert settings.augmentation.model_dump() == {"crop_padding": 4, "flip": True, "cutout": 0}
    data = settings.data
    assert (data.split, data.train_size, data.valid_size, data.test) == ("all", 6000, 0, "set")


@pytest.mark.parametrize(
    ("space", "cell", "depth"),
    [
        ("nas-bench-macro", "0", "8 layers"),
        ("nas-bench-201", "0", "1 cell per stage"),
        ("darts", DARTS_V2, "1 normal cell per stage"),
    ],
)
def test_what_is_trained_is_told_in_the_words_of_its_space(
    space: str, cell: str, depth: str, capsys: pytest.CaptureFixture[str]
) -> None:
    found = find(cell, space)
    given = Layer("test", {"data": {"name": "digits"}})
    settings = load_settings(found.architecture.space, "cpu", over=[given])
    print_start(found, settings, {"train": 10, "valid": 0, "test": 5, "classes": 10})
    assert f"training: 8 channels, {depth}, 20 epochs" in capsys.readouterr().out


def test_a_table_is_asked_about_the_data_set_that_was_trained_on() -> None:
    cell = NAS_BENCH_201.parse(CELL)
    assert tables_say(cell, "digits", None) == []
    (said,) = tables_say(cell, "cifar10", None)
    assert said["table"] == "analog-nasbench"
    assert 80 < said["accuracy"] < 95


@pytest.mark.parametrize(
    ("accuracies", "told"),
    [
        ([10.0], "10.00 % (one seed, so no interval)"),
        # Of a cell without a path from input to output, say, which guesses.
        ([10.0, 10.0], "10.00 % (2 seeds, all equal, so no interval)"),
        # t of .975 with one degree of freedom is 12.71; accuracies end at 0 and 100.
        ([10.0, 20.0], "15.00 %, 95 % interval of the mean 0.00 to 78.53 (2 seeds: 10.00, 20.00)"),
    ],
)
def test_the_interval_of_seeds(
    accuracies: list[float], told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rest = {"valid": None, "train_loss": 2.3}
    lines = [{"seed": seed, "test": each, **rest} for seed, each in enumerate(accuracies)]
    result = summary(lines) | {
        "data": {"name": "digits", "note": "scikit-learn digits", "test": 50},
        "tables": [],
    }
    print_trained(result, tmp_path)
    assert f"test accuracy on 50 images of digits: {told}\n" in capsys.readouterr().out


def test_a_cell_without_an_index_is_not_asked_for_one() -> None:
    with pytest.raises(UserError, match=r"or a genotype$") as told:
        find("runs/none", "darts")
    assert "index" not in str(told.value)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["runs/none"], "RUN|ARCH = 'runs/none': there is no run in a folder of this name"),
        (["6", "data.name=digit"], "data.name = 'digit': "),
        (["6"], "data.name: needs a name; write data.name=NAME"),
        (["6", "data.name=digits", "--seeds", "x"], "--seeds = 'x': is no list of whole numbers"),
        (["6", "data.name=digits", "--epochs", "0"], "training.epochs = 0: is out of range"),
        (
            ["6", "data.name=digits", "data.split=all"],
            "data.split = 'all': trains on every image of digits",
        ),
        (["6", "data.name=digits", "data.test=set"], "digits has no test images of its own"),
        (["6", "data.name=digits", "serach.epochs=1"], "serach: there is no such section"),
        (["6", "data.name=digits", "--protocol", "cpuu"], "did you mean cpu?"),
        (["6", "data.name=digits", "optimizer.lr=-1.0"], "optimizer.lr = -1.0: SGD refuses"),
        (["taken", "data.name=digits"], "there is no run in this folder"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(
    words: list[str],
    told: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "taken").mkdir()
    assert command("train", *words, "--out", "new/deep") == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert told in err
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]


@pytest.mark.thorough
def test_a_study_of_data_without_a_table_is_judged_by_its_trained_cells(
    searched: Path, tmp_path: Path
) -> None:
    runs = {name: RunFolder(tmp_path / name) for name in ("a", "b", "c")}
    for name in "ab":  # one cell on the same images: one training
        copied(searched, runs[name].path)
    with runs["c"].created(tiny_settings().document()):
        pass
    given = {"training.epochs": 1, "training.seeds": [3, 4], "training.batch_size": 16}
    given["network.channels"] = 2
    lines: list[int] = []

    def go(**more: Any) -> Trained:
        return train_cells(runs, tmp_path, given, on_epoch=lambda e: lines.append(e.seed), **more)

    (cell,) = {plan(runs[name].path, given).hash[:16] for name in "ab"}
    place = tmp_path / "cells" / cell
    place.mkdir(parents=True)
    with held(place / "trainings.jsonl", place):
        assert go() == Trained(0, 0, 1, {"unfinished": 1})
    assert go() == Trained(2, 1, 0, {"unfinished": 1})
    assert lines == [3, 4]
    assert go() == Trained(2, 1, 0, {"unfinished": 1})
    assert lines == [3, 4]
    table = table_of([runs[name] for name in "ab"], recorded=True)
    result = json.loads((place / "result.json").read_text())
    found = table["measure.alone.test"].dropna().tolist()
    assert found == [result["accuracy"]["test"]["mean"]] * 2
    assert table["epoch"][table["measure.alone.valid"].notna()].tolist() == [2, 2]
    [settings] = {*table["measure.alone.settings"].dropna()}  # how it was trained, of no one run
    assert json.loads(settings).keys() == {"protocol", "epochs", "seeds", "manner"}

    def manner(**more: Any) -> str:
        asked = given | {key.replace("__", "."): value for key, value in more.items()}
        return plan(runs["a"].path, asked).settings.manner

    assert manner(data__split_seed=7) == manner(training__seeds=[1]) == manner()
    assert len({manner(), manner(optimizer__lr=0.3), manner(augmentation__cutout=2)}) == 3
    column = column_of("measure.alone.test")
    assert (column.unit, column.better) == ("%", "higher")
    assert "optnas study train" in column.supplied_by


def test_what_a_search_has_not_finished_is_not_trained(searched: Path, tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    with folder.created(tiny_settings().document()):
        pass
    with pytest.raises(UserError, match=r"this run is unfinished.*optnas resume"):
        find(folder.path)
    with pytest.raises(UserError, match="is a search, whose cell has no weights of its own"):
        optnas.network(searched)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes.txt").touch()
    with pytest.raises(UserError, match="holds something else already"):
        optnas.train(CELL, SMALL, out=tmp_path / "full")
    with pytest.raises(UserError, match="is a file, and the output is a folder"):
        optnas.train(CELL, SMALL, out=tmp_path / "full" / "notes.txt")


def test_another_command_leaves_a_training_that_was_begun(tmp_path: Path) -> None:
    journal = tmp_path / "journal.jsonl"
    with held(journal, tmp_path):
        begin(journal, {"format": 1, "cell": "a", "hash": "a"})
    before = journal.read_text()
    with pytest.raises(UserError), held(journal, tmp_path):
        begin(journal, {"format": 1, "cell": "b", "hash": "b"})
    assert journal.read_text() == before


# --- damaged files ----------------------------------------------------------------------------

ONE = {**SMALL, "network": {"channels": 4, "cells": 1}, "training": {"epochs": 1, "seeds": [0, 1]}}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("trained") / "a"
    optnas.train(CELL, ONE, out=out)
    return out


# what becomes of the second seed's line | a part of the error
LINES = """
{"a": 1} | line 3: cell: is missing
[1] | line 3: not a JSON object
{"test": "x"} | line 3: test = 'x': must be a number
{"seed": "1"} | line 3: seed = '1': must be a whole number
{"seed": null} | line 3: seed: must be a whole number
{"valid": [1]} | line 3: valid = [1]: must be a number
{"train_loss": 1e999} | line 3: not JSON
{"seconds": -1} | line 3: seconds = -1: is out of range
"""


@pytest.mark.parametrize("row", LINES.strip().splitlines())
def test_a_damaged_journal_is_told(
    row: str, trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It ended in a KeyError, or in a mean of a text."""
    change, told = row.split(" | ")
    out = copied(trained, tmp_path / "a")
    journal = out / "trainings.jsonl"
    *before, last = journal.read_text().splitlines()
    if change not in ('{"a": 1}', "[1]"):
        key = change.partition(":")[0].strip('{"')
        line = {k: v for k, v in json.loads(last).items() if k != key}
        change = json.dumps(line).removesuffix("}") + f", {change.removeprefix('{')}"
    journal.write_text("\n".join([*before, change, ""]))
    text = journal.read_text()
    with pytest.raises(UserError) as refused:
        optnas.train(CELL, ONE, out=out)
    assert f"{journal} {told}" in str(refused.value)
    assert journal.read_text() == text


def test_a_start_of_a_training_names_its_device(trained: Path) -> None:
    (start,) = json.loads((trained / "environment.json").read_text())
    if not torch.cuda.is_available():  # it was asked for none
        assert (start["device"], start["gpu"]) == ("cpu", None)


def test_damaged_starts_of_a_training_are_told(trained: Path, tmp_path: Path) -> None:
    out = copied(trained, tmp_path / "a")
    (out / "environment.json").write_text("{}")
    (out / "checkpoints" / "seed-1.pt").unlink()
    with pytest.raises(UserError, match=r"environment\.json: not a JSON list"):
        optnas.train(CELL, ONE, out=out)


# key of training.toml | another value of it | a part of the error
EDITED = """
network.channels | "q" | network.channels = 'q': must be a whole number
network.channels | 8 | the weights in seed-0.pt are not of the network that it tells
network.cells | 0 | network.cells = 0: is out of range
network | 3 | network = 3: is a table of settings
images.mean | 5 | images.mean = 5: must be a list of numbers
images.mean | [0.5, 0.5] | images.mean = [0.5, 0.5]: is one number for each of 1 channels
images.classes | 3 | the weights in seed-0.pt are not of
images.class_names | [1] | images.class_names.0 = 1: must be text
training.seeds | "x" | training.seeds = 'x': must be a list of whole numbers
training.seeds | [] | training.seeds = []: must have at least 1 value
data.resolution | 8.5 | data.resolution = 8.5: must be a whole number
space.name | 5 | space.name = 5: must be text
space.name | "nosuch" | space.name = 'nosuch': there is no space of this name
space.zz | 1 | space.zz = 1
architecture | "x" | training.toml
architecture | [] | architecture = []: must be text
identity.hash | 5 | identity.hash = 5: must be text
"""


@pytest.mark.parametrize("row", EDITED.strip().splitlines())
def test_an_edited_training_is_no_network(row: str, trained: Path, tmp_path: Path) -> None:
    key, value, told = row.split(" | ")
    out = copied(trained, tmp_path / "a")
    file = out / "training.toml"
    document = parse_toml(file.read_text(), file)
    *places, last = key.split(".")
    table = functools.reduce(operator.getitem, places, document)
    table[last] = parse_toml(f"value = {value}", "test")["value"]
    file.write_text(dump_toml(document))
    with pytest.raises(UserError) as refused:
        optnas.network(out)
    assert str(refused.value).startswith(str(file))
    assert told in str(refused.value), refused.value
