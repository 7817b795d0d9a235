# Names, paths and fingerprints that the rules share. Nothing here runs a step.
import json
import os
import re
import shlex
import sys
from functools import cache
from pathlib import Path

from retrace import (
    efficiency,
    environment,
    fingerprint,
    preflight,
    site,
    slurm,
    staging,
    terms,
)
from retrace.cli import main as retrace_command
from retrace import weights as weight_files
from retrace.config import ConfigError, read_recipe
from retrace.engines import lending
from retrace import problems as problem_sources
from retrace.problems import open_source
from retrace.problems.base import shard_digests

# Not of the recipe: whether to look before the first job for what would fail.
PREFLIGHT = str(config.pop("preflight", True)).lower() != "false"
# Nor is whether DVC records a run that succeeded, and which of its stages runs.
RECORD = str(config.pop("record", True)).lower() != "false"
STAGE = config.pop("stage", None)

try:
    RECIPE = read_recipe(config, Path(workflow.basedir))
except ConfigError as error:
    sys.exit(f"The config does not describe a recipe:\n{error}")
if not Path(workflow.basedir, RECIPE.environment).is_file():
    sys.exit(f"environment: there is no file {RECIPE.environment}: see envs/*.txt")
# A gated benchmark without a token is left out, with a line that says so.
SKIPPED = preflight.skipped(RECIPE, Path.cwd())
for name, reason in SKIPPED.items():
    if workflow.is_main_process:
        print(f"benchmark {name} is skipped: {reason}", file=sys.stderr)
    del RECIPE.benchmarks[name]

# With every default filled in, so that a default that changes is a change.
config = RECIPE.model_dump(mode="json")
if SKIPPED:
    # The report has a row for each.
    config["skipped"] = SKIPPED

ROOT = Path(workflow.basedir)

# Sources of problems reach the jobs without being a reason to run them again:
# `contents` says which shard a changed source reaches.
os.environ[problem_sources.VARIABLE] = json.dumps(
    {name: one["source"] for name, one in config["sets"].items()}
)

# Jobs are counted (`--jobs`, in every profile of a batch system) where they are sent
# away, and cores where they run here.
BATCH = workflow.resource_settings.nodes is not None

# Jobs may lend one another a server that a model's config lets linger; it ends with us.
# A batch system ends it with its job, so there is nothing to lend.
if BATCH:
    lending.disown()
elif workflow.is_main_process:
    lending.become_owner()

# The recipe's pins as a conda environment, for `--sdm conda`.
CONDA = f"../{Path(config['environment']).with_suffix('.yaml')}"

# Otherwise jobs run the Python that runs Snakemake.
if workflow.deployment_settings.deployment_method:
    shell.prefix(f'export PYTHONPATH="{ROOT}"; ')
else:
    shell.prefix(f'export PATH="{Path(sys.executable).parent}:$PATH"; ')


def one_of(names):
    """A wildcard constraint: exactly these names."""
    return "|".join(re.escape(name) for name in names) or "(?!)"


wildcard_constraints:
    shard=r"\d{4}",
    set=one_of(RECIPE.sets),
    model=one_of(RECIPE.models),
    dataset=one_of(RECIPE.datasets),
    student=one_of(RECIPE.students),
    benchmark=one_of(RECIPE.benchmarks),
    text=one_of(RECIPE.texts),


# --- What a step reads of the config, and what it is made of ----------------------------


def value(path):
    """The config at PATH: given to a script, and a reason to rerun.

    PATH may hold wildcards: `sets/{set}/shards`. Snakemake's `lookup` goes through all of
    the config for each job, which takes longer than the rest of a plan.
    """
    return lambda wildcards: config_at(path.format(**wildcards))


def setting(path):
    """The config below PATH as canonical JSON, for whole sections: `sets/{set}/judge`."""
    return lambda wildcards: canonical(value(path)(wildcards))


def canonical(value):
    return json.dumps(value, sort_keys=True, ensure_ascii=False)


def config_at(path):
    found = config
    for key in path.split("/"):
        found = found[key]
    return found


def plugin(package, path):
    """The module that a script loads by the `kind` in a config section."""

    def module(wildcards):
        return f"{package}.{value(path)(wildcards)['kind']}"

    return module


SOURCE = plugin("retrace.problems", "sets/{set}/source")
JUDGE = plugin("retrace.judging", "sets/{set}/judge")
ENGINE = plugin("retrace.engines", "models/{model}/engine")


