"""The pool: modes, refusals, faults from outside, large inputs."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest

from retrace.sandbox import encoding, landlock, linux, seccomp, syscalls
from retrace.sandbox.diagnosis import explain_refusal
from retrace.sandbox.model import (
    Limits,
    Mode,
    Program,
    SandboxError,
    SandboxUnavailableError,
    Settings,
    Stop,
)
from retrace.sandbox.pool import Pool

DOUBLE = Program("print(int(input()) * 2)")
THREADS = Program("""
import os, threading, time
threading.stack_size(32768)
started = 0
try:
    while started < 300:
        threading.Thread(target=time.sleep, args=(100,), daemon=True).start()
        started += 1
except RuntimeError:
    pass
print(started)
""")
WAIT = Program("import time\nprint(input(), flush=True)\ntime.sleep(1)\nprint('done')")


def family(pid: int) -> set[int]:
    """The living descendants of a process."""
    parents = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if fields[0] != "Z":
            parents[int(path.parent.name)] = int(fields[1])
    found, grown = {pid}, True
    while grown:
        more = {child for child, parent in parents.items() if parent in found}
        grown = not more <= found
        found |= more
    return found - {pid}


def wait_until(condition: object, seconds: float = 20.0) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():  # type: ignore[operator]
            return True
        time.sleep(0.02)
    return False


def worker_of(pool: Pool) -> int:
    return pool._all[0].pid or 0


# --- What runs ------------------------------------------------------------------------


@pytest.mark.parametrize("mode", [Mode.NS_LANDLOCK, Mode.NS, Mode.LANDLOCK])
def test_every_mode_runs_programs_and_passes_its_own_attacks(mode: Mode) -> None:
    with Pool(Settings(mode=mode)) as pool, pool.open() as session:
        outputs = [session.run(DOUBLE, b"%d\n" % n).output for n in range(5)]
        assert outputs == [b"%d\n" % (2 * n) for n in range(5)]
        assert pool.report.mode is mode
        assert len(pool.report.self_test) >= 8
        assert set(pool.report.self_test.values()) == {"contained"}
        if mode.namespaces or os.geteuid() == 0:
            threads = int(session.run(THREADS, b"").output)
            assert 0 < threads <= Limits().threads


def test_an_old_landlock_is_enough() -> None:
    settings = Settings(mode=Mode.LANDLOCK, max_landlock_abi=1)
    with Pool(settings) as pool, pool.open() as session:
        assert pool.report.landlock_abi == 1
        assert session.run(DOUBLE, b"4\n").output == b"8\n"


def test_programs_do_not_see_each_other() -> None:
    leave = Program("import builtins, math\nbuiltins.x = math.x = 1\nprint('left')")
    look = Program("import math\nprint(hasattr(math, 'x'), 'x' in dir(__builtins__))")
    with Pool() as pool, pool.open() as session:
        assert session.run(leave, b"").output == b"left\n"
        assert session.run(leave, b"").output == b"left\n"
        assert session.run(look, b"").output == b"False False\n"


def test_a_run_is_repeatable() -> None:
    source = (
        "import random, numpy\n"
        "print(random.random(), numpy.random.rand(), list({'a', 'b', 'c', 'd'}))"
    )
    outputs = set()
    for _ in range(2):
        with Pool(Settings(modules=("numpy",))) as pool, pool.open() as session:
            outputs.add(session.run(Program(source), b"").output)
    assert len(outputs) == 1


def test_memory_is_counted_beyond_what_modules_take() -> None:
    take = Program("x = bytearray(int(input()) << 20)\nprint(len(x) >> 20)")
    limits = Limits(memory_mb=200)
    with Pool(Settings(modules=("numpy",))) as pool, pool.open() as session:
        assert session.run(take, b"150\n", limits).output == b"150\n"
        assert session.run(take, b"250\n", limits).output == b""


# --- Where nothing confines -----------------------------------------------------------

# Takes system calls away the way a container's filter does, then starts a pool.
_WITHOUT = """
import struct, sys
from retrace.sandbox import linux, seccomp, syscalls
from retrace.sandbox.model import SandboxUnavailableError
from retrace.sandbox.pool import Pool
table = syscalls.table()
code = struct.pack("<HBBI", 0x20, 0, 0, 0)
for name in sys.argv[1:]:
    code += struct.pack("<HBBI", 0x15, 0, 1, table[name])
    code += struct.pack("<HBBI", 0x06, 0, 0, 0x50001)
code += struct.pack("<HBBI", 0x06, 0, 0, 0x7FFF0000)
linux.no_new_privileges()
seccomp.install(code)
try:
    with Pool() as pool:
        print(pool.report.mode)
except SandboxUnavailableError as error:
    print("refused", error)
