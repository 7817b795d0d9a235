"""What a training says of itself while it runs, and when it does no more."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from retrace import cli
from retrace.locking import Lock
from retrace.training import follow

SAID = {"steps": 10, "loss": 1.25, "tokens_per_second": 2000.0, "seconds_left": 90.0}


def test_status_shows_trainings_by_what_became_of_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    runs = {
        "killed": {"step": 3},
        "running": {"step": 4},
        "stopped": {"step": 5, "stopped": "received SIGTERM"},
        "done": {"step": 10},
    }
    for name, told in runs.items():
        follow.note(Path("checkpoints/pupil", name), "pupil", SAID | told)
    lock = Lock(Path("checkpoints/pupil/running", follow.LOCK))
    lock.acquire(0)
    assert cli.main(["status", "--once", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    states = {row["run"]: row["state"] for row in rows if "run" in row}
    assert states == {
        "killed": "killed",
        "running": "running",
        "stopped": "received SIGTERM",
    }
    assert cli.main(["status", "--once", "--all"]) == 0
    shown = capsys.readouterr().out
    assert "4/10" in shown
    assert "2,000" in shown
    assert "0:01:30" in shown
    assert "10/10" in shown
    lock.release()
    assert cli.main(["status", str(tmp_path), "--once", "--json"]) == 0
    assert "pupil" not in capsys.readouterr().out
