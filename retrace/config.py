"""The recipe: what a config file may say, checked before anything runs.

`config.schema.json` is generated from these models. Everything a recipe uses has a
name, and the name is its path, so recipes share whatever they have in common.
"""

from __future__ import annotations

import difflib
import functools
import itertools
import operator
import types
import typing
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    PositiveInt,
    ValidationError,
    model_validator,
)

from retrace import engines
from retrace.curation import Settings as CurationSettings
from retrace.engines import imported, openai, openai_batch, vllm
from retrace.judging import choice, code, exact, llm, math, puzzle, quantity, structure
from retrace.problems import files, hub, programs, reasoning_gym, word_problems
from retrace.prompts import Shot, Template
from retrace.publishing import Settings as Publication
from retrace.rewriting import Checks
from retrace.rewriting import Prompt as RewritingPrompt
from retrace.sampling import Sampling
from retrace.terms import Terms
from retrace.texts import PublishedText
from retrace.training.settings import Settings as TrainingSettings

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]


class Section(BaseModel):
    """A part of the recipe: a key that is not known is an error."""

    model_config = ConfigDict(extra="forbid")


# --- Models ---------------------------------------------------------------------------


class HubWeights(Section):
    kind: Literal["hub"]
    repo: str = Field(description="repository on the hub, as owner/name")
    revision: str = Field(description="a commit; a branch is allowed and not pinned")


class PackageWeights(Section):
    """Weights that a Python package carries as a GGUF file."""

    kind: Literal["package"]
    package: str = Field(description="pinned package, as name==version")
    file: str = Field(description="path of the GGUF file inside the package")
    sha256: str = Field(pattern="^[0-9a-f]{64}$")


class LocalWeights(Section):
    kind: Literal["local"]
    path: str = Field(description="directory with config.json and safetensors files")


Weights = Annotated[
    HubWeights | PackageWeights | LocalWeights, Field(discriminator="kind")
]
if TYPE_CHECKING:
    Engine = vllm.Settings | openai.Settings | openai_batch.Settings | imported.Settings
else:
    # Whatever engines there are: a new one is a file among them, and nothing here.
    Engine = Annotated[
        functools.reduce(operator.or_, engines.all_settings()),
        Field(discriminator="kind"),
    ]


class Text(Section):
    """A text that is fetched rather than written in the config."""

    text: Name = Field(description="name in `texts`")


def _known_to_sampling(value: dict[str, Any]) -> dict[str, Any]:
    for key in value:
        if key not in Sampling.model_fields:
            raise ValueError(_unknown(key, Sampling.model_fields, "here"))
    return value


Overrides = Annotated[dict[str, Any], AfterValidator(_known_to_sampling)]


class Model(Section):
    """A way of answering: weights behind an engine, a system prompt, with or without
    the shots of a set."""

    weights: Name | None = Field(
        default=None, description="name in `weights` or `students`; none for an API"
    )
    engine: Engine
    system: str | Text | None = Field(default=None, description="system prompt")
    templates: dict[Name, Template] = Field(
        default_factory=dict, description="this model's user turns, by set"
    )
    few_shot: bool = Field(default=False, description="show the set's shots first")
    sampling: Overrides = Field(
        default_factory=dict, description="overrides of a set's `sampling`, by key"
    )
    terms: Terms = Field(
        default_factory=Terms,
        description="prices, budget and retries; change no answer",
    )


# --- Problem sets ---------------------------------------------------------------------

Source = Annotated[
    word_problems.Source
    | reasoning_gym.Source
    | programs.Source
    | hub.Source
    | files.Source,
    Field(discriminator="kind"),
]
Judge = Annotated[
    math.Policy
    | exact.Policy
    | choice.Policy
    | quantity.Policy
    | puzzle.Policy
    | code.Policy
    | structure.Policy
    | llm.Policy,
    Field(discriminator="kind"),
]

# The kind of reference that each kind of judge compares with; `structure` needs none.
JUDGED = {
    "math": "answer",
    "exact": "answer",
    "quantity": "answer",
    "llm": "answer",
    "choice": "options",
    "code": "tests",
    "puzzle": "puzzle",
}