"""


def start_without(*calls: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", _WITHOUT, *calls],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    return done.stdout


@pytest.mark.slow
def test_the_strongest_mode_that_works_is_chosen() -> None:
    assert start_without().strip() == "ns+landlock"
    assert start_without("landlock_create_ruleset").strip() == "ns"
    assert start_without("unshare").strip() == "landlock"


def test_without_any_mechanism_the_pool_refuses_and_says_what_would_help() -> None:
    said = start_without("unshare", "landlock_create_ruleset")
    assert said.startswith("refused")
    for part in (
        "ns+landlock: PermissionError: [Errno 1] unshare",
        "ns: PermissionError: [Errno 1] unshare",
        "landlock: OSError: this kernel has no Landlock",
        "An administrator can enable one of:",
        "user.max_user_namespaces",
        "'bwrap'",
        "RETRACE_ALLOW_UNSANDBOXED=1",
    ):
        assert part in said


def test_without_seccomp_the_pool_refuses() -> None:
    assert start_without("seccomp", "prctl").startswith("refused")


def test_the_refusal_names_the_switch_that_is_off(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = {"/proc/sys/user/max_user_namespaces": "0"}
    monkeypatch.setattr("retrace.sandbox.diagnosis._read", found.get)
    text = explain_refusal({"ns": "OSError: no"}, "V")
    assert "max_user_namespaces is 0" in text
    found = {"/sys/kernel/security/lsm": "capability,yama"}
    monkeypatch.setattr("retrace.sandbox.diagnosis._read", found.get)
    assert "lsm=landlock,capability,yama" in explain_refusal({}, "V")


def test_a_module_that_is_not_installed_is_named() -> None:
    settings = Settings(modules=("no_such_module",))
    with pytest.raises(SandboxUnavailableError, match="'no_such_module' is offered"):
        Pool(settings).__enter__()


def test_a_missing_interpreter_or_bwrap_is_a_clear_refusal() -> None:
    with pytest.raises(SandboxUnavailableError, match="can't start a worker"):
        Pool(Settings(mode=Mode.BWRAP, bwrap="/no/such/bwrap")).__enter__()


# --- Faults from outside --------------------------------------------------------------


def test_a_killed_worker_is_replaced_and_the_test_run_again() -> None:
    with Pool() as pool, pool.open() as session:
        assert session.run(DOUBLE, b"1\n").output == b"2\n"
        before = worker_of(pool)
        os.kill(before, signal.SIGKILL)
        assert session.run(DOUBLE, b"2\n").output == b"4\n"
        assert worker_of(pool) != before
    assert wait_until(lambda: not family(os.getpid()) & {before})


@pytest.mark.slow
@pytest.mark.parametrize("depth", ["first", "server", "jail"])
def test_killing_any_process_during_a_run_gives_no_wrong_output(depth: str) -> None:
    with Pool() as pool, pool.open() as session:
        session.run(DOUBLE, b"1\n")
        first = worker_of(pool)

        def strike() -> None:
            wait_until(lambda: len(family(first)) == 2)
            server, jail = sorted(family(first))
            chosen = {"first": first, "server": server, "jail": jail}
            os.kill(chosen[depth], signal.SIGKILL)

        thread = threading.Thread(target=strike)
        thread.start()
        found = session.run(WAIT, b"hello\n", Limits(idle_s=10))
        thread.join()
        assert found.output == b"hello\ndone\n"
        assert found.stop is Stop.EXITED
        assert session.run(DOUBLE, b"3\n").output == b"6\n"


@pytest.mark.slow
def test_a_worker_that_dies_twice_is_an_error_and_the_pool_goes_on() -> None:
    stop = threading.Event()
    with Pool() as pool, pool.open() as session:
        session.run(DOUBLE, b"1\n")

        def strike() -> None:
            while not stop.is_set():
                pid = worker_of(pool)
                if pid and len(family(pid)) >= 2:
                    with suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
                time.sleep(0.01)

        thread = threading.Thread(target=strike)
        thread.start()
        with pytest.raises(SandboxError):
            session.run(WAIT, b"hello\n", Limits(idle_s=10))
        stop.set()
        thread.join()
        assert session.run(DOUBLE, b"3\n").output == b"6\n"


@pytest.mark.slow
def test_a_suspended_job_is_not_taken_for_an_idle_program() -> None:
    limits = Limits(idle_s=1.2, wall_s=1.5)
    with Pool() as pool, pool.open() as session:
        session.run(DOUBLE, b"1\n")
        first = worker_of(pool)

        def suspend() -> None:
            wait_until(lambda: len(family(first)) == 2)
            stopped = family(first)
            for pid in stopped:
                os.kill(pid, signal.SIGSTOP)
            time.sleep(2)
            for pid in stopped:
                os.kill(pid, signal.SIGCONT)

        thread = threading.Thread(target=suspend)
        thread.start()
        found = session.run(WAIT, b"hello\n", limits)
        thread.join()
        assert found.output == b"hello\ndone\n"
        assert found.wall_s > limits.wall_s


def test_a_process_with_threads_forks_as_python_does(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delattr(linux, "_interpreter")
    held = threading.Lock()
    with held:
        thread = threading.Thread(target=held.acquire)
        thread.start()
        child = linux.fork()
        if child == 0:
            os._exit(7)
    thread.join()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7


_OWNER = """
import time
from retrace.sandbox.model import Limits, Program
from retrace.sandbox.pool import Pool
with Pool() as pool, pool.open() as session:
    print("running", flush=True)
    session.run(Program("while True: pass"), b"", Limits(cpu_s=60, wall_s=60))
