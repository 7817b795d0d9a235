"""A checkout of its own, and Snakemake run in it with the profile for SLURM."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

HERE = Path(__file__).parent
SITE = {
    "account": "none",
    "cpu": {"partition": "cpu"},
    "gpu": {"partition": "gpu", "type": "h100"},
}
# A small cluster of one machine: what is written is there, and jobs are short.
HASTE = (
    *("--latency-wait", "20", "--slurm-init-seconds-before-status-checks", "2"),
    *("--max-status-checks-per-second", "5"),
)
WITHOUT_ACCOUNTING = ("--slurm-status-command", "squeue")


def _workflow_tests() -> Any:
    """The helpers of the workflow's tests, which stand in their conftest.py."""
    path = HERE.parent / "workflow/conftest.py"
    spec = importlib.util.spec_from_file_location("workflow_conftest", path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


workflow = _workflow_tests()


class Checkout(workflow.Checkout):  # type: ignore[misc]
    """A copy of the repository whose jobs go to a cluster."""

    def start(
        self, *arguments: str, stdout: Any = subprocess.PIPE
    ) -> subprocess.Popen[str]:
        self.write_recipe()
        command = [sys.executable, str(HERE / "fastpoll.py"), "--profile", "slurm"]
        command += ["--configfile", "recipe.yaml", *HASTE, *arguments]
        return subprocess.Popen(
            command,
            cwd=self.path,
            env=os.environ | {"PYTHONPATH": str(self.path)} | self.environment,
            stdout=stdout,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def here(self, *arguments: str) -> str:
        """Run to the end on this machine, without SLURM."""
        output: str = workflow.Checkout(
            self.path, self.recipe, self.environment
        ).snakemake(*arguments)
        return output

    def log(self, rule: str) -> str:
        """All that the jobs of a rule wrote, oldest first."""
        found = (self.path / "logs" / rule).rglob("*.log")
        return "".join(path.read_text("utf-8") for path in found)

    def write_site(self, site: dict[str, Any]) -> None:
        path = self.path / "profiles/slurm/site.yaml"
        path.write_text(yaml.safe_dump(site), "utf-8")


def check_out(path: Path, server: Any) -> Checkout:
    """A fresh checkout whose models are a test server's, for the loopback cluster."""
    workflow.check_out(path)
    (path / "slurm").unlink(missing_ok=True)
    (path / "slurm").symlink_to("profiles/slurm")
    served = workflow.served(path, server)
    checkout = Checkout(path, served.recipe, served.environment)
    checkout.write_site(SITE)
    return checkout
