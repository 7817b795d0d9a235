"""Judges science answers: a value with a tolerance, in the reference's unit.

Units convert through `pint`. A missing unit is the policy's matter, and a unit that
measures something else is always wrong.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from fractions import Fraction
from functools import lru_cache
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from retrace.judging import base, extraction, numbers
from retrace.judging.base import Judgement
from retrace.judging.tidy import tidy
from retrace.rows import Answer, Problem, Reason
from retrace.sections import parse

# Packages whose version can change what this module gives.
SOFTWARE = ("pint",)


class Policy(BaseModel):
    model_config = ConfigDict(extra="forbid")

    kind: Literal["quantity"] = "quantity"
    forms: list[extraction.Form] = Field(
        default=["boxed", "answer_tag", "final_answer"],
        description="where an answer may stand, in order of preference",
    )
    tolerance: float = Field(
        default=0.05, ge=0, lt=1, description="relative error that is still right"
    )
    missing_unit: Literal["accept", "reject"] = Field(
        default="accept",
        description="accept: a bare number is taken to be in the reference's unit",
    )
    unit_from: str = Field(
        default="unit", description="the key of a problem's meta that holds its unit"
    )


class Judge(base.Judge[Policy]):
    def judge(self, items: Iterable[tuple[Problem, str]]) -> Iterator[Judgement]:
        for problem, response in items:
            yield self._one(problem, response)

    def contract(self) -> dict[str, Any]:
        from importlib.metadata import version

        return {**super().contract(), "libraries": {"pint": version("pint")}}

    def _one(self, problem: Problem, response: str) -> Judgement:
        if not isinstance(problem.reference, Answer):
            detail = f"the reference is {problem.reference.kind!r}, expected an answer"
            return Judgement(Reason.UNPARSABLE_REFERENCE, detail=detail)
        gold = split(problem.reference.answer)
        if gold is None:
            detail = f"the reference {problem.reference.answer!r} is no quantity"
            return Judgement(Reason.UNPARSABLE_REFERENCE, detail=detail)
        value, unit = gold
        unit = unit or str(problem.meta.get(self.policy.unit_from, "") or "")
        power, unit = power_of_ten(unit)
        found = extraction.find(parse(response).solution, self.policy.forms)
        if found is None:
            return Judgement(Reason.NO_ANSWER, detail="no answer was found")
        given = split(found.answer)
        if given is None:
            detail = "the answer is no quantity"
            return Judgement(Reason.WRONG_ANSWER, found.answer, "quantity", detail)
        wrong = self._wrong(value * power, unit, *given)
        if wrong and power != 1 and not given[1]:
            wrong = self._wrong(value, unit, *given)  # the power is part of the unit
        reason = Reason.WRONG_ANSWER if wrong else Reason.CORRECT
        return Judgement(reason, found.answer, "quantity", wrong)

    def _wrong(self, gold: Fraction, unit: str, value: Fraction, given: str) -> str:
        """Why a value is wrong, or nothing."""
        if unit and not given and self.policy.missing_unit == "reject":
            return f"no unit was given, expected {unit}"
        if unit and given:
            converted = convert(value, given, unit)
            if isinstance(converted, str):
                return converted
            value = converted
        elif given == "percent":
            value = min(value, value / 100, key=lambda one: abs(one - gold))
        error = abs(value - gold)
        if error <= Fraction(self.policy.tolerance) * abs(gold):
            return ""
        return f"{float(value):.6g} is not {float(gold):.6g} {unit}".rstrip()


_STYLE = re.compile(r"\\(?:text|mathrm|textrm|rm|mbox|operatorname)\s*")
_NAME = re.compile(r"^[A-Za-z_\\{}()]+\s*(?:=|\\approx|≈)\s*")
_VALUE = re.compile(
    r"^\s*(?P<value>[-+]?\s*(?:\\frac\s*\{[^{}]*\}\s*\{[^{}]*\}|(?:\d[\d,]*\.?\d*|\.\d+))"
    r"(?:\s*/\s*\d+)?"
    r"(?:\s*(?:\\times|\\cdot|\*|x)\s*10\s*\^\s*(?:\{[^{}]*\}|\([^()]*\)|-?\d+)"
    r"|[eE][-+]?\d+)?)\s*(?P<unit>.*)$",
    re.DOTALL,
)
_POWER = re.compile(r"\s*\$?\s*(?:\\times\s*)?10\s*\^\s*\{?\s*([-+]?\d{1,3})\s*\}?\$?")
MAX_UNIT = 60
MAX_TEXT = 500


def split(text: str) -> tuple[Fraction, str] | None:
    """A number and the text of its unit, or None where there is no number in front."""
    if len(text) > MAX_TEXT:
        return None
    plain = _NAME.sub("", tidy(text))
    power = re.fullmatch(r"\s*([-+]?)\s*(10\s*\^\s*(?:\{[^{}]*\}|-?\d+))\s*(.*)", plain)
    if power:
        plain = f"{power[1]}1 \\times {power[2]} {power[3]}"
    match = _VALUE.match(plain)
    if match is None or len(match["unit"]) > MAX_UNIT:
        return None
    number = numbers.read(match["value"])
    if number is None:
        return None
    return number.value, unit_text(match["unit"])


def power_of_ten(unit: str) -> tuple[Fraction, str]:
    """The power of ten that a unit such as `$10^{-3}$ mol` begins with; the rest."""
    match = _POWER.match(unit)
    if match is None:
        return Fraction(1), unit
    return Fraction(10) ** int(match[1]), unit[match.end() :].strip()


def unit_text(latex: str) -> str:
    """A unit as pint reads it: m/s**2 for LaTeX with upright letters."""
    text = _STYLE.sub(" ", latex)
    text = re.sub(r"\\(?:cdot|times)|[·⋅]", "*", text)
    text = re.sub(r"\^\s*\\circ\s*(?=[CFK])", " deg", text)
    text = re.sub(r"\\?%", "percent", text)
    text = re.sub(r"\^\s*\{?\s*\\circ\s*\}?", " degree", text).replace("Å", "angstrom")
    text = text.replace("\\Omega", "ohm").replace("\\mu ", "u").replace("\\mu", "u")
    text = re.sub(r"\\[,;:! ]|~", " ", text)
    text = re.sub(r"\\frac\s*\{([^{}]*)\}\s*\{([^{}]*)\}", r"(\1)/(\2)", text)
    text = re.sub(r"\^\s*\{?\s*([-+]?\d+)\s*\}?", r"**\1", text)
    text = re.sub(r"[{}$\\]", " ", text).strip(" .,()")
    text = re.sub(r"\s*\*\*\s*", "**", text)
    text = re.sub(r"(?<=[A-Za-z])(-?\d)", r"**\1", text)
    return re.sub(r"(?<=[A-Za-z0-9])\s+(?=[A-Za-z])", "*", re.sub(r"\s+", " ", text))


_ONE_UNIT = r"[A-Za-z]+(?:\*\*-?\d)?"
_UNIT = re.compile(rf"(?:{_ONE_UNIT}|1)(?:\s*[*/]\s*\(?{_ONE_UNIT}\)?){{0,8}}")
"""Names with one-digit powers: all that reaches pint, which would compute anything."""


def convert(value: Fraction, given: str, unit: str) -> Fraction | str:
    """A value in the reference's unit, or why it has none."""
    if given.casefold().replace("*", "") == unit.casefold().replace("*", ""):
        return value
    from pint.errors import PintError

    target = unit_text(unit)
    for text in (given, target):
        if not _UNIT.fullmatch(text):
            return f"{text!r} is no unit"
    try:
        registry = _registry()
        quantity = registry.Quantity(float(value), registry.parse_units(given))
        return Fraction(float(quantity.to(registry.parse_units(target)).magnitude))
    except (PintError, ArithmeticError, ValueError, TypeError, AttributeError) as error:
        return f"{given!r} is not {target!r}: {type(error).__name__}"


@lru_cache(maxsize=1)
def _registry() -> Any:
    import pint

    return pint.UnitRegistry(autoconvert_offset_to_baseunit=True)
