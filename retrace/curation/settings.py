"""What a recipe says about curation. Every field has a default."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Range(Section):
    """A closed interval; an open end is left out."""

    min: float | None = Field(default=None, description="least value that is kept")
    max: float | None = Field(default=None, description="greatest value that is kept")

    def holds(self, value: float) -> bool:
        above = self.min is None or value >= self.min
        return above and (self.max is None or value <= self.max)

    def is_open(self) -> bool:
        return self.min is None and self.max is None


class Loops(Section):
    """What counts as a trace that goes round in circles."""

    drop: bool = Field(default=True, description="drop traces that repeat themselves")
    words: int = Field(
        default=12, ge=4, description="length of the repeated piece, in words"
    )
    times: int = Field(
        default=6, ge=3, description="how often one piece must stand in the trace"
    )
    share: float = Field(
        default=0.3,
        gt=0,
        le=1,
        description="share of the trace's words that stand in pieces seen before",
    )


class Selection(Section):
    """Which traces of a problem are kept, and which problems."""

    policy: Literal["first", "shortest", "agreed", "random"] = Field(
        default="first",
        description="`first`: lowest sample number; `shortest`: fewest tokens;"
        " `agreed`: the answer that most samples of the problem give, then the first;"
        " `random`: by the hash of seed and trace",
    )
    per_problem: int = Field(default=1, ge=1, description="traces kept of a problem")
    difficulty: Range = Field(
        default_factory=Range,
        description="kept values of the problem's meta.difficulty, if that is a number",
    )
    pass_rate: Range = Field(
        default_factory=Range,
        description="kept shares of a problem's samples that are right",
    )
    tokens: Range = Field(
        default_factory=Range,
        description="kept lengths of a whole row, in the student's tokens",
    )
    languages: list[str] = Field(
        default_factory=list,
        description="scripts that may make up a tenth or more of a row's letters, such"
        " as latin, cjk, cyrillic; empty keeps all",
    )
    loops: Loops = Field(default_factory=Loops)
    empty_thought: bool = Field(
        default=False, description="keep rows whose whole text is the solution"
    )


class Deduplication(Section):
    """What counts as the same problem twice."""

    near: bool = Field(default=True, description="find near-duplicates beside copies")
    similarity: float = Field(
        default=0.8,
        gt=0,
        le=1,
        description="least Jaccard similarity of two statements' word pieces",
    )
    words: int = Field(default=5, ge=1, description="words in a piece")
    permutations: int = Field(default=64, ge=16, description="MinHash values of a text")


class Meaning(Section):
    """The search for problems that say the same in other words."""

    weights: str = Field(description="name in `weights` of a sentence encoder")
    similarity: float = Field(
        default=0.85,
        gt=0,
        le=1,
        description="least cosine of two statements' vectors, if their numbers agree",
    )


class Decontamination(Section):
    """What counts as a benchmark problem in the training set."""

    drop: bool = Field(default=True, description="drop rows with a hit")
    words: int = Field(
        default=8, ge=4, description="words in a piece that is compared (n-gram)"
    )
    boilerplate: int = Field(
        default=3,
        ge=2,
        description="a piece in this many benchmark problems is boilerplate",
    )
    common: int = Field(
        default=5,
        ge=2,
        description="a piece in this many training problems is boilerplate",
    )
    coverage: float = Field(
        default=0.6,
        gt=0,
        le=1,
        description="share of a benchmark problem's pieces that makes a hit",
    )
    similarity: float = Field(
        default=0.9,
        gt=0,
        le=1,
        description="least similarity of two statements with the same numbers",
    )
    paraphrase: float = Field(
        default=0.5,
        gt=0,
        le=1,
        description="least share of common words of two statements with three or more"
        " numbers, all of them the same",
    )
    meaning: Meaning | None = Field(
        default=None, description="search by meaning as well, with an encoder"
    )
    planted: int = Field(
        default=200,
        ge=0,
        description="benchmark problems planted in every run to measure the search",
    )


class Settings(Section):
    """How judged traces become a training set."""

    rewrite: bool = Field(
        default=True,
        description="use the rewrites; otherwise traces are divided by the rule",
    )
    verify: bool = Field(default=True, description="keep only rows judged correct")
    unchecked: list[str] = Field(
        default_factory=list,
        description="sets whose rows are kept although nothing could check them: those"
        " that bring traces of their own and no reference",
    )
    selection: Selection = Field(default_factory=Selection)
    deduplication: Deduplication = Field(default_factory=Deduplication)
    decontamination: Decontamination = Field(default_factory=Decontamination)
    total: int | None = Field(
        default=None,
        ge=1,
        description="rows in all; the mixture's numbers are then weights, not counts",
    )
    domains: dict[Literal["math", "code", "science", "puzzle"], int] = Field(
        default_factory=dict, description="at most this many rows of a domain"
    )
    shortfall: Literal["report", "error"] = Field(
        default="report", description="when a set has fewer rows than the mixture wants"
    )
    upsample: bool = Field(
        default=False, description="repeat rows of a set that has too few"
    )
    seed: int = Field(default=0, ge=0, description="of every choice made by hash")
