"""Which checkpoint a run goes on from."""

from __future__ import annotations

from pathlib import Path

import pytest

from retrace.training import checkpoints
from retrace.training.settings import TrainingError


def write(directory: Path, step: int, ranks: int = 1, whole: bool = True) -> Path:
    checkpoint = directory / f"checkpoint-{step}"
    (checkpoint / "global_step").mkdir(parents=True)
    (checkpoint / "global_step/shard.pt").write_bytes(b"x" * 100)
    (checkpoint / "trainer_state.json").write_text("{}")
    if whole:
        checkpoints.mark(checkpoint, step, ranks)
    return checkpoint


def test_the_newest_whole_checkpoint_is_gone_on_from(tmp_path: Path) -> None:
    assert checkpoints.latest(tmp_path, 1) is None
    write(tmp_path, 9)
    write(tmp_path, 10)
    write(tmp_path, 11, whole=False)
    assert checkpoints.latest(tmp_path, 1) == tmp_path / "checkpoint-10"


def test_a_checkpoint_that_lost_a_file_or_a_byte_is_not_whole(tmp_path: Path) -> None:
    write(tmp_path, 1)
    shard = write(tmp_path, 2) / "global_step/shard.pt"
    shard.write_bytes(b"x" * 99)
    assert checkpoints.latest(tmp_path, 1) == tmp_path / "checkpoint-1"
    shard.unlink()
    assert checkpoints.latest(tmp_path, 1) == tmp_path / "checkpoint-1"


def test_a_marker_that_is_cut_and_a_stray_folder_count_for_nothing(
    tmp_path: Path,
) -> None:
    write(tmp_path, 1)
    marker = write(tmp_path, 2) / checkpoints.MARKER
    (tmp_path / "checkpoint-best").mkdir()
    for text in (marker.read_text()[:-9], "", "{}", "null"):
        marker.write_text(text)
        assert checkpoints.latest(tmp_path, 1) == tmp_path / "checkpoint-1"
    checkpoints.prune(tmp_path, keep=2)
    assert not marker.parent.exists()
    assert (tmp_path / "checkpoint-best").exists()


def test_old_and_torn_checkpoints_are_pruned(tmp_path: Path) -> None:
    for step in (5, 10, 15):
        write(tmp_path, step)
    write(tmp_path, 12, whole=False)
    checkpoints.prune(tmp_path, keep=2)
    left = [path.name for path in checkpoints.by_step(tmp_path)]
    assert left == ["checkpoint-10", "checkpoint-15"]


def test_another_number_of_ranks_is_refused_with_a_way_on(tmp_path: Path) -> None:
    write(tmp_path, 3, ranks=8)
    with pytest.raises(TrainingError, match=r"(?s)by 8 ranks.*with 4.*reshape") as told:
        checkpoints.latest(tmp_path, 4)
    assert str(tmp_path / "checkpoint-3") in str(told.value)
    (tmp_path / "checkpoint-3" / checkpoints.UNIVERSAL).write_text("universal")
    assert checkpoints.latest(tmp_path, 4) == tmp_path / "checkpoint-3"
