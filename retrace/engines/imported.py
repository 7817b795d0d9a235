"""No engine: the traces of such a model come with its problems and are imported."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

# Packages whose version can change what this module gives.
SOFTWARE: tuple[str, ...] = ()


class Settings(BaseModel):
    """A model that is never asked."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["imported"] = "imported"
    made_by: str = Field(
        default="", description="what wrote the traces, as far as the source tells"
    )
