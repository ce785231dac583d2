"""Damaged input for every reader: refused, told, or without consequence; never a traceback.

A case copies what one command reads, damages one file (or a word of the command) and compares with
the answer to intact input.
"""

from __future__ import annotations

import gzip
import io
import json
import os
import random
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import archive
import numpy as np
from cases import cifar10_file, copied, interrupted_run, snapshot, write_files
from forked import Ended, answered
from kills import TOY
from PIL import Image
from studies import PAIR, tiny_study

from optnas.base.toml import dump_toml
from optnas.search.api import nest
from optnas.spaces import NAS_BENCH_201
from optnas.spaces.tables import official

Report = Callable[[str, str], None]
Damage = Callable[[Path, random.Random], None]

RESULTS = Path(__file__).parents[2] / "results"
SHIPPED = Path(__file__).parents[2] / "src/optnas"
SEARCH = ["search", "--out", "out", *(f"{key}={value}" for key, value in TOY.items())]
PATIENCE = 60.0  # seconds for one answer, on a busy machine


def rewritten(change: Callable[[bytearray, random.Random], bytes | bytearray]) -> Damage:
    def damage(path: Path, draw: random.Random) -> None:
        path.write_bytes(bytes(change(bytearray(path.read_bytes()), draw)))

    damage.__name__ = change.__name__
    return damage


def flipped(content: bytearray, draw: random.Random) -> bytearray:
    content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
    return content


def flipped_in_images(content: bytearray, draw: random.Random) -> bytearray:
    """In what has checksums of its own: labels of a parquet file have none."""
    places = [match.start() for match in re.finditer(rb"\x89PNG", content)]
    content[draw.choice(places) + draw.randrange(8, 400)] ^= 1 << draw.randrange(8)
    return content


def cut(content: bytearray, draw: random.Random) -> bytearray:
    return content[: draw.randrange(len(content))]


def zeroed(content: bytearray, draw: random.Random) -> bytearray:
    start = draw.randrange(len(content))
    length = min(draw.choice([1, 16, 512]), len(content) - start)
    content[start : start + length] = bytes(length)
    return content


def inserted(*texts: bytes) -> Damage:
    """Bytes that are in no text, at a place of one's own."""

    def no_text(content: bytearray, draw: random.Random) -> bytearray:
        place = draw.randrange(len(content) + 1)
        return content[:place] + draw.choice(texts) + content[place:]

    return rewritten(no_text)


def a_folder(path: Path, draw: random.Random) -> None:
    path.unlink()
    path.mkdir()


def a_loop(path: Path, draw: random.Random) -> None:
    path.unlink()
    path.symlink_to(path.name)


def lines_changed(content: bytearray, draw: random.Random) -> bytes:
    """Lines twice, out of order, or gone; of a file in which each has its place."""
    lines = bytes(content).splitlines(keepends=True)
    place = draw.randrange(len(lines) - 1)
    how = draw.choice(["twice", "swapped", "gone"])
    if how == "twice":
        lines.insert(place, lines[place])
    elif how == "swapped":
        lines[place], lines[place + 1] = lines[place + 1], lines[place]
    else:
        del lines[place]
    return b"".join(lines)


WRONG = (None, True, [], {}, "", "1", [[]], {"a": 1}, -1, 2.5)


