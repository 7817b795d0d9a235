"""bubblewrap as an external backend: a worker inside bwrap instead of in namespaces.

The whole fork server runs inside, so bwrap starts once for a worker, not for a test.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

from retrace.sandbox import namespaces, server


def prefix(bwrap: str, library: Path) -> list[str]:
    """The command to put before the worker's own.

    There is no --proc: bwrap's first process keeps its caller's environment and
    arguments readable there (bubblewrap issue 725).
    """
    # The worker is started without an environment, so without this one's PATH.
    found = shutil.which(bwrap) or bwrap
    command = [found, "--unshare-all", "--die-with-parent", "--new-session"]
    interpreter = Path(sys.executable).resolve().parent
    shown = [*server.readable_paths(), str(interpreter), str(Path(sys.prefix) / "bin")]
    shown += [str(library / "retrace"), f"{sys.prefix}/pyvenv.cfg", "/usr/bin"]
    for path in dict.fromkeys(shown):
        if os.path.exists(path):
            command += ["--ro-bind", path, path]
    # Not --dev: it brings a /dev/shm that can be written to.
    for device in namespaces.DEVICES:
        command += ["--dev-bind", device, device]
    return [*command, "--dir", "/tmp", "--remount-ro", "/", "--chdir", "/", "--"]
