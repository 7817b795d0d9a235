"""dvc.yaml: the jobs of a recipe as DVC stages, one for each rule.

Models that a recipe trains go back to the first rules, so the rules alone are a circle,
which DVC refuses. A rule has one stage, with its name, for each time that the data come
by: `sample_traces` asks the teachers, and `sample_traces-2` the students.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import yaml

from retrace.provenance.jobs import Job, Plan
from retrace.provenance.settings import at, text_files, watched

FILE = "dvc.yaml"
RECORDS = ".snakemake/metadata"
# The stage that holds Snakemake's own records, so that a clone has them too.
PROVENANCE = "provenance"
HEADER = """\
# Written by `retrace record`: one stage for each rule of the recipe, for DVC to hash
# what Snakemake made. Edit the config or the rules instead, and record again.
"""
# Outputs that share a folder with nothing else are recorded as that folder.
FOLDERS = ("data", "models")


@dataclass
class Stage:
    """A rule's jobs of one pass: what they read and what they write."""

    name: str
    jobs: list[Job] = field(default_factory=list)
    outs: list[str] = field(default_factory=list)
    deps: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Origin:
    """Which recipe a dvc.yaml is of."""

    recipe: str
    configfiles: list[str]


def stages(plan: Plan) -> list[Stage]:
    """The stages of a recipe, in the order of its data."""
    number = passes(plan)
    jobs: dict[tuple[int, int], list[Job]] = defaultdict(list)
    for job in plan.jobs:
        jobs[number[id(job)], plan.rules.index(job.rule)].append(job)
    times: dict[str, int] = defaultdict(int)
    found = []
    for key in sorted(jobs):
        rule = plan.rules[key[1]]
        times[rule] += 1
        name = rule if times[rule] == 1 else f"{rule}-{times[rule]}"
        found.append(Stage(name, jobs[key]))
    _divide_outputs(found)
    _gather_inputs(found)
    return found


def passes(plan: Plan) -> dict[int, int]:
    """For each job (by identity) how often its data went back to an earlier rule."""
    order = {rule: place for place, rule in enumerate(plan.rules)}
    writers = plan.writers
    number: dict[int, int] = {}
    waiting = list(plan.jobs)
    while waiting:
        job = waiting[-1]
        before = {id(w): w for f in job.inputs if (w := writers.get(f)) is not None}
        missing = [writer for key, writer in before.items() if key not in number]
        if missing and id(job) not in number:
            waiting += missing
            continue
        waiting.pop()
        number[id(job)] = max(
            (
                number[key] + (order[writer.rule] >= order[job.rule])
                for key, writer in before.items()
            ),
            default=0,
        )
    return number


def confidential(path: str, config: Mapping[str, Any]) -> bool:
    """Whether a path holds rows of a confidential set."""
    _data, kind, *inside = [*PurePosixPath(path).parts, "", ""][:4]
    if not path.startswith("data/"):
        return False
    if kind == "datasets":
        inside = list(config["datasets"].get(inside[0], {}).get("mixture", ()))
    return any(
        config["sets"][name]["confidential"]
        for name in inside
        if name in config["sets"]
    )


def render(plan: Plan, configfiles: Sequence[str], root: Path) -> str:
    """The text of dvc.yaml for a recipe."""
    written = {
        name: yaml.safe_load((root / name).read_text("utf-8")) for name in configfiles
    }
    found = stages(plan)
    content: dict[str, Any] = {"stages": {}}
    for stage in found:
        content["stages"][stage.name] = _stage(stage, plan.config, written)
    content["stages"][PROVENANCE] = {
        "cmd": "true",
        "desc": "Snakemake's record of every job: a clone with it has nothing to do",
        "deps": [found[-1].outs[0]],
        "outs": [{RECORDS: {"persist": True}}],
        "meta": {"recipe": plan.config["recipe"], "config": list(configfiles)},
    }
    content |= _about(plan, found)
    return HEADER + yaml.safe_dump(
        content, sort_keys=False, allow_unicode=True, width=88
    )


def origin(root: Path) -> Origin | None:
    """The recipe that the dvc.yaml at hand was written for, if there is one."""
    try:
        content = yaml.safe_load((root / FILE).read_text("utf-8"))
        meta = content["stages"][PROVENANCE]["meta"]
        return Origin(meta["recipe"], list(meta["config"]))
    except (FileNotFoundError, KeyError, TypeError):
        return None


def out_of(entry: str | Mapping[str, Any]) -> str:
    """The path of an entry of `outs`, with or without settings."""
    return entry if isinstance(entry, str) else next(iter(entry))


def outs_of_stage(root: Path, name: str) -> list[str]:
    """What a stage of the dvc.yaml at hand writes.

    Raises:
        KeyError: there is no such stage.
    """
    stage = yaml.safe_load((root / FILE).read_text("utf-8"))["stages"][name]
    entries = [*stage.get("outs", []), *stage.get("metrics", [])]
    return [out_of(entry) for entry in entries]


