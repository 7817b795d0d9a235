"""What the recipe of config.yaml comes to on a cluster: a dry run, without SLURM."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from runs import SITE, Checkout, workflow

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> str:
    tree = workflow.check_out(tmp_path_factory.mktemp("plan"))
    Checkout(tree, {}).write_site(SITE)
    done = subprocess.run(
        [
            str(Path(sys.executable).with_name("snakemake")),
            *("--profile", "profiles/slurm", "-n"),
        ],
        cwd=tree,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_a_recipe_is_some_hundred_jobs_and_some_ten_that_slurm_sees(plan: str) -> None:
    (total,) = set(re.findall(r"^total +(\d+)$", plan, re.M))
    alone = re.findall(r"^rule (?!all:)\w+:$", plan, re.M)
    groups = re.findall(r"Group job \S+ \(jobs", plan)
    assert int(total) <= 500
    assert 40 <= len(alone) + len(groups) <= 150


def test_only_jobs_with_gpus_go_where_gpus_are(plan: str) -> None:
    asked = [
        dict(part.split("=", 1) for part in line.split(", "))
        for line in re.findall(r"^ +resources: (.*)$", plan, re.M)
    ]
    sent = [one for one in asked if "slurm_partition" in one]
    assert {one["slurm_partition"] for one in sent} == {"cpu", "gpu"}
    for one in sent:
        has_gpus = one.get("gpu", "0") != "0"
        assert has_gpus == (one["slurm_partition"] == "gpu")
        assert has_gpus == ("gpu_model" in one)
        assert int(one["runtime"]) <= 1440


def test_no_rule_asks_for_retries_and_every_one_for_time() -> None:
    root = Path(__file__).parents[2]
    for file in (root / "rules").glob("*.smk"):
        text = file.read_text("utf-8")
        assert not re.search(r"^ +retries:", text, re.M)
        # Those that run where Snakemake runs ask for nothing.
        local = text.count("    localrule: True")
        rules = len(re.findall(r"^rule \w+:", text, re.M)) - local
        assert text.count("**on_cpus(") + text.count("**on_gpus(") == rules, file
