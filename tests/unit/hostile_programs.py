"""Programs that attack the sandbox. Each prints ESCAPED if it gets what it wants.

    python hostile_programs.py MODE FOLDER PORT

runs all of them in a mode and prints a JSON object: name to what was wrong, empty where
the program was contained. Needs the standard library and `retrace.sandbox` only, so it
runs as any user with any interpreter. FOLDER holds a file named `secret`.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

from retrace.sandbox.model import Execution, Limits, Mode, Program, Settings, Stop
from retrace.sandbox.pool import Pool

LIMITS = Limits(cpu_s=0.3, idle_s=0.8, wall_s=20, memory_mb=128, output_mb=1)

_SYSCALL = """
import ctypes, os
from retrace.sandbox.syscalls import table
libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long
def call(name, *arguments):
    return libc.syscall(table()[name], *arguments)
def escaped_if(result):
    print("ESCAPED" if result >= 0 else "refused")
"""

# Processes and threads
PROCESSES = {
    "fork bomb": "import os\nwhile True: print('ESCAPED', os.fork(), flush=True)",
    "vfork": _SYSCALL + "print('ESCAPED' if libc.vfork() >= 0 else 'refused')",
    "clone without thread": _SYSCALL + "escaped_if(call('clone', 17, 0, 0, 0, 0))",
    "clone3": _SYSCALL + "escaped_if(call('clone3', bytes(88), 88))",
    "thread bomb": """
import threading, time
threading.stack_size(32768)
while True:
    threading.Thread(target=time.sleep, args=(1000,), daemon=True).start()
""",
    "daemon": """
import os
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        while True: pass
print("ESCAPED")
""",
    "shell": "import os\nos.execv('/bin/sh', ['sh', '-c', 'echo ESCAPED'])",
    "os.system": "import os\nprint('ESCAPED' if os.system('true') == 0 else '')",
    "subprocess": "import subprocess\nsubprocess.run(['/bin/true'])\nprint('ESCAPED')",
    "posix_spawn": (
        "import os\nos.posix_spawn('/bin/true', ['true'], {})\nprint('ESCAPED')"
    ),
    "multiprocessing": """
import multiprocessing
p = multiprocessing.get_context("fork").Process(target=print, args=("ESCAPED",))
p.start()
p.join()
print("ESCAPED")
""",
    "own program from memory": _SYSCALL + "escaped_if(call('memfd_create', b'x', 0))",
    "execveat": _SYSCALL
    + """
fd = os.open(os.__file__, os.O_RDONLY)
escaped_if(call("execveat", fd, b"", None, None, 0x1000))
""",
}

# Signals and other processes
SIGNALS = {
    "kill the parent": "import os\nos.kill(os.getppid(), 9)\nprint('ESCAPED')",
    "kill process 1": "import os\nos.kill(1, 9)\nprint('ESCAPED')",
    "kill everybody": "import os\nos.kill(-1, 9)\nprint('ESCAPED')",
    "kill the group": "import os\nos.kill(0, 9)\nprint('ESCAPED')",
    "tkill": _SYSCALL + "escaped_if(call('tkill', os.getppid() or 1, 9))",
    "queue a signal": _SYSCALL
    + "escaped_if(call('rt_sigqueueinfo', os.getppid() or 1, 10, bytes(128)))",
    "a signal by way of a socket": """
import fcntl, os, socket
a, b = socket.socketpair()
fcntl.fcntl(a, fcntl.F_SETOWN, os.getppid() or 1)
fcntl.fcntl(a, 10, 9)  # F_SETSIG, SIGKILL
fcntl.fcntl(a, fcntl.F_SETFL, fcntl.fcntl(a, fcntl.F_GETFL) | 0o20000)
b.send(b"x")
print("ESCAPED")
""",
    "stop oneself": """
import os, signal
os.kill(os.getpid(), signal.SIGSTOP)
print("ESCAPED")
""",
    "ptrace": _SYSCALL + "escaped_if(call('ptrace', 16, os.getppid() or 1, 0, 0))",
    "read foreign memory": _SYSCALL
    + "escaped_if(call('process_vm_readv', os.getppid() or 1, None, 0, None, 0, 0))",
    "write foreign memory": _SYSCALL
    + "escaped_if(call('process_vm_writev', os.getppid() or 1, None, 0, None, 0, 0))",
    "open a process": _SYSCALL + "escaped_if(call('pidfd_open', os.getppid() or 1, 0))",
    "steal a descriptor": _SYSCALL + "escaped_if(call('pidfd_getfd', 3, 0, 0))",
    "limits of the parent": """
