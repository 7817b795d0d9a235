"""What SLURM says about its partitions, accounts and jobs, through its own commands."""

from __future__ import annotations

import os
import re
import subprocess
import time

from retrace.stopping import LIMIT_VARIABLE

TIMEOUT = 30.0
JOB = "SLURM_JOB_ID"
# The SLURM job whose end stands in LIMIT_VARIABLE.
TOLD = "RETRACE_STOP_AT_JOB"


class SlurmError(RuntimeError):
    """A command of SLURM failed, or said what was not understood."""


def ask(*command: str) -> str:
    """What a command of SLURM prints.

    Raises:
        SlurmError: the command is not there, fails, or says nothing for 30 s.
    """
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=TIMEOUT, check=False
        )
    except FileNotFoundError:
        raise SlurmError(f"{command[0]} not found") from None
    except subprocess.TimeoutExpired:
        raise SlurmError(f"{command[0]} does not answer") from None
    if done.returncode:
        said = " ".join((done.stderr or done.stdout).split())
        raise SlurmError(f"`{' '.join(command)}`: {said}")
    return done.stdout


def tell_end_of_job(tries: int = 3) -> None:
    """Inside a SLURM job, write when SLURM ends it to where every script looks.

    Newer SLURM says it in the environment; older is asked, once for each job. If it
    does not answer, no limit is known, and what a job did not finish is done again.
    """
    job = os.environ.get(JOB)
    if not job or os.environ.get(TOLD) == job:
        return
    end = os.environ.get("SLURM_JOB_END_TIME")
    for attempt in range(tries):
        if end:
            break
        try:
            told = ask("scontrol", "-o", "show", "job", job)
        except SlurmError:
            time.sleep(2 * attempt + 1)
            continue
        found = re.search(r" EndTime=(\S+)", told)
        end = found and _seconds(found[1])
        break
    if end:
        os.environ[LIMIT_VARIABLE] = end
        os.environ[TOLD] = job


def _seconds(moment: str) -> str | None:
    """A local time such as 2026-11-22T08:52:48 in seconds of the epoch."""
    try:
        return str(time.mktime(time.strptime(moment, "%Y-%m-%dT%H:%M:%S")))
    except ValueError:
        return None
