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
        ([1], 1),
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
SRUN = """#!/bin/sh
echo "$@" > "$OUT/asked"
while [ "${1#--}" != "$1" ]; do shift; done
export SLURM_JOB_NODELIST='n[1-2]'
SLURM_NODEID=1 "$@" & SLURM_NODEID=0 "$@"; first=$?; wait $!; exit $first
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


@pytest.mark.slow
def test_two_nodes_meet(tmp_path: Path) -> None:
    for name, text in (("srun", SRUN), ("scontrol", SCONTROL)):
        path = tmp_path / name
        path.write_text(text)
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
    ended = start(
        tmp_path,
        MEETING,
        *("--ranks", "1", "--nodes", "2"),
        PATH=f"{tmp_path}:{os.environ['PATH']}",
    )
    assert ended.returncode == 0, ended.stderr
    for name in ("0-0", "1-0"):
        assert (tmp_path / name).read_text() == "3 ['--word', 'hello']"
    asked = (tmp_path / "asked").read_text()
    assert asked.startswith("--nodes=2 --ntasks=2 --ntasks-per-node=1 --kill-on-bad")