class ProblemSet(Section):
    source: Source
    shards: int = Field(ge=1, le=9999, description="files that the set is divided into")
    teacher: Name | None = Field(
        default=None,
        description="name in `models` whose traces the source brings: they are imported"
        " whatever the teacher of a dataset is",
    )
    license: str = Field(
        default="",
        description="licence of the source, as a hub names it (apache-2.0), for the"
        " card of a training set; empty: not stated",
    )
    confidential: bool = Field(
        default=False,
        description="no text of this set in reports, logs, or remotes: what its licence"
        " or its gate asks for",
    )
    template: Template = Field(
        default="{statement}",
        description="user turn, or one for each style; {statement} is the problem,"
        " {starter_code} what its program begins with",
    )
    shots: list[Shot] = Field(
        default_factory=list, description="examples, for models with `few_shot`"
    )
    sampling: Sampling = Field(
        default_factory=lambda: Sampling(max_tokens=1),
        description="of an imported set, none is needed",
    )
    judge: Judge
    labeller: Name | None = Field(
        default=None, description="name in `models` of the model that grades difficulty"
    )
    rewriter: Name | None = Field(
        default=None, description="name in `rewriters`; none: a rule divides the text"
    )
    typical_tokens: int | None = Field(
        default=None,
        gt=0,
        description="completion tokens of an answer, for a plan before any is measured",
    )

    @model_validator(mode="after")
    def _judge_fits(self) -> ProblemSet:
        judged, has = JUDGED.get(self.judge.kind), self.source.reference_kind()
        if judged not in (None, has):
            fits = [kind for kind, one in JUDGED.items() if one == has]
            raise ValueError(
                f"judge {self.judge.kind!r} needs references of kind {judged!r}, the"
                f" source's are of kind {has!r}: judge them by {' or '.join(fits)}"
            )
        return self

    @model_validator(mode="after")
    def _traces_are_there(self) -> ProblemSet:
        if self.teacher and getattr(self.source, "trace", None) is None:
            raise ValueError(
                f"the traces of teacher {self.teacher!r} are to be imported, but the"
                " source names no column of them: give `source.trace`, or leave out"
                " `teacher` if it is to be asked"
            )
        return self


class Rewriter(Section):
    """How a right trace becomes a thought and a solution."""

    model: Name = Field(description="name in `models`")
    prompt: RewritingPrompt
    sampling: Sampling
    checks: Checks = Field(default_factory=Checks)


# --- Datasets, students, benchmarks ---------------------------------------------------


class Dataset(Section):
    """A training set: which rows of which teacher, in which proportions."""

    teacher: Name = Field(description="name in `models`")
    mixture: dict[Name, PositiveInt] = Field(
        min_length=1, description="rows wanted of each set, at most"
    )
    system: str | Text = Field(description="system text of every row")
    curation: CurationSettings = Field(default_factory=CurationSettings)


class NodeMemory(Section):
    """What a node offers to a training, as its tools show it."""

    gpu_gib: float | None = Field(default=None, gt=0, description="of each GPU")
    host_gib: float | None = Field(default=None, gt=0, description="of the node")


class Student(Section):
    base: Name = Field(description="name in `weights` that training starts from")
    dataset: Name = Field(description="name in `datasets`")
    ranks: int = Field(default=1, ge=1, description="processes of a node, one a GPU")
    nodes: int = Field(default=1, ge=1, description="nodes of such processes")
    training: TrainingSettings
    memory: NodeMemory | None = Field(
        default=None, description="of its nodes; a plan refuses what cannot fit there"
    )

    @model_validator(mode="after")
    def _batch_is_shared_out(self) -> Student:
        if uneven := self.training.uneven(self.ranks * self.nodes):
            raise ValueError(uneven)
        return self


class Benchmark(Section):
    sets: list[Name] = Field(min_length=1, description="names in `sets`")
    models: list[Name] = Field(min_length=1, description="names in `models`")
    description: str = ""


class Published(Section):
    """A score that somebody published, in percent."""

    model: str
    benchmark: str
    score: float = Field(ge=0, le=100)
    version: str = Field(default="", description="which publication of the number")
    source: str
    protocol: dict[str, Any] | None = Field(
        default=None,
        description="how it was made, as far as that is stated: `sampling`, `template`,"
        " ... with the keys of a set; what differs from ours is said beside the number",
    )


class Paid(Section):
    """What somebody paid for a stage."""

    stage: str
    dollars: float = Field(ge=0)
    source: str


class Prices(Section):
    gpu_hour: float = Field(
        default=0.0,
        ge=0,
        description="dollars for an hour of one GPU, of training and of every model"
        " whose `terms.prices` say nothing else",
    )
    published: list[Paid] = Field(
        default_factory=list, description="what others paid, to compare with"
    )


class Publish(Section):
    """What goes to a hub when that is asked for, and only then."""

    datasets: dict[Name, Publication] = Field(
        default_factory=dict, description="targets of training sets, by their names"
    )
    students: dict[Name, Publication] = Field(
        default_factory=dict, description="targets of students, by their names"
    )


