"""What must hold before a version leaves the house, a line per check (docs/releasing.md).

    python scripts/release.py                            all of it, without a network
    python scripts/release.py --without clean tests      while a change is being made
    python scripts/release.py --fresh                    dependencies from the index

The wheel is built from the source distribution, installed into an environment of its own and
tested there: the tests are those of the source distribution, whose `src` is taken away first. The
exit code is 1 if a check failed. Both files are left in `dist/`.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
import tomllib
import zipfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PIP = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
OFFLINE = ("--no-deps", "--no-index", "--no-build-isolation")
SEARCH = (
    *("data.name=digits", "data.train_size=64", "data.valid_size=64", "search.epochs=1"),
    *("search.batch_size=32", "supernet.channels=4", "measures.sharpness.batch_size=32"),
)


class FailedError(Exception):
    """A check that did not hold, and what is wrong."""


def demand(holds: object, reason: str) -> None:
    """Fail a check unless something holds."""
    if not holds:
        raise FailedError(reason)


def answer(words: Iterable[object], cwd: Path = ROOT) -> str:
    """What a program prints; a failure of the check if it fails.

    It sees nothing of the checkout's `src`, and no data.
    """
    without = ("PYTHONPATH", "OPTNAS_DATA")
    variables = {key: value for key, value in os.environ.items() if key not in without}
    words = [str(word) for word in words]
    done = subprocess.run(
        words,
        cwd=cwd,
        env=variables | {"OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    last = "\n".join(done.stdout.splitlines()[-20:])
    demand(done.returncode == 0, f"{' '.join(words)} exits with {done.returncode}\n{last}")
    return done.stdout.strip()


def empty_environment(home: Path) -> list[object]:
    """A new environment, and the words of a command that installs into it."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", home], check=True)
    return [*PIP, "--python", home / "bin" / "python", "install"]


def environment(home: Path, wheels: Sequence[Path]) -> Path:
    """A new environment with some wheels, which sees the dependencies of this Python.

    Args:
        home: where it is made.
        wheels: to be installed.

    Returns:
        The folder of its programs.
    """
    install = empty_environment(home)
    answer([*install, *OFFLINE, *wheels])
    # A path in a .pth file is searched, but .pth files in it are not read: not the checkout's.
    (site,) = home.glob("lib/python*/site-packages")
    searched = [path for path in sys.path if Path(path).name == "site-packages"]
    (site / "dependencies.pth").write_text("\n".join(searched))
    return home / "bin"


def fresh_environment(home: Path, wheel: Path) -> Path:
    """A new environment with a wheel and all its tests need, from the index as in the Makefile.

    Args:
        home: where it is made.
        wheel: to be installed.

    Returns:
        The folder of its programs.
    """
    install = empty_environment(home)
    pinned = (ROOT / "constraints.txt").read_text().splitlines()
    (torch,) = (line for line in pinned if line.startswith("torch=="))
    answer([*install, torch])
    rest = home / "constraints.txt"
    rest.write_text("\n".join(line for line in pinned if line != torch))
    answer([*install, "-c", rest, f"{wheel}[dev]"])
    return home / "bin"


