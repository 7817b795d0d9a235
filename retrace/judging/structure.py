"""Looks at imported traces: whether they have both sections, and nothing more.

Such a trace has no reference to be judged by, so none is ever `correct`: one that is
whole is `unchecked`, which a training set takes only if its recipe says so.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Literal

from pydantic import BaseModel, ConfigDict

from retrace.judging import base
from retrace.judging.base import Judgement
from retrace.rows import Problem, Reason
from retrace.sections import parse

# Packages whose version can change what this module gives.
SOFTWARE: tuple[str, ...] = ()


class Policy(BaseModel):
    model_config = ConfigDict(extra="forbid")

    kind: Literal["structure"] = "structure"


class Judge(base.Judge[Policy]):
    def judge(self, items: Iterable[tuple[Problem, str]]) -> Iterator[Judgement]:
        for _problem, response in items:
            sections = parse(response)
            if sections.thought and sections.solution:
                yield Judgement(Reason.UNCHECKED, by="structure")
            else:
                missing = "solution" if sections.thought else "thought"
                detail = f"the imported trace has no {missing} section"
                yield Judgement(Reason.NO_ANSWER, by="structure", detail=detail)
