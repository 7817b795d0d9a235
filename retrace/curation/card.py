"""The card of a training set, as a hub shows it: YAML first, then tables of the report.

Every number comes from the report, which is written beside the card.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"))
TASKS = ("text-generation",)


def card(name: str, report: dict[str, Any]) -> str:
    """The card as markdown. `report` is what `build` counted, with its provenance."""
    parts = [
        _metadata(name, report),
        _head(name, report),
        _composition(report),
        _funnel(report),
        _rewrites(report),
        _duplicates(report),
        _contamination(report),
        _use(name),
        _provenance(report),
    ]
    return "\n\n".join(part.strip() for part in parts if part) + "\n"


def table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A markdown table; whole numbers with thousands separators, to the right."""
    body = [[_cell(value) for value in row] for row in rows]
    numeric = [
        bool(body) and all(row[i][:1].isdigit() or row[i] in ("", "-") for row in body)
        for i in range(len(header))
    ]
    rule = ["---:" if right else "---" for right in numeric]
    lines = [list(header), rule, *body]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:.4g}"
    return str(value).replace("|", "\\|").replace("\n", " ")


def _metadata(name: str, report: dict[str, Any]) -> str:
    rows = report["train"]["rows"]
    size = next((label for limit, label in SIZES if rows < limit), "100K<n<1M")
    licences = sorted({one["license"] for one in report["sources"]} - {""})
    licence = licences[0] if len(licences) == 1 else "other"
    lines = [
        "---",
        f"pretty_name: {json.dumps(name)}",
        f"license: {licence}",
        "language:\n- en",
        "task_categories:\n" + "\n".join(f"- {task}" for task in TASKS),
        f"size_categories:\n- {size}",
        "tags:\n- reasoning\n- chain-of-thought\n- rejection-sampling\n- sharegpt",
        "configs:",
        "- config_name: default",
        "  data_files:\n  - split: train\n    path: train.jsonl",
        "- config_name: rejected",
        "  data_files:\n  - split: train\n    path: rejected.jsonl",
        "---",
    ]
    return "\n".join(lines)


def _head(name: str, report: dict[str, Any]) -> str:
    train = report["train"]
    rows, problems = train["rows"], train["problems"]
    return f"""# {name}

{rows:,} verified reasoning traces for {problems:,} problems, written by
`{report["teacher"]}`. Each row is a problem, a thought and a solution, with the ids of
its problem and of the trace it was made from. `rejected.jsonl` names every trace that
is not here, with the stage and the reason. The figures below are from `report.json`."""


def _composition(report: dict[str, Any]) -> str:
    train = report["train"]
    wanted = report["mixture"]["wanted"]
    sources = {one["set"]: one for one in report["sources"]}
    rows = [
        (
            name,
            sources.get(name, {}).get("source", ""),
            sources.get(name, {}).get("license", "") or "not stated",
            report["problems"].get(name, 0),
            wanted[name],
            train["sets"].get(name, 0),
        )
        for name in sorted(wanted)
    ]
    header = ("set", "source", "licence", "problems", "wanted", "rows")
    parts = ["## Composition", table(header, rows)]
    short = [f"- Shortfall: {line}." for line in report["mixture"]["shortfalls"]]
    parts += ["\n".join(short)] if short else []
    if train["tokens"]:
        kinds = "tokens" if report["tokenizer"] else "words"
        values = train["tokens"]
        parts.append(f"Lengths of whole rows in {kinds}:")
        parts.append(table([*values], [[*values.values()]]))
    return "\n\n".join(parts)


def _funnel(report: dict[str, Any]) -> str:
    names = sorted({name for one in report["funnel"] for name in one["in"]})
    rows = [
        (
            one["stage"],
            sum(one["in"].values()),
            sum(one["out"].values()),
            *(one["out"].get(name, 0) for name in names),
            ", ".join(f"{key} {n:,}" for key, n in one["reasons"].items()) or "-",
        )
        for one in report["funnel"]
    ]
    header = ("stage", "in", "out", *(f"{name} out" for name in names), "dropped for")
    return "## Funnel\n\nTraces in and out of each stage.\n\n" + table(header, rows)


