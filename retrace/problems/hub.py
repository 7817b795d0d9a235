"""Problems from a data set on the hub: files by name, at a pinned revision."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from retrace import hub
from retrace.problems import table

# Packages whose version can change what this module gives.
SOFTWARE = ("huggingface-hub", "pyarrow")


class Source(table.Table):
    """Rows of a hub data set. Its files are cached by the hub's own client."""

    kind: Literal["hub"]
    repo: str = Field(description="data set on the hub, as owner/name")
    revision: str = Field(description="a commit; a branch is allowed and not pinned")
    data_files: list[str] = Field(
        min_length=1, description="files by name or pattern, read in order of names"
    )
    gated: bool = Field(
        default=False,
        description="the hub asks for a token whose account has accepted terms; without"
        " a token, benchmarks over this set are skipped",
    )

    def origin(self) -> table.Origin:
        snapshot = hub.fetch(self.repo, self.revision, self.data_files)
        return table.Origin(self.repo, snapshot.commit, snapshot.paths())

    def listed_while_planning(self) -> bool:
        return False
