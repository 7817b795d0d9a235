"""How long a report of many rows takes to build, and how much memory.

Makes up a recipe of at least that many traces, each of about that many words, and
builds its report in a process of its own. With --json, prints one JSON object.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))
sys.path.insert(0, str(ROOT / "tests"))
import synthetic  # noqa: E402

MEASURE = """
import json, resource, sys, time
started = time.perf_counter()
sys.path[:0] = json.loads(sys.argv[1])
import build_report
build_report.main(json.loads(open(sys.argv[2]).read()))
usage = resource.getrusage(resource.RUSAGE_SELF)
print(json.dumps({
    "seconds": round(time.perf_counter() - started, 2),
    "cpu_seconds": round(usage.ru_utime + usage.ru_stime, 2),
    "peak_mb": round(usage.ru_maxrss / 1024, 1),
}))
"""


def main() -> int:
    args = _parser().parse_args()
    with tempfile.TemporaryDirectory() as folder:
        result = measure(Path(folder), args.rows, args.words)
    if args.json:
        print(json.dumps(result))
    else:
        for key, value in result.items():
            print(f"{key:>16}  {value:,}")
    return 0


def measure(folder: Path, rows: int, words: int) -> dict[str, Any]:
    """Build once; 8 samples of each problem in three sets, one each in the others."""
    # The two training sets have a model with 8 samples, `sums` has three models with 8,
    # the two other benchmarks three models with one.
    problems = math.ceil(rows / (2 * 8 + 3 * 8 + 2 * 3))
    arguments = synthetic.write_recipe(folder, synthetic.Size(problems, 8, words))
    out = folder / "reports" / "synthetic.html"
    listed = folder / "arguments.json"
    listed.write_text(json.dumps([*arguments, "--out", str(out)]))
    read = [str(ROOT), str(ROOT / "scripts")]
    started = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, json.dumps(read), str(listed)],
        check=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    traces = folder / "data/traces"
    files = list(traces.rglob("*.jsonl"))
    return {
        "traces": sum(file.read_bytes().count(b"\n") for file in files),
        "traces_mb": round(sum(file.stat().st_size for file in files) / 1e6, 1),
        **json.loads(done.stdout),
        "wall_seconds": round(time.perf_counter() - started, 2),
        "report_mb": round(out.stat().st_size / 1e6, 2),
    }


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--words", type=int, default=3000, help="of a thought, about")
    parser.add_argument("--json", action="store_true")
    return parser


if __name__ == "__main__":
    sys.exit(main())
