"""The card of a student says what its manifest, report and scores say."""

from __future__ import annotations

from typing import Any

import yaml

from retrace.training.card import card

MANIFEST = {
    "student": "small",
    "files": {"config.json": {"sha256": "a" * 64, "bytes": 1234}},
    "dataset_sha256": "d" * 64,
    "settings": {"learning_rate": 1e-05, "offload": None, "lora": {"rank": 8}},
    "training": {"steps": 40, "dropped": ["row"]},
    "software": ["torch==2.13.0"],
}
REPORT = {"train": {"rows": 1200, "problems": 900}, "teacher": "big"}


def score(**changes: Any) -> dict[str, Any]:
    told = {
        "benchmark": "sums", "model": "small", "problems": 30, "accuracy": 58.25,
        "samples_expected": 30, "samples_judged": 30, "low": 40.0, "high": 75.0,
        "complete": True, "published": [],
    }  # fmt: skip
    return {**told, **changes}


def test_every_figure_is_from_its_file() -> None:
    text = card(MANIFEST, "me/big at 0a1b", REPORT, [score()], "me/big")
    head = yaml.safe_load(text.split("---\n")[1])
    assert head["base_model"] == "me/big"
    assert "me/big at 0a1b, fine-tuned on 1,200 reasoning traces for 900" in text
    assert "| sums | small | 30 | 58.2 | 40.0 to 75.0 |" in text
    assert "| learning rate | 1e-05 |" in text
    assert "| steps | 40 |" in text
    assert f"| config.json | 1,234 | `{'a' * 64}` |" in text
    assert "[`provenance.intoto.json`](provenance.intoto.json)" in text


def test_what_is_not_known_is_not_said() -> None:
    text = card(MANIFEST, "model.gguf of a package", REPORT, [])
    assert "base_model" not in text
    assert "no benchmark" in text
    incomplete = card(MANIFEST, "x", REPORT, [score(complete=False)])
    assert "1 incomplete" in incomplete
