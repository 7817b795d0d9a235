"""Why a node can't confine programs, and what its administrator can enable."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

# A kernel setting, the value that switches a mechanism off, and how to switch it on.
_SETTINGS = (
    (
        "/proc/sys/user/max_user_namespaces",
        "0",
        "sysctl user.max_user_namespaces=15000 (some security profiles set it to 0)",
    ),
    (
        "/proc/sys/kernel/unprivileged_userns_clone",
        "0",
        "sysctl kernel.unprivileged_userns_clone=1 (Debian and Ubuntu kernels)",
    ),
    (
        "/proc/sys/kernel/apparmor_restrict_unprivileged_userns",
        "1",
        "sysctl kernel.apparmor_restrict_unprivileged_userns=0, or an AppArmor profile"
        " that grants `userns` to the interpreter (Ubuntu 23.10 and later)",
    ),
)
_LSM = "/sys/kernel/security/lsm"


def explain_refusal(refused: Mapping[str, str], variable: str) -> str:
    """The text of a refusal: each mode with its error, then what would help."""
    lines = ["untrusted programs can't be confined on this node:"]
    lines += [f"  {mode}: {error}" for mode, error in refused.items()]
    lines += ["An administrator can enable one of:"]
    lines += [f"  {hint}" for hint in _hints()]
    lines += [
        "A bubblewrap that is installed setuid root also works: set the sandbox mode"
        " to 'bwrap'.",
        f"Running without confinement needs mode 'unsandboxed' and {variable}=1.",
    ]
    return "\n".join(lines)


def _hints() -> list[str]:
    hints = [
        f"user namespaces: {path} is {value}: {advice}"
        for path, value, advice in _SETTINGS
        if _read(path) == value
    ]
    modules = _read(_LSM)
    if modules is not None and "landlock" not in modules.split(","):
        hints.append(
            f"Landlock: it is not among the security modules ({modules}): boot with"
            f" lsm=landlock,{modules} (Linux 5.13 and later, RHEL 9.6 and later)"
        )
    return hints or [
        "user namespaces for ordinary users (user.max_user_namespaces > 0, and no"
        " seccomp profile of a container that refuses unshare)",
        "Landlock (Linux 5.13 and later, with `landlock` in the kernel's lsm= list)",
    ]


def _read(path: str) -> str | None:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return None
