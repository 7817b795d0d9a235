"""What DVC has recorded: the md5 of every file, from dvc.lock and the cache.

A folder stands in dvc.lock with one hash, that of a list of its files. The list itself
is in DVC's cache, or on a remote; where it is in neither, the folder can only be judged
as a whole.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from retrace.provenance import stages

LOCK = "dvc.lock"
FILES = Path("files/md5")


class LedgerError(ValueError):
    """A dvc.lock that is missing or damaged: says what to do."""


@dataclass(frozen=True)
class Out:
    """A recorded output of a stage."""

    path: str
    md5: str
    stage: str
    private: bool = False
    """Whether it never goes to a remote."""

    @property
    def is_folder(self) -> bool:
        return self.md5.endswith(".dir")


@dataclass(frozen=True)
class Ledger:
    """A dvc.lock, with the lists of its folders where they are at hand."""

    outs: list[Out]
    deps: dict[str, dict[str, str]]
    """For each stage the md5 of every dependency, as DVC writes it."""
    files: dict[str, str]
    """md5 of every recorded file."""
    unlisted: list[Out] = field(default_factory=list)
    """Folders whose list of files is not at hand."""
    absent: list[str] = field(default_factory=list)
    """What dvc.yaml says is recorded and dvc.lock does not have."""

    def out_of(self, path: str) -> Out | None:
        return next(
            (o for o in self.outs if path == o.path or path.startswith(f"{o.path}/")),
            None,
        )


def read(root: Path) -> Ledger:
    """Read dvc.lock and the lists of folders that are in the cache.

    Raises:
        LedgerError: there is no dvc.lock, or it is damaged.
    """
    lock = root / LOCK
    try:
        told = yaml.load(lock.read_text("utf-8"), Loader=_loader())["stages"]
        declared = stages.declared_outs(root)
        outs = [
            Out(out["path"], out["md5"], name, not declared.get(out["path"], True))
            for name, stage in told.items()
            for out in stage.get("outs", [])
        ]
        deps = {
            name: {dep["path"]: dep["md5"] for dep in stage.get("deps", [])}
            for name, stage in told.items()
        }
    except FileNotFoundError as error:
        raise LedgerError(
            f"there is no {LOCK}: nothing was recorded here; `retrace record` does it"
        ) from error
    except (yaml.YAMLError, KeyError, TypeError) as error:
        raise LedgerError(
            f"{LOCK} is damaged ({type(error).__name__}): `retrace record` undoes a"
            f" recording that was killed; else `git checkout {LOCK}` gets it back"
        ) from error
    files: dict[str, str] = {}
    unlisted = []
    for out in outs:
        if not out.is_folder:
            files[out.path] = out.md5
            continue
        listed = listing(root, out.md5)
        if listed is None:
            unlisted.append(out)
        else:
            files |= {f"{out.path}/{name}": md5 for name, md5 in listed.items()}
    known = {out.path for out in outs}
    return Ledger(outs, deps, files, unlisted, [o for o in declared if o not in known])


def listing(root: Path, md5: str) -> dict[str, str] | None:
    """The files of a folder by its hash, if the cache has an undamaged list."""
    file = object_path(root, md5)
    if not file.is_file():
        return None
    return parse_listing(file.read_bytes(), md5)


def parse_listing(content: bytes, md5: str) -> dict[str, str] | None:
    """The files in a folder's list; nothing if it is not the list with that hash."""
    if hashlib.md5(content, usedforsecurity=False).hexdigest() != md5.split(".")[0]:
        return None
    entries: list[dict[str, Any]] = json.loads(content)
    return {entry["relpath"]: entry["md5"] for entry in entries}


def folder_hash(files: Mapping[str, str]) -> str:
    """The hash that DVC gives a folder with these files (name to md5)."""
    entries = [{"md5": md5, "relpath": name} for name, md5 in sorted(files.items())]
    text = json.dumps(entries, sort_keys=True).encode()
    return hashlib.md5(text, usedforsecurity=False).hexdigest() + ".dir"


def object_path(root: Path, md5: str) -> Path:
    """Where DVC's cache keeps an object."""
    return cache_folder(root) / FILES / md5[:2] / md5[2:]


@cache
def cache_folder(root: Path) -> Path:
    """The folder of DVC's cache, which one clone may share with others."""
    found = root / ".dvc/cache"
    try:
        from configobj import ConfigObj
        from dvc.dirs import global_config_dir, system_config_dir
    except ImportError:  # an auditor may have the files and no DVC
        return found
    # In the order in which one shadows the others. DVC's own reader of these takes
    # longer to load than all of a lineage.
    folders = [Path(system_config_dir()), Path(global_config_dir())]
    files = [*(folder / "config" for folder in folders), root / ".dvc/config"]
    for file in [*files, root / ".dvc/config.local"]:
        told = ConfigObj(str(file)).get("cache", {}).get("dir")
        if told:
            found = file.parent / Path(told).expanduser()
    return found


def is_recorded_by_rules(stage: str) -> bool:
    """Whether a stage's outputs are artefacts, not the engines' own records."""
    return stage != stages.PROVENANCE


def files_below(root: Path, out: Out) -> Iterator[str]:
    """Every file that lies in a recorded folder now."""
    for file in sorted((root / out.path).rglob("*")):
        if file.is_file() or file.is_symlink():
            yield file.relative_to(root).as_posix()


def _loader() -> type[Any]:
    return getattr(yaml, "CSafeLoader", yaml.SafeLoader)
