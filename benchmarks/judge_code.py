"""How often the code judge is right, on programs that are labelled right or wrong.

    python benchmarks/judge_code.py PROGRAMS [--json]

PROGRAMS: JSON lines, plain or gzipped, with id, program, style (stdin, call, assert),
fn_name, tests (`{"inputs": [...], "outputs": [...]}`, or a script for assert) and
label. Rows whose `agree` is false are left out. The octopack layout of HumanEval (a
canonical and a buggy solution in a row) is read as well.

A label is compared with the verdict under the protocol that gave the label: rows from
LiveCodeBench are judged as its checker does, which rejects programs that read
descriptor 0 or leave printing to a thread (there by chance not always).
`--policy '{"detached": false}'` shows them.
"""

from __future__ import annotations

import argparse
import ast
import gzip
import json
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from retrace.judging.code import Judge, Policy
from retrace.rows import Domain, Problem, Reason, TestCase, Tests

_COMMON = {"weak_tests": "trust", "modules": ["numpy"]}
# Labels that LiveCodeBench's checker gave are compared with its protocol.
_LIVECODEBENCH = {"comparison": "livecodebench", "detached": True}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("programs", type=Path, help="labelled programs")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--policy", default="{}", help="the judge's policy as JSON")
    parser.add_argument("--verdicts", type=Path, help="write id and reason of each row")
    options = parser.parse_args()
    rows = list(_rows(options.programs))
    start = time.monotonic()
    judged = []
    for published in (False, True):
        part = [row for row in rows if _published(row) == published]
        policy = {**_COMMON, **(_LIVECODEBENCH if published else {})}
        policy |= json.loads(options.policy)
        with Judge(Policy.model_validate(policy), options.workers) as judge:
            items = ((_problem(row), _response(row["program"])) for row in part)
            judged += zip(part, judge.judge(items), strict=True)
            contract = judge.contract()
    seconds = time.monotonic() - start
    if options.verdicts:
        lines = (f"{row['id']}\t{found.reason}\t{found.by}\n" for row, found in judged)
        options.verdicts.write_text("".join(lines))
    result = _score(judged)
    if options.json:
        print(json.dumps(result))
    else:
        _print_table(judged, result, contract, seconds)
    return 0


def _published(row: dict[str, Any]) -> bool:
    """Whether the label is a verdict of LiveCodeBench's own checker."""
    return str(row.get("source", "")).startswith("LiveCodeBench")


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    data = path.read_bytes()
    text = gzip.decompress(data) if path.suffix == ".gz" else data
    for line in text.splitlines():
        row = json.loads(line)
        if "canonical_solution" in row:
            yield from _humaneval(row)
        elif row.get("agree", True):
            yield row


def _humaneval(row: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for kind, label in (("canonical_solution", True), ("buggy_solution", False)):
        yield {
            "id": f"{row['task_id']}/{kind}",
            "program": row["prompt"] + row[kind],
            "style": "assert",
            "tests": row["test"],
            "label": label,
            "source": "HumanEvalPack",
        }


def _problem(row: dict[str, Any]) -> Problem:
    if row["style"] == "assert":
        cases = [TestCase(input=row["tests"])]
    else:
        pairs = zip(row["tests"]["inputs"], row["tests"]["outputs"], strict=True)
        text = "-> str" in row.get("starter_code", "")
        cases = [
            _call(*pair, text) if row["style"] == "call" else _stdin(*pair)
            for pair in pairs
        ]
    tests = Tests(style=row["style"], tests=cases, fn_name=row.get("fn_name"))
    return Problem.make("labelled", Domain.CODE, row["id"], tests)


def _stdin(given: Any, expected: Any) -> TestCase:
    texts = [x if isinstance(x, str) else "\n".join(x) for x in (given, expected)]
    return TestCase(input=texts[0], output=texts[1])


def _call(given: Any, expected: Any, returns_text: bool) -> TestCase:
    """Values as they are, or the arguments and the value written as text."""
    if isinstance(given, str):
        given = _value(given)
        expected = expected if returns_text else _value(expected)
    return TestCase(input=json.dumps(given), output=json.dumps(expected))


def _value(text: str) -> Any:
    for read in (json.loads, ast.literal_eval):
        with suppress(ValueError, SyntaxError):
            return read(text)
    return text  # a string without its quotes


def _response(program: str) -> str:
    return f"~~~~~~~~python\n{program}\n~~~~~~~~\n"


def _score(judged: list[tuple[dict[str, Any], Any]]) -> dict[str, Any]:
    counts = {"right": {"n": 0, "accepted": 0}, "wrong": {"n": 0, "accepted": 0}}
    misjudged = []
    for row, found in judged:
        accepted = found.reason is Reason.CORRECT
        side = counts["right" if row["label"] else "wrong"]
        side["n"] += 1
        side["accepted"] += accepted
        if accepted != row["label"]:
            misjudged.append(row["id"])
    return {**counts, "misjudged": misjudged}


def _print_table(
    judged: list[tuple[dict[str, Any], Any]],
    result: dict[str, Any],
    contract: dict[str, Any],
    seconds: float,
) -> None:
    sandbox = contract["sandbox"]
    print(f"sandbox {sandbox['mode']}, Landlock ABI {sandbox['landlock_abi']}")
    print(f"{len(judged)} programs in {seconds:.1f} s")
    reasons = Counter(
        (row.get("source", "")[:40], row["style"], row["label"], str(found.reason))
        for row, found in judged
    )
    for key, count in sorted(reasons.items(), key=str):
        print(f"{count:5d}  {key[0]:40s} {key[1]:7s} label={key[2]!s:5s} {key[3]}")
    layers = Counter(found.by for _, found in judged)
    print("layers:", dict(layers))
    for row, found in judged:
        if row["id"] in result["misjudged"]:
            print(f"{row['id']} label={row['label']}: {found.reason} ({found.by})")
            print(f"    {found.detail}")
    for side in ("right", "wrong"):
        n, accepted = result[side]["n"], result[side]["accepted"]
        print(f"{side}: {accepted} of {n} accepted ({accepted / max(n, 1):.2%})")


if __name__ == "__main__":
    sys.exit(main())
