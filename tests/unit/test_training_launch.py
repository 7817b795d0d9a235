"""Ranks and nodes: how they are started, and what their ends come to."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from retrace.stopping import EXIT_AGAIN
from retrace.training import launch

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("codes", "code"),
    [
        ([EXIT_AGAIN], EXIT_AGAIN),
        ([EXIT_AGAIN, EXIT_AGAIN], EXIT_AGAIN),
        # torchrun ended the second one when the first had stopped.
        ([EXIT_AGAIN, -15], EXIT_AGAIN),
        # SLURM's warning came before they could save.
        ([-10, -10], EXIT_AGAIN),
        ([1], 1),
        ([-15, -15], 1),
        ([EXIT_AGAIN, 1], 1),
        ([-9], 1),
        ([-9, EXIT_AGAIN], 1),
    ],
)
def test_only_ranks_that_all_stopped_are_tried_again(
    codes: list[int], code: int
) -> None:
    assert launch.code_of(codes) == code


def start(
    folder: Path, script: str, *options: str, **environment: str
) -> subprocess.CompletedProcess[str]:
    path = folder / "rank.py"
    path.write_text(script)
    return subprocess.run(
        [sys.executable, "-m", launch.MODULE, *options, str(path), "--word", "hello"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OUT": str(folder), **environment},
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )


STOPPING = "import os, sys; sys.exit(75 if os.environ['RANK'] in '01' else 1)"


@pytest.mark.slow
def test_the_exit_code_of_a_stopped_rank_comes_through(tmp_path: Path) -> None:
    ended = start(tmp_path, STOPPING, "--ranks", "2")
    assert ended.returncode == EXIT_AGAIN, ended.stderr
    ended = start(tmp_path, "raise SystemExit(3)", "--ranks", "1")
    assert ended.returncode == 1


# What srun does on a cluster, with both nodes on this machine.
SRUN = """#!/bin/bash
echo "$@" > "$OUT/asked"
while [ "${1#--}" != "$1" ]; do shift; done
export SLURM_JOB_NODELIST='n[1-2]' SLURM_JOB_ID=$$
SLURM_NODEID=1 "$@" & SLURM_NODEID=0 "$@" &
for node in 1 2; do wait -n || { code=$?; kill $(jobs -p); wait; exit $code; }; done
"""
SCONTROL = "#!/bin/sh\n[ \"$3\" = 'n[1-2]' ] && printf 'localhost\\nother\\n'\n"
MEETING = """
import os, sys, torch
from pathlib import Path
torch.distributed.init_process_group("gloo")
rank = torch.tensor([2.0 ** torch.distributed.get_rank()])
torch.distributed.all_reduce(rank)
torch.distributed.destroy_process_group()
name = f"{os.environ['GROUP_RANK']}-{os.environ['LOCAL_RANK']}"
Path(os.environ["OUT"], name).write_text(f"{rank.item():.0f} {sys.argv[1:]}")
"""


def start_two_nodes(folder: Path, script: str) -> subprocess.CompletedProcess[str]:
    for name, text in (("srun", SRUN), ("scontrol", SCONTROL)):
        path = folder / name
        path.write_text(text)
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
    path = f"{folder}:{os.environ['PATH']}"
    return start(folder, script, "--ranks", "1", "--nodes", "2", PATH=path)


@pytest.mark.slow
def test_two_nodes_meet(tmp_path: Path) -> None:
    ended = start_two_nodes(tmp_path, MEETING)
    assert ended.returncode == 0, ended.stderr
    for name in ("0-0", "1-0"):
        assert (tmp_path / name).read_text() == "3 ['--word', 'hello']"
    asked = (tmp_path / "asked").read_text()
    assert asked.startswith("--nodes=2 --ntasks=2 --ntasks-per-node=1 --kill-on-bad")


def test_trainings_beside_each_other_meet_at_ports_of_their_own() -> None:
    steps = [
        {"SLURM_JOB_ID": str(job), "SLURM_STEP_ID": str(step)}
        for job in range(4_000_000, 4_000_090)
        for step in range(3)
    ]
    ports = [launch.port(step) for step in steps]
    assert len(set(ports)) == len(steps)
    assert set(ports) <= set(launch.PORTS)


DYING = """
import os, sys, torch
if os.environ["GROUP_RANK"] == os.environ["DEAD"]:
    sys.exit(3)
torch.distributed.init_process_group("gloo")
"""


@pytest.mark.long
@pytest.mark.parametrize("dead", [0, 1])
def test_a_node_that_dies_before_the_meeting_ends_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dead: int
) -> None:
    monkeypatch.setenv("DEAD", str(dead))
    assert start_two_nodes(tmp_path, DYING).returncode == 1
