"""Files of a hub repository, by name, at a revision; no loading script is ever run."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

COMMIT = re.compile(r"[0-9a-f]{40}")


class HubError(RuntimeError):
    """What could not be had from the hub, and what to do about it, in one line."""


@dataclass(frozen=True)
class Snapshot:
    """Files of one commit, in the order of their names."""

    commit: str
    folder: Path
    names: list[str]

    def paths(self) -> list[Path]:
        return [self.folder / name for name in self.names]


def is_pinned(revision: str) -> bool:
    """Whether a revision is a commit; a branch or a tag can move."""
    return COMMIT.fullmatch(revision) is not None


def fetch(
    repo: str,
    revision: str,
    patterns: Sequence[str],
    kind: Literal["dataset", "model"] = "dataset",
) -> Snapshot:
    """Download the files that match the patterns, once; later calls find them cached.

    The hub's address is `HF_ENDPOINT`, the token `HF_TOKEN` or the one that `hf auth
    login` stored, the cache `HF_HOME`; with `HF_HUB_OFFLINE=1` only the cache is read.

    Raises:
        HubError: no such repository, revision or file, no permission, no connection, or
            a download that ended early.
    """
    from huggingface_hub import snapshot_download

    where = f"{repo} at {revision}"
    try:
        folder = snapshot_download(
            repo,
            repo_type=kind,
            revision=revision,
            allow_patterns=list(patterns),
            endpoint=os.environ.get("HF_ENDPOINT"),
            # A folder's worth of large files: what fills the line is enough.
            max_workers=4,
        )
    except Exception as error:
        raise HubError(_explain(error, repo, where, kind)) from error
    root = Path(folder)
    names = sorted(
        path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()
    )
    found = [name for name in names if _matches(name, patterns)]
    missing = [one for one in patterns if "*" not in one and one not in found]
    if missing or not found:
        raise HubError(
            f"{where} has no file {(missing or list(patterns))[0]}: look at the"
            " repository's files and correct `data_files`"
        )
    return Snapshot(root.name, root, found)


def refusal(repo: str) -> str:
    """Why the hub would not give a data set's files to the token at hand, in a line;
    empty if it would, or if it does not answer."""
    from huggingface_hub import HfApi, errors

    api = HfApi(endpoint=os.environ.get("HF_ENDPOINT"))
    try:
        api.auth_check(repo, repo_type="dataset")
    except errors.HfHubHTTPError as error:
        status = error.response.status_code
        return _explain(error, repo, repo, "dataset") if status in (401, 403) else ""
    except Exception:
        # Whether it can be reached at all is another question.
        return ""
    return ""


def _matches(name: str, patterns: Sequence[str]) -> bool:
    from fnmatch import fnmatchcase

    return any(fnmatchcase(name, pattern) for pattern in patterns)


def _explain(error: Exception, repo: str, where: str, kind: str) -> str:
    """The cure for each way in which a download fails."""
    from huggingface_hub import errors

    if isinstance(error, errors.GatedRepoError):
        page = (
            f"https://huggingface.co/{'datasets/' if kind == 'dataset' else ''}{repo}"
        )
        return (
            f"{repo} is gated: accept its terms at {page} and give a token of that"
            " account (`hf auth login`, or HF_TOKEN in the environment)"
        )
    if isinstance(error, errors.RevisionNotFoundError):
        return f"{repo} has no such revision ({where}): give a commit of its history"
    if isinstance(error, errors.RepositoryNotFoundError):
        return (
            f"{repo}: the hub knows no such {kind}, or shows it to members only: check"
            " the name, and give a token that may read it"
        )
    if isinstance(error, errors.LocalEntryNotFoundError):
        return (
            f"{where} is not in the cache, and the hub cannot be reached: connect, or"
            " download it on a node that is connected, with the same HF_HOME"
        )
    if isinstance(error, errors.HfHubHTTPError) and error.response.status_code == 401:
        return (
            f"{where}: the hub does not know the token at hand: give a valid one"
            " (`hf auth login`, or HF_TOKEN in the environment), or none"
        )
    text = " ".join(str(error).split())
    return f"{where}: the download failed, run the same command to go on: {text[:300]}"
