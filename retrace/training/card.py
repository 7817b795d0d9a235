"""The card of a student, as a hub shows it: what it is, how it does, how it was made.

Every number comes from its manifest, its score files and its training set's report.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from retrace.curation.card import ATTESTATION, table
from retrace.scoring.table import markdown


def card(
    manifest: Mapping[str, Any],
    base: str,
    dataset: Mapping[str, Any],
    scores: Sequence[Mapping[str, Any]],
    repository: str | None = None,
) -> str:
    """The card as markdown.

    Args:
        manifest: of the student.
        base: what it was tuned from, in words.
        dataset: the report of its training set.
        scores: of the student, in the order of the table.
        repository: of the base, if it is on a hub.
    """
    parts = [
        _metadata(repository),
        _head(manifest, base, dataset),
        _results(scores),
        _training(manifest),
        _use(),
        _provenance(manifest),
    ]
    return "\n\n".join(part.strip() for part in parts if part) + "\n"


def _metadata(repository: str | None) -> str:
    lines = [
        "---",
        "library_name: transformers",
        "pipeline_tag: text-generation",
        *([f"base_model: {repository}"] if repository else []),
        "tags:\n- reasoning\n- sft",
        "---",
    ]
    return "\n".join(lines)


def _head(manifest: Mapping[str, Any], base: str, dataset: Mapping[str, Any]) -> str:
    train = dataset["train"]
    return f"""# {manifest["student"]}

{base}, fine-tuned on {train["rows"]:,} reasoning traces for {train["problems"]:,}
problems, written by {dataset["teacher"]}."""


def _results(scores: Sequence[Mapping[str, Any]]) -> str:
    if not scores:
        return "## Results\n\nThe recipe scores this student on no benchmark."
    return f"## Results\n\n{markdown(scores)}"


def _training(manifest: Mapping[str, Any]) -> str:
    told = {**manifest["training"], **manifest["settings"]}
    rows = [
        (name.replace("_", " "), value)
        for name, value in told.items()
        if not isinstance(value, list | dict) and value is not None
    ]
    return "## Training\n\n" + table(("", ""), rows)


def _use() -> str:
    return """## Use

```python
from transformers import pipeline

answer = pipeline("text-generation", model="OWNER/NAME")
print(answer([{"role": "user", "content": "How many primes are below 30?"}]))
```"""


def _provenance(manifest: Mapping[str, Any]) -> str:
    files = [
        (name, file["bytes"], f"`{file['sha256']}`")
        for name, file in manifest["files"].items()
    ]
    software = ", ".join(manifest["software"])
    return "\n\n".join(
        [
            "## Provenance",
            f"`train.jsonl` had sha256 `{manifest['dataset_sha256']}`. Made with"
            f" {software}. `retrace lineage` leads from this model to every row that it"
            f" was trained on. Where [`{ATTESTATION}`]({ATTESTATION}) lies beside this"
            " card, it attests these files and all that they were made from;"
            " `retrace attest --check` compares them.",
            table(("file", "bytes", "sha256"), files),
        ]
    )