import os, resource
resource.prlimit(os.getppid() or 1, resource.RLIMIT_NOFILE, (0, 0))
print("ESCAPED")
""",
    "survive the parent": _SYSCALL + "escaped_if(call('prctl', 1, 0, 0, 0, 0))",
    "become readable": _SYSCALL + "escaped_if(call('prctl', 4, 1, 0, 0, 0))",
}

# Files and secrets
FILES = {
    "password file": "print('ESCAPED', open('/etc/passwd').read())",
    "a file at home": "print('ESCAPED', open('{folder}/secret').read())",
    "list home": "import os\nprint('ESCAPED', os.listdir('{folder}'))",
    "list system folders": """
import os
for name in ("etc", "home", "var", "proc", "sys", "run", "mnt"):
    try:
        print("ESCAPED" if set(os.listdir("/" + name)) - KNOWN else "nothing of use")
    except OSError:
        pass
""".replace("KNOWN", "{{'ld.so.cache', 'localtime'}}"),
    "environment": "import os\nprint('ESCAPED' if os.environ else 'empty')",
    "environment of others": """
import os
for pid in os.listdir("/proc"):
    if pid.isdigit():
        print("ESCAPED", open(f"/proc/{{pid}}/environ", "rb").read())
""",
    "own maps": "print('ESCAPED', open('/proc/self/maps').read())",
    "write to tmp": "open('/tmp/hostile-escaped', 'w').write('ESCAPED')",
    "write to shm": "open('/dev/shm/hostile-escaped', 'w').write('ESCAPED')",
    "write here": "open('hostile-escaped', 'w').write('x')\nprint('ESCAPED')",
    "write at home": "open('{folder}/escaped', 'w').write('x')\nprint('ESCAPED')",
    "change a library": """
import os
open(os.__file__, "a").write("#")
print("ESCAPED")
""",
    "remove a library": "import os\nos.unlink(os.__file__)\nprint('ESCAPED')",
    "change rights": "import os\nos.chmod(os.__file__, 0o777)\nprint('ESCAPED')",
    "symlink": "import os\nos.symlink('/etc/passwd', '/tmp/link')\nprint('ESCAPED')",
    "hard link": "import os\nos.link(os.__file__, '/tmp/link')\nprint('ESCAPED')",
    "fill the disk": """
block = b"x" * 1_000_000
with open("/var/tmp/hostile-escaped", "wb") as file:
    while True:
        file.write(block)
""",
    "many small files": """
import os
for number in range(100_000):
    os.close(os.open(f"/tmp/hostile-escaped-{{number}}", os.O_CREAT))
    print("ESCAPED")
""",
    "the device of memory": "print('ESCAPED', open('/dev/mem', 'rb').read(1))",
    "open by handle": _SYSCALL
    + "escaped_if(call('name_to_handle_at', -100, b'/', bytes(128), bytes(8), 0))",
    "watch files": _SYSCALL + "escaped_if(call('inotify_init1', 0))",
    "type into the terminal": """
import fcntl
fcntl.ioctl(0, 0x5412, b"x")
print("ESCAPED")
""",
}

# Files that the sandbox itself hands over
HANDED = {
    "change the input": "import os\nos.pwrite(0, b'9', 0)\nprint('ESCAPED')",
    "grow the input": "import os\nos.ftruncate(0, 1 << 20)\nprint('ESCAPED')",
    "seal the errors": "import fcntl\nfcntl.fcntl(2, 1033, 15)\nraise ValueError",
    "run the output": _SYSCALL
    + """
os.write(1, b"#!/bin/true")
escaped_if(call("execveat", 1, b"", None, None, 0x1000))
""",
    "own memory": "open('/proc/self/mem', 'r+b')\nprint('ESCAPED')",
}

# Network and kernel
KERNEL = {
    "tcp": """
import socket
socket.create_connection(("127.0.0.1", {port}), timeout=1)
print("ESCAPED")
""",
    "udp": """
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.sendto(b"x", ("127.0.0.1", {port}))
print("ESCAPED")
""",
    "abstract socket": "import socket\nsocket.socket(socket.AF_UNIX)\nprint('ESCAPED')",
    "raw netlink": "import socket\nsocket.socket(16, 3, 0)\nprint('ESCAPED')",
    "internet socket pair": """
import socket
socket.socketpair(socket.AF_INET)
print("ESCAPED")
""",
    "new namespaces": _SYSCALL + "escaped_if(call('unshare', 0x10000000))",
    "enter namespaces": _SYSCALL + "escaped_if(call('setns', 0, 0))",
    "mount": _SYSCALL + "escaped_if(call('mount', b'x', b'/', b'tmpfs', 0, None))",
    "open a tree": _SYSCALL + "escaped_if(call('open_tree', -100, b'/', 1))",
    "chroot": "import os\nos.chroot('/usr')\nprint('ESCAPED')",
    "become somebody": "import os\nos.setgroups([])\nos.setuid(1)\nprint('ESCAPED')",
    "calls of 32 bits": """
