"""The shape of a whole recipe, small: imports, labels, training, the student's score.

The workflow's test recipe, and what it leaves out: a text and traces from a hub on
loopback, labels, and a student trained from a model of 1.6 million random parameters.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import hub_server
from runs import Checkout
from tiny_model import build

SYSTEM = "Think, then solve:"
TRAINING = {
    "epochs": 2,
    "learning_rate": 1e-4,
    "batch_size": 8,
    "max_length": 512,
    "save_steps": 1,
}


def rows(count: int = 12) -> list[dict[str, Any]]:
    found = []
    for number in range(count):
        thought = "<|begin_of_thought|>\n\nA thought.\n\n<|end_of_thought|>\n\n"
        solution = f"<|begin_of_solution|>It is {number}.<|end_of_solution|>"
        turns = [
            {"from": "user", "value": f"What comes before {number * 7919 + 1}?"},
            {"from": "assistant", "value": thought + solution},
        ]
        found.append({"system": SYSTEM, "conversations": turns})
    return found


def extend(checkout: Checkout, hub: hub_server.Hub) -> None:
    """Add to a checkout's recipe what makes it whole."""
    commit = hub.add("some/rows", {"rows.json": json.dumps(rows()).encode()}).commit
    source = {"repo": "some/rows", "revision": commit, "data_files": ["rows.json"]}
    recipe = checkout.recipe
    build(checkout.path / "tiny")
    recipe["sets"]["sums"] |= {"shards": 2, "labeller": "plain"}
    recipe["texts"] = {
        "told": {
            **source,
            "column": "system",
            "sha256": hashlib.sha256(SYSTEM.encode()).hexdigest(),
        }
    }
    recipe["sets"]["theirs"] = {
        "source": {
            "kind": "hub",
            "domain": "science",
            **source,
            "statement": "conversations.0.value",
            "reference": {"kind": "none"},
            "trace": "conversations.1.value",
        },
        "teacher": "others",
        "shards": 1,
        "judge": {"kind": "structure"},
    }
    recipe["models"]["others"] = {"engine": {"kind": "imported", "made_by": "they"}}
    recipe["models"]["student"] = recipe["models"]["plain"] | {"weights": "taught"}
    recipe["weights"] = {"tiny": {"kind": "local", "path": "tiny"}}
    everything = recipe["datasets"]["everything"]
    everything["mixture"]["theirs"] = 12
    # Only rows with a thought, which are theirs, are trained on.
    del everything["curation"]["selection"]
    everything["system"] = {"text": "told"}
    recipe["students"] = {
        "taught": {"base": "tiny", "dataset": "everything", "training": TRAINING}
    }
    recipe["benchmarks"]["sums"]["models"] = ["plain", "teacher", "student"]
    home = str(checkout.path.with_name("home"))
    checkout.environment |= {"HF_ENDPOINT": hub.url, "HF_HOME": home}


def weights_of(path: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in path.glob("*.safetensors")}
