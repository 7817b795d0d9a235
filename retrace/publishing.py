"""Publishing a training set or a student on a hub: what would go, then exactly that.

Nothing is published by accident: the target is named in full, a new repository is
private, one that is public already is refused unless that is asked for, and the hashes
in a manifest or report are checked against the files before the first byte goes out.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from retrace.curation.card import ATTESTATION
from retrace.rows import write_lines
from retrace.weights import MANIFEST, sha256_of

if TYPE_CHECKING:
    from huggingface_hub import HfApi

Kind = Literal["dataset", "model"]


class Settings(BaseModel):
    """Where a training set or a student goes when its publication is asked for."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    repo: str = Field(
        pattern=r"^[\w.-]+/[\w.-]+$", description="repository on the hub, as owner/name"
    )
    public: bool = Field(default=False, description="everybody may read it")


class PublishingError(RuntimeError):
    """Why nothing was published, and what to do."""


@dataclass(frozen=True)
class Upload:
    """A file and the name that it has on the hub."""

    path: Path
    name: str
    size: int
    sha256: str


@dataclass(frozen=True)
class Target:
    """Where to: `owner/name` on a hub, its kind, and who may read it."""

    repo: str
    kind: Kind
    private: bool = True

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[\w.-]+/[\w.-]+", self.repo):
            raise PublishingError(
                f"the target is {self.repo!r}, expected owner/name: say whose it is"
            )


def dataset_files(
    train: Path,
    rejected: Path,
    report: Path,
    card: Path,
    attestation: Path | None = None,
) -> list[Upload]:
    """The files of a training set; its card becomes the repository's README.

    Raises:
        PublishingError: a file is not the one that the report was written for.
    """
    uploads = [
        _upload(card, "README.md"),
        _upload(train, "train.jsonl"),
        _upload(rejected, "rejected.jsonl"),
        _upload(report, "report.json"),
    ]
    stated = json.loads(report.read_text("utf-8"))["outputs"]
    _check(uploads, stated, report)
    return [*uploads, *_attested(uploads, attestation)]


def model_files(
    directory: Path, card: Path | None = None, attestation: Path | None = None
) -> list[Upload]:
    """The files of a model that its manifest names, the manifest, and a card.

    Raises:
        PublishingError: there is no manifest, or a file is not what it says.
    """
    manifest = directory / MANIFEST
    if not manifest.is_file():
        raise PublishingError(
            f"{directory} has no {MANIFEST}: is it a trained student?"
        )
    named = json.loads(manifest.read_text("utf-8"))["files"]
    missing = [name for name in named if not (directory / name).is_file()]
    if missing:
        raise PublishingError(f"{directory} lacks {', '.join(missing)}: run dvc pull")
    uploads = [_upload(directory / name, name) for name in sorted(named)]
    stated = {name: file["sha256"] for name, file in named.items()}
    _check(uploads, stated, manifest)
    uploads.append(_upload(manifest, MANIFEST))
    uploads += _attested(uploads, attestation)
    return [*uploads, _upload(card, "README.md")] if card else uploads


def command_line(description: str | None) -> argparse.ArgumentParser:
    """What the commands that publish have in common."""
    parser = argparse.ArgumentParser(description=description)
    add = parser.add_argument
    add("--repo", required=True, help="target, as owner/name")
    add("--public", action="store_true", help="everybody may read it")
    add("--dry-run", action="store_true", help="say what would go, and stop")
    add("--token-variable", default="HF_TOKEN", help="variable that holds the token")
    add("--endpoint", help="address of another hub")
    add("--attestation", type=Path, help="statement of `retrace attest`, to go along")
    add(
        "--out",
        type=Path,
        required=True,
        help="the receipt; of a dry run, what would go, name and hash by line",
    )
    return parser