import ctypes, mmap
code = mmap.mmap(-1, 4096, prot=7)
code.write(bytes.fromhex("b814000000cd80c3"))  # getpid by int 0x80
start = ctypes.addressof(ctypes.c_char.from_buffer(code))
print("ESCAPED" if ctypes.CFUNCTYPE(ctypes.c_int)(start)() > 0 else "refused")
""",
    "a signal by a timer": _SYSCALL
    + """
import struct
event = ctypes.create_string_buffer(struct.pack("<Qiii", 0, 9, 4, 1) + bytes(44), 64)
escaped_if(call("timer_create", 0, event, ctypes.byref(ctypes.c_int())))
""",
    "memory of the kernel": """
import socket
a, b = socket.socketpair()
a.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 26)
print("ESCAPED")
""",
    "capabilities": _SYSCALL
    + """
import struct
header = ctypes.create_string_buffer(struct.pack("<II", 0x20080522, 0), 8)
held = ctypes.create_string_buffer(24)
call("capget", header, held)
print("ESCAPED" if any(held.raw) else "none")
""",
    "root again": "import os\nos.setresuid(0, 0, 0)\nprint('ESCAPED')",
    "key ring": _SYSCALL + "escaped_if(call('keyctl', 0, -3, 1))",
    "bpf": _SYSCALL + "escaped_if(call('bpf', 0, bytes(48), 48))",
    "io_uring": _SYSCALL + "escaped_if(call('io_uring_setup', 1, bytes(120)))",
    "userfaultfd": _SYSCALL + "escaped_if(call('userfaultfd', 1))",
    "perf": _SYSCALL + "escaped_if(call('perf_event_open', bytes(128), 0, -1, -1, 0))",
    "shared memory": _SYSCALL + "escaped_if(call('shmget', 0, 4096, 0o1600))",
    "message queue": _SYSCALL + "escaped_if(call('mq_open', b'x', 0o102, 0o600, None))",
    "other architecture": _SYSCALL + "escaped_if(libc.syscall(0x40000000 | 39))",
    "a call of the future": _SYSCALL + "escaped_if(libc.syscall(600))",
    "another filter": _SYSCALL + "escaped_if(call('seccomp', 2, 0, None))",
    "raise limits": """