def code(script, *plugins):
    """Digests of a script and of all it imports from this repository."""
    return lambda wildcards: code_of(script, *(module(wildcards) for module in plugins))


@cache
def code_of(script, *modules):
    return fingerprint.code_digests(
        ROOT, Path(f"scripts/{script}.py"), *filter(None, modules)
    )


def software(*names):
    """Pins of the packages that can change a step; a plugin names its own."""

    def pins(wildcards):
        packages = []
        for name in names:
            packages += (
                [name] if isinstance(name, str) else packages_of(name(wildcards))
            )
        return software_of(*packages)

    return pins


@cache
def software_of(*packages):
    return environment.software(ROOT / config["environment"], packages)


@cache
def packages_of(module):
    return list(fingerprint.constant(ROOT, module, "SOFTWARE")) if module else []


# --- Problems ---------------------------------------------------------------------------


@cache
def shards(set_name):
    return [f"{number:04d}" for number in range(config["sets"][set_name]["shards"])]


def contents(wildcards):
    """What the rows of a shard depend on.

    For a source that is cheap to go through this is a hash of the shard's own rows:
    Snakemake reruns everything below a job that runs, so a set that grew must rerun
    only the jobs of the shards that got a row. A large source counts as a whole, and
    so does one that is a single shard.
    """
    return digests(wildcards.set)[int(wildcards.shard)]


@cache
def digests(set_name):
    source = open_source(config["sets"][set_name]["source"])
    count = config["sets"][set_name]["shards"]
    if count > 1 and source.listed_while_planning():
        return shard_digests(source.problems(set_name), count)
    return [source.identity()] * count


def from_hub(set_name):
    return config["sets"][set_name]["source"]["kind"] == "hub"


def source_files(wildcards):
    return open_source(config["sets"][wildcards.set]["source"]).files()


# --- Models -----------------------------------------------------------------------------


def model_files(name):
    """The files of a model directory that a rule writes."""
    count = config["weight_shards"]
    return [f"models/{name}/{file}" for file in weight_files.file_names(count)]


def weights(name):
    """Weights by their name: the files to wait for, and the arguments that name them."""
    if name is None:
        return [], []
    imported = config["weights"].get(name, {"kind": "package"})
    if imported["kind"] == "package":
        return model_files(name), ["--weights", f"models/{name}"]
    if imported["kind"] == "local":
        path = imported["path"]
        return [f"{path}/config.json"], ["--weights", path]
    return [], ["--weights", imported["repo"], "--revision", imported["revision"]]


def model_weights(model):
    return weights(config["models"][model]["weights"])


def reach(model, journal):
    """The arguments by which a script asks a model, and keeps what it answers."""
    return [
        *("--engine", canonical(engine(model))),
        *model_weights(model)[1],
        *("--journals", f"journals/{model}"),
        *("--journal", f"journals/{model}/{journal}.jsonl"),
    ]


def engine_module(model):
    """What an answer of a model depends on beside its weights; nothing for no model."""
    return (
        f"retrace.engines.{config['models'][model]['engine']['kind']}"
        if model
        else None
    )


# Models that are never asked: their traces come with their problems.
IMPORTED = [
    name
    for name, model in config["models"].items()
    if model["engine"]["kind"] == "imported"
]


def gpus(model):
    """GPUs that a model's server needs on its node."""
    engine = config["models"][model]["engine"]
    return engine.get("tensor_parallel", 0) * engine.get("data_parallel", 0)


@cache
def operation(model):
    """The settings of a model's engine that change no answer."""
    return fingerprint.constant(ROOT, engine_module(model), "OPERATION")


def engine(model):
    """The settings of a model's engine that are a reason to ask again."""
    settings = config["models"][model]["engine"]
    return {
        key: value for key, value in settings.items() if key not in operation(model)
    }


def terms_of(model):
    """Prices, budget, retries, and the settings that `engine` leaves out."""
    section = config["models"][model]
    kept = {key: section["engine"][key] for key in operation(model)}
    return section["terms"] | {"operation": kept | section["terms"]["operation"]}


# They reach the jobs without being a reason to run them again.
os.environ[terms.VARIABLE] = json.dumps(
    {name: terms_of(name) for name in config["models"]}
)


# --- Prompts and sampling ---------------------------------------------------------------


