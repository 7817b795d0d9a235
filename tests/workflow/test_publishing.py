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
    """The checkout with targets on the loopback hub, and a student made by hand."""
    checkout.recipe["weights"] = {"seed": {"kind": "local", "path": "seed"}}
    training = {"epochs": 1, "learning_rate": 1e-5, "batch_size": 1, "max_length": 64}
    checkout.recipe["students"] = {
        "small": {"base": "seed", "dataset": "everything", "training": training}
    }
    checkout.recipe["publish"] = {
        "datasets": {"everything": {"repo": "me/everything"}},
        "students": {"small": {"repo": "me/small", "public": True}},
    }
    checkout.environment |= {
        "HF_ENDPOINT": hub.url, "HF_TOKEN": "secret", "HF_HUB_DISABLE_XET": "1",
    }  # fmt: skip
    # Its tokens are what lengths of rows are counted in.
    tiny_model.build(checkout.path / "seed")
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
        name: {"sha256": hashlib.sha256(name.encode()).hexdigest()} for name in names
    }
    (folder / "manifest.json").write_text(json.dumps({"files": files}), "utf-8")
    (folder / "metrics.jsonl").write_text("", "utf-8")


def test_a_dataset_goes_when_it_is_asked_for(done: Checkout, hub: Hub) -> None:
    checkout = publishing(done, hub)
    receipt = "published/datasets/everything.json"
    said = checkout.snakemake("-n", "--", receipt)
    assert "card.md" in said
    assert "go to the hub: --repo me/everything" in said
    checkout.snakemake("--", "published/datasets/everything.txt")
    plan = (checkout.path / "published/datasets/everything.txt").read_text("utf-8")
    assert plan.startswith("dataset me/everything (private), 4 files")
    assert hub.commits == 0
    checkout.snakemake("--", receipt)
    assert hub.private == {"datasets/me/everything": True}
    for name in ("train.jsonl", "rejected.jsonl", "report.json"):
        written = checkout.path / "data/datasets/everything" / name
        assert hub.pushed["datasets/me/everything"][name] == written.read_bytes()
        assert hashlib.sha256(written.read_bytes()).hexdigest() in plan
    assert checkout.plan().keys() & {"push_dataset", "push_model"} == set()


def test_a_student_goes_when_it_is_asked_for(done: Checkout, hub: Hub) -> None:
    checkout = publishing(done, hub)
    checkout.snakemake("--", "published/students/small.json")
    assert hub.private == {"models/me/small": False}
    assert len(hub.pushed["models/me/small"]) == 8
    receipt = json.loads(
        (checkout.path / "published/students/small.json").read_text("utf-8")
    )
    assert receipt["commit"] == f"{1:040d}"


def test_without_a_target_nothing_is_planned(done: Checkout) -> None:
    said = done.snakemake("-n", "--", "published/datasets/everything.json", ok=False)
    assert "publish.datasets has no everything" in said