def declared_outs(root: Path) -> dict[str, bool]:
    """What the dvc.yaml at hand says is written, and whether it may go to a remote."""
    content = yaml.safe_load((root / FILE).read_text("utf-8"))
    found = {}
    for stage in content["stages"].values():
        for entry in [*stage.get("outs", []), *stage.get("metrics", [])]:
            out = out_of(entry)
            settings = entry[out] if isinstance(entry, Mapping) else {}
            found[out] = bool(settings.get("push", True))
    return found


def holds(out: str, path: str) -> bool:
    """Whether a recorded file or folder is a path or holds it."""
    return path == out or path.startswith(f"{out}/")


# --- What a stage reads and writes ----------------------------------------------------


def _divide_outputs(found: Sequence[Stage]) -> None:
    writers: dict[str, set[str]] = defaultdict(set)
    for stage in found:
        for path in _outputs(stage.jobs):
            writers[_folder(path)].add(stage.name)
    for stage in found:
        outs = {
            _folder(path) if len(writers[_folder(path)]) == 1 else path
            for path in _outputs(stage.jobs)
        }
        stage.outs = sorted(outs)


def _gather_inputs(found: Sequence[Stage]) -> None:
    out_at = {out for stage in found for out in stage.outs}
    for stage in found:
        inputs = {path for job in stage.jobs for path in job.inputs}
        deps = {path if path in out_at else _folder(path) for path in inputs}
        deps = {dep for dep in deps if dep in out_at} | {
            path for path in inputs if not {path, _folder(path)} & out_at
        }
        code = {file for job in stage.jobs for file in job.code}
        stage.deps = [*sorted(deps), *sorted(code)]


def _outputs(jobs: Iterable[Job]) -> list[str]:
    return [path for job in jobs for path in job.outputs]


def _folder(path: str) -> str:
    """What a path is recorded as: its folder where that is an artefact, else itself."""
    place = PurePosixPath(path)
    return str(place.parent) if place.parts[0] in FOLDERS else path


# --- dvc.yaml -------------------------------------------------------------------------


def _stage(
    stage: Stage, config: Mapping[str, Any], written: Mapping[str, Any]
) -> dict[str, Any]:
    entries = [_out(out, config) for out in stage.outs]
    scores = [entry for entry in entries if out_of(entry).startswith("scores/")]
    keys = watched(config, written, ((job.rule, job.wildcards) for job in stage.jobs))
    texts = {file for name in keys for file in _texts(written[name], keys[name])}
    shown: dict[str, Any] = {
        "cmd": _command(stage.name, list(written)),
        "deps": [*stage.deps, config["environment"], *sorted(texts)],
        "params": [{name: names or None} for name, names in keys.items()],
        "outs": [entry for entry in entries if entry not in scores],
        "metrics": scores,
    }
    return {key: value for key, value in shown.items() if value}


def _texts(written: Mapping[str, Any], keys: Sequence[str]) -> Iterator[str]:
    """The files that texts below some keys stand in; no keys: below all."""
    for value in [at(written, key.split(".")) for key in keys] or [written]:
        yield from text_files(value)


def _out(out: str, config: Mapping[str, Any]) -> dict[str, Any]:
    # DVC removes what a stage will write before running it, unless told to persist.
    settings: dict[str, Any] = {"persist": True}
    if confidential(out, config):
        settings["push"] = False
    return {out: settings}


def _command(name: str, configfiles: Sequence[str]) -> str:
    # The escaped variable is the shell's, not DVC's: which profile runs the jobs.
    profile = r'"\${SNAKEMAKE_PROFILE:-profiles/local}"'
    files = " ".join(configfiles)
    return f"snakemake --profile {profile} --configfile {files} --config stage={name}"


def _about(plan: Plan, found: Sequence[Stage]) -> dict[str, Any]:
    """Sections on what the artefacts are."""
    outs = {out for stage in found for out in stage.outs}
    artifacts = {
        _artifact(name): {"path": f"models/{name}", "type": "model"}
        for name in plan.config["students"]
        if f"models/{name}" in outs
    }
    for name in plan.config["datasets"]:
        path = f"data/datasets/{name}/train.jsonl"
        if path in outs:
            artifacts[_artifact(name)] = {"path": path, "type": "dataset"}
    plots: list[Any] = sorted(out for out in outs if out.endswith(".svg"))
    for table in sorted(out for out in outs if out.endswith("/training.csv")):
        if plan.config["students"]:
            columns = ("loss", "learning_rate")
            plots += [{name: {"x": "step", "y": {table: name}}} for name in columns]
    sections = {"plots": plots, "artifacts": artifacts}
    return {name: value for name, value in sections.items() if value}


def _artifact(name: str) -> str:
    """A name as DVC wants that of an artifact: small letters, digits and hyphens."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
