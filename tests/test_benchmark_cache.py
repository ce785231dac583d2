from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest

from optnas.base import cache as kept
from optnas.spaces.tables import cache
from optnas.spaces.tables.table import Accuracies


def test_the_cache_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/caches")
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.setenv("OPTNAS_HOME", "/mine")
    assert kept.cache_folder() == Path("/mine")
    monkeypatch.setenv("OPTNAS_HOME", "")
    assert kept.cache_folder() == Path("/caches/optnas")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert kept.cache_folder() == Path("/home/me/.cache/optnas")


Convert = Callable[[], Mapping[str, Accuracies]]
TRUTH = {"cifar10": np.array([1.5, 2.5, 99.0])}


def from_cache(convert: Convert = lambda: TRUTH, checksum: str = "abc") -> list[float]:
    return cache.cached("toy", checksum, ("cifar10",), 3, convert)["cifar10"].tolist()


def test_a_second_load_converts_nothing_and_new_data_does(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("OPTNAS_HOME", str(tmp_path))
    assert from_cache() == [1.5, 2.5, 99.0]
    assert [path.suffix for path in (tmp_path / "tables").iterdir()] == [".npz"]
    assert from_cache(lambda: pytest.fail("converted again")) == [1.5, 2.5, 99.0]
    assert from_cache(lambda: {"cifar10": np.zeros(3)}, checksum="other") == [0, 0, 0]


@pytest.mark.slow
def test_any_damage_to_the_cache_is_repaired(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("OPTNAS_HOME", str(tmp_path))
    from_cache()
    (path,) = (tmp_path / "tables").iterdir()
    whole = path.read_bytes()
    damaged = [whole[:length] for length in range(0, len(whole), 7)]
    for place in range(len(whole)):
        for bits in (0x01, 0xFF):
            damaged.append(whole[:place] + bytes([whole[place] ^ bits]) + whole[place + 1 :])
    for content in damaged:
        path.write_bytes(content)
        assert from_cache() == [1.5, 2.5, 99.0]
    for wrong in (np.zeros(2), np.zeros(3, dtype=np.float32)):
        np.savez(path, cifar10=wrong)
        assert from_cache() == [1.5, 2.5, 99.0]
    assert from_cache(lambda: pytest.fail("not repaired")) == [1.5, 2.5, 99.0]


def test_a_cache_that_cannot_be_written_is_done_without(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("OPTNAS_HOME", str(tmp_path / "file"))
    assert from_cache() == [1.5, 2.5, 99.0]
    monkeypatch.setenv("OPTNAS_HOME", str(tmp_path))

    def full_disk(file: object, **arrays: object) -> None:
        raise OSError(28, "no space left")

    monkeypatch.setattr(kept.np, "savez", full_disk)
    assert from_cache() == [1.5, 2.5, 99.0]
    assert list((tmp_path / "tables").iterdir()) == []
