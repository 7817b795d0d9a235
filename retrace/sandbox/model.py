"""What goes into the sandbox and what comes out."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from typing import Any, Literal


class SandboxError(RuntimeError):
    """The sandbox could not do its work: nothing is known about the program."""


class SandboxUnavailableError(SandboxError):
    """This node offers no way to confine a program; the text says what was tried."""


class Mode(StrEnum):
    """How programs are confined; seccomp and resource limits come on top of each."""

    NS_LANDLOCK = "ns+landlock"
    NS = "ns"
    LANDLOCK = "landlock"
    BWRAP = "bwrap"
    UNSANDBOXED = "unsandboxed"

    @property
    def namespaces(self) -> bool:
        return self in (Mode.NS_LANDLOCK, Mode.NS)

    @property
    def landlock(self) -> bool:
        return self in (Mode.NS_LANDLOCK, Mode.LANDLOCK)


@dataclass(frozen=True)
class Settings:
    """How a pool confines programs.

    Attributes:
        mode: the mode to use, or None for the strongest that the node offers. `bwrap`
            and `unsandboxed` are used only when named.
        modules: what programs may import beside the standard library.
        bwrap: the bubblewrap command of mode `bwrap`.
        python: the interpreter that runs programs.
        max_landlock_abi: behave as on a kernel with an older Landlock.
    """

    mode: Mode | None = None
    modules: tuple[str, ...] = ()
    bwrap: str = "bwrap"
    python: str = field(default_factory=lambda: sys.executable)
    max_landlock_abi: int | None = None


@dataclass(frozen=True)
class Limits:
    """What one run of a program may use.

    CPU time decides; it does not depend on what else the machine does. A program that
    waits uses none, so it is stopped when it has used almost none for `idle_s`. The
    wall limit is the last resort and generous, so that a busy machine never meets it.
    """

    cpu_s: float = 6.0
    idle_s: float = 5.0
    wall_s: float = 90.0
    memory_mb: int = 1024
    output_mb: int = 16
    threads: int = 64


@dataclass(frozen=True)
class Program:
    """Untrusted Python source and how it is to be run.

    `script`: as `__main__`, reading the input on standard input; what it prints is the
    output. `call`: as a module, then the function `entry` is called with the arguments
    in the input (`encoding.encode` of a list). `evaluate`: as a module, then the input
    is executed in its namespace: statements, and last an expression. The output of the
    last two is `encoding.encode` of the value.
    """

    source: str
    kind: Literal["script", "call", "evaluate"] = "script"
    entry: str = ""
    prelude: bool = False
    """Whether the names that contest sites import are there without an import."""
    detached: bool = False
    """Run a script as graders do that execute it in their own process: the input is on
    `sys.stdin` but not on descriptor 0, and threads are not waited for."""
    wrap: bool = False
    """Whether source with a top-level return or nonlocal becomes a function's body."""
    observed: bool = False
    """Whether a call's output is the list of its value and its arguments after it."""


class Stop(StrEnum):
    """Why a run ended."""

    EXITED = "exited"
    SIGNALLED = "signalled"
    CPU = "cpu limit"
    IDLE = "idle limit"
    WALL = "wall limit"
    KILLED = "killed from outside"


class Exit(IntEnum):
    """Exit codes by which the jail says what went wrong.

    A program can choose the same codes: that changes the words of a failure, and never
    turns a failure into a pass.
    """

    SYNTAX_ERROR = 211
    MEMORY_ERROR = 212
    NO_VALUE = 213
    NOT_ENCODABLE = 214
    FORBIDDEN = 215


@dataclass(frozen=True)
class Execution:
    """One run: how it ended, what it printed, what it used."""

    stop: Stop
    code: int
    """Exit code if `exited`, signal number if `signalled`, else 0."""
    output: bytes
    errors: str
    """The end of standard error."""
    cpu_s: float
    wall_s: float
    peak_mb: float
    output_full: bool
    """Whether the program met the output limit."""


@dataclass(frozen=True)
class Report:
    """How a pool confines programs, for the record beside its results."""

    mode: Mode
    landlock_abi: int
    self_test: Mapping[str, str]
    modules: Mapping[str, str]
    python: str
    refused: Mapping[str, str] = field(default_factory=dict)
    """Stronger modes that this node does not offer, and why."""

    def record(self) -> dict[str, Any]:
        return {
            "mode": str(self.mode),
            "landlock_abi": self.landlock_abi,
            "self_test": dict(self.self_test),
            "modules": dict(self.modules),
            "python": self.python,
            "refused": dict(self.refused),
        }
