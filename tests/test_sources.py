"""Code of others is part of which run it is: files, modules that can be imported, packages."""

from __future__ import annotations

import hashlib
import importlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cases import interrupted_run
from tiny import TINY

from optnas.base.errors import UserError
from optnas.base.toml import dump_toml, read_toml
from optnas.search import api
from optnas.search.settings import sources as module
from optnas.search.settings.model import Settings
from optnas.search.settings.sources import sources, spelled_alike

CODE = "import torch\nclass Mine(torch.optim.SGD):\n    pass\n"
LR = {"arch_optimizer.lr": 0.01}
Write = Callable[..., None]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Write]:
    """Writes files of a folder that modules are imported from, as another process finds them."""
    monkeypatch.chdir(tmp_path)
    before = set(sys.modules)

    def forget() -> None:
        for name in set(sys.modules) - before:
            if (getattr(sys.modules[name], "__file__", None) or "").startswith(str(tmp_path)):
                del sys.modules[name]
        importlib.invalidate_caches()
        module._versions.cache_clear()

    def write(path: str, text: str = CODE, *, found: str = ".") -> None:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_text(text)
        monkeypatch.syspath_prepend(tmp_path / found)
        forget()

    yield write
    forget()


def settings(name: str) -> Settings:
    chosen = {"weight_optimizer.name": name, "weight_optimizer.lr": 0.1}
    return api.settings_of({k: v for k, v in TINY.items() if "weight_opt" not in k} | chosen)


def sha256(path: str) -> str:
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def test_an_edited_module_is_another_run(write: Write) -> None:
    """It was the same run, and went on with the new code; an edited file never did."""
    write("of_mine.py")
    before = settings("of_mine:Mine")
    assert before.sources == {"of_mine": sha256("of_mine.py")}
    assert settings("of_mine:Mine").hash == before.hash
    run = interrupted_run(Path("run"), 0, **{"arch_optimizer.name": "of_mine:Mine"}, **LR)
    write("of_mine.py", CODE + "# edited\n")
    assert settings("of_mine:Mine").hash != before.hash
    with pytest.raises(UserError, match="of_mine was edited after the run was started; undo the"):
        api.resume(run)
    write("of_mine.py")
    assert settings("of_mine:Mine").hash == before.hash
    document = read_toml(run / "config.toml")
    del document["identity"]["sources"]
    (run / "config.toml").write_text(dump_toml(document))
    with pytest.raises(UserError, match=r"of_mine is not recorded as .*; start anew: optnas"):
        api.resume(run)


def test_the_module_that_defines_the_object_counts_too(write: Write) -> None:
    write("of_mine/inner.py")
    write("of_mine/__init__.py", "from of_mine.inner import Mine\n")
    assert settings("of_mine:Mine").sources == {
        "of_mine": sha256("of_mine/__init__.py"),
        "of_mine.inner": sha256("of_mine/inner.py"),
    }


@pytest.mark.thorough
def test_of_an_installed_package_the_version_counts(write: Write) -> None:
    place = "lib/site-packages"
    facts = "Metadata-Version: 2.1\nName: of-others\nVersion: {}\n"
    write(f"{place}/of_others/__init__.py", found=place)
    write(f"{place}/of_others-1.0.dist-info/top_level.txt", "of_others\n", found=place)
    write(f"{place}/of_others-1.0.dist-info/METADATA", facts.format("1.0"), found=place)
    before = settings("of_others:Mine")
    assert before.sources == {"package of-others": "1.0"}
    run = interrupted_run(Path("run"), 0, **{"arch_optimizer.name": "of_others:Mine"}, **LR)
    write(f"{place}/of_others-1.0.dist-info/METADATA", facts.format("1.1"), found=place)
    assert settings("of_others:Mine").hash != before.hash
    with pytest.raises(UserError, match=r"package of-others was 1\.0 .*; install it \(1\.1 is\)"):
        api.resume(run)


@pytest.mark.parametrize("name", ["torch.optim:SGD", "optnas.optimizers.muon:Muon", "SGD", "lion"])
def test_what_is_ours_or_torchs_has_no_digest(name: str) -> None:
    importlib.import_module(name.partition(":")[0] if ":" in name else "torch")
    assert sources([{"name": name}]) == {}


def test_one_file_is_one_run_however_its_path_is_written(write: Write) -> None:
    write("more/mine.py")
    ways = ["./more/mine.py:Mine", "more/mine.py:Mine", "./more//./mine.py:Mine"]
    found = [settings(way) for way in ways]
    assert {each.weight_optimizer.name for each in found} == {ways[0]}
    assert len({each.hash for each in found}) == 1
    assert found[0].sources == {"./more/mine.py": sha256("more/mine.py")}
    # A run that says it otherwise goes on as it began.
    document = found[0].document()
    recorded = Settings.recorded(
        {
            **document,
            "weight_optimizer": {**document["weight_optimizer"], "name": ways[1]},
            "identity": {
                **document["identity"],
                "sources": {"more/mine.py": sha256("more/mine.py")},
            },
        }
    )
    assert recorded.hash != found[0].hash
    Path("run").mkdir()
    Path("run/config.toml").write_text(dump_toml(recorded.document()))
    assert api.resume("run")["hash"] == recorded.hash


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ("mine.py:Mine", "./mine.py:Mine"),
        ("../mine.py:Mine", "../mine.py:Mine"),
        ("/a/mine.py:Mine", "/a/mine.py:Mine"),
        ("optnas-objects/EG-0123456789ab.py:EG", "optnas-objects/EG-0123456789ab.py:EG"),
        ("./optnas-objects/EG-0123456789ab.py:EG", "optnas-objects/EG-0123456789ab.py:EG"),
        ("mine:Mine", "mine:Mine"),
        ("http://host.py:80", "http://host.py:80"),
        (["a.py:b"], ["./a.py:b"]),
        ({"name": "a.py:b-c", "x": {"name": "SGD"}}, {"name": "./a.py:b-c", "x": {"name": "SGD"}}),
        (3, 3),
    ],
)
def test_a_spelling(value: Any, told: Any) -> None:
    assert spelled_alike(value) == told
    assert spelled_alike(told) == told
