"""How long the audit takes on many small files: record, verify, status, lineage.

Lays out the results of a recipe with N shards as its jobs would write them, lets
Snakemake keep its records for them, and times the commands on it. `sha256sum` on the
same files is the measure for `verify`.

    python benchmarks/provenance.py [--shards 1000] [--kilobytes 40] [--json]

`--at FOLDER` keeps the layout: a first call lays out only, a second one measures.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))
CONFIG = "bench.yaml"
SET, MODEL = "sums", "plain"


def recipe(shards: int) -> dict[str, Any]:
    engine = {"kind": "openai", "base_url": "http://127.0.0.1:1/v1", "model": "none"}
    problem_set = {
        "source": {"kind": "word_problems", "domain": "math", "count": 3 * shards},
        "shards": shards,
        "sampling": {"max_tokens": 16},
        "judge": {"kind": "math"},
    }
    problem_set["source"] |= {"seed": 1, "largest": 99}
    return {
        "recipe": "bench",
        "environment": "envs/laptop.txt",
        "models": {MODEL: {"engine": engine}},
        "sets": {SET: problem_set},
        "benchmarks": {"sums": {"sets": [SET], "models": [MODEL]}},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shards", type=int, default=1000, help="five files each")
    parser.add_argument("--kilobytes", type=int, default=40, help="of each trace")
    parser.add_argument("--at", type=Path, help="folder that keeps the layout")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    if args.at and not args.at.exists():
        lay_out(args.at, args.shards, args.kilobytes)
        return
    if args.at:
        found = measure(args.at)
    else:
        with tempfile.TemporaryDirectory() as folder:
            lay_out(Path(folder) / "clone", args.shards, args.kilobytes)
            found = measure(Path(folder) / "clone")
    if args.json:
        print(json.dumps(found))
        return
    for name, value in found.items():
        print(f"{name:32} {value:12,.1f}")


def lay_out(root: Path, shards: int, kilobytes: int) -> None:
    import yaml

    command = ["git", "clone", "--quiet", str(ROOT), str(root)]
    subprocess.run(command, check=True)
    # What is being worked on, too: this measures the tree that lies here.
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--modified", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    for name in filter(None, listed.split("\0")):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / name).is_file():
            (root / name).write_bytes((ROOT / name).read_bytes())
    (root / CONFIG).write_text(yaml.safe_dump(recipe(shards)), "utf-8")
    subprocess.run(
        [sys.executable, __file__, "--write-results", str(kilobytes)],
        cwd=root,
        env=os.environ | {"PYTHONPATH": str(root)},
        check=True,
        stdout=subprocess.DEVNULL,
    )


def write_results(kilobytes: int) -> None:
    """In the clone: every output, and Snakemake's record of the job that wrote it."""
    from snakemake import cli, dag

    async def finish(self: Any, detailed: bool = False) -> AsyncIterator[str]:
        self.workflow.execution_settings = SimpleNamespace(keep_metadata=True)
        # What the plan found missing is there in a moment.
        self.workflow.iocache.clear()
        self.workflow.iocache.deactivate()
        jobs = [job for job in self.jobs if job.rule.output]
        for job in sorted(jobs, key=lambda job: ORDER.index(job.rule.name)):
            WRITERS.get(job.rule.name, write_anything)(job, kilobytes)
            self.workflow.persistence.started(job)
            await self.workflow.persistence.finished(job)
        yield f"{len(jobs)} jobs"

    dag.DAG.summary = finish
    cli.main(["--summary", "--configfile", CONFIG])


ORDER = (
    *("make_problems", "sample_traces", "judge_traces"),
    *("score_benchmark", "build_report"),
)


def write_problems(job: Any, kilobytes: int) -> None:
    from retrace.problems import open_source
    from retrace.problems.base import shard
    from retrace.rows import write_rows

    settings = recipe(1)["sets"][SET]["source"]
    shards = int(job.params.shards)
    settings["count"] = 3 * shards
    if not ROWS:
        ROWS.extend(open_source(settings).problems(SET))
    rows = shard(iter(ROWS), shards, int(job.wildcards.shard))
    write_rows(Path(job.output[0]), rows)