def prompt(wildcards):
    """How a set is put to a model: the shots count only for a model that sees them."""
    problem_set, model = (
        config["sets"][wildcards.set],
        config["models"][wildcards.model],
    )
    return canonical(
        {
            "system": None if text_of(model["system"]) else model["system"],
            "template": effective_template(wildcards.model, wildcards.set),
            "shots": problem_set["shots"] if model["few_shot"] else [],
        }
    )


def effective_template(model, problem_set):
    """A set's user turn, or the model's own one for that set."""
    own = config["models"][model]["templates"].get(problem_set)
    return own or config["sets"][problem_set]["template"]


def text_of(value):
    """The name in `texts` that a config value refers to, if it does."""
    return value["text"] if isinstance(value, dict) else None


def text_files(value):
    return [TEXT.format(text=name) for name in [text_of(value)] if name]


def system_files(wildcards):
    """The file of a model's system text, if that is not written in the config."""
    return text_files(config["models"][wildcards.model]["system"])


def few_shot(wildcards):
    return "--few-shot" if config["models"][wildcards.model]["few_shot"] else ""


def sampling(wildcards):
    return canonical(effective_sampling(wildcards.model, wildcards.set))


def effective_sampling(model, problem_set):
    """A set's sampling, with the model's own values over it."""
    return config["sets"][problem_set]["sampling"] | config["models"][model]["sampling"]


# --- Everything -------------------------------------------------------------------------


def teacher_of(dataset, set_name):
    """Who wrote a set's traces: for one that brings its own, whoever it says."""
    return config["sets"][set_name]["teacher"] or config["datasets"][dataset]["teacher"]


def taught():
    """Every (teacher, set) that a training set is made of."""
    return [
        (teacher_of(dataset, name), name)
        for dataset in config["datasets"]
        for name in config["datasets"][dataset]["mixture"]
    ]


def pairs():
    """Every (model, set) that the recipe asks for: teachers, then models under test."""
    return taught() + [
        (model, name)
        for benchmark in config["benchmarks"].values()
        for model in benchmark["models"]
        for name in benchmark["sets"]
    ]


def labelled(*set_names):
    """Every (model, set) that a model grades, of some sets or of all that are taught."""
    names = set_names or dict.fromkeys(name for _, name in taught())
    graders = {name: config["sets"][name]["labeller"] for name in names}
    return [(model, name) for name, model in graders.items() if model]


def files(pattern, which):
    """The paths of a pattern for some (model, set) pairs, every shard."""
    paths = [
        pattern.format(model=model, set=name, shard=shard)
        for model, name in which
        for shard in shards(name)
    ]
    return list(dict.fromkeys(paths))


TEXT = "data/texts/{text}.json"
PROBLEMS = "data/problems/{set}/{shard}.jsonl"
TRACES = "data/traces/{model}/{set}/{shard}.jsonl"
LABELS = "data/labels/{model}/{set}/{shard}.jsonl"
CONTRACTS = "data/traces/{model}/{set}/{shard}.engine.json"
VERDICTS = "data/verdicts/{model}/{set}/{shard}.jsonl"
REWRITES = "data/rewrites/{model}/{set}/{shard}.jsonl"
DATASET = "data/datasets/{dataset}/{file}"
SCORE = "scores/{model}/{benchmark}.json"


def score_files(weights=None):
    """Every score, or those of whatever answers with some weights."""
    return [
        SCORE.format(model=model, benchmark=name)
        for name, benchmark in config["benchmarks"].items()
        for model in benchmark["models"]
        if weights in (None, config["models"][model]["weights"])
    ]


def dataset_files(*names):
    return [
        DATASET.format(dataset=dataset, file=file)
        for dataset in config["datasets"]
        for file in names
    ]


def every_artefact():
    imported = [n for n, w in config["weights"].items() if w["kind"] == "package"]
    return [
        *(TEXT.format(text=name) for name in config["texts"]),
        *files(PROBLEMS, pairs()),
        *files(TRACES, pairs()),
        *files(CONTRACTS, pairs()),
        *files(VERDICTS, pairs()),
        *files(VERDICTS.replace(".jsonl", ".judge.json"), pairs()),
        *files(LABELS, labelled()),
        *files(REWRITES, taught()),
        *dataset_files("train.jsonl", "rejected.jsonl", "card.md", "report.json"),
        *(file for name in imported for file in model_files(name)),
        *(file for name in config["students"] for file in model_files(name)),
        *(f"models/{name}/metrics.jsonl" for name in config["students"]),
        *score_files(),
        f"reports/{config['recipe']}.html",
        *report_figures(),
    ]
