"""Which values of the config each rule reads, for DVC to watch in the config files.

Snakemake compares the values themselves; DVC compares keys of a file, so the keys are
named here. A test changes every value of a recipe in turn, and fails where the two do
not agree on the rules that it makes stale.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path as FilePath
from typing import Any

import retrace
from retrace.fingerprint import constant

Path = tuple[str, ...]
Config = Mapping[str, Any]
# For each config file the keys to watch in it; no keys: the whole file.
Watched = dict[str, list[str]]


def watched(
    config: Config,
    files: Mapping[str, Config],
    jobs: Iterable[tuple[str, Mapping[str, str]]],
) -> Watched:
    """The keys that some jobs read, in each of the config files that holds them.

    Args:
        config: the recipe with every default filled in.
        files: the config files as they are written, by name, each laid over those
            before it.
        jobs: rule and wildcards of each job.
    """
    paths = {
        path for rule, wildcards in jobs for path in reads(rule, config, wildcards)
    }
    if () in paths:
        return {name: [] for name in files}
    found = {
        name: sorted({key for path in paths for key in _key(path, written)})
        for name, written in files.items()
    }
    return {name: _outermost(keys) for name, keys in found.items() if keys}


def reads(rule: str, config: Config, wildcards: Mapping[str, str]) -> Iterator[Path]:
    """Places in the config that a job reads; the empty one is the whole of it."""
    # A rule that is not known here may read anything.
    yield from RULES.get(rule, _everything)(config, wildcards)


def text_files(value: Any) -> Iterator[str]:
    """The files that texts of a written config stand in."""
    if isinstance(value, Mapping):
        if list(value) == ["file"]:
            yield str(value["file"])
        else:
            for item in value.values():
                yield from text_files(item)
    elif isinstance(value, list):
        for item in value:
            yield from text_files(item)


def at(value: Any, path: Sequence[str]) -> Any:
    """What stands at a place; nothing where a config file does not go so deep."""
    for key in path:
        if not isinstance(value, Mapping) or key not in value:
            return None
        value = value[key]
    return value


# --- Rules ----------------------------------------------------------------------------


def _problems(config: Config, wildcards: Mapping[str, str]) -> Iterator[Path]:
    yield "sets", wildcards["set"], "source"
    yield "sets", wildcards["set"], "shards"


def _text(config: Config, wildcards: Mapping[str, str]) -> Iterator[Path]:
    yield "texts", wildcards["text"]


def _imported_traces(config: Config, wildcards: Mapping[str, str]) -> Iterator[Path]:
    yield "sets", wildcards["set"], "source"
    yield "models", wildcards["model"], "engine"


def _imported_weights(config: Config, wildcards: Mapping[str, str]) -> Iterator[Path]:
    yield "weights", wildcards["weights"]
    yield ("weight_shards",)


def _traces(config: Config, wildcards: Mapping[str, str]) -> Iterator[Path]:
    model, name = wildcards["model"], wildcards["set"]
    yield from _asked(config, model)
    yield from _put(config, model, name)
    yield "models", model, "system"


def _labels(config: Config, wildcards: Mapping[str, str]) -> Iterator[Path]:
    yield from _asked(config, wildcards["model"])


def _verdicts(config: Config, wildcards: Mapping[str, str]) -> Iterator[Path]:
    yield "sets", wildcards["set"], "judge"
    model = config["sets"][wildcards["set"]]["judge"].get("model")
    if model:
        yield from _asked(config, model)


def _rewrites(config: Config, wildcards: Mapping[str, str]) -> Iterator[Path]:
    yield from _verdicts(config, wildcards)
    yield "sets", wildcards["set"], "rewriter"
    name = config["sets"][wildcards["set"]]["rewriter"]
    if name:
        yield "rewriters", name
        yield from _asked(config, config["rewriters"][name]["model"])


def _dataset(config: Config, wildcards: Mapping[str, str]) -> Iterator[Path]:
    yield "datasets", wildcards["dataset"]
    for name in config["datasets"][wildcards["dataset"]]["mixture"]:
        for key in ("template", "teacher", "labeller"):
            yield "sets", name, key
    for name in config["sets"]:
        yield "sets", name, "confidential"
    found = config["datasets"][wildcards["dataset"]]["curation"]
    meaning = found["decontamination"].get("meaning")
    yield from _weights(config, meaning["weights"] if meaning else None)
    for name, student in config["students"].items():
        if student["dataset"] == wildcards["dataset"]:
            yield "students", name, "base"
            yield from _weights(config, student["base"])


def _card(config: Config, wildcards: Mapping[str, str]) -> Iterator[Path]:
    dataset = config["datasets"][wildcards["dataset"]]
    yield "datasets", wildcards["dataset"], "mixture"
    yield "datasets", wildcards["dataset"], "teacher"
    for name in dataset["mixture"]:
        yield "sets", name, "license"
        yield "sets", name, "teacher"
        teacher = config["sets"][name]["teacher"] or dataset["teacher"]
        weights = config["models"][teacher]["weights"]
        yield "models", teacher, "weights"
        yield from _weights(config, weights, always=True)
        if weights is None:
            for key in ("kind", "model", "provider", "made_by"):
                yield "models", teacher, "engine", key


def _student(config: Config, wildcards: Mapping[str, str]) -> Iterator[Path]:
    yield "students", wildcards["student"]
    yield from _weights(config, config["students"][wildcards["student"]]["base"])
    yield ("weight_shards",)


def _score(config: Config, wildcards: Mapping[str, str]) -> Iterator[Path]:
    model = wildcards["model"]
    yield ("published",)
    yield "benchmarks", wildcards["benchmark"], "sets"
    yield from _engine(config, model)
    yield "models", model, "weights"
    yield from _weights(config, config["models"][model]["weights"], always=True)
    yield "models", model, "system"
    system = config["models"][model]["system"]
    if isinstance(system, Mapping):
        yield "texts", system["text"]
    for name in config["benchmarks"][wildcards["benchmark"]]["sets"]:
        yield from _put(config, model, name)
        yield "sets", name, "judge"


def _everything(config: Config, wildcards: Mapping[str, str]) -> Iterator[Path]:
    yield ()


RULES: dict[str, Callable[[Config, Mapping[str, str]], Iterator[Path]]] = {
    "make_problems": _problems,
    "fetch_text": _text,
    "import_traces": _imported_traces,
    "import_weights": _imported_weights,
    "sample_traces": _traces,
    "label_difficulty": _labels,
    "judge_traces": _verdicts,
    "rewrite_traces": _rewrites,
    "build_dataset": _dataset,
    "write_card": _card,
    "train_student": _student,
    "train_student_on_nodes": _student,
    "score_benchmark": _score,
    "build_report": _everything,
}


def _asked(config: Config, model: str) -> Iterator[Path]:
    """What a model that is asked is reached by."""
    yield from _engine(config, model)
    yield "models", model, "weights"
    yield from _weights(config, config["models"][model]["weights"])


def _engine(config: Config, model: str) -> Iterator[Path]:
    """The settings of an engine that can change an answer."""
    settings = config["models"][model]["engine"]
    module = f"{retrace.__name__}.engines.{settings['kind']}"
    root = FilePath(retrace.__file__).parents[1]
    for key in settings:
        if key not in constant(root, module, "OPERATION"):
            yield "models", model, "engine", key


def _weights(config: Config, name: str | None, always: bool = False) -> Iterator[Path]:
    """Weights that no rule makes stand in the config itself."""
    section = config["weights"].get(name)
    if section and (always or section["kind"] != "package"):
        yield "weights", str(name)


def _put(config: Config, model: str, name: str) -> Iterator[Path]:
    """How a set is put to a model."""
    settings = config["models"][model]
    yield "models", model, "few_shot"
    yield "models", model, "sampling"
    yield "models", model, "templates", name
    yield "sets", name, "sampling"
    if name not in settings["templates"]:
        yield "sets", name, "template"
    if settings["few_shot"]:
        yield "sets", name, "shots"


# --- Keys of a file -------------------------------------------------------------------


def _key(path: Path, written: Config) -> Iterator[str]:
    """The place as DVC names it, if the file has it.

    DVC divides a key at dots: where a name has one, what holds it is watched.
    """
    if at(written, path) is None:
        return
    plain = next((i for i, part in enumerate(path) if "." in part), len(path))
    yield ".".join(path[:plain])


def _outermost(keys: Sequence[str]) -> list[str]:
    """Without keys that lie below another one."""
    return [k for k in keys if not any(k.startswith(f"{other}.") for other in keys)]
