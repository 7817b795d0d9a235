"""The jobs of a recipe as Snakemake plans them, asked of Snakemake itself.

Nothing here repeats what the rules say: a plan is made by Snakemake in a process of its
own, in which one method writes the jobs as JSON instead of a summary. That method is
the only place that touches Snakemake's insides.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

CODE = re.compile(r"(\S+\.py) [0-9a-f]{16}")


class PlanError(RuntimeError):
    """Snakemake could not plan the recipe; the message ends with what it said."""


@dataclass(frozen=True)
class Job:
    """A job of the recipe, whether it has run or not."""

    rule: str
    wildcards: dict[str, str]
    inputs: list[str]
    outputs: list[str]
    code: list[str]
    """Files of this repository that the job's result depends on."""
    stale: str
    """Why Snakemake would run it; empty: it would not."""


@dataclass(frozen=True)
class Plan:
    """Every job of a recipe, in no particular order."""

    config: dict[str, Any]
    """The recipe with every default filled in."""
    rules: list[str]
    """Names of all rules, in the order of their declaration."""
    jobs: list[Job]

    @property
    def writers(self) -> dict[str, Job]:
        """For each output, the job that writes it."""
        return {path: job for job in self.jobs for path in job.outputs}


def plan(root: Path, configfiles: Sequence[str]) -> Plan:
    """Ask Snakemake for every job of a recipe; nothing is run and nothing is locked.

    Raises:
        PlanError: the config is no recipe, or an input is missing that no rule makes.
    """
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "plan.json"
        command = [sys.executable, "-m", __name__, str(out)]
        command += ["--configfile", *configfiles] if configfiles else []
        done = subprocess.run(command, cwd=root, capture_output=True, text=True)
        if done.returncode or not out.exists():
            said = (done.stderr or done.stdout).strip().splitlines()
            raise PlanError(
                "\n".join(["Snakemake cannot plan this recipe:", *said[-12:]])
            )
        told = json.loads(out.read_text("utf-8"))
    jobs = [Job(**job) for job in told["jobs"]]
    return Plan(told["config"], told["rules"], jobs)


def main(arguments: Sequence[str]) -> None:
    """`python -m retrace.provenance.jobs OUT [snakemake's arguments]`."""
    from snakemake import cli, dag

    out = Path(arguments[0])

    async def tell(self: Any, detailed: bool = False) -> AsyncIterator[str]:
        jobs = [_job(self, job) for job in self.jobs if job.rule.output]
        workflow = self.workflow
        told = {
            "config": workflow.globals["config"],
            "rules": [rule.name for rule in workflow.rules],
            "jobs": [asdict(job) for job in jobs],
        }
        out.write_text(json.dumps(told), "utf-8")
        yield f"{len(jobs)} jobs"

    dag.DAG.summary = tell
    cli.main(["--summary", *arguments[1:]])


def _job(dag: Any, job: Any) -> Job:
    listed = [item for value in job.params if isinstance(value, list) for item in value]
    code = (CODE.fullmatch(item) for item in listed if isinstance(item, str))
    return Job(
        rule=job.rule.name,
        wildcards=dict(job.wildcards_dict),
        inputs=[str(file) for file in job.input],
        outputs=[str(file) for file in job.output],
        code=[match[1] for match in code if match],
        stale=str(dag.reason(job)) if dag.needrun(job) else "",
    )


if __name__ == "__main__":
    main(sys.argv[1:])