@dataclass(frozen=True)
class Release:
    """A version of the package and the files made of it.

    Attributes:
        root: the checkout.
        dist: where wheel and source distribution are put.
        work: an empty folder, for all else.
        fresh: whether the dependencies come from the index.
    """

    root: Path
    dist: Path
    work: Path
    fresh: bool = False

    @property
    def version(self) -> str:
        """As pyproject.toml has it."""
        project = tomllib.loads((self.root / "pyproject.toml").read_text())["project"]
        return str(project["version"])

    @property
    def wheel(self) -> Path:
        """The wheel in ``dist``."""
        return self.dist / f"optnas-{self.version}-py3-none-any.whl"

    @property
    def sdist(self) -> Path:
        """The source distribution in ``dist``."""
        return self.dist / f"optnas-{self.version}.tar.gz"

    @property
    def sources(self) -> Path:
        """The unpacked source distribution."""
        return self.work / f"optnas-{self.version}"

    @property
    def programs(self) -> Path:
        """Those of the new environment."""
        return self.work / "home" / "bin"

    def clean(self) -> str:
        """Nothing is in the tree that the commit lacks."""
        changed = answer(["git", "status", "--porcelain"], self.root)
        demand(not changed, f"the tree has changes:\n{changed}")
        return f"commit {answer(['git', 'rev-parse', '--short', 'HEAD'], self.root)}"

    def versions(self) -> str:
        """CITATION.cff has the version of pyproject.toml."""
        found = re.findall(r"(?m)^version: (\S+)$", (self.root / "CITATION.cff").read_text())
        demand(found == [self.version], f"CITATION.cff says {found}, pyproject.toml {self.version}")
        return self.version

    def changelog(self) -> str:
        """The version has a section with a date, and says which numbers move."""
        text = (self.root / "CHANGELOG.md").read_text()
        sections = re.split(r"(?m)^## ", text)[1:]
        head, _, body = sections[0].partition("\n") if sections else ("", "", "")
        dated = re.fullmatch(rf"{re.escape(self.version)} \(\d{{4}}-\d\d-\d\d\)", head)
        demand(dated, f"CHANGELOG.md begins with '{head}', not with '{self.version} (DATE)'")
        demand(re.search(r"(?m)^### Numbers", body), f"'{head}' has no section Numbers")
        return head

    def build(self) -> str:
        """The source distribution, and from it, unpacked, the wheel."""
        build = [sys.executable, "-m", "hatchling", "build", "-d", self.dist]
        answer([*build, "-t", "sdist"], self.root)
        with tarfile.open(self.sdist) as archive:
            archive.extractall(self.work, filter="data")
        answer([*build, "-t", "wheel"], self.sources)
        return ", ".join(
            f"{path.name} {path.stat().st_size / 1e6:.1f} MB" for path in (self.wheel, self.sdist)
        )

    def metadata(self) -> str:
        """What an index would refuse: unknown fields and classifiers, a text it cannot show."""
        from packaging.metadata import Metadata
        from trove_classifiers import classifiers

        with zipfile.ZipFile(self.wheel) as wheel:
            (name,) = (each for each in wheel.namelist() if each.endswith(".dist-info/METADATA"))
            read = Metadata.from_email(wheel.read(name), validate=True)
        demand(str(read.version) == self.version, f"the wheel is of version {read.version}")
        unknown = set(read.classifiers or ()) - classifiers
        demand(not unknown, f"no classifiers: {sorted(unknown)}")
        demand(read.license_expression and read.license_files, "no licence")
        demand(read.description_content_type == "text/markdown", "the text is no Markdown")
        return f"metadata {read.metadata_version}, {read.license_expression}"

    def contents(self) -> str:
        """The wheel has every file of the package and no other, the sources all of the commit."""
        package = self.sources / "src"
        expected = {str(each.relative_to(package)) for each in package.rglob("*") if each.is_file()}
        with zipfile.ZipFile(self.wheel) as wheel:
            names = {each for each in wheel.namelist() if ".dist-info/" not in each}
            about = {each.partition("/")[2] for each in wheel.namelist() if ".dist-info/" in each}
        differ = sorted(names ^ expected)
        demand(not differ, f"of the wheel or the sources alone: {differ[:5]}")
        demand("licenses/LICENSE" in about, "the wheel has no licence")
        committed = answer(["git", "ls-files"], self.root).splitlines()
        lacking = [each for each in committed if not (self.sources / each).exists()]
        demand(not lacking, f"the source distribution lacks {lacking[:5]}")
        return f"{len(names)} files in the wheel"

    def install(self) -> str:
        """Into an environment of its own, where it is the wheel that is imported."""
        home = self.programs.parent
        if self.fresh:
            fresh_environment(home, self.wheel)
        else:
            environment(home, [self.wheel])
        python = self.programs / "python"
        place = answer([python, "-c", "import optnas; print(optnas.__file__)"], self.work)
        demand(Path(place).is_relative_to(home), f"what is imported is {place}")
        told = answer([self.programs / "optnas", "--version"], self.work)
        demand(told == f"optnas {self.version}", f"optnas --version says '{told}'")
        return told

    def doctor(self) -> str:
        """`optnas doctor` finds nothing wrong."""
        return answer([self.programs / "optnas", "doctor"], self.work).splitlines()[-1]

    def search(self) -> str:
        """A search of an epoch."""
        words = ["search", *SEARCH, "--out", self.work / "run"]
        answer([self.programs / "optnas", *words], self.work)
        return answer([self.programs / "optnas", "list", self.work / "run"]).splitlines()[-1]

    def tests(self) -> str:
        """The fast tests of the source distribution, on the wheel: its `src` is taken away."""
        shutil.rmtree(self.sources / "src", ignore_errors=True)
        tier = "not slow and not thorough and not data and not checkout"
        fast = ["-q", "-p", "no:cacheprovider", "-m", tier]
        return answer([self.programs / "python", "-m", "pytest", *fast], self.sources).splitlines()[
            -1
        ]


CHECKS: tuple[Callable[[Release], str], ...] = (
    *(Release.clean, Release.versions, Release.changelog, Release.build, Release.metadata),
    *(Release.contents, Release.install, Release.doctor, Release.search, Release.tests),
)
NAMES = [check.__name__ for check in CHECKS]


def checked(release: Release, without: Iterable[str] = ()) -> bool:
    """Print a line per check, and whether all hold."""
    held = True
    for check in CHECKS:
        if check.__name__ in without:
            continue
        began = time.monotonic()
        try:
            state, seen = "pass", check(release)
        except (FailedError, OSError, subprocess.CalledProcessError) as error:
            state, seen, held = "fail", str(error), False
        print(f"{state}  {check.__name__:<9} {time.monotonic() - began:6.1f} s  {seen}", flush=True)
    return held


def main() -> None:
    """Check, and exit with 1 if something does not hold."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--without", nargs="+", default=[], choices=NAMES, help="leave these out")
    parser.add_argument("--fresh", action="store_true", help="dependencies from the index")
    parser.add_argument("--dist", type=Path, default=ROOT / "dist", help="where both files are put")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as work:
        release = Release(ROOT, chosen.dist.resolve(), Path(work), chosen.fresh)
        sys.exit(not checked(release, chosen.without))


if __name__ == "__main__":
    main()