class Recipe(Section):
    """A config file."""

    recipe: Name
    description: str = ""
    environment: str = Field(description="compiled environment file, under envs/")
    weight_shards: int = Field(
        default=1, ge=1, le=999, description="safetensors files of each model we write"
    )
    texts: dict[Name, PublishedText] = Field(default_factory=dict)
    weights: dict[Name, Weights] = Field(default_factory=dict)
    models: dict[Name, Model]
    sets: dict[Name, ProblemSet]
    rewriters: dict[Name, Rewriter] = Field(default_factory=dict)
    datasets: dict[Name, Dataset] = Field(default_factory=dict)
    students: dict[Name, Student] = Field(default_factory=dict)
    benchmarks: dict[Name, Benchmark] = Field(default_factory=dict)
    published: list[Published] = Field(default_factory=list)
    prices: Prices = Field(default_factory=Prices)
    publish: Publish = Field(default_factory=Publish)

    def weights_in_words(self, name: str) -> str:
        """What a name in `weights` or `students` stands for."""
        if name in self.weights:
            return _described(self.weights[name])
        return f"student {name} of this recipe"

    def answers_as(self, model: str) -> str:
        """What a model's name stands for, in words: weights, or the model of an API."""
        name = self.models[model].weights
        if name is not None:
            return self.weights_in_words(name)
        engine = self.models[model].engine
        if isinstance(engine, imported.Settings):
            return f"imported, made by {engine.made_by}"
        if isinstance(engine, vllm.Settings):
            return "vLLM"
        if not isinstance(engine, openai.Settings | openai_batch.Settings):
            return f"engine {engine.kind}"
        provider = f" of {engine.provider}" if engine.provider else ", over an API"
        return f"{engine.model}{provider}"

    @model_validator(mode="after")
    def _gpus_have_one_price(self) -> Recipe:
        for name, model in self.models.items():
            if model.terms.prices.gpu_hour is None:
                self.models[name] = _with_gpu_price(model, self.prices.gpu_hour)
        return self

    @model_validator(mode="after")
    def _budgets_have_prices(self) -> Recipe:
        for name, model in self.models.items():
            prices = model.terms.prices
            costs = bool(prices.prompt or prices.completion)
            if isinstance(model.engine, vllm.Settings):
                costs = costs or bool(prices.gpu_hour)
            if model.terms.budget is not None and not costs:
                raise ValueError(
                    f"models.{name}.terms: a budget, and nothing costs anything: give"
                    " `prices` beside `budget`, or take it out"
                )
        return self

    @model_validator(mode="after")
    def _names_are_defined(self) -> Recipe:
        problems = list(_undefined(self)) or list(_impossible(self))
        if problems:
            raise ValueError("\n".join(problems))
        return self


def _with_gpu_price(model: Model, dollars: float) -> Model:
    prices = model.terms.prices.model_copy(update={"gpu_hour": dollars})
    terms = model.terms.model_copy(update={"prices": prices})
    return model.model_copy(update={"terms": terms})


def _described(weights: HubWeights | PackageWeights | LocalWeights) -> str:
    if isinstance(weights, HubWeights):
        return f"{weights.repo} at {weights.revision}"
    if isinstance(weights, PackageWeights):
        return f"{weights.file.rpartition('/')[2]} of {weights.package}"
    return f"local weights {Path(weights.path).name}"


# Keys whose text is often long enough to stand in a file of its own.
TEXTS = frozenset({"description", "response", "system", "template"})


class ConfigError(ValueError):
    """What is wrong with a config, one line for each place."""


def read_recipe(config: Mapping[str, Any], root: Path = Path()) -> Recipe:
    """Check a config. Where a value is `{file: PATH}`, the file's text stands for it;
    a value that is null is as if it were not there, so a recipe laid over another one
    can take something out of it.

    Args:
        root: folder against which such paths are read.

    Raises:
        ConfigError: a line for each fault, with its place and what to write instead.
    """
    try:
        return Recipe.model_validate(_with_texts(config, root, ""))
    except ValidationError as error:
        lines = [line for fault in error.errors() for line in _explain(fault)]
        raise ConfigError("\n".join(dict.fromkeys(lines))) from error