import resource
for name in (resource.RLIMIT_AS, resource.RLIMIT_CPU, resource.RLIMIT_FSIZE):
    resource.setrlimit(name, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    print("ESCAPED")
""",
    "priority": "import os\nos.nice(-5)\nos.setpriority(0, 0, -5)\nprint('ESCAPED')",
    "pin to a core": "import os\nos.sched_setaffinity(0, {{0}})\nprint('ESCAPED')",
}

# Exhaustion: contained means stopped, by the limit named here
EXHAUSTION: dict[str, tuple[str, str]] = {
    "memory at once": ("x = bytearray(1 << 32)\nprint('ESCAPED')", "exit"),
    "memory bit by bit": (
        "x = []\nwhile True: x.append(bytes(1_000_000))",
        "exit",
    ),
    "memory mapped": (
        "import mmap\nx = [mmap.mmap(-1, 1 << 28) for _ in 'x' * 64]\nprint('ESCAPED')",
        "exit",
    ),
    "unpacked bomb": (
        "import zlib\nx = zlib.compress(bytes(1 << 24))\n"
        "y = [zlib.decompress(x) for _ in range(64)]\nprint('ESCAPED')",
        "exit or time",
    ),
    "endless loop": ("while True: pass", "time"),
    "endless in C": ("sum(iter(int, 1))", "time"),
    "endless regex": ("import re\nre.match('(a+)+$', 'a' * 60 + 'b')", "time"),
    "huge power": ("print(len(str(7 ** 10 ** 9)))\nprint('ESCAPED')", "time"),
    "signals ignored": (
        "import signal\nfor n in range(1, 32):\n    try: signal.signal(n, 1)\n"
        "    except (OSError, ValueError): pass\nwhile True: pass",
        "time",
    ),
    "sleep": ("import time\ntime.sleep(10_000)", "time"),
    "deadlock": (
        "import threading\nl = threading.Lock()\nl.acquire()\nl.acquire()",
        "time",
    ),
    "endless when flushed": (
        "import io\nclass F(io.IOBase):\n    def flush(self):\n"
        "        while 1: pass\nf = F()",
        "time",
    ),
    "endless at exit": (
        "import atexit\n@atexit.register\ndef f():\n    while 1: pass",
        "time",
    ),
    "endless thread": (
        "from threading import *\ndef f():\n  while 1: pass\nThread(target=f).start()",
        "time",
    ),
    "endless recursion in C": (
        "import sys\nsys.setrecursionlimit(10**9)\nx = []\n"
        "for _ in range(10**6): x = [x]\nprint('ESCAPED' if repr(x) else '')",
        "exit or time",
    ),
    "crash": ("import ctypes\nctypes.string_at(0)\nprint('ESCAPED')", "exit"),
    "flood of output": ("while True: print('x' * 10_000)", "output"),
    "flood of errors": ("import os\nwhile True: os.write(2, b'x' * 10_000)", "output"),
    "a hole in the output": (
        "import os\nos.ftruncate(1, 1 << 40)\nprint('ESCAPED')",
        "exit",
    ),
}

# Against the sandbox itself
INTERNAL = {
    "forge on every descriptor": """
import os
for number in range(3, 1024):
    try:
        os.write(number, b'ESCAPED')
        print("ESCAPED")
    except OSError:
        pass
""",
    "stay alive": """
import os
from retrace.sandbox import jail
os._exit = jail.os._exit = lambda code: None
""",
    "return to the server": """
import fcntl, threading
fcntl.fcntl(2, 1033, 15)  # F_ADD_SEALS: nothing can be said any more
threading._shutdown = None
raise SystemError
""",
    "break the tools": """
import builtins, json, os, sys
from retrace.sandbox import encoding
encoding.encode = lambda value: 'ESCAPED'
builtins.print = builtins.open = None
os.write = None
raise SystemExit
""",
    "look for the supervisor": """
import gc, sys
found = [x for x in gc.get_objects() if type(x).__name__ in ("socket", "Pool", "Case")]
frames = []
frame = sys._getframe()
while frame:
    frames += [v for v in frame.f_locals.values() if type(v).__name__ == "socket"]
    frame = frame.f_back
alive = [s for s in found + frames if type(s).__name__ == "socket" and usable(s)] if (
    usable := lambda s: s.fileno() >= 0 and not s.send(b"{{}}")
) else []
print("ESCAPED" if alive else "nothing of use")
""",
}

PLAIN = {**PROCESSES, **SIGNALS, **FILES, **HANDED, **KERNEL, **INTERNAL}
NAMES = (*PLAIN, *EXHAUSTION)


def source(name: str, folder: str, port: int) -> str:
    if name in EXHAUSTION:
        return EXHAUSTION[name][0]
    text = PLAIN[name]
    if name in FILES or name in KERNEL or name in INTERNAL:
        text = text.replace("{folder}", folder).replace("{port}", str(port))
        text = text.replace("{{", "{").replace("}}", "}")
    return text


def breach(name: str, found: Execution) -> str:
    """What was not contained, or nothing."""
    if b"ESCAPED" in found.output:
        return f"it printed {found.output[-200:]!r}"
    if any(error in found.errors for error in ("KeyError", "NameError", "SyntaxError")):
        return f"the attack itself is broken: {found.errors[-300:]}"
    if name not in EXHAUSTION:
        return ""
    wanted = EXHAUSTION[name][1]
    got = "exit"
    if found.stop in (Stop.CPU, Stop.IDLE, Stop.WALL):
        got = "time"
    elif found.output_full:
        got = "output"
    return "" if got in wanted else f"stopped by {got}, expected {wanted}: {found}"


def attack_all(mode: Mode, folder: str, port: int) -> dict[str, str]:
    """Run every program, and an honest one after each."""
    results = {}
    honest = Program("print(int(input()) * 2)")
    with Pool(Settings(mode=mode)) as pool, pool.open() as session:
        worker = pool._all[0].pid
        for name in NAMES:
            found = session.run(Program(source(name, folder, port)), b"", LIMITS)
            problem = breach(name, found)
            after = session.run(honest, b"21\n")
            if after.output != b"42\n":
                problem += f" an honest program then printed {after.output!r}"
            if pool._all[0].pid != worker:
                problem += " the worker was lost"
                worker = pool._all[0].pid
            results[name] = problem
        session.run(honest, b"1\n")
    left = _descendants(os.getpid())
    if left:
        results["processes left"] = repr(left)
    return results


def _descendants(pid: int) -> list[str]:
    """Processes of which `pid` is the parent's parent's ... parent, after a moment."""
    for _ in range(50):
        found = _children(pid)
        if not found:
            return []
        time.sleep(0.02)
    return found


def _children(pid: int) -> list[str]:
    parents = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        parents[int(path.parent.name)] = int(fields[1])
    family, grown = {pid}, True
    while grown:
        more = {child for child, parent in parents.items() if parent in family}
        grown = not more <= family
        family |= more
    return [f"process {child}" for child in family - {pid}]


if __name__ == "__main__":
    mode, folder, port = sys.argv[1:]
    print(json.dumps(attack_all(Mode(mode), folder, int(port))))
