"""What jobs asked for against what they used."""

from __future__ import annotations

from pathlib import Path

import pytest

from retrace import efficiency
from retrace.commands.efficiency import run as command
from retrace.efficiency import Asked

HEAD = (
    "s\th:m:s\tmax_rss\tmax_vms\tmax_uss\tmax_pss\tio_in\tio_out\tmean_load\tcpu_time"
)


def write(path: Path, seconds: str, memory: str, cpu: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    row = [seconds, "0:00:00", memory, "0", "0", "0", "0", "0", "0", cpu]
    path.write_text(HEAD + "\n" + "\t".join(row) + "\n")


def asked(shard: int, **changes: int) -> Asked:
    told = {"cpus": 8, "mem_mb": 32_000, "minutes": 120, "gpus": 8} | changes
    return Asked("sample_traces", f"logs/sample_traces/{shard}.tsv", **told)


def test_a_row_holds_the_largest_job_and_suggests_what_to_ask_for(
    tmp_path: Path,
) -> None:
    write(tmp_path / "logs/sample_traces/0.tsv", "600", "4000", "1200")
    write(tmp_path / "logs/sample_traces/1.tsv", "1200", "2000", "1200")
    (row,) = efficiency.table([asked(0), asked(1), asked(2)], tmp_path)
    assert (row.jobs, row.minutes, row.mem_mb, row.cpus) == (2, 20, 4000, 2)
    assert row.gpu_hours == pytest.approx(8 * 1800 / 3600)
    assert row.suggestion == "sample_traces:mem_mb=6300 sample_traces:runtime=40"


def test_what_is_about_right_stays(tmp_path: Path) -> None:
    write(tmp_path / "logs/sample_traces/0.tsv", "3600", "20000", "3600")
    (row,) = efficiency.table([asked(0)], tmp_path)
    assert row.suggestion == ""


def test_a_job_too_quick_to_be_measured(tmp_path: Path) -> None:
    write(tmp_path / "logs/sample_traces/0.tsv", "0.4", "NA", "NA")
    (row,) = efficiency.table([asked(0)], tmp_path)
    assert (row.mem_mb, row.cpus) == (0, 0)
    assert "sample_traces:mem_mb=1000" in row.suggestion


def test_requests_of_earlier_runs_are_kept(tmp_path: Path) -> None:
    file = tmp_path / "logs/asked.jsonl"
    efficiency.note(file, [asked(0), asked(1)])
    efficiency.note(file, [asked(1, mem_mb=64_000)])
    assert [one.mem_mb for one in efficiency.noted(file)] == [32_000, 64_000]


def test_the_command_says_when_there_is_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import argparse

    monkeypatch.chdir(tmp_path)
    assert command(argparse.Namespace(asked=Path("none"), json=False)) == 1
    assert "no job of a batch system" in capsys.readouterr().err