def _with_texts(value: Any, root: Path, place: str) -> Any:
    """Put the texts of files in their places; the last newline is the file's own."""
    if isinstance(value, Mapping):
        if list(value) == ["file"]:
            try:
                return (root / str(value["file"])).read_text("utf-8").removesuffix("\n")
            except OSError as error:
                raise ConfigError(
                    f"{place}: cannot read {value['file']}: {error.strerror}"
                ) from error
        return {
            key: _with_texts(item, root, f"{place}.{key}" if place else str(key))
            for key, item in value.items()
            if item is not None
        }
    if isinstance(value, list):
        return [_with_texts(item, root, place) for item in value]
    return value


def merged(files: Iterable[Path]) -> dict[str, Any]:
    """Config files laid over one another, as `snakemake --configfile A B` does it."""
    import yaml
    from snakemake.utils import update_config

    config: dict[str, Any] = {}
    for file in files:
        update_config(config, yaml.safe_load(file.read_text("utf-8")))
    return config


def json_schema() -> dict[str, Any]:
    """The JSON schema of a config file, for editors and other programs."""
    schema = Recipe.model_json_schema()
    file = {
        "type": "object",
        "properties": {"file": {"type": "string"}},
        "required": ["file"],
        "additionalProperties": False,
    }
    for model in [schema, *schema["$defs"].values()]:
        for name in TEXTS & model.get("properties", {}).keys():
            text = model["properties"][name]
            model["properties"][name] = {"anyOf": [text, file]}
    return schema


# --- Names that refer to other names --------------------------------------------------


def _undefined(recipe: Recipe) -> Iterator[str]:
    weights = [*recipe.weights, *recipe.students]
    for name in set(recipe.weights) & set(recipe.students):
        yield f"students.{name}: {name!r} is also in `weights`: rename one of them"
    for place, name, kind, known in _references(recipe):
        defined = weights if kind == "weights" else list(getattr(recipe, kind))
        if name not in known(defined):
            yield f"{place}: {_unknown(name, defined, f'in `{kind}`')}"


def _impossible(recipe: Recipe) -> Iterator[str]:
    """What is defined and cannot be done: questions nobody answers, texts kept back."""
    for key, benchmark in recipe.benchmarks.items():
        for model, name in itertools.product(benchmark.models, benchmark.sets):
            yield from _not_asked(recipe, f"benchmarks.{key}", model, name)
    for key, dataset in recipe.datasets.items():
        for name in dataset.mixture:
            if recipe.sets[name].teacher is None:
                yield from _not_asked(recipe, f"datasets.{key}", dataset.teacher, name)
    for key in recipe.publish.datasets:
        for name in recipe.datasets[key].mixture:
            if recipe.sets[name].confidential:
                yield f"publish.datasets.{key}: its set {name!r} is confidential"


def _not_asked(recipe: Recipe, place: str, model: str, name: str) -> Iterator[str]:
    about = recipe.models[model]
    if isinstance(about.engine, imported.Settings):
        yield (
            f"{place}: model {model!r} is never asked, its engine is `imported`, and"
            f" set {name!r} brings no traces of it: name another model"
        )
        return
    try:
        given = recipe.sets[name].sampling.model_dump()
        Sampling.model_validate(given | about.sampling)
    except ValidationError as error:
        for fault in error.errors():
            where = ".".join(["sampling", *(str(part) for part in fault["loc"])])
            told = fault["msg"].removeprefix("Value error, ")
            yield f"{place}: models.{model}.{where} over sets.{name}.sampling: {told}"


def _references(
    recipe: Recipe,
) -> Iterator[tuple[str, str, str, typing.Callable[[list[str]], Iterable[str]]]]:
    """Every name that must be defined elsewhere: place, name, section."""
    same = list
    for key, model in recipe.models.items():
        if model.weights is not None:
            yield f"models.{key}.weights", model.weights, "weights", same
        if isinstance(model.system, Text):
            yield f"models.{key}.system.text", model.system.text, "texts", same
        for name in model.templates:
            yield f"models.{key}.templates", name, "sets", same
    for key, problem_set in recipe.sets.items():
        if problem_set.teacher is not None:
            yield f"sets.{key}.teacher", problem_set.teacher, "models", same
        if isinstance(problem_set.judge, llm.Policy):
            yield f"sets.{key}.judge.model", problem_set.judge.model, "models", same
        if problem_set.labeller is not None:
            yield f"sets.{key}.labeller", problem_set.labeller, "models", same
        if problem_set.rewriter is not None:
            yield f"sets.{key}.rewriter", problem_set.rewriter, "rewriters", same
    for key, rewriter in recipe.rewriters.items():
        yield f"rewriters.{key}.model", rewriter.model, "models", same
    for key, dataset in recipe.datasets.items():
        yield f"datasets.{key}.teacher", dataset.teacher, "models", same
        if isinstance(dataset.system, Text):
            yield f"datasets.{key}.system.text", dataset.system.text, "texts", same
        for name in dataset.mixture:
            yield f"datasets.{key}.mixture", name, "sets", same
        for name in dataset.curation.unchecked:
            yield f"datasets.{key}.curation.unchecked", name, "sets", same
        if (meaning := dataset.curation.decontamination.meaning) is not None:
            place = f"datasets.{key}.curation.decontamination.meaning.weights"
            yield place, meaning.weights, "weights", same
    for key, student in recipe.students.items():
        yield f"students.{key}.base", student.base, "weights", same
        yield f"students.{key}.dataset", student.dataset, "datasets", same
    for name in recipe.publish.datasets:
        yield "publish.datasets", name, "datasets", same
    for name in recipe.publish.students:
        yield "publish.students", name, "students", same
    for key, benchmark in recipe.benchmarks.items():
        for name in benchmark.sets:
            yield f"benchmarks.{key}.sets", name, "sets", same
        for name in benchmark.models:
            yield f"benchmarks.{key}.models", name, "models", same


