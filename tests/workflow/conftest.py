"""A checkout of its own for each test, and Snakemake run in it as a user runs it."""

from __future__ import annotations

import copy
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tests"))

from fault_server import FaultServer  # noqa: E402

RESULTS = ("data", "scores", "reports", "models")


@dataclass
class Checkout:
    """A copy of the repository with a recipe in it."""

    path: Path
    recipe: dict[str, Any]
    environment: dict[str, str] = field(default_factory=dict)

    def write_recipe(self) -> None:
        text = yaml.safe_dump(self.recipe, sort_keys=False)
        (self.path / "recipe.yaml").write_text(text, "utf-8")

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        self.write_recipe()
        command = [str(Path(sys.executable).with_name("snakemake")), "--cores", "2"]
        command += ["--configfile", "recipe.yaml", *arguments]
        return subprocess.Popen(
            command,
            cwd=self.path,
            env=os.environ | {"PYTHONPATH": str(self.path)} | self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def snakemake(self, *arguments: str, ok: bool = True) -> str:
        """Run to the end and return what it printed."""
        process = self.start(*arguments)
        output, _ = process.communicate(timeout=300)
        assert (process.returncode == 0) == ok, output[-6000:]
        return output

    def plan(self) -> dict[str, set[str]]:
        """What would run: for each rule the logs of its jobs, which name them."""
        output = self.snakemake("-n")
        jobs: dict[str, set[str]] = {}
        blocks = r"^(?:local)?rule (\w+):\n((?:    .*\n)+)"
        for rule, block in re.findall(blocks, output, re.M):
            log = re.search(r"    log: logs/\w+/(\S+)\.log", block)
            jobs.setdefault(rule, set()).add(log[1] if log else "")
        jobs.pop("all", None)
        assert jobs or "Nothing to be done" in output, output[-3000:]
        return jobs

    def edit(self, file: str, old: str, new: str) -> None:
        path = self.path / file
        text = path.read_text("utf-8")
        assert text.count(old) == 1, f"{old!r} stands {text.count(old)} times in {file}"
        path.write_text(text.replace(old, new), "utf-8")

    def results(self) -> dict[str, bytes]:
        """Every output with its bytes, without reports: those name a run's times."""
        return {
            str(file.relative_to(self.path)): file.read_bytes()
            for folder in RESULTS
            for file in sorted((self.path / folder).rglob("*"))
            if file.is_file() and folder != "reports"
        }


def check_out(path: Path) -> Path:
    """Copy what git would: tracked files and new ones that are not ignored."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).is_file() and not name.startswith(("tests/", "docs/")):
            (path / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, path / name)
    return path


def load_recipe() -> dict[str, Any]:
    recipe: dict[str, Any] = yaml.safe_load(
        Path(__file__).with_name("recipe.yaml").read_text("utf-8")
    )
    return recipe


def end(process: subprocess.Popen[str], number: signal.Signals) -> None:
    """Signal the whole session, as a closed terminal or a batch system would."""
    os.killpg(process.pid, number)
    process.communicate(timeout=60)


@pytest.fixture(scope="session")
def server() -> Iterator[FaultServer]:
    with FaultServer() as server:
        yield server


@pytest.fixture
def checkout(tmp_path: Path, server: FaultServer) -> Checkout:
    """A fresh checkout whose models are the test server's."""
    return served(check_out(tmp_path), server)


def served(path: Path, server: FaultServer) -> Checkout:
    recipe = load_recipe()
    for model in recipe["models"].values():
        model["engine"] = {
            "kind": "openai",
            "base_url": server.base_url,
            "provider": "test server",
            "model": "nonsense",
            "concurrency": 4,
            "key_variables": ["RETRACE_TEST_KEY"],
        }
    return Checkout(path, recipe, {"RETRACE_TEST_KEY": "none"})


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory, server: FaultServer) -> Checkout:
    """A checkout in which everything has run; tests work on copies of it."""
    checkout = served(check_out(tmp_path_factory.mktemp("finished")), server)
    checkout.snakemake()
    return checkout


@pytest.fixture
def done(finished: Checkout, tmp_path: Path, server: FaultServer) -> Checkout:
    """A copy of the finished checkout, with the server's counts at zero."""
    path = tmp_path / "done"
    shutil.copytree(finished.path, path, symlinks=True)
    server.forget()
    return Checkout(path, copy.deepcopy(finished.recipe), dict(finished.environment))