def _rewrites(report: dict[str, Any]) -> str:
    if not report["rewrites"]:
        return ""
    rows = []
    for name, counts in report["rewrites"].items():
        verdicts = counts["verdicts"]
        rows.append(
            (
                name,
                counts["by"].get("model", 0),
                counts["by"].get("rule", 0),
                *(
                    verdicts.get(f"{before} before, {after} after", 0)
                    for before in ("right", "wrong")
                    for after in ("right", "wrong")
                ),
                ", ".join(f"{key} {n:,}" for key, n in counts["turned_down"].items())
                or "-",
            )
        )
    header = ["set", "by model", "by rule", "right, right", "right, wrong"]
    header += ["wrong, right", "wrong, wrong", "turned down for"]
    return (
        "## Rewrites\n\nWho divided the traces into thought and solution, and verdicts"
        " before and after.\n\n" + table(header, rows)
    )


def _duplicates(report: dict[str, Any]) -> str:
    found = report["duplicates"]
    return (
        "## Duplicates\n\n"
        f"Among {found['problems']:,} problems: {found['exact_copies']:,} copies,"
        f" {found['clusters']:,} clusters of two or more, {found['across_sets']:,} of"
        " them across sets. One problem of each cluster stays."
    )


def _contamination(report: dict[str, Any]) -> str:
    found = report["contamination"]
    if not found["benchmarks"]:
        return "## Contamination\n\nNo benchmark was given to search for."
    names = ", ".join(f"{name} ({n:,})" for name, n in found["benchmarks"].items())
    methods = Counter((hit["where"], hit["method"]) for hit in found["hits"])
    what = "dropped" if found["dropped"] else "kept, as the recipe says"
    parts = [
        "## Contamination",
        f"Statements and traces were searched for the problems of {names}."
        f" {found['traces']:,} traces held one and were {what}; every hit is in"
        " `report.json` with the matched words.",
    ]
    if methods:
        rows = [(*key, number) for key, number in sorted(methods.items())]
        parts.append(table(("found in", "method", "hits"), rows))
    planted = found["planted"]
    if planted:
        kinds = [
            (name, kind["planted"], kind["found"], kind["recall"], kind["promised"])
            for name, kind in planted["kinds"].items()
        ]
        header = ("planted leak", "planted", "found", "recall", "at least")
        parts += [
            "In this run, benchmark problems were planted as leaks of these kinds:",
            table(header, kinds),
            f"Of {planted['controls']:,} benchmark problems that were not planted,"
            f" {planted['false']:,} were taken for another one: precision"
            f" {_cell(planted['precision'])}.",
        ]
    return "\n\n".join(parts)


def _use(name: str) -> str:
    return f"""## Use

```python
from datasets import load_dataset

rows = load_dataset("json", data_files="train.jsonl", split="train")
```

For LLaMA-Factory, as an entry of `dataset_info.json`:

```json
{{"{name}": {{"file_name": "train.jsonl", "formatting": "sharegpt",
 "columns": {{"messages": "conversations", "system": "system"}},
 "tags": {{"role_tag": "from", "content_tag": "value",
          "user_tag": "user", "assistant_tag": "assistant"}}}}}}
```"""


def _provenance(report: dict[str, Any]) -> str:
    rows = [
        (one["role"], one["set"], one["shard"], one["rows"], f"`{one['sha256']}`")
        for one in report["inputs"]
    ]
    outputs = [(name, f"`{sha}`") for name, sha in report["outputs"].items()]
    software = ", ".join(report["software"]) or "none stated"
    return "\n\n".join(
        [
            "## Provenance",
            table(("file", "sha256"), outputs),
            f"Made with {software} from:",
            table(("input", "set", "shard", "rows", "sha256"), rows),
        ]
    )
