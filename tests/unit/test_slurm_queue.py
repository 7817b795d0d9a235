"""The queue as `retrace status` shows it, on commands that stand in for SLURM's."""

from __future__ import annotations

from pathlib import Path

import pytest

from retrace import slurm_queue
from retrace.commands.status import queue

SQUEUE = """#!/bin/sh
echo asked >> {calls}
test -e {down} && echo "slurm_load_jobs error: Unable to contact" >&2 && exit 1
echo "7|RUNNING|1:00|2:00:00|gpu1|rule_sample-gpu-teacher_sample_traces|{here}"
echo "8|PENDING|0:00|1:00:00|(Resources)|rule_train_student_wildcards_s|{here}"
echo "9|FAILED|0:10|1:00:00|cpu1|rule_judge_traces_wildcards_m_s_0000|{here}"
echo "10|RUNNING|0:10|1:00:00|cpu1|rule_judge_traces|/elsewhere"
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with jobs; `calls` counts how often SLURM was asked."""
    (tmp_path / "bin").mkdir()
    (tmp_path / ".snakemake").mkdir()
    command = tmp_path / "bin/squeue"
    names = {name: tmp_path / name for name in ("calls", "down")}
    command.write_text(SQUEUE.format(here=tmp_path.resolve(), **names))
    command.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:/usr/bin:/bin")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_only_the_jobs_of_this_directory(here: Path) -> None:
    seen = slurm_queue.look(here)
    assert seen is not None
    assert [job.number for job in seen.jobs] == ["7", "8", "9"]
    assert seen.jobs[1].name == "train_student s"
    assert [job.number for job in slurm_queue.failed(seen.jobs)] == ["9"]


def test_slurm_is_asked_once_in_fifteen_seconds(here: Path) -> None:
    for now in (100.0, 105.0, 114.9, 115.1, 120.0):
        slurm_queue.look(here, now)
    assert (here / "calls").read_text().count("asked") == 2


def test_what_was_known_stays_while_slurm_does_not_answer(here: Path) -> None:
    slurm_queue.look(here, 100.0)
    (here / "down").touch()
    seen = slurm_queue.look(here, 200.0)
    assert seen is not None
    assert "Unable to contact" in seen.error
    assert len(seen.jobs) == 3


def test_the_end_of_a_failed_jobs_log_is_shown(here: Path) -> None:
    log = here / "logs/slurm/rule_judge_traces/m_s_0000/9.log"
    log.parent.mkdir(parents=True)
    log.write_text("".join(f"line {n}\n" for n in range(40)) + "out of memory\n")
    told = [one for one in queue() if isinstance(one, str)]
    assert "SLURM job 9" in told[0]
    assert told[-1] == "out of memory"
    assert len(told) == 2 + slurm_queue.TAIL


def test_no_slurm_shows_nothing(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert queue() == []
