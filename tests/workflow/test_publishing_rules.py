"""The rules that publish: nothing goes unless asked for, then exactly the plan."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import tiny_model
from conftest import Checkout
from hub_server import Hub, serve

pytestmark = pytest.mark.slow


@pytest.fixture
def hub() -> Iterator[Hub]:
    with serve() as running:
        yield running


def publishing(checkout: Checkout, hub: Hub) -> Checkout:
    """The checkout with targets on the loopback hub."""
    checkout.recipe["publish"] = {"datasets": {"everything": {"repo": "me/everything"}}}
    checkout.environment |= {
        "HF_ENDPOINT": hub.url, "HF_TOKEN": "secret", "HF_HUB_DISABLE_XET": "1",
    }  # fmt: skip
    return checkout


def with_student(checkout: Checkout) -> Checkout:
    """A student of the dataset whose files are there, as if it had been trained."""
    training = {"epochs": 1, "learning_rate": 1e-5, "batch_size": 1, "max_length": 64}
    checkout.recipe["weights"] = {"seed": {"kind": "local", "path": "seed"}}
    checkout.recipe["students"] = {
        "small": {"base": "seed", "dataset": "everything", "training": training}
    }
    checkout.recipe["publish"]["students"] = {
        "small": {"repo": "me/small", "public": True}
    }
    # Its tokens are what the lengths of rows are counted in now.
    tiny_model.build(checkout.path / "seed")
    checkout.snakemake("--until", "build_dataset")
    write_student(checkout.path / "models/small")
    return checkout


def write_student(folder: Path) -> None:
    """The files that the rule of training promises, none of them a real model."""
    folder.mkdir(parents=True)
    names = [
        "config.json", "generation_config.json", "tokenizer.json",
        "tokenizer_config.json", "chat_template.jinja", "model.safetensors.index.json",
        "model-00001-of-00001.safetensors",
    ]  # fmt: skip
    for name in names:
        (folder / name).write_text(name, "utf-8")
    files = {
        name: {"sha256": hashlib.sha256(name.encode()).hexdigest(), "bytes": len(name)}
        for name in names
    }
    manifest = {
        "student": folder.name, "files": files, "dataset_sha256": "d" * 64,
        "settings": {"epochs": 1}, "training": {"steps": 7}, "software": ["torch==1"],
    }  # fmt: skip
    (folder / "manifest.json").write_text(json.dumps(manifest), "utf-8")
    (folder / "metrics.jsonl").write_text("", "utf-8")


def test_a_dataset_goes_when_it_is_asked_for(done: Checkout, hub: Hub) -> None:
    checkout = publishing(done, hub)
    receipt = "published/datasets/everything.json"
    said = checkout.snakemake("-n", "--", receipt)
    assert "card.md" in said
    assert "go to the hub: --repo me/everything" in said
    assert hub.commits == 0
    checkout.snakemake("--", receipt)
    assert hub.private == {"datasets/me/everything": True}
    plan = (checkout.path / "published/datasets/everything.txt").read_text("utf-8")
    assert plan.startswith("dataset me/everything (private), 4 files")
    for name in ("train.jsonl", "rejected.jsonl", "report.json"):
        written = checkout.path / "data/datasets/everything" / name
        assert hub.pushed["datasets/me/everything"][name] == written.read_bytes()
        assert hashlib.sha256(written.read_bytes()).hexdigest() in plan


def test_a_student_goes_when_it_is_asked_for(done: Checkout, hub: Hub) -> None:
    checkout = with_student(publishing(done, hub))
    checkout.snakemake("--", "published/students/small.json")
    assert hub.private == {"models/me/small": False}
    pushed = hub.pushed["models/me/small"]
    assert len(pushed) == 9
    card = pushed["README.md"].decode()
    dataset = checkout.path / "data/datasets/everything/train.jsonl"
    rows = len(dataset.read_text("utf-8").splitlines())
    assert f"local weights seed, fine-tuned on {rows} reasoning traces" in card
    assert "| steps | 7 |" in card
    assert hashlib.sha256(b"config.json").hexdigest() in card
    assert "(provenance.intoto.json)" in card
    receipt = checkout.path / "published/students/small.json"
    assert json.loads(receipt.read_text("utf-8"))["commit"] == f"{1:040d}"


def test_without_a_target_nothing_is_planned(done: Checkout) -> None:
    said = done.snakemake("-n", "--", "published/datasets/everything.json", ok=False)
    assert "publish.datasets has no everything" in said
    assert "push_dataset" not in done.plan()
