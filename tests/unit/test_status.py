"""`retrace status` and `retrace journals`, on journals written by the sampler."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from retrace import cli
from retrace.journal import Journal


def write(path: Path, answers: int, total: int, outcome: str | None) -> None:
    with Journal(path) as journal:
        write_into(journal, answers, total)
        if outcome is not None:
            journal.note("end", outcome=outcome, done=answers, failed=0)


def write_into(journal: Journal, answers: int, total: int) -> None:
    journal.sign({"engine": "test"})
    about = {"model": "m", "set": "s", "prices": {"completion": 1e6}}
    journal.note("run", total=total, known=0, gpus=0, **about)
    for number in range(answers):
        usage = {"prompt_tokens": 1, "completion_tokens": 30}
        answer = {"text": "t", "finish_reason": "stop", "usage": usage}
        journal.append(f"{number:032x}", answer, {"time": time.time()})
    journal.note("failure", kind="timeout", message="slow")


def test_status_tells_running_killed_and_finished_shards(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path / "m/s/0000.jsonl", 4, 4, "done")
    write(tmp_path / "m/s/0001.jsonl", 1, 4, None)
    with Journal(tmp_path / "m/s/0002.jsonl") as running:
        write_into(running, 2, 4)
        assert cli.main(["status", str(tmp_path), "--once", "--json"]) == 0
        rows = json.loads(capsys.readouterr().out)
    told = {row["shard"]: row for row in rows}
    assert [(row["shard"], row["state"]) for row in rows] == [
        ("0001", "killed"),
        ("0002", "running"),
        ("", "1 running"),
    ]
    assert (told["0002"]["done"], told["0002"]["total"]) == (2, 4)
    assert told["0002"]["tokens_per_second"] > 0
    assert told["0002"]["dollars"] == pytest.approx(60)
    assert told["0002"]["projected_dollars"] == pytest.approx(120)
    assert told[""]["failures"] == {"timeout": 3}
    assert told[""]["dollars"] == pytest.approx(210)


def test_status_prints_a_table(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", "150")
    write(tmp_path / "m/s/0000.jsonl", 4, 4, "done")
    assert cli.main(["status", str(tmp_path), "--once", "--all"]) == 0
    out = capsys.readouterr().out
    assert "4/4" in out
    assert "1 timeout" in out
    assert cli.main(["status", "--json"]) == 2


def test_journals_are_listed_and_compacted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path / "m/s/0000.jsonl", 4, 4, "done")
    write(tmp_path / "m/s/0001.jsonl", 2, 4, None)
    assert cli.main(["journals", str(tmp_path), "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["answers"] for row in rows] == [4, 2]
    assert cli.main(["journals", str(tmp_path), "--compact", "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert (row["model"], row["kept"], row["journals"]) == ("m", 4, 2)
    with Journal(tmp_path / "m/s/0000.jsonl"):
        assert cli.main(["journals", str(tmp_path), "--compact"]) == 1
    assert "held by process" in capsys.readouterr().err
