"""From how a run ended to a reason and a line that explains it."""

from __future__ import annotations

import re

from retrace.rows import Reason
from retrace.sandbox.model import Execution, Exit, Limits, Program, Stop

_SHOWN = 120
# Errors of a program that tried what the sandbox refuses, on the last line of its
# traceback: EPERM, EACCES, EROFS and ENOSYS.
_REFUSED = re.compile(
    r"^(?:PermissionError|OSError|BlockingIOError)\b.*\[Errno (?:1|13|30|38)\]"
)


def reason_of(
    execution: Execution, program: Program, exit_matters: bool
) -> Reason | None:
    """Why a run failed by itself, or None if its output is to be compared.

    Args:
        exit_matters: whether a script that chose to exit with an error has failed.
    """
    if execution.stop in (Stop.CPU, Stop.IDLE, Stop.WALL):
        return Reason.TIMEOUT
    if execution.stop is Stop.KILLED:
        return Reason.JUDGE_ERROR
    if execution.output_full:
        return Reason.OUTPUT_LIMIT
    if execution.stop is Stop.SIGNALLED:
        return Reason.RUNTIME_ERROR
    if execution.code == 0:
        return None
    return _reason_of_exit(execution, program, exit_matters)


def _reason_of_exit(
    execution: Execution, program: Program, exit_matters: bool
) -> Reason | None:
    known = {
        Exit.SYNTAX_ERROR: Reason.SYNTAX_ERROR,
        Exit.MEMORY_ERROR: Reason.MEMORY_LIMIT,
        Exit.FORBIDDEN: Reason.FORBIDDEN,
    }
    if execution.code in known:
        return known[Exit(execution.code)]
    last = last_line(execution.errors)
    if last.startswith("MemoryError"):
        return Reason.MEMORY_LIMIT
    if _REFUSED.search(last):
        return Reason.FORBIDDEN
    crashed = "Traceback (most recent call last)" in execution.errors
    if program.kind == "script" and not exit_matters and not crashed:
        return None
    return Reason.RUNTIME_ERROR


def explain(execution: Execution, limits: Limits) -> str:
    """One line on how a run failed."""
    if execution.stop is Stop.CPU:
        return f"more than {limits.cpu_s:g} s of CPU time"
    if execution.stop is Stop.IDLE:
        return f"waited for {limits.idle_s:g} s without doing anything"
    if execution.stop is Stop.WALL:
        return f"more than {limits.wall_s:g} s"
    if execution.stop is Stop.KILLED:
        return "killed from outside, twice"
    if execution.output_full:
        return f"more than {limits.output_mb} MiB of output"
    if execution.stop is Stop.SIGNALLED:
        return f"ended by signal {execution.code}"
    last = last_line(execution.errors)
    if execution.code == Exit.NO_VALUE and not last.strip():
        return "exited before it returned a value"
    return shorten(last) if last else f"exit code {execution.code}"


def last_line(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[-1] if lines else ""


def shorten(text: str, shown: int = _SHOWN) -> str:
    """A text on one line, with its middle left out if it is long."""
    if len(text) > 4 * shown:
        text = f"{text[: 2 * shown]}{text[-2 * shown :]}"
    line = repr(text)
    if len(line) <= shown:
        return line
    return f"{line[: shown * 2 // 3]} ... {line[-shown // 3 :]}"
