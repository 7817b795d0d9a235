"""Starts the ranks of a training: torchrun on one node, srun and torchrun on several.

    python -m retrace.training.launch --ranks 8 [--nodes 2] SCRIPT ARGUMENT...

torchrun tells every failure as 1; here the ranks' own exit code comes through where it
means to try again. A rank that dies ends the others within half a minute.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from types import FrameType
from typing import Any

from retrace.stopping import EXIT_AGAIN

MODULE = "retrace.training.launch"
# Where nodes meet: below the ports that kernels give away, another for each job step.
PORTS = range(20_000, 30_000)
# Set on every node, by the node that started them.
STARTED = "RETRACE_STARTED_BY_SRUN"
# Seconds that ranks have after SIGTERM; SLURM gives its jobs about as many.
GRACE = 30
# oneDNN keeps a compiled kernel for each length of a sequence, by the gigabyte.
CACHES = {"ONEDNN_PRIMITIVE_CACHE_CAPACITY": "64", "LRU_CACHE_CAPACITY": "16"}


def main(arguments: Sequence[str] | None = None) -> int:
    options = parse(arguments)
    if options.nodes > 1 and STARTED not in os.environ:
        again = list(sys.argv[1:] if arguments is None else arguments)
        return subprocess.call(
            [*srun(options.nodes), sys.executable, "-m", MODULE, *again],
            env={**os.environ, STARTED: "1"},
        )
    return run([*rendezvous(options, os.environ), options.script, *options.arguments])


def srun(nodes: int) -> list[str]:
    """One task a node; when one fails, the others end as well."""
    return [
        "srun",
        f"--nodes={nodes}",
        f"--ntasks={nodes}",
        "--ntasks-per-node=1",
        "--kill-on-bad-exit=1",
    ]


def rendezvous(
    options: argparse.Namespace, environment: Mapping[str, str]
) -> list[str]:
    """torchrun's arguments about ranks, nodes and where they meet."""
    found = [
        f"--nproc-per-node={options.ranks}",
        f"--shutdown-timeout={GRACE}",
    ]
    if options.nodes == 1:
        return [*found, "--standalone"]
    hosts = subprocess.run(
        ["scontrol", "show", "hostnames", environment["SLURM_JOB_NODELIST"]],
        capture_output=True,
        text=True,
        check=True,
    )
    return [
        *found,
        f"--nnodes={options.nodes}",
        f"--node-rank={environment['SLURM_NODEID']}",
        f"--master-addr={hosts.stdout.split()[0]}",
        f"--master-port={port(environment)}",
    ]


def port(environment: Mapping[str, str]) -> int:
    """The same on all nodes of a job step, so that trainings never meet one another."""
    job, step = (
        int(environment.get(name, 0)) for name in ("SLURM_JOB_ID", "SLURM_STEP_ID")
    )
    # 101 has no divisor in common with the number of ports: jobs in a row all differ.
    return PORTS[(101 * job + step) % len(PORTS)]


def run(arguments: Sequence[str]) -> int:
    """Run torchrun in this process; returns what the ranks' ends come to."""
    # SLURM's early warning goes to the ranks, which save and stop; torchrun waits.
    signal.signal(signal.SIGUSR1, _pass_on)
    from torch.distributed import run as torchrun
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

    untyped: Any = torchrun
    for name, value in CACHES.items():
        os.environ.setdefault(name, value)
    try:
        untyped.run(untyped.parse_args(list(arguments)))
    except SignalException:
        return EXIT_AGAIN
    except ChildFailedError as error:
        return code_of([failure.exitcode for failure in error.failures.values()])
    return 0


def code_of(codes: Sequence[int]) -> int:
    """The exit code for those of ranks: again, only if none of them failed."""
    if -signal.SIGKILL in codes:
        print(
            "a rank was killed: by the kernel, if the node ran out of memory"
            " (`retrace plan` says how much a training needs), or by hand",
            file=sys.stderr,
        )
    # A warning that came before a rank could save ended it; torchrun ended the others
    # when the first one had stopped.
    again = {EXIT_AGAIN, -signal.SIGUSR1}
    stopped = again | {-signal.SIGTERM}
    return EXIT_AGAIN if again & set(codes) and stopped >= set(codes) else 1


def _pass_on(number: int, _frame: FrameType | None) -> None:
    import psutil

    for child in psutil.Process().children():
        child.send_signal(number)


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ranks", type=int, required=True, help="of a node")
    parser.add_argument("--nodes", type=int, default=1)
    parser.add_argument("script")
    parser.add_argument("arguments", nargs=argparse.REMAINDER)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
