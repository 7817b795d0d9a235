"""dvc.yaml says what the rules say: the same graph, values and outputs."""

from __future__ import annotations

import copy
import os
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from auditing import Clone, recorded_clone
from conftest import ROOT, Checkout, check_out

from retrace.provenance import jobs, settings, stages

pytestmark = pytest.mark.slow

RECIPES = ("config.demo.yaml", "config.yaml")
OWN = stages.PROVENANCE


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Clone:
    path = check_out(tmp_path_factory.mktemp("stages"))
    # A token, so that gated benchmarks are planned; the commands of DVC on the path.
    programs = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    clone = Clone(path, {}, {"HF_TOKEN": "none", "PATH": programs})
    clone.git("init", "--quiet")
    return clone


@dataclass(frozen=True)
class Written:
    """A recipe's jobs, and the dvc.yaml that is written for them."""

    plan: jobs.Plan
    text: str
    told: dict[str, Any]


@pytest.fixture(scope="module")
def written(clone: Clone) -> Callable[[str], Written]:
    """The stages of a recipe, which is planned once."""

    @cache
    def of(config: str) -> Written:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("HF_TOKEN", "none")
            plan = jobs.plan(clone.path, [config])
        text = stages.render(plan, [config], clone.path)
        return Written(plan, text, yaml.safe_load(text)["stages"])

    return of


def rule_of(stage: str) -> str:
    return re.sub(r"-\d+$", "", stage)


@pytest.mark.parametrize(
    "config", [RECIPES[0], pytest.param(RECIPES[1], marks=pytest.mark.long)]
)
def test_both_engines_have_the_same_graph(
    clone: Clone, written: Callable[[str], Written], config: str
) -> None:
    """Snakemake's rule graph is DVC's graph of stages, both as they print them."""
    (clone.path / stages.FILE).write_text(written(config).text, "utf-8")
    command = [sys.executable, "-m", "snakemake", "--rulegraph", "--configfile", config]
    printed = clone.run(*command)
    names = dict(re.findall(r'(\d+)\[label = "(\w+)"', printed))
    rules = {
        (names[first], names[second])
        for first, second in re.findall(r"(\d+) -> (\d+)", printed)
        if names[second] != "all"
    }
    edges = re.findall(r'"([\w-]+)" -> "([\w-]+)"', clone.dvc("dag", "--dot"))
    stage_edges = {(rule_of(a), rule_of(b)) for a, b in edges if b != OWN}
    assert stage_edges == rules
    told = {rule_of(name) for name in written(config).told}
    assert told - {OWN} <= set(settings.RULES)
    assert told - {OWN} == set(names.values()) - {"all"}


def test_the_stages_in_git_are_those_of_the_recipe(
    written: Callable[[str], Written],
) -> None:
    known = stages.origin(ROOT)
    if known is None or known.configfiles != [RECIPES[1]]:
        pytest.skip("this clone records another recipe")
    told = yaml.safe_load((ROOT / stages.FILE).read_text("utf-8"))["stages"]
    new = copy.deepcopy(written(RECIPES[1]).told)
    # Which modules a step imports changes often, and is written anew at each record.
    for stage in [*told.values(), *new.values()]:
        stage["deps"] = [dep for dep in stage["deps"] if not dep.endswith(".py")]
    assert told == new, "out of date: `make stages`"


def test_every_file_of_every_job_is_in_its_stage(
    written: Callable[[str], Written],
) -> None:
    told = written(RECIPES[0]).told
    outs = {
        stages.out_of(entry): (name, entry)
        for name, stage in told.items()
        for entry in [*stage.get("outs", []), *stage.get("metrics", [])]
    }
    assert all(entry[out]["persist"] for out, (_, entry) in outs.items())
    assert not any("frozen" in stage for stage in told.values())
    for job in written(RECIPES[0]).plan.jobs:
        holders = {
            name
            for path in job.outputs
            for out, (name, _) in outs.items()
            if stages.holds(out, path)
        }
        assert [rule_of(name) for name in holders] == [job.rule]
        deps = told[holders.pop()]["deps"]
        for path in [*job.inputs, *job.code]:
            assert any(stages.holds(dep, path) for dep in deps), path


def test_confidential_sets_stay_off_the_remotes(
    clone: Clone, written: Callable[[str], Written]
) -> None:
    plan = written("config.yaml").plan
    (clone.path / stages.FILE).write_text(written("config.yaml").text, "utf-8")
    declared = stages.declared_outs(clone.path)
    private = {out for out, may_leave in declared.items() if not may_leave}
    sets = {n for n, one in plan.config["sets"].items() if one["confidential"]}
    assert sets
    confidential = {
        path
        for path in plan.writers
        if path.startswith("data/") and sets & set(Path(path).parts)
    }
    kinds = {Path(path).parts[1] for path in confidential}
    assert {"problems", "traces", "verdicts"} <= kinds
    assert all(any(stages.holds(o, path) for o in private) for path in confidential)
    assert not any(path.startswith(("models/", "scores/")) for path in private)


# --- Agreement on every value ---------------------------------------------------------


def leaves(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if isinstance(value, dict):
        for key, item in value.items():
            yield from leaves(item, (*path, key))
    elif isinstance(value, list):
        for number, item in enumerate(value):
            yield from leaves(item, (*path, number))
    else:
        yield path


def changed(value: Any) -> Any:
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value + 1
    if isinstance(value, float):
        return value / 2
    return f"{value} "


def at(value: Any, path: tuple[Any, ...]) -> Any:
    for key in path:
        value = value[key]
    return value


@pytest.mark.long
@pytest.mark.timeout(3000)
def test_a_changed_value_is_stale_in_both(done: Checkout, tmp_path: Path) -> None:
    """Each value of the recipe in turn: Snakemake's rules and DVC's stages agree."""
    clone = recorded_clone(done, tmp_path / "remote")
    before = {tuple(job.outputs) for job in plan_of(clone).jobs}
    compared, differ = 0, {}
    for path in list(leaves(clone.recipe)):
        parent, key = at(clone.recipe, path[:-1]), path[-1]
        value = parent[key]
        parent[key] = changed(value)
        clone.write_recipe()
        try:
            plan = plan_of(clone)
        except jobs.PlanError:
            plan = None  # not a recipe any more
        if plan and {tuple(job.outputs) for job in plan.jobs} == before:
            stale = {job.rule for job in plan.jobs if first(job.stale)}
            told = clone.changed_rules()
            compared += 1
            if told != stale:
                differ[".".join(map(str, path))] = (stale, told)
        parent[key] = value
    assert compared > 25
    assert not differ


def plan_of(clone: Clone) -> jobs.Plan:
    return jobs.plan(clone.path, ["recipe.yaml"])


def first(reason: str) -> bool:
    """Whether a job is stale by itself, not because of another one."""
    return "Params have changed" in reason or "Set of input files" in reason


def test_the_command_of_a_stage_plans_that_stage_alone(clone: Clone) -> None:
    clone.retrace("record", "--stages", "--configfile", "config.demo.yaml")
    told = yaml.safe_load((clone.path / stages.FILE).read_text("utf-8"))["stages"]
    command = told["sample_traces"]["cmd"].replace(r"\$", "$")
    said = clone.run("bash", "-c", f"{command} -n")
    ran = set(re.findall(r"^(?:local)?rule (\w+):", said, re.M))
    assert ran == {"all", "make_problems", "import_weights", "sample_traces"}
