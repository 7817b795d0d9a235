"""What SLURM says about its partitions, accounts and jobs, through its own commands."""

from __future__ import annotations

import getpass
import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from retrace.stopping import LIMIT_VARIABLE

TIMEOUT = 30.0
JOB = "SLURM_JOB_ID"
# The SLURM job whose end stands in LIMIT_VARIABLE.
TOLD = "RETRACE_STOP_AT_JOB"
PROCESSORS = "RETRACE_PROCESSORS"
COMMANDS = ("sbatch", "srun", "squeue", "scancel", "sinfo", "scontrol", "sacct")
DISABLED = "accounting storage is disabled"


class SlurmError(RuntimeError):
    """A command of SLURM failed, or said what was not understood."""


@dataclass(frozen=True)
class Request:
    """What a SLURM job asks for; `name` is a rule or a group of jobs."""

    name: str
    partition: str | None
    account: str | None
    cpus: int
    mem_mb: int
    minutes: int
    gpus: int = 0
    gpu_type: str | None = None


@dataclass(frozen=True)
class Nodes:
    """Nodes of a kind in a partition; no `minutes` where time has no limit."""

    partition: str
    is_up: bool
    cpus: int
    mem_mb: int
    minutes: int | None
    gpus: dict[str, int]
    """GPUs of a node by their type, which is empty where SLURM knows none."""


def objections(requests: Iterable[Request], status_command: str) -> Iterator[str]:
    """Why SLURM would refuse these jobs or lose sight of them, a line each.

    Args:
        status_command: what the plugin asks for states of jobs, `sacct` or `squeue`.
    """
    missing = [name for name in COMMANDS if shutil.which(name) is None]
    if missing:
        yield (
            f"SLURM's {', '.join(missing)} not found: log in to a submit node, or load"
            " its module, or leave out `--profile slurm`"
        )
        return
    try:
        nodes = all_nodes()
    except SlurmError as error:
        yield f"SLURM does not say which partitions it has ({error}): is it up?"
        return
    requests = list(requests)
    yield from _about_accounts({one.account for one in requests}, status_command)
    told = set()
    for request in requests:
        # One without a partition gets it from the plugin.
        if request.partition is None:
            continue
        line = _refusal(request, nodes)
        if line and line not in told:
            told.add(line)
            yield line


def all_nodes() -> list[Nodes]:
    """Every kind of node of every partition.

    Raises:
        SlurmError: SLURM does not answer.
    """
    found = []
    for line in ask("sinfo", "-h", "-e", "-o", "%R|%a|%c|%m|%l|%G").splitlines():
        name, state, cpus, memory, limit, gres = line.strip().split("|")
        found.append(
            Nodes(
                name,
                state == "up",
                int(cpus.rstrip("+")),
                int(memory.rstrip("+")),
                minutes_of(limit),
                _gpus(gres),
            )
        )
    return found


def minutes_of(limit: str) -> int | None:
    """Minutes of a SLURM time such as 2-00:00:00 or 30:00; None for no limit."""
    found = re.fullmatch(r"(?:(\d+)-)?(\d+)(?::(\d+))?(?::(\d+))?", limit)
    if not found:
        return None
    days, *parts = (int(part) if part else None for part in found.groups())
    if days is not None or parts[2] is not None:
        hours, minutes = parts[0] or 0, parts[1] or 0
    else:
        hours, minutes = 0, parts[0] or 0
    return (days or 0) * 1440 + hours * 60 + minutes


def accounts() -> list[str]:
    """The accounts that this user may charge; none where SLURM keeps no accounts.

    Raises:
        SlurmError: the accounting database does not answer.
    """
    user = f"user={getpass.getuser()}"
    try:
        told = ask("sacctmgr", "-nP", "show", "associations", user, "format=account")
    except SlurmError as error:
        if DISABLED in str(error).lower() or "not running a supported" in str(error):
            return []
        raise
    return sorted({line for line in told.splitlines() if line})


def keeps_accounts() -> bool:
    """Whether `sacct` answers; without it only `squeue` knows a job's state."""
    try:
        ask("sacct", "-n", "-X", "-S", "now-1minute")
    except SlurmError as error:
        return DISABLED not in str(error).lower()
    return True