def write_traces(job: Any, kilobytes: int) -> None:
    from retrace.prompts import Prompt, messages
    from retrace.rows import Problem, Trace, Usage, content_id, read_rows, write_rows
    from retrace.sampling import Request, Sampling

    identity = {"engine": "none", "version": "1", "revision": "1", "dtype": "none"}
    prompt = Prompt.model_validate_json(job.params.prompt)
    sampling = Sampling.model_validate_json(job.params.sampling)
    rows = []
    for problem in read_rows(Path(job.input.problems), Problem):
        request = Request(messages(prompt, problem.statement), sampling)
        key = content_id([problem.problem_id, request.key(identity)])
        text = (key + " ") * (kilobytes * 31)
        rows.append(
            Trace(
                trace_id=key,
                problem_id=problem.problem_id,
                model=MODEL,
                sample=0,
                text=text,
                finish_reason="stop",
                usage=Usage(),
            )
        )
    write_rows(Path(job.output.traces), rows)
    told = {"model": MODEL, "contracts": [identity]}
    Path(job.output.engine).write_text(json.dumps(told), "utf-8")


def write_verdicts(job: Any, kilobytes: int) -> None:
    from retrace.rows import Reason, Trace, Verdict, read_rows, write_rows

    rows = (
        Verdict(
            trace_id=trace.trace_id,
            problem_id=trace.problem_id,
            sample=0,
            ok=False,
            reason=Reason.WRONG_ANSWER,
        )
        for trace in read_rows(Path(job.input.traces), Trace)
    )
    write_rows(Path(job.output.verdicts), rows)
    Path(job.output.contract).write_text("{}", "utf-8")


def write_anything(job: Any, kilobytes: int) -> None:
    told = {"benchmark": "sums", "model": MODEL, "accuracy": 0.0, "items": []}
    for path in job.output:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_text(json.dumps(told), "utf-8")


ROWS: list[Any] = []
WRITERS: dict[str, Callable[[Any, int], None]] = {
    "make_problems": write_problems,
    "sample_traces": write_traces,
    "judge_traces": write_verdicts,
}


def measure(root: Path) -> dict[str, float]:
    retrace = [sys.executable, "-m", "retrace.cli"]
    dvc = [sys.executable, "-m", "dvc"]
    recorded, told = timed(root, *retrace, "record", "--configfile", CONFIG, "--json")
    laps = json.loads(told)
    again, _ = timed(root, *retrace, "record")
    status, said = timed(root, *dvc, "status")
    assert "up to date" in said, said
    files = [str(f) for f in (root / "data").rglob("*") if f.is_file()]
    summed, _ = timed(root, "sha256sum", *files)
    verified, told = timed(root, *retrace, "verify", "--json")
    done = json.loads(told)
    trace = next((root / "data/traces").rglob("*.jsonl")).read_text("utf-8")
    row = json.loads(trace.splitlines()[0])["trace_id"]
    lineage, _ = timed(root, *retrace, "lineage", row)
    size = sum(os.path.getsize(file) for file in files) / 1e6
    return {
        "artefacts": laps["files"],
        "MB": size,
        "record, first (s)": recorded,
        **{f"  {name} (s)": value for name, value in laps["seconds"].items()},
        "record, again (s)": again,
        "dvc status (s)": status,
        "verify, all of it (s)": verified,
        **{f"  {name} (s)": value for name, value in done["seconds"].items()},
        "verify, hashing (MB/s)": done["size"] / 1e6 / done["seconds"]["hash"],
        "verify, all of it (MB/s)": done["size"] / 1e6 / verified,
        "sha256sum (s)": summed,
        "sha256sum (MB/s)": size / summed,
        "lineage of a trace (s)": lineage,
    }


def timed(root: Path, *command: str) -> tuple[float, str]:
    started = time.monotonic()
    done = subprocess.run(
        command,
        cwd=root,
        env=os.environ | {"PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, f"{command[:5]}: {done.stdout}{done.stderr}"
    return time.monotonic() - started, done.stdout


if __name__ == "__main__":
    if sys.argv[1:2] == ["--write-results"]:
        write_results(int(sys.argv[2]))
    else:
        main()
