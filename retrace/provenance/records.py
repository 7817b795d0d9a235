"""Snakemake's record of every job, read from `.snakemake/metadata`."""

from __future__ import annotations

import hashlib
import json
import os
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

FOLDER = Path(".snakemake/metadata")
FORMAT = 6
CODE = re.compile(r"'([\w/]+\.py) ([0-9a-f]{16})'")
PINS = re.compile(r"'([A-Za-z0-9._-]+==[^']+)'")


class RecordError(ValueError):
    """A record that cannot be read: says which one and what to do."""


@dataclass(frozen=True)
class Record:
    """What Snakemake keeps of the job that wrote a file."""

    path: str
    rule: str
    inputs: list[str]
    command: str
    code: dict[str, str]
    """Digest of each file of the step's code."""
    software: list[str]
    checksums: dict[str, str]
    """sha256 of each input, as the job found it."""
    started: float
    finished: float
    """The modification time of the output when the job was done, in seconds."""
    file: str
    """The record's own file."""
    md5: str


def read(root: Path, path: str) -> Record | None:
    """The record of one output, or nothing if there is none.

    Raises:
        RecordError: the record is damaged or of another version of Snakemake.
    """
    key = urlsafe_b64encode(path.encode()).decode()
    # Snakemake divides longer file names into folders whose names begin with @.
    longest = _longest_name(root / FOLDER) - 1
    parts = [key[at : at + longest] for at in range(0, len(key), longest)]
    file = FOLDER / Path(*(f"@{part}" for part in parts[:-1]), parts[-1])
    return _parse(root, path, file) if (root / file).is_file() else None


def read_all(root: Path) -> Iterator[Record]:
    """Every record, by path of the output."""
    folder = root / FOLDER
    files = (file for file in folder.rglob("*") if file.is_file())
    for path, file in sorted(
        (_output(file.relative_to(folder)), file) for file in files
    ):
        yield _parse(root, path, file.relative_to(root))


@cache
def _longest_name(folder: Path) -> int:
    return os.pathconf(folder, "PC_NAME_MAX") if folder.is_dir() else 255


def _output(file: Path) -> str:
    key = "".join(part.removeprefix("@") for part in file.parts)
    try:
        return urlsafe_b64decode(key).decode()
    except ValueError as error:
        raise RecordError(
            f"{FOLDER / file} is no record of Snakemake's: remove it"
        ) from error


def _parse(root: Path, path: str, file: Path) -> Record:
    try:
        content = (root / file).read_bytes()
        told: dict[str, Any] = json.loads(content)
        version = told["record_format_version"]
        params = " ".join(told["params"])
        record = Record(
            path=path,
            rule=told["rule"],
            inputs=told["input"],
            command=told["shellcmd"] or "",
            code=dict(CODE.findall(params)),
            software=list(dict.fromkeys(PINS.findall(params))),
            checksums={
                name: value.removeprefix("sha256:")
                for name, value in (told["input_checksums"] or {}).items()
            },
            started=told["starttime"],
            finished=told["endtime"],
            file=file.as_posix(),
            md5=hashlib.md5(content, usedforsecurity=False).hexdigest(),
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise RecordError(
            f"Snakemake's record of {path} cannot be read ({error!r}): get it back with"
            " `dvc checkout .snakemake/metadata`, or delete the file and run again"
        ) from error
    if version != FORMAT:
        raise RecordError(
            f"Snakemake's record of {path} has format {version}, expected {FORMAT}:"
            " use the Snakemake that the environment file pins"
        )
    return record
