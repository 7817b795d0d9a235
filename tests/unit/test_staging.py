"""Weights on a node's own disk."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from retrace import staging


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    folder = tmp_path / "shared" / "model"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    blob = tmp_path / "shared" / "blob"
    blob.write_bytes(b"weights")
    # As in the hub's cache.
    (folder / "model.safetensors").symlink_to("../blob")
    return folder


@pytest.fixture
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(staging.VARIABLE, str(tmp_path / "scratch"))
    return tmp_path / "scratch"


def test_without_scratch_weights_stay_where_they_are(
    weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(staging.VARIABLE, raising=False)
    assert staging.staged(str(weights)) == str(weights)


def test_many_at_once_make_one_copy(weights: Path, scratch: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        found = set(pool.map(staging.staged, [str(weights)] * 8))
    (copy,) = found
    assert Path(copy).is_relative_to(scratch)
    assert (Path(copy) / "model.safetensors").read_bytes() == b"weights"
    assert not (Path(copy) / "model.safetensors").is_symlink()
    copies = [path for path in Path(copy).parent.iterdir() if path.is_dir()]
    assert copies == [Path(copy)]


def test_other_weights_in_the_same_place_are_another_copy(
    weights: Path, scratch: Path
) -> None:
    first = staging.staged(str(weights))
    (weights.parent / "blob").write_bytes(b"trained again")
    second = staging.staged(str(weights))
    assert second != first
    assert (Path(second) / "model.safetensors").read_bytes() == b"trained again"


def test_caches_of_compilers_go_there_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in (staging.VARIABLE, *staging.CACHES):
        monkeypatch.setenv(name, "before")
    monkeypatch.delenv("TRITON_CACHE_DIR")
    staging.use(str(tmp_path))
    told = Path(os.environ["TRITON_CACHE_DIR"])
    assert told.is_relative_to(tmp_path)
    assert os.environ["VLLM_CACHE_ROOT"] == "before"


def test_a_full_or_forbidden_scratch_is_no_failure(
    weights: Path, scratch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(staging, "SPARE", 1e18)
    assert staging.staged(str(weights)) == str(weights)
    monkeypatch.setenv(staging.VARIABLE, "/proc/nowhere")
    assert staging.staged(str(weights)) == str(weights)
