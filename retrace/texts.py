"""Texts that somebody published with a data set, such as a system prompt.

A recipe names where the text stands and its sha256 and so need not repeat it.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from retrace import hub
from retrace.problems import reading
from retrace.problems.base import SourceError
from retrace.problems.filters import value_at
from retrace.rows import write_lines

# Packages whose version can change what this module gives.
SOFTWARE = ("huggingface-hub", "pyarrow")

LONGEST_ROW = 128 << 20


class PublishedText(BaseModel):
    """A text in the first row of a hub data set."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    repo: str = Field(description="data set on the hub, as owner/name")
    revision: str = Field(description="a commit; a branch is allowed and not pinned")
    data_files: list[str] = Field(min_length=1, description="files by name or pattern")
    column: str = Field(description="column whose first value is the text")
    sha256: str = Field(pattern="^[0-9a-f]{64}$", description="of the text as UTF-8")

    def fetch(self) -> str:
        """The text, checked.

        Raises:
            HubError: the file can't be had.
            SourceError: there is no such text, or it is another one.
        """
        path = hub.fetch(self.repo, self.revision, self.data_files).paths()[0]
        row = next(iter(reading.read(path, {self.column}, LONGEST_ROW)), None)
        value = value_at(row, self.column) if isinstance(row, dict) else None
        if not isinstance(value, str):
            raise SourceError(
                f"{self.repo}: {path.name} has no text in {self.column!r}"
            )
        found = hashlib.sha256(value.encode("utf-8", "replace")).hexdigest()
        if found != self.sha256:
            raise SourceError(
                f"{self.repo}: the text in {self.column!r} has {len(value)} characters"
                f" and sha256 {found}, expected {self.sha256}: pin the revision that it"
                " was taken from, or correct `sha256` if the new text is meant"
            )
        return value


def write_text(path: Path, text: str) -> None:
    """Write a text as a JSON file that holds it to the last blank."""
    digest = hashlib.sha256(text.encode()).hexdigest()
    told = json.dumps({"text": text, "sha256": digest}, ensure_ascii=False)
    write_lines(path, [told])


def read_text(path: Path) -> str:
    """The text of a file that `write_text` wrote."""
    text: str = json.loads(path.read_text("utf-8"))["text"]
    return text
