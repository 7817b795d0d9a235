"""The rules that take from a hub: problems, a published text, and traces as they are.

No model is asked: the training set is made of imported traces alone. The hub is on
loopback, the client and the rules are the real ones.
"""

from __future__ import annotations

import hashlib
import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hub_server
import pytest
from conftest import Checkout, check_out, end

pytestmark = pytest.mark.slow

SYSTEM = "Think, then solve:"
TRACE = (
    "<|begin_of_thought|>\n\nA thought about {0}.\n\n<|end_of_thought|>\n\n"
    "<|begin_of_solution|>It is {0}.<|end_of_solution|>"
)


def rows(count: int) -> list[dict[str, Any]]:
    found = []
    for number in range(count):
        question = f"What comes after the number {number * 7919}?"
        turns = [
            {"from": "user", "value": question},
            {"from": "assistant", "value": TRACE.format(number * 7919 + 1)},
        ]
        found.append({"system": SYSTEM, "conversations": turns})
    found[0]["conversations"][1]["value"] = "It is 1."
    return found


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def recipe(commit: str, expect: int) -> dict[str, Any]:
    hub = {"repo": "some/rows", "revision": commit, "data_files": ["rows.json"]}
    digest = hashlib.sha256(SYSTEM.encode()).hexdigest()
    return {
        "recipe": "imports",
        "environment": "envs/laptop.txt",
        "texts": {"told": {**hub, "column": "system", "sha256": digest}},
        "models": {"others": {"engine": {"kind": "imported", "made_by": "somebody"}}},
        "sets": {
            "theirs": {
                "source": {
                    "kind": "hub",
                    "domain": "science",
                    **hub,
                    "statement": "conversations.0.value",
                    "reference": {"kind": "none"},
                    "trace": "conversations.1.value",
                    "expect": expect,
                },
                "teacher": "others",
                "shards": 2,
                "judge": {"kind": "structure"},
            }
        },
        "datasets": {
            "theirs": {
                "teacher": "others",
                "mixture": {"theirs": 100},
                "system": {"text": "told"},
                "curation": {"unchecked": ["theirs"]},
            }
        },
    }


@pytest.fixture
def hub() -> Iterator[hub_server.Hub]:
    with hub_server.serve() as hub:
        hub.add("some/rows", {"rows.json": json.dumps(rows(12)).encode()})
        yield hub


@pytest.fixture
def checkout(tmp_path: Path, hub: hub_server.Hub) -> Checkout:
    environment = {"HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "home")}
    chosen = recipe(hub.repos["some/rows"].commit, 12)
    (tmp_path / "tree").mkdir()
    return Checkout(check_out(tmp_path / "tree"), chosen, environment)


def test_imported_traces_become_a_training_set(checkout: Checkout) -> None:
    checkout.snakemake()
    folder = checkout.path / "data/datasets/theirs"
    train, rejected = lines(folder / "train.jsonl"), lines(folder / "rejected.jsonl")
    assert len(train) == 11
    assert {row["system"] for row in train} == {SYSTEM}
    assert all("A thought about" in row["conversations"][1]["value"] for row in train)
    assert [(one["stage"], one["reason"]) for one in rejected] == [
        ("verify", "no_answer")
    ]
    files = (checkout.path / "data/verdicts").rglob("000?.jsonl")
    verdicts = [row for path in files for row in lines(path)]
    reasons = sorted(verdict["reason"] for verdict in verdicts)
    assert reasons == ["no_answer"] + ["unchecked"] * 11
    contract = next((checkout.path / "data/traces").rglob("*.engine.json"))
    assert json.loads(contract.read_text())["contracts"][0]["engine"] == "imported"
    assert checkout.plan() == {}


def test_a_source_that_changed_stops_the_run(checkout: Checkout) -> None:
    checkout.recipe["sets"]["theirs"]["source"]["expect"] = 20
    output = checkout.snakemake(ok=False)
    assert "12 rows that give a problem, expected 20: 8 too few" in output
    assert not (checkout.path / "data/problems/theirs").exists()


def test_the_preflight_stops_before_the_first_job_or_is_skipped(
    checkout: Checkout,
) -> None:
    checkout.environment["HF_ENDPOINT"] = "http://127.0.0.1:9"
    output = checkout.snakemake(ok=False)
    assert "preflight: the hub at http://127.0.0.1:9 cannot be reached" in output
    assert "Nothing was started." in output
    assert "localrule" not in output
    assert "rule make_problems:" not in output
    process = checkout.start("--config", "preflight=false")
    assert process.stdout is not None
    said = ""
    while "rule make_problems:" not in said and (line := process.stdout.readline()):
        said += line
    end(process, signal.SIGKILL)
    assert "rule make_problems:" in said
    assert "preflight:" not in said
