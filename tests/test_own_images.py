"""Images of one's own, idx and MATLAB files: read exactly, described, refused; no other's table."""

from __future__ import annotations

import gzip
import io
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import scipy.io
from cases import command, write_files
from made import idx, parquet_bytes, pixels, png
from PIL import Image

from optnas.base import registry
from optnas.base.errors import UserError
from optnas.cli.printing.runs import benchmark_note
from optnas.data.check import check
from optnas.data.sets.base import Dataset
from optnas.data.sets.folder import folder
from optnas.data.sets.idx import Idx
from optnas.data.sets.mnist import mnist
from optnas.data.sets.parquet import parquet
from optnas.data.sets.svhn import svhn
from optnas.search.api import run, settings_of
from optnas.search.settings.complete import open_dataset


def noise(seed: int, height: int = 40, width: int = 48) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def saved(image: Image.Image, kind: str = "PNG", **how: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format=kind, **how)
    return buffer.getvalue()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Six images of two classes."""
    names = {"cat": range(4), "dog": range(4, 6)}
    write_files(
        tmp_path / "pets",
        {f"{name}/{n}.png": png(noise(n)) for name, of in names.items() for n in of},
    )
    return tmp_path / "pets"


def opened(root: Path, **settings: Any) -> Dataset:
    return folder(None, str(root), **settings)


# ---- a folder


def test_the_middle_square_is_cut_out_and_scaled(root: Path) -> None:
    dataset = opened(root, side=40, test_every=0)
    images, labels = dataset.read()
    assert labels.tolist() == [0, 0, 0, 0, 1, 1]
    assert dataset.class_names == ("cat", "dog")
    assert (dataset.size, dataset.classes, dataset.resolution) == (6, 2, 40)
    for n, image in enumerate(images):  # 48 wide: four columns go on either side
        assert np.array_equal(image, noise(n)[:, 4:44])

    def twin(image: np.ndarray) -> np.ndarray:
        """Shrunk to half by Pillow's triangle of width 4: weights 1, 3, 3, 1 of 8."""
        padded = np.pad(image.astype(float), ((1, 1), (1, 1), (0, 0)), mode="constant")
        weight = np.pad(np.ones(image.shape), ((1, 1), (1, 1), (0, 0)), mode="constant")
        taps = np.outer([1, 3, 3, 1], [1, 3, 3, 1])[..., None]
        out = np.empty((image.shape[0] // 2, image.shape[1] // 2, 3))
        for y in range(out.shape[0]):
            for x in range(out.shape[1]):
                at = slice(2 * y, 2 * y + 4), slice(2 * x, 2 * x + 4)
                shares = taps * weight[at]
                out[y, x] = (shares * padded[at]).sum((0, 1)) / shares.sum((0, 1))
        return out

    half = opened(root, side=20, test_every=0).read()[0][0]
    assert np.abs(half - twin(noise(0)[:, 4:44])).max() <= 1  # it rounds twice
    edge = np.zeros((40, 48, 3), np.uint8)
    edge[:, :4] = 255  # what the middle square leaves out
    (root / "cat" / "0.png").write_bytes(png(edge))
    cut, whole = (opened(root, side=24, fit=fit).read()[0][0] for fit in ("crop", "stretch"))
    assert not cut.any()
    assert (whole[:, 0] == 255).all()


def test_test_images_are_each_so_many_th_or_those_of_a_folder(root: Path, tmp_path: Path) -> None:
    dataset = opened(root, test_every=2, side=40)
    assert dataset.test is not None
    held = dataset.test().read()[0]
    assert [np.array_equal(held[i], noise(n)[:, 4:44]) for i, n in enumerate((1, 3, 5))] == [
        True
    ] * 3
    assert dataset.size == 3
    assert opened(root, test_every=0).test is None
    assert opened(root).test is None  # no class has five images

    split = tmp_path / "split"
    for part, names in {"train": ("cat", "dog"), "val": ("cat", "dog"), "test": ("dog",)}.items():
        for name in names:
            shutil.copytree(root / name, split / part / name)
    labelled = opened(split)
    assert labelled.size == 12
    assert labelled.test is not None
    assert labelled.test().read()[1].tolist() == [1, 1]
    shutil.copytree(root / "cat", split / "test" / "cow")
    with pytest.raises(UserError, match=r"test/cow: there is no class of this name in train/"):
        opened(split)
    shutil.copytree(root / "cat", split / "unlabelled")
    with pytest.raises(UserError, match=r"split/unlabelled: lies beside train/ and test/"):
        opened(split)


def test_content_and_classes_are_identity_and_names_of_files_are_not(root: Path) -> None:
    first = opened(root).fingerprint()
    (root / "cat" / "3.png").rename(root / "cat" / "9.png")
    assert opened(root).fingerprint() == first
    (root / "cat" / "9.png").rename(root / "dog" / "3.png")  # same bytes in the same order
    assert opened(root).fingerprint() != first
    (root / "dog" / "3.png").rename(root / "cat" / "9.png")
    assert opened(root).fingerprint() == first
    (root / "dog").rename(root / "eel")
    assert opened(root).fingerprint() != first


def test_what_lies_there_is_told(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One grey, one for print, one of 16 bits, one turned, one transparent, one broken image."""
    image = Image.fromarray(noise(7))
    turned, seen = Image.Exif(), {"left": Image.fromarray(noise(8).transpose(1, 0, 2)[::-1])}
    turned[0x0112] = 6  # to be turned to the right by a quarter
    clear = image.convert("RGBA")
    clear.putalpha(100)
    sixteen = np.full((40, 48), 40000, np.uint16)
    files = {
        "grey.png": saved(image.convert("L")),
        "print.jpg": saved(image.convert("CMYK"), "JPEG"),
        "sixteen.png": saved(Image.fromarray(sixteen)),
        "turned.png": saved(seen["left"], exif=turned),
        "clear.png": saved(clear),
        "broken.png": png(noise(9))[:300],
        "notes.txt": b"mine",
        "Thumbs.db": b"left behind",
        ".hidden.png": b"left behind",
        "again.png": png(noise(0)),
    }
    write_files(root / "dog", dict(files))
    report = check(opened(root)).document()
    assert sorted(each["path"] for each in report["refused"]) == [
        f"dog/{name}" for name in ("broken.png", "clear.png", "notes.txt", "print.jpg")
    ]
    reasons = " ".join(each["reason"] for each in report["refused"])
    for told in ("cannot be decoded", "transparent pixels", "move it away", "of a printer"):
        assert told in reasons
    assert report["modes"] == {
        **{"colour": 8, "CMYK": 1, "colour with alpha": 1, "grey": 1, "grey of 16 bits": 1},
        "colour, turned by EXIF": 1,
    }
    assert report["sizes"] == {"48x40": 12, "40x48": 1}
    assert report["balance"] == {"train": {"cat": 4, "dog": 5}, "test": {"cat": 0, "dog": 1}}
    # The upright image is the one that stands there as it is.
    assert report["duplicates"] == {
        **{"within_train": 1, "within_test": 0, "across": 0},
        "groups": [{"train": ["cat/0.png", "dog/again.png"]}],
    }
    for name in ("broken.png", "clear.png", "notes.txt", "print.jpg"):
        (root / "dog" / name).unlink()
    images, _ = opened(root, side=40, test_every=0).read()
    by_name = dict(
        zip(sorted(p.name for p in (root / "dog").glob("[!.T]*")), images[4:], strict=True)
    )
    assert (by_name["sixteen.png"] == round(40000 * 255 / 65535)).all()
    assert np.array_equal(by_name["turned.png"], noise(8)[:, 4:44])
    assert (by_name["grey.png"][..., 0] == by_name["grey.png"][..., 2]).all()

    shutil.copy(root / "cat" / "0.png", root / "cat" / "1a.png")  # third of its class
    assert command("data", "check", str(root), "--json", "data.test_every=3") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["duplicates"]["across"] == 2  # again.png is third too
    assert command("data", "check", str(root)) == 0
    assert "refused: none" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("change", "settings", "told"),
    [
        ("", {"side": 0}, r"data\.side = 0: .*; "),
        ("", {"test_every": 1}, r"data\.test_every = 1: would leave no image"),
        ("", {"path": "none"}, r"data\.path = 'none': there is no such folder; set data\.path to"),
        ("loose.jpg", {}, r"loose\.jpg: the image lies in no class folder"),
        ("cow/", {}, r"cow: the class has no image"),
        ("-dog", {}, r"pets: has one class folder, and two are needed"),
    ],
)
def test_another_layout_is_refused(
    change: str, settings: dict[str, Any], told: str, root: Path
) -> None:
    if change.startswith("-"):
        shutil.rmtree(root / change[1:])
    elif change.endswith("/"):
        (root / change).mkdir()
    elif change:
        (root / change).touch()
    with pytest.raises(UserError, match=told):
        open_dataset({"name": "folder", "path": str(root), **settings})


def test_the_sides_that_the_network_sees_are_those_that_count(root: Path) -> None:
    """Those of the images were refused, though a search would have brought them to others."""
    own = {"data.name": "folder", "data.path": str(root), "data.side": 30, **OFF}
    with pytest.raises(UserError, match=r"data\.resolution = 30: .*set data\.resolution to .* 32"):
        settings_of(own)
    assert settings_of(own | {"data.resolution": 32}).data.resolution == 32


def test_a_broken_image_ends_a_search_in_one_line(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (root / "dog" / "b.png").write_bytes(png(noise(9))[:300])
    words = ["data.name=folder", f"data.path={root}", *(f"{k}={v}" for k, v in OFF.items())]
    assert command("search", *words, "--out", str(tmp_path / "out")) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "dog/b.png: the image cannot be decoded; copy the file again; optnas data check" in err
    assert not (tmp_path / "out").exists()


def test_own_data_are_shown_no_accuracy_of_another_set(root: Path, tmp_path: Path) -> None:
    own = {"data.name": "folder", "data.path": str(root), **OFF}
    settings = settings_of(own)
    assert (settings.benchmark.table, settings.data.split) == ("none", "random-halves")
    asked = settings_of(own | {"benchmark.table": "analog-nasbench"})
    assert asked.benchmark.table == "analog-nasbench"
    assert asked.hash == settings.hash
    (tmp_path / "a.parquet").write_bytes(parquet_bytes([png(p) for p in pixels(6)], [0, 1] * 3))
    file = {"data.name": "parquet", "data.path": str(tmp_path / "a.parquet")}
    assert settings_of(file | OFF).benchmark.table == "none"
    assert settings_of({"data.name": "digits"}).benchmark.table != "none"


SMALL = ["search.epochs=1", "search.batch_size=2", "supernet.channels=2", "data.side=8"]
OFF = {"search.batch_size": 2, "measures.sharpness.every": 0, "measures.gap.at": []}
QUICK = {**OFF, "search.epochs": 1, "supernet.channels": 2, "data.side": 8}


def test_the_display_says_what_the_benchmark_is(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(root.parent)
    words = ["data.name=folder", "data.path=pets", *SMALL]
    off = [f"{key}={value}" for key, value in OFF.items()]
    assert command("search", *words, *off, "--out", "out") == 0
    lines = capsys.readouterr().out.splitlines()
    told = "benchmark: none; no table is asked about these images (folder)"
    assert (lines[0], lines[5]) == (told, told)
    assert lines[6] == "train the cell to know: optnas train out --out out-alone"
    answer = {"table": "official", "split": "test", "accuracy": {"cifar10": 90.0}}
    note = "benchmark: table official, cifar10, split test, in percent"
    assert benchmark_note(answer, "digits") == f"{note}: trained there, not on digits"
    assert benchmark_note(answer, "cifar10") == note


def test_an_image_that_is_gone_is_told_as_other_data(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    run({"data.name": "folder", "data.path": str(root), **QUICK}, out=out)
    (root / "dog" / "5.png").unlink()
    settings = settings_of({"data.name": "folder", "data.path": str(root), **QUICK})
    assert settings.data.valid_size == 3
    for words in (["resume", str(out)], ["measure", str(out), "gap"]):
        assert command(*words) == 2
        told = capsys.readouterr().err
        assert "the data are not those this run was started with; point data" in told
    assert command("train", str(out), "--out", str(tmp_path / "alone")) == 2
    assert "the images are not those that the run searched on" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("parts", "told"),
    [
        (("Train", "Valid"), "folders of the same names, cat, dog; if"),
        (("one", "two"), "folders of the same names, cat, dog; if"),
        (("Training", "val"), "are those of parts"),
        (("one", "test"), ""),
    ],
)
def test_parts_that_would_be_classes_are_told(
    parts: tuple[str, str], told: str, root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for part in parts:
        shutil.copytree(root, root.parent / "set" / part)
        if "same" not in told:
            shutil.rmtree(root.parent / "set" / part / "dog")
    dataset = opened(root.parent / "set", test_every=0)
    assert dataset.class_names == tuple(sorted(parts))
    remarks = check(dataset).document()["remarks"]
    assert len(remarks) == bool(told)
    assert told in "".join(remarks)
    dataset.warn()
    assert [each.message for each in caplog.records] == [f"optnas: warning: {e}" for e in remarks]


def test_a_check_lists_what_it_leaves_out_and_answers_with_its_exit_code(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for n in range(4):
        shutil.copy(root / "cat" / f"{n}.png", root / "cat" / f"again{n}.png")
    assert command("data", "check", str(root), "data.side=48") == 0
    lines = capsys.readouterr().out.splitlines()
    assert "  and 1 more, all of them with --json" in lines
    assert lines[-2:] == [
        "remark: no test image of dog",
        "remark: 10 images are smaller than 48x48, and are enlarged to it",
    ]
    (root / "dog" / "notes.txt").touch()
    assert command("data", "check", str(root), "--json") == 1
    told = json.loads(capsys.readouterr().out)
    assert (len(told["refused"]), told["remarks"]) == (1, ["no test image of dog"])


def test_paths_and_settings_elsewhere_are_told(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HOME", str(root.parent))
    assert command("data", "check", "folder", "data.path=~/pets", "--data=~/none") == 0
    capsys.readouterr()
    (root.parent / "alone").mkdir()
    (root.parent / "alone" / "training.toml").touch()
    few = ["data.name=folder", "data.path=~/pets", "search.batch_size=64"]
    for words, told in {
        "data check ~/x": "data.path = '~/x': there is no such folder; write the whole path",
        "data check /x/none": "data.path = '/x/none': there is no such folder; set data.path",
        "search -o x data.path=pets": "cifar10 has no setting 'path'; data.name=folder or parquet",
        "search -o x algorithm.radius_end=1": "algorithm.name=sdarts-adv or sdarts-rs has it",
        f"resume {root.parent}/alone": "is a training, and no run; to go on with it, give the co",
        f"search -o x {' '.join(few)}": "than a half (train 3, valid 3); lower it\n",
    }.items():
        assert command(*words.split()) == 2
        assert told in capsys.readouterr().err


# ---- files of the hubs


def test_parquet_of_the_hubs_has_names_test_images_and_any_size(tmp_path: Path) -> None:
    sizes = [(40, 48), (60, 30), (32, 32), (33, 32)]
    images = [png(noise(n, *size)) for n, size in enumerate(sizes)]
    for part in ("train", "test"):
        table = pq.read_table(io.BytesIO(parquet_bytes(images, [0, 1, 0, 1], "image", "kind")))
        names = {"kind": {"names": ["ant", "bee"], "_type": "ClassLabel"}}
        told = {"huggingface": json.dumps({"info": {"features": names}})}
        pq.write_table(table.replace_schema_metadata(told), tmp_path / f"{part}-0.parquet")
    with pytest.raises(UserError, match=r"is not square; set data\.side=32"):
        parquet(None, str(tmp_path), label="kind")
    dataset = parquet(None, str(tmp_path), label="kind", side=32)
    assert dataset.class_names == ("ant", "bee")
    assert dataset.test is not None
    assert dataset.test().size == 4
    assert np.array_equal(
        dataset.read(np.array([2, 3]))[0], [noise(2, 32, 32), noise(3, 33, 32)[:32]]
    )
    report = check(dataset)
    assert report.sizes == {"48x40": 2, "30x60": 2, "32x32": 2, "32x33": 2}
    assert report.duplicates == {"within_train": 0, "within_test": 0, "across": 4}
    assert [len(each) for each in report.counts.values()] == [2, 2]


# ---- idx and MATLAB files

GREY = np.random.default_rng(0).integers(0, 256, (12, 28, 28), dtype=np.uint8)
LABELS = np.arange(12) % 10


@pytest.mark.parametrize("layout", ["mnist/{}-{}-idx{}-ubyte.gz", "MNIST/raw/{}-{}.idx{}-ubyte"])
def test_idx_files_are_read_as_distributed(layout: str, tmp_path: Path) -> None:
    pack = gzip.compress if layout.endswith("gz") else bytes
    for prefix, images in (("train", GREY), ("t10k", GREY[::-1])):
        write_files(tmp_path, {layout.format(prefix, "images", 3): pack(idx(images))})
        write_files(tmp_path, {layout.format(prefix, "labels", 1): pack(idx(LABELS))})
    dataset = mnist(tmp_path)
    images, labels = dataset.read(np.array([11, 0]))
    assert np.array_equal(images[..., 0], GREY[[11, 0]])
    assert labels.tolist() == [1, 0]
    assert dataset.test is not None
    assert np.array_equal(dataset.test().read()[0][..., 0], GREY[::-1])
    assert "only 12 of 60,000 training images of MNIST" in dataset.note
    assert check(dataset).counts["train"] == [2, 2, *[1] * 8]


@pytest.mark.parametrize(
    ("images", "labels", "told"),
    [
        (idx(GREY)[:-1], idx(LABELS), "states 9,408 bytes and has 9,407"),
        (idx(GREY) + b"x", idx(LABELS), "states 9,408 bytes and has more"),
        (idx(LABELS), idx(LABELS), "is no idx file of bytes in 3 dimensions"),
        (idx(GREY[:, :14]), idx(LABELS), "holds 12 x 14 x 28 pixels"),
        (idx(GREY), idx(LABELS[:4]), "and train-labels-idx1-ubyte 4 labels"),
        (idx(GREY), idx(LABELS + 1), "label of row 9 = 10: the label is not in 0 to 9"),
        (gzip.compress(idx(GREY))[:400], idx(LABELS), "cannot read it"),
    ],
)
def test_damaged_idx_files(images: bytes, labels: bytes, told: str, tmp_path: Path) -> None:
    files = {"images-idx3": images, "labels-idx1": labels}
    write_files(tmp_path / "mnist", {f"train-{k}-ubyte": v for k, v in files.items()})
    with pytest.raises(UserError, match=told):
        mnist(tmp_path).read()


def test_files_of_a_systems_package_are_found(tmp_path: Path) -> None:
    files = {"images-idx3": GREY, "labels-idx1": LABELS}
    write_files(tmp_path, {f"train-{k}-ubyte.gz": gzip.compress(idx(v)) for k, v in files.items()})
    known = Idx("x", "X", ("x",), (tmp_path,), tuple("0123456789"), 0.5, 0.5, True)
    assert known.open(None).size == known.open(tmp_path / "elsewhere").size == 12
    with pytest.raises(UserError, match=r"mnist needs a data folder; set OPTNAS_DATA"):
        registry.find("dataset", "mnist")(None)


def test_svhn_is_read_from_its_matlab_files(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (32, 32, 3, 5), dtype=np.uint8)
    labels = np.array([[10], [1], [9], [10], [2]], dtype=np.uint8)
    (tmp_path / "svhn").mkdir()
    path = tmp_path / "svhn" / "train_32x32.mat"
    scipy.io.savemat(path, {"X": images, "y": labels}, do_compression=True)
    scipy.io.savemat(path.with_name("test_32x32.mat"), {"X": images, "y": labels})
    dataset = svhn(tmp_path)
    found, classes = dataset.read(np.array([4, 0]))
    assert classes.tolist() == [2, 0]
    assert np.array_equal(found[0], images[..., 4])
    assert dataset.test is not None
    assert dataset.test().size == 5
    whole = path.read_bytes()
    for content, told in (
        (whole[: len(whole) // 2], "is no MATLAB file that scipy reads"),
        (b"", "is no MATLAB file that scipy reads"),
    ):
        path.write_bytes(content)
        with pytest.raises(UserError, match=told):
            svhn(tmp_path)
    for more, told in (
        ({"y": labels - 1}, r"y of row 1 = 0: the label is not in 1 to 10"),
        ({"X": images[:16]}, r"X = 'uint8 \[16, 32, 3, 5\]': is not uint8 of shape"),
        ({"X": images.astype(float)}, "is not uint8 of shape"),
    ):
        scipy.io.savemat(path, {"X": images, "y": labels} | more)
        with pytest.raises(UserError, match=told):
            svhn(tmp_path)
