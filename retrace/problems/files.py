"""Problems from files of one's own: JSON lines, a JSON list, CSV or Parquet."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Literal

from pydantic import Field

from retrace.problems import base, table

# Packages whose version can change what this module gives.
SOFTWARE = ("pyarrow",)

# A plan goes through smaller files itself, so an added row reruns one shard only.
SMALL = 20 << 20


class Source(table.Table):
    """Rows of local files; a set of small files grows shard by shard."""

    kind: Literal["files"]
    paths: list[str] = Field(
        min_length=1, description="files, seen from where Snakemake runs, read in order"
    )

    def files(self) -> list[str]:
        return self.paths

    def origin(self) -> table.Origin:
        paths = [Path(path) for path in self.paths]
        for path in paths:
            if not path.is_file():
                raise base.SourceError(f"{path} is not a file: correct `paths`")
        names = ", ".join(path.name for path in paths)
        return table.Origin(names, "", paths)

    def listed_while_planning(self) -> bool:
        return sum(path.stat().st_size for path in self.origin().paths) <= SMALL

    def identity(self) -> str:
        """The settings, and what is in the files."""
        digests = []
        for path in self.origin().paths:
            with open(path, "rb") as file:
                digests.append(hashlib.file_digest(file, "sha256").hexdigest())
        return json.dumps([super().identity(), *digests])