def _about_accounts(wanted: set[str | None], status_command: str) -> Iterator[str]:
    if not keeps_accounts():
        if status_command != "squeue":
            yield (
                "this cluster has no accounting, so `sacct` cannot say when a job ends:"
                " write `slurm-status-command: squeue` into profiles/slurm/config.yaml"
            )
        return
    try:
        allowed = accounts()
    except SlurmError as error:
        yield f"SLURM's accounts cannot be looked up ({error}): try again later"
        return
    lowered = {name.lower() for name in allowed}
    for name in sorted(filter(None, wanted)):
        if allowed and name.lower() not in lowered:
            yield (
                f"account {name} is not yours: profiles/slurm/site.yaml may say"
                f" {', '.join(allowed)}"
            )


def _refusal(request: Request, nodes: list[Nodes]) -> str | None:
    """Why a job cannot run in its partition, with what to change; None if it can."""
    kinds = [kind for kind in nodes if kind.partition == request.partition]
    names = ", ".join(sorted({kind.partition for kind in nodes}))
    if not kinds:
        return (
            f"there is no partition {request.partition}: profiles/slurm/site.yaml may"
            f" say {names}"
        )
    where = f"partition {request.partition}"
    if not any(kind.is_up for kind in kinds):
        return f"{where} is down: ask the administrators, or name another one"
    if request.gpus:
        kinds = [kind for kind in kinds if _has_gpus(kind, request)]
        if not kinds:
            return _about_gpus(request, nodes)
    limits = [kind.minutes for kind in kinds]
    if None not in limits and request.minutes > max(filter(None, limits)):
        return (
            f"{request.name} asks for {request.minutes} minutes, {where} allows"
            f" {max(filter(None, limits))}: lower `minutes` in"
            " profiles/slurm/site.yaml, or its number in `group-components`"
        )
    if not any(kind.mem_mb >= request.mem_mb for kind in kinds):
        return (
            f"{request.name} asks for {request.mem_mb} MB, the nodes of {where} have"
            f" {max(kind.mem_mb for kind in kinds)}: lower memory_gb or"
            " memory_gb_per_gpu in profiles/slurm/site.yaml"
        )
    if not any(kind.cpus >= request.cpus for kind in kinds):
        return (
            f"{request.name} asks for {request.cpus} processors, the nodes of {where}"
            f" have {max(kind.cpus for kind in kinds)}: lower cpus_per_gpu in"
            f" profiles/slurm/site.yaml, or say `--set-threads {request.name}=N`"
        )
    return None


def _has_gpus(kind: Nodes, request: Request) -> bool:
    if request.gpu_type:
        return kind.gpus.get(request.gpu_type, 0) >= request.gpus
    return sum(kind.gpus.values()) >= request.gpus


def _about_gpus(request: Request, nodes: list[Nodes]) -> str:
    wanted = f"{request.gpus} {request.gpu_type or ''} GPUs".replace("  ", " ")
    here = [kind for kind in nodes if kind.partition == request.partition]
    there = sorted({kind.partition for kind in nodes if _has_gpus(kind, request)})
    have = "; ".join(
        ", ".join(f"{count} {name}".strip() for name, count in kind.gpus.items())
        or "none"
        for kind in here
    )
    cure = (
        f"gpu.partition may be {', '.join(there)}"
        if there
        else "no partition has them: correct gpu.type, or use fewer GPUs for a model"
    )
    return (
        f"{request.name} asks for {wanted} on a node, those of partition"
        f" {request.partition} have {have}: in profiles/slurm/site.yaml {cure}"
    )


def _gpus(gres: str) -> dict[str, int]:
    """GPUs by type from a column such as `gpu:h100:8(S:0-1),shard:4`."""
    found: dict[str, int] = {}
    for part in re.split(r",(?![^(]*\))", gres):
        told = re.fullmatch(r"gpu(?::([^:()]+?))?:(\d+)(?:\(.*\))?", part)
        if told:
            found[told[1] or ""] = found.get(told[1] or "", 0) + int(told[2])
    return found


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


def tell_processors() -> None:
    """Inside a SLURM job, hand its processors on to an `srun` that a script starts.

    SLURM gives such a step one processor unless it is told, and the plugin takes out of
    the environment what would tell it.
    """
    processors = os.environ.get("SLURM_CPUS_PER_TASK") or os.environ.get(PROCESSORS)
    if processors:
        os.environ[PROCESSORS] = os.environ["SRUN_CPUS_PER_TASK"] = processors


def _seconds(moment: str) -> str | None:
    """A local time such as 2026-11-22T08:52:48 in seconds of the epoch."""
    try:
        return str(time.mktime(time.strptime(moment, "%Y-%m-%dT%H:%M:%S")))
    except ValueError:
        return None
