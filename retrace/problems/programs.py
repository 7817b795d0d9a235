"""Small programming problems of our own: functions to write, and whole programs.

A problem is a family (add a number, keep the multiples, ...), a parameter and a style:
`call` asks for a function, `stdin` for a program that reads and prints. Pairs of family
and parameter are divided by their hash, so a benchmark shares none with a training set.
Tests are made by the family's own solution.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import Field

from retrace.problems import base
from retrace.rows import Problem, TestCase, Tests

Style = Literal["call", "stdin"]
Level = Literal["easy", "medium"]
Kind = Literal["integer", "word", "integers"]

# Every fourth pair of family and parameter is held out for benchmarks.
HELD_OUT_IN = 4
PARAMETERS = range(2, 21)
TESTS = 8

_NUMBERS = [
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
    "twenty",
]
_LETTERS = "abcdefghiklmnoprstu"
_SYLLABLES = [
    "ba",
    "be",
    "da",
    "di",
    "fa",
    "ga",
    "ka",
    "la",
    "le",
    "ma",
    "mi",
    "na",
    "no",
    "pa",
    "ra",
    "re",
    "sa",
    "so",
    "ta",
    "to",
    "va",
]


@dataclass(frozen=True)
class Family:
    """A kind of task; `{k}` in its texts is the parameter, `{x}` the argument.

    Attributes:
        function: name of the function; `{word}` is the parameter as a word.
        returns: what is to be returned or printed.
        solve: (argument, parameter) to the result.
    """

    level: Level
    takes: Kind
    function: str
    returns: str
    solve: Callable[[Any, Any], Any]
    letter: bool = False


def _runs(numbers: list[int], k: int) -> int:
    """The longest run of numbers of at least k."""
    best = run = 0
    for number in numbers:
        run = run + 1 if number >= k else 0
        best = max(best, run)
    return best


def _steps(n: int, k: int) -> int:
    """How often n can be divided by k, rounding down, until it is 0."""
    steps = 0
    while n > 0:
        n, steps = n // k, steps + 1
    return steps


def _in_base(n: int, k: int) -> int:
    """The sum of the digits of n in base k."""
    total = 0
    while n:
        n, digit = divmod(n, k)
        total += digit
    return total


def _shift(word: str, k: int) -> str:
    return "".join(chr((ord(c) - 97 + k) % 26 + 97) for c in word)


FAMILIES: dict[str, Family] = {
    "add": Family("easy", "integer", "add_{word}", "{x} plus {k}", lambda n, k: n + k),
    "subtract": Family(
        "easy", "integer", "subtract_{word}", "{x} minus {k}", lambda n, k: n - k
    ),
    "multiply": Family(
        "easy", "integer", "times_{word}", "{x} times {k}", lambda n, k: n * k
    ),
    "remainder": Family(
        "easy",
        "integer",
        "remainder_{word}",
        "the remainder when {x} is divided by {k}",
        lambda n, k: n % k,
    ),
    "square_plus": Family(
        "easy",
        "integer",
        "square_plus_{word}",
        "the square of {x}, plus {k}",
        lambda n, k: n * n + k,
    ),
    "larger": Family(
        "easy",
        "integer",
        "at_least_{word}",
        "the larger one of {x} and {k}",
        max,
    ),
    "repeat": Family(
        "easy",
        "word",
        "repeat_{word}",
        "{x} repeated {k} times, without spaces",
        lambda s, k: s * k,
    ),
    "count_letter": Family(
        "easy",
        "word",
        "count_{k}",
        'how often the letter "{k}" occurs in {x}',
        lambda s, k: s.count(k),
        letter=True,
    ),
    "without_letter": Family(
        "easy",
        "word",
        "without_{k}",
        '{x} without any letter "{k}"',
        lambda s, k: s.replace(k, ""),
        letter=True,
    ),
    "sum_plus": Family(
        "easy",
        "integers",
        "sum_plus_{word}",
        "the sum of {x}, plus {k}",
        lambda xs, k: sum(xs) + k,
    ),
    "scale": Family(
        "easy",
        "integers",
        "scale_by_{word}",
        "{x} with each number multiplied by {k}",
        lambda xs, k: [x * k for x in xs],
    ),
    "count_multiples": Family(
        "medium",
        "integers",
        "count_multiples_of_{word}",
        "how many of {x} are divisible by {k}",
        lambda xs, k: sum(x % k == 0 for x in xs),
    ),
    "above": Family(
        "medium",
        "integers",
        "above_{word}",
        "the numbers of {x} that are greater than {k}, in their order",
        lambda xs, k: [x for x in xs if x > k],
    ),
    "digits_in_base": Family(
        "medium",
        "integer",
        "digit_sum_base_{word}",
        "the sum of the digits of {x} written in base {k}",
        _in_base,
    ),
    "divisions": Family(
        "medium",
        "integer",
        "divisions_by_{word}",
        "how often {x} can be divided by {k}, rounding down each time, until it is 0",
        _steps,
    ),
    "shift_letters": Family(
        "medium",
        "word",
        "shift_by_{word}",
        '{x} with each letter moved {k} places on in the alphabet ("z" is followed by'
        ' "a")',
        _shift,
    ),
    "longest_run": Family(
        "medium",
        "integers",
        "longest_run_{word}",
        "the length of the longest run of neighbouring numbers in {x} that are all at"
        " least {k}",
        _runs,
    ),
    "sort_by_remainder": Family(
        "medium",
        "integers",
        "sort_by_remainder_{word}",
        "{x} sorted by the remainder of each number divided by {k}; numbers with the"
        " same remainder keep their order",
        lambda xs, k: sorted(xs, key=lambda x: x % k),
    ),
}

_ARGUMENT: dict[Kind, tuple[str, str, str]] = {
    # kind: name of the argument, how a function's statement and a program's call it
    "integer": ("n", "an integer n of at least 0", "one integer n of at least 0"),
    "word": (
        "s",
        "a string s of lower-case letters",
        "one word s of lower-case letters",
    ),
    "integers": (
        "numbers",
        "a list of integers called numbers",
        "one line of integers called numbers, separated by spaces,",
    ),
}


class Source(base.Source):
    """Functions and programs with tests; problem i depends on the seed and on i."""

    kind: Literal["programs"]
    count: int = Field(ge=1, description="number of problems, repeats dropped")
    part: Literal["train", "held_out"] = Field(
        default="train", description="which pairs of family and parameter are used"
    )
    styles: tuple[Style, ...] = Field(
        default=("call", "stdin"), min_length=1, description="functions, programs"
    )
    levels: tuple[Level, ...] = Field(
        default=("easy", "medium"), min_length=1, description="how hard"
    )
    seed: int = Field(default=0)

    def reference_kind(self) -> str:
        return "tests"

    def problems(self, set_name: str) -> Iterator[Problem]:
        """A shuffled pass over what there is.

        Raises:
            ValueError: the settings allow fewer different problems than `count`.
        """
        tasks = self._tasks()
        if len(tasks) < self.count:
            raise ValueError(
                f"set {set_name}: there are {len(tasks)} different programs, wanted"
                f" {self.count}: ask for fewer, or for more styles or levels"
            )
        random.Random(f"programs:{self.seed}").shuffle(tasks)
        for name, parameter, style in tasks[: self.count]:
            yield self._problem(set_name, name, parameter, style)

    def _tasks(self) -> list[tuple[str, int, Style]]:
        return [
            (name, parameter, style)
            for name, family in FAMILIES.items()
            if family.level in self.levels
            for parameter in PARAMETERS
            if held_out(name, parameter) == (self.part == "held_out")
            for style in self.styles
        ]

    def _problem(
        self, set_name: str, name: str, parameter: int, style: Style
    ) -> Problem:
        family = FAMILIES[name]
        shown = _LETTERS[parameter - 2] if family.letter else parameter
        arguments = _arguments(family, shown, random.Random(f"{name}:{parameter}"))
        pairs = [(argument, family.solve(argument, shown)) for argument in arguments]
        function = family.function.format(k=shown, word=_NUMBERS[parameter - 2])
        write = _statement_of_call if style == "call" else _statement_of_stdin
        return Problem.make(
            set_name,
            self.domain,
            write(family, function, shown, pairs[0]),
            _tests(style, function, pairs),
            {
                "source": self.kind,
                "family": name,
                "parameter": parameter,
                "level": family.level,
            },
        )


def held_out(family: str, parameter: int) -> bool:
    """Whether a family with this parameter belongs to the benchmarks."""
    digest = hashlib.sha256(f"{family}:{parameter}".encode()).digest()
    return digest[0] % HELD_OUT_IN == 0


def _arguments(family: Family, parameter: Any, rng: random.Random) -> list[Any]:
    """Different arguments, small ones and large ones, that a test each is made of."""
    found: list[Any] = []
    while len(found) < TESTS:
        argument = _argument(family, parameter, rng, large=len(found) >= TESTS // 2)
        if argument not in found:
            found.append(argument)
    return found


def _argument(family: Family, parameter: Any, rng: random.Random, large: bool) -> Any:
    if family.takes == "integer":
        return rng.randint(0, 10_000 if large else 40)
    if family.takes == "word":
        word = "".join(rng.choices(_SYLLABLES, k=rng.randint(1, 6 if large else 3)))
        if family.letter and rng.random() < 0.7:
            place = rng.randrange(len(word) + 1)
            word = word[:place] + parameter + word[place:]
        return word
    return [rng.randint(0, 60 if large else 30) for _ in range(rng.randint(3, 8))]


def _statement_of_call(
    family: Family, function: str, parameter: Any, example: tuple[Any, Any]
) -> str:
    argument, described, _ = _ARGUMENT[family.takes]
    returns = family.returns.format(x=argument, k=parameter)
    return (
        f"Write a Python function {function}({argument}) that takes {described} and"
        f" returns {returns}.\n"
        f"For example, {function}({example[0]!r}) returns {example[1]!r}."
    )


def _statement_of_stdin(
    family: Family, function: str, parameter: Any, example: tuple[Any, Any]
) -> str:
    argument, _, described = _ARGUMENT[family.takes]
    prints = family.returns.format(x=argument, k=parameter)
    several = ", separated by spaces" if isinstance(example[1], list) else ""
    return (
        f"Write a Python program that reads {described} from standard input and prints"
        f" {prints}{several}.\n"
        f"For example, for the input\n{_line(example[0])}\nit prints\n"
        f"{_line(example[1])}"
    )


def _tests(style: Style, function: str, pairs: list[tuple[Any, Any]]) -> Tests:
    if style == "call":
        cases = [
            TestCase(input=json.dumps([a]), output=json.dumps(b)) for a, b in pairs
        ]
        return Tests(style="call", tests=cases, fn_name=function)
    cases = [TestCase(input=f"{_line(a)}\n", output=f"{_line(b)}\n") for a, b in pairs]
    return Tests(style="stdin", tests=cases)


def _line(value: Any) -> str:
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)