# --- Messages -------------------------------------------------------------------------


def _explain(fault: Any) -> Iterator[str]:
    """Turn one pydantic fault into lines that say the place and the cure."""
    place = [str(part) for part in fault["loc"]]
    shown = ".".join(_without_tags(place)) or "the config"
    if fault["type"] == "extra_forbidden":
        known = _keys_at(place[:-1])
        yield f"{shown}: {_unknown(place[-1], known, 'here')}"
    elif fault["type"] == "missing":
        yield f"{shown}: missing: add this key"
    elif fault["type"] == "value_error" and not place:
        yield from str(fault["ctx"]["error"]).splitlines()
    else:
        found = repr(fault["input"])
        if fault["type"] == "value_error" and isinstance(fault["input"], dict):
            yield f"{shown}: {_told(fault)}"
        else:
            found = found if len(found) < 60 else found[:57] + "..."
            yield f"{shown}: {_told(fault)}, found {found}"


def _told(fault: Any) -> str:
    """What pydantic says, without the words that only its users know."""
    message = str(fault["msg"]).removeprefix("Value error, ")
    if fault["type"] == "union_tag_invalid":
        return f"`kind` is none of {fault['ctx']['expected_tags']}"
    if fault["type"] == "union_tag_not_found":
        return "expected an object whose `kind` says what it is"
    return message.replace(
        "a valid dictionary or object to extract", "an object to take"
    )


def _unknown(name: str, known: Iterable[str], where: str) -> str:
    known = sorted(known)
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(known)}"
    return f"{name!r} is not defined {where}: {hint}"


def _without_tags(place: list[str]) -> list[str]:
    """Drop the tags that pydantic puts into a place, of unions and of keys."""
    named = [part for part, annotation in _walk(place) if annotation is not None]
    return [part for part in named if not part.startswith(("<", "["))]


def _keys_at(place: list[str]) -> list[str]:
    model: Any = Recipe
    for _, annotation in _walk(place):
        model = annotation if annotation is not None else model
    tag = place[-1] if place else ""
    for candidate in _members(model):
        if candidate.model_fields.get("kind") is None or _kind(candidate) == tag:
            return list(candidate.model_fields)
    return []


def _walk(place: list[str]) -> Iterator[tuple[str, Any]]:
    """Go down the models along a place; a union's tag has no type of its own."""
    current: Any = Recipe
    for part in place:
        members = list(_members(current))
        chosen = next((m for m in members if _kind(m) == part), None)
        if chosen is not None:
            current = chosen
            yield part, None
            continue
        field = next(
            (m.model_fields[part] for m in members if part in m.model_fields), None
        )
        if field is not None:
            current = field.annotation
        elif typing.get_origin(current) in (dict, list):
            current = typing.get_args(current)[-1]
        yield part, current


def _members(annotation: Any) -> Iterator[type[BaseModel]]:
    """The models that an annotation admits."""
    origin = typing.get_origin(annotation)
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    elif origin is Annotated:
        yield from _members(typing.get_args(annotation)[0])
    elif origin in (typing.Union, types.UnionType):
        for argument in typing.get_args(annotation):
            yield from _members(argument)


def _kind(model: type[BaseModel]) -> str:
    field = model.model_fields.get("kind")
    values = typing.get_args(field.annotation) if field is not None else ()
    return str(values[0]) if values else ""