"""


def test_nothing_outlives_a_killed_pool() -> None:
    owner = subprocess.Popen(
        [sys.executable, "-c", _OWNER],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert owner.stdout is not None
    assert owner.stdout.readline() == b"running\n"
    assert wait_until(lambda: len(family(owner.pid)) >= 3)
    left = family(owner.pid)
    owner.kill()
    owner.wait()
    owner.stdout.close()

    def gone() -> bool:
        return not any(Path(f"/proc/{pid}").exists() and _alive(pid) for pid in left)

    assert wait_until(gone)


def _alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def test_a_full_tmp_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    # Nothing of the sandbox is kept in files: with no place for them it still works.
    monkeypatch.setenv("TMPDIR", "/dev/full")
    with Pool() as pool, pool.open() as session:
        assert session.run(DOUBLE, b"2\n").output == b"4\n"


@pytest.mark.slow
def test_a_pool_leaves_no_descriptors() -> None:
    gc.collect()
    before = set(os.listdir("/proc/self/fd"))
    with Pool(workers=2) as pool:
        for _ in range(3):
            with pool.open() as session:
                session.run(DOUBLE, b"1\n")
                os.kill(worker_of(pool), signal.SIGKILL)
    gc.collect()
    assert set(os.listdir("/proc/self/fd")) <= before


def test_a_large_test_costs_its_size_once() -> None:
    count = Program("import sys\nprint(sum(map(len, sys.stdin)))")
    data = b"x" * 99 + b"\n"
    large = data * 300_000  # 30 MB
    with Pool() as pool, pool.open() as session:
        session.run(count, b"")
        worker = worker_of(pool)
        for _ in range(3):
            assert session.run(count, large).output == b"30000000\n"
        status = Path(f"/proc/{worker}/status").read_text()
        peak = int(status.partition("VmHWM:")[2].split()[0])
    assert peak < 120_000  # KiB: the worker never holds the input


def test_a_large_output_arrives_whole() -> None:
    source = Program("print('x' * (20 << 20))")
    with Pool() as pool, pool.open() as session:
        found = session.run(source, b"", Limits(output_mb=32))
        assert len(found.output) == (20 << 20) + 1
        assert not found.output_full
        found = session.run(source, b"", Limits(output_mb=8))
        assert found.output_full


# --- Parts ----------------------------------------------------------------------------


def test_values_survive_the_encoding() -> None:
    values = [None, True, 3, -(10**5000), 2.5, float("inf"), "é\ud800", b"\0"]
    value = [*values, (1, (2,)), {1, 2}, {"a": [1], 2: None, (1, 2): {3}}, 1 + 2j]
    assert encoding.decode(encoding.encode(value)) == value


def test_what_is_not_built_in_is_refused() -> None:
    loop: list[object] = []
    loop.append(loop)
    for value in (object(), iter([]), loop, lambda: 1):
        with pytest.raises(encoding.NotEncodableError):
            encoding.encode([value])


FORGED = ["[", "{}", '{"set": 1}', '{"no": 1}', '{"int": 5}', '{"float": "0x1p9999"}']


@pytest.mark.parametrize("text", FORGED)
def test_forged_values_are_value_errors(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        encoding.structure(text, as_json=True)


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_the_tables_are_complete(machine: str) -> None:
    table = syscalls.table(machine)
    assert len(set(table.values())) == len(table)
    essential = "clone clone3 kill tgkill prlimit64 prctl socketpair ioctl ptrace bpf"
    assert set(essential.split()) <= set(table)
    lists = (syscalls.ALLOWED, syscalls.REFUSED, syscalls.CONDITIONAL)
    assert sum(map(len, lists)) == len(set().union(*lists))
    known = set(syscalls.X86_64) | set(syscalls.AARCH64)
    assert set().union(*lists) <= known
    # What an architecture lacks has had a newer name on it since it exists.
    missing = set().union(*lists) - set(table)
    assert machine == "aarch64" or not missing
    filters = seccomp.Filter(machine)
    assert len(filters.outer()) // 8 < 4096
    assert len(filters.inner(7)) // 8 < 4096


def test_an_unknown_machine_is_refused_by_name() -> None:
    with pytest.raises(syscalls.UnsupportedArchitectureError, match="riscv64"):
        syscalls.table("riscv64")


def test_this_kernels_landlock_is_read() -> None:
    assert landlock.abi() >= 0