def inside(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every place of a JSON document: a table or list, and a key of it."""
    keys = value if isinstance(value, dict) else range(len(value))
    for key in keys:
        yield value, key
        if isinstance(value[key], (dict, list)):
            yield from inside(value[key])


def of_json(content: bytearray, draw: random.Random) -> bytes:
    """A value of another type, a key gone, or a number that is none; anywhere in one document."""
    lines = bytes(content).decode().splitlines() if content.count(b"\n{") else [content.decode()]
    number = draw.randrange(len(lines))
    document = json.loads(lines[number])
    places = [place for place in inside(document) if isinstance(place[0], dict)]
    table, key = draw.choice(places)
    how = draw.choice(["type", "gone", "nan", "deep", "long", "twice"])
    text = None
    if how == "type":
        table[key] = draw.choice([each for each in WRONG if type(each) is not type(table[key])])
    elif how == "gone":
        del table[key]
    elif how == "nan":
        table[key] = float(draw.choice(["nan", "inf"]))
    else:
        was, table[key] = table[key], "PLACE"
        new = {
            "deep": "[" * 60_000,
            "long": "9" * 6000,
            "twice": f"{json.dumps(was)}, {json.dumps(key)}: {json.dumps('other')}",
        }[how]
        text = json.dumps(document).replace('"PLACE"', new, 1)
    lines[number] = text or json.dumps(document)
    return "\n".join([*lines, ""] if len(lines) > 1 else lines).encode()


def of_toml(content: bytearray, draw: random.Random) -> bytes:
    """What is not TOML, a key that is none, or a value of a type that no setting has."""
    lines = bytes(content).decode().splitlines()
    places = [i for i, line in enumerate(lines) if re.match(r'["\w.]+ = ', line)]
    place = draw.choice(places)
    key, value = lines[place].split(" = ", 1)
    long = "9" * 6000
    letter = draw.randrange(len(key.strip('"')))
    lines[place] = draw.choice(
        [
            f"{key} = ",
            f"{key} {value}",
            f"{key} = {value}\n{key} = {value}",
            f"{key} = {'[' * 5000}",
            f"{key} = {long}",
            f"{key} = 2020-01-01",
            f"{key} = {{a.b = 1}}",
            f"{key} = [[{value}], []]",
            f"{key} = nan",
            f"{'.'.join(['a'] * 3000)} = 1",
            f"[{key}",
            f"{key[: letter + 1]}q{key[letter + 1 :]} = {value}",
        ]
    )
    return "\n".join([*lines, ""]).encode()


NO_TEXT = inserted(b"\x00", b"\xff", b"\xc3\x28", b"\xed\xa0\x80")
BROKEN: list[Damage] = [
    rewritten(cut),
    rewritten(zeroed),
    a_folder,
    a_loop,
]
BINARY = [rewritten(flipped), *BROKEN]
JSON = [rewritten(of_json), NO_TEXT]


@dataclass(frozen=True)
class Reader:
    """A file, who reads it, and what becomes of it.

    Args:
        file: the damaged one; of a pattern, one of them.
        words: the commands that read it.
        needs: files and folders that are copied.
        damages: those after which other output is a fault.
        loose: those that may leave another, valid file: only how the command ends is judged.
    """

    file: str
    words: tuple[str, ...]
    needs: tuple[str, ...]
    damages: tuple[Damage, ...] = ()
    loose: tuple[Damage, ...] = ()


TABLE = "study table --recorded --out runs -o table.csv"
SHOWN = (
    "list runs --json",
    TABLE,
    "stopping runs/a runs/b --json",
    "plot runs/a runs/b -o a.png",
    "study claims --recorded --out runs --claims H3 --json",
)
FIGURES = ("landscape", "curvature", "operations", "indicator", "agreement")
CIFAR = " ".join([*SEARCH, "data.name=cifar10", "data.resolution=8", "--data", "data"])
QUERY = "benchmark query 7 --table nats-tss --data data"
TEXT = (NO_TEXT, a_folder, a_loop)
LOOSE = (rewritten(flipped), rewritten(zeroed), BROKEN[0])

READERS: dict[str, Reader] = {
    "settings": Reader(
        "c.toml", ("search --out out -c c.toml",), ("c.toml",), (rewritten(of_toml), *TEXT), LOOSE
    ),
    "protocol": Reader(
        "p.toml",
        (" ".join([*SEARCH, "protocol=./p.toml"]),),
        ("p.toml",),
        (rewritten(of_toml), *TEXT),
        LOOSE,
    ),
    "study": Reader(
        "tiny.toml",
        ("study plan tiny.toml --no-timing --json", "study status tiny.toml --out studies"),
        ("tiny.toml", "studies"),
        (rewritten(of_toml), *TEXT),
        LOOSE,
    ),
    "claim": Reader(
        "H3.toml",
        ("study claims --recorded --out runs --claims ./H3.toml --json",),
        ("H3.toml", "runs"),
        (rewritten(of_toml), *TEXT),
        LOOSE,
    ),
    "configuration": Reader(
        "run/config.toml",
        ("resume run", "list run --json"),
        ("run",),
        (NO_TEXT, a_folder, a_loop),
        (rewritten(of_toml), *LOOSE),
    ),
    "configurations": Reader(
        "runs/a/config.toml", SHOWN, ("runs",), TEXT, (rewritten(of_toml), *LOOSE)
    ),
    "vouched records": Reader(
        "run/epochs.jsonl",
        ("resume run",),
        ("run",),
        (*JSON, rewritten(lines_changed), rewritten(flipped), *BROKEN),
    ),
    "records": Reader(
        "runs/a/epochs.jsonl",
        SHOWN,
        ("runs",),
        (*JSON, rewritten(lines_changed), *BROKEN),
        (rewritten(flipped),),
    ),
    "result": Reader(
        "runs/a/result.json", SHOWN, ("runs",), (*JSON, *BROKEN), (rewritten(flipped),)
    ),
    "environment": Reader(
        "*/environment.json", ("resume run",), ("run",), (), (*JSON, *BROKEN, rewritten(flipped))
    ),
    "starts": Reader(
        "studies/*/starts.jsonl",
        ("study status tiny.toml --out studies", "list studies --json"),
        ("tiny.toml", "studies"),
        (NO_TEXT, a_folder, a_loop),
        (rewritten(of_json), rewritten(lines_changed), *LOOSE),
    ),
    **{
        f"lines of {name}": Reader(
            f"runs/a/measures/{name}.jsonl",
            (f"plot runs/a --figure {name} -o a.png", TABLE),
            ("runs",),
            (*JSON, *BROKEN),
            (rewritten(flipped),),
        )
        for name in FIGURES
    },
    **{
        f"arrays of {name}": Reader(
            f"runs/a/measures/{name}-40-*.npz",
            (f"plot runs/a --figure {name} -o a.png",),
            ("runs",),
            tuple(BINARY),
        )
        for name in FIGURES
    },
    "measures of what goes on": Reader(
        "run/measures/gap.jsonl", ("resume run",), ("run",), (NO_TEXT, *BROKEN[2:]), (JSON[0],)
    ),
    "checkpoint": Reader(
        "run/checkpoints/last.pt", ("resume run",), ("run",), (*[rewritten(flipped)] * 4, *BINARY)
    ),
    "kept checkpoint": Reader(
        "run/checkpoints/epoch-0.pt",
        ("measure run gap --again",),
        ("run",),
        (*[rewritten(flipped)] * 2, *BINARY),
    ),
    "images": Reader(
        "data/cifar10/train-0.parquet",
        (CIFAR,),
        ("data/cifar10",),
        (*[rewritten(flipped_in_images)] * 3, a_folder, a_loop),
        (rewritten(flipped), rewritten(zeroed), BROKEN[0]),
    ),
    "archive": Reader(
        f"{archive.NAME}/*.pbz2",
        (f"benchmark import {archive.NAME} --allow-partial --data data;{QUERY}",),
        (archive.NAME,),
        tuple(BINARY),
    ),
    "packed archive": Reader(
        f"{archive.NAME}.tar.gz",
        (f"benchmark import {archive.NAME}.tar.gz --allow-partial --data data;{QUERY}",),
        (f"{archive.NAME}.tar.gz",),
        tuple(BINARY),
    ),
    "table": Reader(
        f"data/{official.RELATIVE_PATH}",
        ("benchmark query 7 --table official --data data",),
        ("data/nas-bench-201",),
        tuple(BINARY),
    ),
    "converted table": Reader(
        "home/tables/official-*.npz",
        ("benchmark query 7 --table official --data data",),
        ("data/nas-bench-201", "home"),
        tuple(BINARY),
    ),
    "Hessians": Reader(
        "h.jsonl",
        ("stopping h.jsonl eigenvalue --json",),
        ("h.jsonl",),
        (NO_TEXT, a_folder, a_loop),
        (rewritten(of_json), *LOOSE),
    ),
}

ODD = (
    *("", "nan", "-1", "=", "[", "{}", "a.b.c=1", "--out", "/dev/null", ".", "..", "\x1b[31m", "é"),
    *("9" * 5000, "x" * 300, "--json", "-", "--", "0x10", "1e400", "none", "*", "'", "{a={b=1}}"),
)
COMMANDS = (
    *[" ".join(SEARCH)] * 4,
    "resume run",
    *SHOWN,
    *(f"plot runs/a --figure {name} -o a.png" for name in FIGURES),
    "measure run gap",
    "stopping h.jsonl eigenvalue --json",
    "study plan tiny.toml --no-timing",
    "study status tiny.toml --out studies",
    "study export tiny.toml --out studies -o tiny.zip",
    "benchmark query 7 --table official --data data",
    "benchmark tables",
    "protocol show cpu",
    "protocol diff cpu sdarts",
    "list algorithms",
    "exam darts --list",
)


def misspelt(words: list[str], draw: random.Random) -> list[str]:
    """A command with a word too much, too few, in another place, or with a letter wrong."""
    words = list(words)
    place = draw.randrange(len(words))
    how = draw.choice(["gone", "twice", "odd", "odd", "value", "letter", "letter", "moved"])
    if how == "gone":
        del words[place]
    elif how == "twice":
        words.insert(place, words[place])
    elif how == "odd":
        words.insert(draw.randrange(len(words) + 1), draw.choice(ODD))
    elif how == "value":
        words[place] = words[place].split("=")[0] + "=" + draw.choice(ODD)
    elif how == "letter" and words[place]:
        at = draw.randrange(len(words[place]))
        words[place] = words[place][:at] + draw.choice("q_=.-") + words[place][at + 1 :]
    else:
        words.append(words.pop(place))
    return words


def make_base(folder: Path) -> None:
    """Intact input for every reader."""
    folder.mkdir()
    interrupted_run(folder / "run", **{k.replace(".", "__"): v for k, v in TOY.items()} | {
        "measures__gap__every": 1, "checkpoints__keep": "all",
    })  # fmt: skip
    pairs = sorted(path.parent for path in (RESULTS / "inside").glob("*/config.toml"))
    for name, run in zip("ab", pairs, strict=True):
        copied(run, folder / "runs" / name)
    tiny_study(folder, "[0]", PAIR, **{k.replace(".", "__"): v for k, v in TOY.items()})
    settings = dump_toml(nest(TOY))
    noise = np.random.default_rng(0).integers(0, 256, (80, 8, 8, 3), dtype=np.uint8)
    write_files(
        folder,
        {
            "c.toml": settings,
            "p.toml": (SHIPPED / "search/protocols/cpu.toml").read_bytes(),
            "H3.toml": (SHIPPED / "analysis/claims/H3.toml").read_bytes(),
            "h.jsonl": "".join(
                json.dumps({"epoch": e, "H": [[1.0 + e, 0.1], [0.1, 1.0]]}) + "\n"
                for e in range(12)
            ),
            "data/cifar10/train-0.parquet": cifar10_file([encoded(image) for image in noise]),
        },
    )
    write_table(folder / "data" / official.RELATIVE_PATH)
    archive.tar_of(archive.write_archive(folder, (0, 7, 284)), ".tar.gz")


def encoded(image: np.ndarray) -> bytes:
    """An image of 32 x 32 as PNG."""
    buffer = io.BytesIO()
    Image.fromarray(image.repeat(4, 0).repeat(4, 1)).save(buffer, format="PNG")
    return buffer.getvalue()


def write_table(path: Path) -> None:
    """A table in the layout of the official one."""
    path.parent.mkdir(parents=True)
    draw = random.Random(0)
    rows = [official.HEADER]
    for index, cell in enumerate(NAS_BENCH_201.all()):
        numbers = ",".join(f"{draw.uniform(10, 90):.2f}" for _ in range(3))
        rows.append(f"{index},{cell.string},{numbers}")
    path.write_bytes(gzip.compress("\n".join([*rows, ""]).encode(), 1))


def made(cwd: Path, before: dict[str, Any]) -> dict[str, Any]:
    """What a command made or changed, without what two runs of it need not agree in."""
    found: dict[str, Any] = {}
    for path in sorted(cwd.rglob("*")):
        name = str(path.relative_to(cwd))
        if not path.is_file() or before.get(name) == (path.stat().st_mtime_ns, path.read_bytes()):
            continue
        if path.suffix == ".jsonl" and path.name != "starts.jsonl":
            lines = [json.loads(line) for line in path.read_text().splitlines()]
            dropped = ("cost", "seconds")
            found[name] = [{k: v for k, v in line.items() if k not in dropped} for line in lines]
        elif path.suffix in (".csv", ".png", ".zip"):
            found[name] = path.read_bytes()
    return found


SECONDS = re.compile(r"\d+(\.\d+)? ?(CPU )?(s|ms|min|h)\b|\d\d:\d\d|\d{4}-\d\d-\d\dT\S+")


class Damager:
    """Makes damaged input, asks, and reports what was taken silently or told wrongly.

    Args:
        folder: for the files.
        draw: of readers, damages and words.
        report: told a kind of fault and its description.
    """

    def __init__(self, folder: Path, draw: random.Random, report: Report):
        self.folder, self.draw, self.report = folder, draw, report
        self.base = folder / "base"
        self.counts: dict[str, int] = {}
        self._intact: dict[str, tuple[Ended, Any]] = {}

    def prepare(self) -> None:
        """Intact input and what is answered to it; a study that has run, a converted table."""
        make_base(self.base)
        for words in (
            "study run tiny.toml --out studies --jobs 1",
            "benchmark query 7 --table official --data data",
        ):
            answer = self._ask(words, self.base)
            assert answer.code == 0, (words, answer)

    def run(self, cases: int) -> None:
        """So many cases: a third of the command line, the others of files."""
        names = list(READERS)
        for number in range(cases):
            seed = self.draw.random()
            draw = random.Random(seed)
            if number % 3 == 2:
                self._words(draw, number)
            else:
                self._file(names[(number - number // 3) % len(names)], draw, number)

    def _ask(self, words: str | list[str], cwd: Path) -> Ended:
        os.environ["OPTNAS_HOME"] = str(cwd / "home")
        answer = Ended(0, "", "")
        parts = words.split(";") if isinstance(words, str) else [words]
        for part in parts:
            split = part.split() if isinstance(part, str) else part
            answer = answered(split, cwd, self.folder, seconds=PATIENCE)
            if answer.code != 0:
                break
        return answer

    def _copy(self, needs: tuple[str, ...], name: str) -> Path:
        cwd = self.folder / name
        cwd.mkdir()
        for need in needs:
            source, target = self.base / need, cwd / need
            target.parent.mkdir(parents=True, exist_ok=True)
            if source.is_dir():
                shutil.copytree(source, target)
            else:
                shutil.copy2(source, target)
        return cwd

    def _file(self, name: str, draw: random.Random, number: int) -> None:
        reader = READERS[name]
        words = draw.choice(reader.words)
        loose = bool(reader.loose) and (not reader.damages or draw.random() < 0.25)
        damage = draw.choice(reader.loose if loose else reader.damages)
        if words not in self._intact:
            cwd = self._copy(reader.needs, f"intact-{len(self._intact)}")
            before = snapshot(cwd)
            self._intact[words] = self._ask(words, cwd), made(cwd, before)
            assert self._intact[words][0].code == 0, (words, self._intact[words][0])
        cwd = self._copy(reader.needs, f"case-{number}")
        file = draw.choice(sorted(cwd.glob(reader.file)))
        damage(file, draw)
        what = f"case {number}: {name}: {file.relative_to(cwd)} {damage.__name__}: optnas {words}"
        before = snapshot(cwd)
        answer = self._ask(words, cwd)
        kind = self._judged(answer, words, cwd, what)
        if kind == "failed":
            self.report("wrong_exit", f"{what}: a failed run: {answer.err}")
        if answer.code == 2 and ";" not in words and self._changed(before, cwd):
            self.report("wrong_exit", f"{what}: refused, and yet changed files")
        intact, left = self._intact[words]
        if kind == "answered":
            told = answer.out + answer.err
            kind = "told"
            if self._same(answer, intact, made(cwd, before), left):
                kind = "same"
            elif not loose and not re.search(rf"{re.escape(file.name)}|unreadable|left out", told):
                kind = "silent"
                self.report("silent", f"{what}: {answer.out[-300:]}")
            shutil.rmtree(cwd) if kind != "silent" else None
        self._count(f"{name}: {kind}")

    def _words(self, draw: random.Random, number: int) -> None:
        words = misspelt(draw.choice(COMMANDS).split(), draw)
        cwd = self._copy(("run", "runs", "h.jsonl", "tiny.toml", "studies"), f"case-{number}")
        what = f"case {number}: optnas {' '.join(words)[:300]!r}"
        before = snapshot(cwd)
        answer = self._ask(words, cwd)
        self._count(f"command line: {self._judged(answer, ' '.join(words), cwd, what)}")
        if answer.code == 2 and self._changed(before, cwd):
            self.report("wrong_exit", f"{what}: refused, and yet changed files")

    def _count(self, key: str) -> None:
        self.counts[key] = self.counts.get(key, 0) + 1

    def _changed(self, before: dict[str, Any], cwd: Path) -> bool:
        ignored = ("home", ".lock")
        now = {k: v for k, v in snapshot(cwd).items() if not k.startswith("home")}
        return {k: v for k, v in before.items() if not k.startswith(ignored)} != now

    def _judged(self, answer: Ended, words: str, cwd: Path, what: str) -> str:
        """Whether a command was answered, refused, or ended as it must not."""
        lines = answer.err.splitlines()
        failed = [json.loads(p.read_text()) for p in cwd.glob("*/result.json") if p.is_file()]
        if answer.code == 0 and "Traceback" not in answer.err:
            return "answered"
        if answer.code == 2 and len(lines) == 1 and lines[0].startswith("optnas: error: "):
            return "refused"
        if answer.code == 3 and any(each["status"] == "diverged" for each in failed):
            return "answered"
        if answer.code == 1 and any(each["status"] == "failed" for each in failed):
            return "failed"
        self.report("wrong_exit", f"{what}: {answer.code}: {answer.err[-600:]!r}")
        return "wrong_exit"

    def _same(self, answer: Ended, intact: Ended, now: Any, then: Any) -> bool:
        shown = [SECONDS.sub("", each.out) for each in (answer, intact)]
        searched = any(name.endswith("epochs.jsonl") for name in then)
        return now == then and (searched or shown[0] == shown[1])
