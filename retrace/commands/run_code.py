"""`retrace run-code`: one program's verdict on given tests, and what it used.

Exit codes: 0 the program is right; 1 it is not; 2 there is no verdict (the tests can't
be read, the sandbox refuses or failed).
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from retrace.judging.code import Judge, Policy
from retrace.rows import Domain, Problem, Reason, TestCase, Tests
from retrace.sandbox.model import SandboxError

_TESTS_HELP = """\
the tests: a .py file of asserts, or a JSON file with
{"style": "stdin", "tests": [{"input": "3\\n", "output": "6\\n"}]} (style call: the
arguments as a JSON list, the value as JSON, and fn_name), or a problem row, or the
layout of APPS: {"inputs": [...], "outputs": [...], "fn_name": ...}"""
_NO_VERDICT = {Reason.JUDGE_ERROR, Reason.UNPARSABLE_REFERENCE, Reason.UNCHECKED}


def add_parser(subparsers: Any) -> None:
    parser = subparsers.add_parser(
        "run-code",
        help="judge one program in the sandbox and show the limits it used",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("file", type=Path, help="Python source, or a model's response")
    parser.add_argument("--tests", type=Path, required=True, help=_TESTS_HELP)
    parser.add_argument(
        "--judge", default="{}", help="the code judge's policy as JSON, as in a config"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    try:
        policy = Policy.model_validate_json(args.judge)
        problem = Problem.make("run-code", Domain.CODE, "", read_tests(args.tests))
        response = args.file.read_text(encoding="utf-8")
        if args.file.suffix == ".py":
            response = f"~~~~~~~~\n{response}\n~~~~~~~~\n"
        with Judge(policy) as judge:
            (judgement,) = judge.judge([(problem, response)])
            contract = judge.contract()
            used = judge.last_usage
    except (OSError, ValueError, SandboxError) as error:
        print(f"retrace run-code: {error}", file=sys.stderr)
        return 2
    result = {
        "ok": judgement.reason is Reason.CORRECT,
        "reason": str(judgement.reason),
        "by": judgement.by,
        "detail": judgement.detail,
        "used": used,
        "sandbox": contract["sandbox"],
    }
    print(json.dumps(result) if args.json else _describe(result, policy))
    if judgement.reason in _NO_VERDICT:
        return 2
    return 0 if result["ok"] else 1


def read_tests(path: Path) -> Tests:
    """Read tests in any of the layouts that `--tests` takes.

    Raises:
        ValueError: naming the file and what it should hold.
    """
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".py":
        return Tests(style="assert", tests=[TestCase(input=text)])
    try:
        found = json.loads(text)
        if "inputs" in found:
            return _apps(found)
        return Tests.model_validate(found.get("reference", found))
    except (ValidationError, ValueError, AttributeError, KeyError) as error:
        raise ValueError(f"{path}: no tests that can be read: {error}") from error


def _apps(found: dict[str, Any]) -> Tests:
    name = found.get("fn_name")
    pairs = zip(found["inputs"], found["outputs"], strict=True)
    write = json.dumps if name else _text
    cases = [TestCase(input=write(a), output=write(b)) for a, b in pairs]
    return Tests(style="call" if name else "stdin", tests=cases, fn_name=name)


def _text(value: str | list[str]) -> str:
    return value if isinstance(value, str) else "\n".join(value)


def _describe(result: dict[str, Any], policy: Policy) -> str:
    used, sandbox = result["used"], result["sandbox"]
    lines = [
        f"{result['reason']}: {result['detail']}",
        f"judged by     {result['by']}",
        f"sandbox       {sandbox['mode']}, Landlock ABI {sandbox['landlock_abi']}",
        f"runs          {used['runs']}",
        f"CPU time      {used['cpu_s']:.2f} s at most, limit {policy.cpu_s:g} s a test",
        f"wall time     {used['wall_s']:.2f} s at most",
        f"memory        {used['peak_mb']:.0f} MiB at most, the interpreter's own"
        f" included; limit {policy.memory_mb} MiB beyond that",
        f"output        {used['output_bytes']} bytes at most, limit"
        f" {policy.output_mb} MiB",
    ]
    return "\n".join(lines)
