"""A whole SLURM cluster on this machine: two nodes of 8 pretended H100s and a CPU node.

    python tests/cluster/loopback.py start FOLDER [--accounting]
    python tests/cluster/loopback.py stop FOLDER

The controller, the node daemons and munge are the real ones. They listen on 127.0.0.1,
keep everything below FOLDER, and are ended by their pid files. Root only: node daemons
start jobs as other users. A graphics card is a copy of /dev/null, which is all that
SLURM needs to count and bind it.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

COMMANDS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue")
ACCOUNTING = ("slurmdbd", "mariadbd", "mariadb", "mariadb-install-db")
PACKAGES = (
    "apt-get install slurmctld slurmd slurm-client munge slurmdbd"
    " mariadb-server-core mariadb-client-core"
)
# Where SLURM's commands look when the environment is not handed on to them.
LINK = Path("/etc/slurm/slurm.conf")
NODES = {"gpu1": 8, "gpu2": 8, "cpu1": 0}
CGROUPS = Path("/sys/fs/cgroup")


def unavailable(accounting: bool = False) -> str:
    """Why no cluster can be started here; empty if one can."""
    if os.geteuid():
        return "a SLURM cluster can only be started as root"
    wanted = COMMANDS + ACCOUNTING * accounting
    missing = [name for name in wanted if _find(name) is None]
    if missing:
        return f"SLURM is not installed ({', '.join(missing)} not found): {PACKAGES}"
    if LINK.exists() and not LINK.is_symlink():
        return f"{LINK} belongs to another cluster"
    return ""


class Cluster:
    """The cluster of a folder; `ports` is the first of 20 ports of loopback."""

    def __init__(self, folder: Path, ports: int = 27000) -> None:
        self.folder = folder.resolve()
        self.ports = ports
        self.config = self.folder / "slurm.conf"
        self.host = socket.gethostname().partition(".")[0]

    def __enter__(self) -> Cluster:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self, accounting: bool = False) -> Cluster:
        try:
            self._start(accounting)
        except BaseException:
            self.stop()
            raise
        return self

    def _start(self, accounting: bool) -> None:
        spools = (f"spool/{node}" for node in NODES)
        for name in ("state", "log", "run", "dev", *spools):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        for folder in (self.folder, self.folder / "run"):
            folder.chmod(0o755)
        self._write_files(accounting)
        LINK.parent.mkdir(exist_ok=True)
        LINK.unlink(missing_ok=True)
        LINK.symlink_to(self.config)
        self._munge()
        if accounting:
            self._database()
            self.start_accounting()
            self.account("add", "cluster", "loopback")
            self.account("add", "account", "llm", "Description=t", "Organization=t")
            self.account("add", "user", "root", "Account=llm")
        self.start_controller()
        for node in NODES:
            self.start_node(node)
        self.wait(lambda: set(self.states().values()) == {"idle"}, "idle nodes")

    def stop(self) -> None:
        """Cancel every job, end every daemon, remove what was left elsewhere."""
        with contextlib.suppress(subprocess.SubprocessError):
            self.run("scancel", "-u", "root", timeout=5)
            self.wait(lambda: not self.queue(), "empty queue", seconds=10)
        run = self.folder / "run"
        for name in (*(f"slurmd-{node}" for node in NODES), "slurmctld"):
            self.end(run / f"{name}.pid")
        for name in ("slurmdbd", "mariadbd", "munged"):
            self.end(run / f"{name}.pid")
        if LINK.is_symlink() and LINK.readlink() == self.config:
            LINK.unlink()
        for group in CGROUPS.glob("*/slurm_*"):
            if group.name.removeprefix("slurm_") in NODES:
                for below, _, _ in os.walk(group, topdown=False):
                    with contextlib.suppress(OSError):
                        os.rmdir(below)

    # --- Daemons, one at a time: tests end and start them

    def start_controller(self) -> None:
        self._daemon("slurmctld", "-f", str(self.config))

    def start_node(self, node: str) -> None:
        self._daemon("slurmd", "-N", node, "-f", str(self.config))

    def start_accounting(self) -> None:
        self._daemon("slurmdbd", SLURM_CONF=str(self.folder / "slurmdbd.conf"))
        list_clusters = ("sacctmgr", "-n", "list", "cluster")
        self.wait(lambda: self._answers(*list_clusters), "slurmdbd")

    def stop_daemon(self, name: str) -> None:
        self.end(self.folder / "run" / f"{name}.pid")

    # --- Looking

    def states(self) -> dict[str, str]:
        """The state of each node."""
        shown = self.run("sinfo", "-h", "-N", "-o", "%N %T").split()
        return dict(zip(shown[::2], shown[1::2], strict=True))

    def queue(self, columns: str = "%i") -> list[str]:
        """The jobs that wait or run, in squeue's columns."""
        return self.run("squeue", "-h", "-o", columns).splitlines()

    def account(self, *words: str) -> str:
        return self.run("sacctmgr", "-i", *words)

    def run(self, *command: str, timeout: float = 30) -> str:
        done = subprocess.run(
            command,
            env=os.environ | {"SLURM_CONF": str(self.config)},
            capture_output=True,
            text=True,
            timeout=timeout,
        )
        if done.returncode:
            raise subprocess.CalledProcessError(
                done.returncode, command, done.stdout, done.stderr
            )
        return done.stdout

    def wait(self, is_so: Callable[[], object], what: str, seconds: float = 60) -> None:
        until = time.monotonic() + seconds
        while True:
            with contextlib.suppress(subprocess.CalledProcessError):
                if is_so():
                    return
            if time.monotonic() > until:
                raise TimeoutError(f"no {what} in {seconds} s: see {self.folder}/log")
            time.sleep(0.1)

    # --- Within

    def _answers(self, *command: str) -> bool:
        self.run(*command)
        return True

    def _daemon(self, *command: str, **environment: str) -> None:
        program = _find(command[0])
        assert program, command
        subprocess.run(
            [program, *command[1:]],
            env=os.environ | {"SLURM_CONF": str(self.config)} | environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            stdin=subprocess.DEVNULL,
            check=True,
        )

    def _munge(self) -> None:
        key = self.folder / "munge.key"
        key.unlink(missing_ok=True)
        key.write_bytes(secrets.token_bytes(128))
        key.chmod(0o400)
        run = self.folder / "run"
        self._daemon(
            *("munged", "--force", f"--key-file={key}"),
            f"--socket={run}/munge.sock",
            f"--pid-file={run}/munged.pid",
            f"--seed-file={run}/munged.seed",
            f"--log-file={self.folder}/log/munged.log",
        )

    def _database(self) -> None:
        data, sock = self.folder / "db", self.folder / "run" / "mariadb.sock"
        data.mkdir(exist_ok=True)
        log = open(self.folder / "log/mariadb.log", "ab")  # noqa: SIM115 - handed on
        subprocess.run(
            [
                *("mariadb-install-db", "--no-defaults", "--user=root"),
                *(f"--datadir={data}", "--skip-test-db"),
                "--auth-root-authentication-method=normal",
            ],
            stdout=log,
            stderr=log,
            check=True,
        )
        subprocess.Popen(
            [
                *(str(_find("mariadbd")), "--no-defaults", "--user=root"),
                *(f"--datadir={data}", f"--socket={sock}"),
                *("--bind-address=127.0.0.1", f"--port={self.ports + 8}"),
                f"--pid-file={self.folder}/run/mariadbd.pid",
                *("--innodb-buffer-pool-size=64M", "--innodb-lock-wait-timeout=900"),
                "--innodb-flush-log-at-trx-commit=0",
            ],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        log.close()
        ask = ("mariadb", "--no-defaults", "-uroot", "-S", str(sock), "-e")
        self.wait(lambda: self._answers(*ask, "select 1"), "database")
        self.run(
            *ask,
            "create database slurm_acct;"
            "create user 'slurm'@'127.0.0.1' identified by 'pw';"
            "create user 'slurm'@'localhost' identified by 'pw';"
            "grant all on slurm_acct.* to 'slurm'@'127.0.0.1';"
            "grant all on slurm_acct.* to 'slurm'@'localhost';",
        )

    def end(self, pid_file: Path) -> None:
        """End the process of a pid file, at once if it must be."""
        with contextlib.suppress(FileNotFoundError, ValueError, ProcessLookupError):
            pid = int(pid_file.read_text())
            os.kill(pid, signal.SIGTERM)
            until = time.monotonic() + 10
            while _is_running(pid):
                if time.monotonic() > until:
                    os.kill(pid, signal.SIGKILL)
                time.sleep(0.05)
        pid_file.unlink(missing_ok=True)

    def _write_files(self, accounting: bool) -> None:
        for number in range(8):
            card = self.folder / f"dev/nvidia{number}"
            if not card.exists():
                os.mknod(card, 0o666 | 0o020000, os.makedev(1, 3))
        values = {
            "dir": self.folder,
            "host": self.host,
            "port": self.ports,
            "tracking": "cgroup" if _has_cgroups() else "linuxproc",
            "task": "cgroup" if _has_cgroups() else "none",
            "gather": "" if _has_cgroups() else "JobAcctGatherParams=OverMemoryKill",
            "plugin": "cgroup/v1" if _has_cgroups() else "disabled",
            "accounting": (WITH_ACCOUNTING if accounting else WITHOUT).format(
                dir=self.folder, port=self.ports + 9
            ),
        }
        self.config.write_text(
            SLURM.format(**values) + "\n".join(self._nodes()) + PARTITIONS
        )
        (self.folder / "cgroup.conf").write_text(CGROUP.format(**values))
        (self.folder / "gres.conf").write_text(GRES.format(**values))
        database = self.folder / "slurmdbd.conf"
        database.write_text(
            SLURMDBD.format(dir=self.folder, port=self.ports + 9, sql=self.ports + 8)
        )
        database.chmod(0o600)

    def _nodes(self) -> Sequence[str]:
        return [
            f"NodeName={name} NodeHostname={self.host} NodeAddr=127.0.0.1"
            f" Port={self.ports + 11 + number} CPUs=64 Boards=1 SocketsPerBoard=2"
            " CoresPerSocket=32 ThreadsPerCore=1 RealMemory=1000000 State=UNKNOWN"
            + (f" Gres=gpu:h100:{cards}" if cards else "")
            for number, (name, cards) in enumerate(NODES.items())
        ]


SLURM = """\
ClusterName=loopback
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={dir}/run/munge.sock
CredType=cred/munge
SlurmctldPort={port}
SlurmctldPidFile={dir}/run/slurmctld.pid
SlurmdPidFile={dir}/run/slurmd-%n.pid
StateSaveLocation={dir}/state
SlurmdSpoolDir={dir}/spool/%n
SlurmctldLogFile={dir}/log/slurmctld.log
SlurmdLogFile={dir}/log/slurmd-%n.log
SlurmctldDebug=info
SlurmdDebug=info
ProctrackType=proctrack/{tracking}
TaskPlugin=task/{task}
{gather}
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SchedulerType=sched/backfill
SchedulerParameters=sched_min_interval=100000,batch_sched_delay=0,bf_interval=2
# Nodes may claim more processors and memory than this machine has.
SlurmdParameters=config_overrides
GresTypes=gpu
ReturnToService=2
SlurmdTimeout=10
InactiveLimit=0
KillWait=5
CompleteWait=0
MinJobAge=3600
JobRequeue=1
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=1
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
PropagateResourceLimits=NONE
{accounting}
"""
WITHOUT = "AccountingStorageType=accounting_storage/none"
WITH_ACCOUNTING = """\
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=127.0.0.1
AccountingStoragePort={port}
AccountingStoragePass={dir}/run/munge.sock
AccountingStorageTRES=gres/gpu,gres/gpu:h100
AccountingStorageEnforce=associations"""
PARTITIONS = """
PartitionName=cpu Nodes=cpu1 Default=YES MaxTime=1-00:00:00 DefMemPerCPU=1000 \
PriorityTier=10 PreemptMode=off
PartitionName=gpu Nodes=gpu[1-2] MaxTime=2-00:00:00 DefMemPerCPU=2000 \
PriorityTier=10 PreemptMode=off
PartitionName=scavenge Nodes=gpu[1-2] MaxTime=2-00:00:00 DefMemPerCPU=2000 \
PriorityTier=1 PreemptMode=requeue
"""
CGROUP = """\
CgroupAutomount=no
CgroupPlugin={plugin}
CgroupMountpoint=/sys/fs/cgroup
ConstrainRAMSpace=yes
ConstrainCores=no
ConstrainDevices=no
"""
GRES = """\
AutoDetect=off
NodeName=gpu[1-2] Name=gpu Type=h100 File={dir}/dev/nvidia[0-7]
"""
SLURMDBD = """\
AuthType=auth/munge
AuthInfo=socket={dir}/run/munge.sock
DbdHost=localhost
DbdAddr=127.0.0.1
DbdPort={port}
SlurmUser=root
LogFile={dir}/log/slurmdbd.log
PidFile={dir}/run/slurmdbd.pid
StorageType=accounting_storage/mysql
StorageHost=127.0.0.1
StoragePort={sql}
StorageUser=slurm
StoragePass=pw
StorageLoc=slurm_acct
"""


def _find(name: str) -> str | None:
    return shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")


def _has_cgroups() -> bool:
    """Whether the first kind of control groups is here, which can kill for memory."""
    return (CGROUPS / "memory/cgroup.procs").exists() and (
        CGROUPS / "freezer/cgroup.procs"
    ).exists()


def _is_running(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("action", choices=("start", "stop"))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--accounting", action="store_true")
    options = parser.parse_args()
    cluster = Cluster(options.folder)
    if options.action == "stop":
        cluster.stop()
        return 0
    reason = unavailable(options.accounting)
    if reason:
        sys.exit(reason)
    cluster.start(options.accounting)
    print(cluster.run("sinfo"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