def run(
    args: argparse.Namespace, kind: Kind, collect: Callable[[], Sequence[Upload]]
) -> int:
    """Publish what `collect` finds, as the command line says, or say what would go."""
    try:
        target = Target(args.repo, kind, private=not args.public)
        uploads = collect()
        said = plan(target, uploads)
        print(said, file=sys.stderr)
        if args.dry_run:
            write_lines(args.out, said.splitlines())
            return 0
        receipt = push(target, uploads, args.token_variable, args.endpoint)
    except (PublishingError, OSError) as error:
        print(f"nothing was published: {error}", file=sys.stderr)
        return 1
    write_lines(args.out, [json.dumps(receipt, indent=1)])
    return 0


def plan(target: Target, uploads: Sequence[Upload]) -> str:
    """What would go where, for people."""
    who = "private" if target.private else "PUBLIC"
    total = sum(upload.size for upload in uploads)
    lines = [
        f"{target.kind} {target.repo} ({who}), {len(uploads)} files, {total:,} bytes"
    ]
    lines += [
        f"  {upload.name}  {upload.size:,} bytes  sha256 {upload.sha256}"
        for upload in uploads
    ]
    return "\n".join(lines)


def push(
    target: Target,
    uploads: Sequence[Upload],
    token_variable: str = "HF_TOKEN",
    endpoint: str | None = None,
) -> dict[str, Any]:
    """Publish in one commit and return its receipt; equal files make no new commit.

    Raises:
        PublishingError: no token, a repository that others can read, or a hub that
            refuses.
    """
    from huggingface_hub import CommitOperationAdd, HfApi
    from huggingface_hub.errors import HfHubHTTPError

    token = os.environ.get(token_variable)
    if not token:
        raise PublishingError(
            f"{token_variable} is not set: put a token with write access into it"
        )
    api = HfApi(endpoint=endpoint, token=token)
    operations = [
        CommitOperationAdd(path_in_repo=upload.name, path_or_fileobj=upload.path)
        for upload in uploads
    ]
    try:
        _open_repository(api, target)
        commit = api.create_commit(
            target.repo,
            operations,
            commit_message="Publish with Retrace",
            repo_type=target.kind,
        )
    except HfHubHTTPError as error:
        raise PublishingError(f"the hub refused {target.repo}: {error}") from error
    return {
        "repo": target.repo,
        "kind": target.kind,
        "private": target.private,
        "commit": commit.oid,
        "files": {upload.name: upload.sha256 for upload in uploads},
    }


def _open_repository(api: HfApi, target: Target) -> None:
    """Make the repository, or make sure that the one there is as private as wanted."""
    if not api.repo_exists(target.repo, repo_type=target.kind):
        api.create_repo(target.repo, repo_type=target.kind, private=target.private)
        return
    info = api.repo_info(target.repo, repo_type=target.kind)
    if target.private and not info.private:
        raise PublishingError(
            f"{target.repo} is there and public: publish with --public, or name another"
        )


def _check(uploads: Sequence[Upload], stated: dict[str, str], source: Path) -> None:
    found = {upload.name: upload.sha256 for upload in uploads}
    wrong = [name for name, sha256 in stated.items() if found.get(name) != sha256]
    if wrong:
        raise PublishingError(
            f"{', '.join(wrong)}: not the file that {source.name} was written for; run"
            " the workflow again before publishing"
        )


def _attested(uploads: Sequence[Upload], attestation: Path | None) -> list[Upload]:
    """The statement of `retrace attest`, if it is about exactly these files."""
    if attestation is None:
        return []
    subjects = json.loads(attestation.read_text("utf-8"))["subject"]
    stated = {one["name"]: one["digest"]["sha256"] for one in subjects}
    known = {upload.name: stated.get(upload.name, "") for upload in uploads}
    # A card goes by another name, and is no artefact.
    _check(uploads, {n: s for n, s in known.items() if n != "README.md"}, attestation)
    return [_upload(attestation, ATTESTATION)]


def _upload(path: Path, name: str) -> Upload:
    return Upload(path, name, path.stat().st_size, sha256_of(path))
