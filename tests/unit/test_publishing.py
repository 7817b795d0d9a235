"""Publishing on a loopback hub: what goes, what is refused."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from retrace import publishing
from retrace.publishing import PublishingError, Target
from tests.hub_server import Hub, serve

ROOT = Path(__file__).parents[2]


@pytest.fixture
def hub() -> Iterator[Hub]:
    with serve() as running:
        yield running


@pytest.fixture
def dataset(tmp_path: Path) -> dict[str, Path]:
    texts = {"train.jsonl": "{}\n", "rejected.jsonl": "", "card.md": "---\n---\n# x\n"}
    hashes = {}
    for name, text in texts.items():
        (tmp_path / name).write_text(text, "utf-8")
        hashes[name] = hashlib.sha256(text.encode()).hexdigest()
    outputs = {name: hashes[name] for name in ("train.jsonl", "rejected.jsonl")}
    (tmp_path / "report.json").write_text(json.dumps({"outputs": outputs}), "utf-8")
    names = ("train.jsonl", "rejected.jsonl", "report.json", "card.md")
    return {name.partition(".")[0]: tmp_path / name for name in names}


@pytest.fixture
def student(tmp_path: Path) -> Path:
    weights = b"\x01" * 4000
    (tmp_path / "model-00001-of-00001.safetensors").write_bytes(weights)
    (tmp_path / "config.json").write_bytes(b"{}")
    files = {
        "model-00001-of-00001.safetensors": {
            "sha256": hashlib.sha256(weights).hexdigest()
        },
        "config.json": {"sha256": hashlib.sha256(b"{}").hexdigest()},
    }
    (tmp_path / "manifest.json").write_text(json.dumps({"files": files}), "utf-8")
    return tmp_path


def run(script: str, hub: Hub, *arguments: str, token: str = "secret") -> str:
    """Run a script against the hub and return what it says."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "HF_TOKEN": token}
    environment |= {"HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
    done = subprocess.run(
        [sys.executable, f"scripts/{script}.py", "--endpoint", hub.url, *arguments],
        cwd=ROOT,
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    return f"{done.returncode} {done.stderr}"


def of(dataset: dict[str, Path]) -> list[str]:
    return [part for name, path in dataset.items() for part in (f"--{name}", str(path))]


def test_a_training_set_is_published_private(
    hub: Hub, dataset: dict[str, Path], tmp_path: Path
) -> None:
    receipt = tmp_path / "receipt.json"
    arguments = [*of(dataset), "--repo", "me/set", "--out", str(receipt)]
    said = run("push_dataset", hub, *arguments)
    assert said.startswith("0 dataset me/set (private), 4 files"), said
    assert hub.private == {"datasets/me/set": True}
    pushed = hub.pushed["datasets/me/set"]
    assert pushed["README.md"] == dataset["card"].read_bytes()
    assert pushed["train.jsonl"] == dataset["train"].read_bytes()
    assert set(pushed) == {"README.md", "train.jsonl", "rejected.jsonl", "report.json"}
    written = json.loads(receipt.read_text("utf-8"))
    assert written["commit"] == f"{1:040d}"
    assert "secret" not in receipt.read_text("utf-8") + said


def test_a_dry_run_sends_nothing(
    hub: Hub, dataset: dict[str, Path], tmp_path: Path
) -> None:
    receipt = tmp_path / "receipt.json"
    arguments = [*of(dataset), "--repo", "me/set", "--out", str(receipt)]
    said = run("push_dataset", hub, *arguments, "--dry-run")
    assert said.startswith("0 ")
    assert "train.jsonl  3 bytes  sha256" in said
    assert (hub.private, hub.commits) == ({}, 0)
    assert receipt.read_text("utf-8") == said.removeprefix("0 ")


def test_a_student_is_published_with_its_manifest(hub: Hub, student: Path) -> None:
    receipt = student / "receipt.json"
    arguments = ["--directory", str(student), "--repo", "me/student"]
    said = run("push_model", hub, *arguments, "--out", str(receipt), "--public")
    assert said.startswith("0 model me/student (PUBLIC)"), said
    pushed = hub.pushed["models/me/student"]
    assert set(pushed) == {
        "config.json", "manifest.json", "model-00001-of-00001.safetensors",
    }  # fmt: skip
    assert hub.private == {"models/me/student": False}


def test_a_public_repository_is_not_taken_for_a_private_one(
    hub: Hub, student: Path
) -> None:
    hub.private["models/me/student"] = False
    hub.pushed["models/me/student"] = {}
    arguments = ["--directory", str(student), "--repo", "me/student"]
    said = run("push_model", hub, *arguments, "--out", str(student / "r"))
    assert said.startswith("1 ")
    assert "is there and public" in said
    assert hub.commits == 0


def test_what_is_refused_before_anything_goes(
    student: Path, dataset: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(PublishingError, match="expected owner/name"):
        Target("student", "model")
    monkeypatch.delenv("HF_TOKEN", raising=False)
    with pytest.raises(PublishingError, match="HF_TOKEN is not set"):
        publishing.push(Target("me/student", "model"), [])
    (student / "config.json").write_text('{"edited": 1}', "utf-8")
    with pytest.raises(PublishingError, match=r"config\.json: not the file"):
        publishing.model_files(student)
    (student / "config.json").unlink()
    with pytest.raises(PublishingError, match=r"lacks config\.json"):
        publishing.model_files(student)
    dataset["train"].write_text("edited", "utf-8")
    with pytest.raises(PublishingError, match=r"train\.jsonl: not the file"):
        publishing.dataset_files(**dataset)
