"""A recorded clone for the tests of provenance: git, DVC, a remote, and data in it."""

from __future__ import annotations

import copy
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from conftest import Checkout

GIT = {
    "GIT_AUTHOR_NAME": "tests",
    "GIT_AUTHOR_EMAIL": "tests@localhost",
    "GIT_COMMITTER_NAME": "tests",
    "GIT_COMMITTER_EMAIL": "tests@localhost",
    "GIT_CONFIG_GLOBAL": os.devnull,
}


@dataclass
class Clone(Checkout):
    """A checkout that is a git clone as well."""

    def run(self, *command: str, codes: tuple[int, ...] = (0,)) -> str:
        """Run a command and return what it printed; its exit code is one of `codes`."""
        done = subprocess.run(
            command,
            cwd=self.path,
            env=os.environ | GIT | {"PYTHONPATH": str(self.path)} | self.environment,
            capture_output=True,
            text=True,
            timeout=300,
        )
        said = done.stdout + done.stderr
        assert done.returncode in codes, f"{command} gave {done.returncode}:\n{said}"
        return said

    def git(self, *arguments: str) -> str:
        return self.run("git", *arguments)

    def dvc(self, *arguments: str, codes: tuple[int, ...] = (0,)) -> str:
        return self.run(sys.executable, "-m", "dvc", *arguments, codes=codes)

    def retrace(self, *arguments: str, codes: tuple[int, ...] = (0,)) -> str:
        return self.run(sys.executable, "-m", "retrace.cli", *arguments, codes=codes)

    def record(self, *arguments: str, codes: tuple[int, ...] = (0,)) -> str:
        self.write_recipe()
        return self.retrace(
            "record", "--configfile", "recipe.yaml", *arguments, codes=codes
        )

    def commit(self, message: str) -> None:
        self.write_recipe()
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", message)

    def changed_rules(self) -> set[str]:
        """The rules whose stages DVC says have changed."""
        self.write_recipe()
        told: dict[str, Any] = json.loads(self.dvc("status", "--json"))
        return {name.split("-")[0] for name in told}

    def clone(self, path: Path) -> Clone:
        self.git("clone", "--quiet", str(self.path), str(path))
        return Clone(path, copy.deepcopy(self.recipe), dict(self.environment))


def recorded_clone(checkout: Checkout, remote: Path) -> Clone:
    """Make a finished checkout a git clone, record it, and push its data."""
    clone = Clone(checkout.path, checkout.recipe, checkout.environment)
    clone.git("init", "--quiet")
    clone.dvc("remote", "add", "--quiet", "--default", "store", str(remote))
    clone.commit("Code and recipe")
    clone.record()
    clone.commit("Results")
    clone.dvc("push", "--quiet")
    return clone
