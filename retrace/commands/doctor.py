"""`retrace doctor`: whether this machine, or a cluster's nodes, can run a recipe."""

from __future__ import annotations

import argparse
import json
import shlex
import socket
import subprocess
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from retrace.doctor import Line
    from retrace.site import Site

SITE = Path("profiles/slurm/site.yaml")
MEM_MB = 4000
MINUTES = 5


def add_parser(subparsers: Any) -> None:
    parser = subparsers.add_parser(
        "doctor", help="can this machine, or cluster, run it"
    )
    parser.add_argument(
        "--profile", choices=["slurm"], help="ask a node of each partition as well"
    )
    parser.add_argument(
        "--environment",
        type=Path,
        help="the recipe's environment file (default: that of config.yaml)",
    )
    parser.add_argument(
        "--wait", type=float, default=300.0, help="seconds for a job to start and end"
    )
    parser.add_argument("--promised", type=int, default=0, help=argparse.SUPPRESS)
    parser.add_argument("--json", action="store_true", help=argparse.SUPPRESS)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from retrace.doctor import as_text, examine

    requirements = args.environment or _environment()
    lines = examine(requirements, Path.cwd(), args.promised)
    where = socket.gethostname()
    if args.json:
        print(json.dumps({"where": where, "lines": [asdict(line) for line in lines]}))
        return 0
    found = [(where, lines)]
    if args.profile:
        found += _cluster(requirements, args.wait)
    for where, lines in found:
        for text in as_text(lines, where):
            print(text)
    return 0 if all(line.ok for _, lines in found for line in lines) else 1


def _environment() -> Path:
    from retrace.config import merged

    config = Path("config.yaml")
    return Path(merged([config])["environment"])


def _cluster(requirements: Path, wait: float) -> list[tuple[str, list[Line]]]:
    """What SLURM and a node of each partition say."""
    from retrace import slurm
    from retrace.doctor import Line
    from retrace.site import read_site, unanswered

    site = read_site(SITE)
    requests = _requests(site)
    problems = [
        f"{SITE} does not say {question}" for question in unanswered(site, True)
    ]
    problems = problems or list(slurm.objections(requests, _status_command()))
    if problems:
        return [("SLURM", [Line(False, "settings", text) for text in problems])]
    found = [("SLURM", [Line(True, "settings", "account and partitions are there")])]
    for request in requests:
        found.append(_probe(request, site, requirements, wait))
    return found


def _requests(site: Site) -> list[Any]:
    from retrace.site import NONE, UNTYPED
    from retrace.slurm import Request

    account = None if site.account == NONE else site.account
    kind = None if site.gpu.type == UNTYPED else site.gpu.type
    name = "probe"
    return [
        Request(name, site.cpu.partition, account, 1, MEM_MB, MINUTES),
        Request(name, site.gpu.partition, account, 1, MEM_MB, MINUTES, 1, kind),
    ]


def _status_command() -> str:
    import yaml

    profile = yaml.safe_load(SITE.with_name("config.yaml").read_text("utf-8"))
    return str(profile.get("slurm-status-command", "sacct"))


def _probe(
    request: Any, site: Site, requirements: Path, wait: float
) -> tuple[str, list[Line]]:
    """Run this command in a short job, and read what it says of its node."""
    from retrace.doctor import Line
    from retrace.slurm import SlurmError, ask

    where = f"partition {request.partition}"
    with tempfile.TemporaryDirectory(prefix=".doctor-", dir=Path.cwd()) as folder:
        told = Path(folder) / "out"
        command = _sbatch(request, told, site, requirements)
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, timeout=wait, check=False
            )
        except subprocess.TimeoutExpired as expired:
            job = (expired.stdout or b"").decode().strip().partition(";")[0]
            try:
                ask("scancel", job)
            except SlurmError as error:
                job += f", and could not be cancelled: {error}"
            text = (
                f"no node within {wait:.0f} s (job {job}): try again, or --wait longer"
            )
            return where, [Line(False, "job", text)]
        output = told.read_text("utf-8", "replace") if told.is_file() else ""
    for line in output.splitlines():
        if line.startswith('{"where"'):
            answer = json.loads(line)
            lines = [Line(**one) for one in answer["lines"]]
            return f"{where}, node {answer['where']}", lines
    said = " ".join((done.stderr + output).split())[-500:]
    text = f"the job said nothing of itself: is {sys.executable} on the nodes? {said}"
    return where, [Line(False, "job", text)]


def _sbatch(request: Any, told: Path, site: Site, requirements: Path) -> list[str]:
    look = [sys.executable, "-m", "retrace.cli", "doctor", "--json"]
    look += ["--environment", str(requirements), "--promised", str(request.gpus)]
    if site.scratch:
        look = ["env", f"RETRACE_SCRATCH={site.scratch}", *look]
    command = ["sbatch", "--wait", "--parsable", f"--output={told}", "--export=ALL"]
    command += [f"--partition={request.partition}", f"--time={request.minutes}"]
    command += [f"--mem={request.mem_mb}", "--ntasks=1", "--no-requeue"]
    command += [f"--account={request.account}"] * bool(request.account)
    if request.gpus:
        kind = f"{request.gpu_type}:" if request.gpu_type else ""
        command += [f"--gpus={kind}{request.gpus}", "--nodes=1"]
    return [*command, f"--wrap={shlex.join(look)}"]
