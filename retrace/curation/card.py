"""The card of a training set, as a hub shows it: YAML first, then tables of the report.

Every number comes from the report, which is written beside the card.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"))
TASKS = ("text-generation",)
# The statement of `retrace attest`, where it is published with the files.
ATTESTATION = "provenance.intoto.json"


@dataclass(frozen=True)
class About:
    """What the recipe knows and the rows do not.

    licenses: of the sources, by set, as a hub names them. teachers: what answers under
    a model's name, in words.
    """

    licenses: Mapping[str, str] = field(default_factory=dict)
    teachers: Mapping[str, str] = field(default_factory=dict)


def card(name: str, report: dict[str, Any], about: About | None = None) -> str:
    """The card as markdown. `report` is what `build` counted, with its provenance."""
    about = about or About()
    parts = [
        _metadata(name, report, about),
        _head(name, report, about),
        _composition(report, about),
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


def _metadata(name: str, report: dict[str, Any], about: About) -> str:
    rows = report["train"]["rows"]
    size = next((label for limit, label in SIZES if rows < limit), "100K<n<1M")
    sets = report["train"]["sets"]
    licenses = sorted({_license(report, about, one) or "other" for one in sets})
    lines = [
        "---",
        f"pretty_name: {json.dumps(name)}",
        "license:\n"
        + "\n".join(f"- {json.dumps(one)}" for one in licenses or ["other"]),
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


def _license(report: dict[str, Any], about: About, name: str) -> str:
    """The licence of a set's source: what the recipe says, or else its problems."""
    stated = {one["set"]: one["license"] for one in report["sources"]}
    return about.licenses.get(name) or stated.get(name, "")


def _head(name: str, report: dict[str, Any], about: About) -> str:
    train = report["train"]
    teachers = [
        f"`{model}`"
        + (f" ({about.teachers[model]})" if model in about.teachers else "")
        for model in report["teacher"].split(", ")
    ]
    return f"""# {name}

{train["rows"]:,} reasoning traces for {train["problems"]:,} problems, written by
{", ".join(teachers)}.
{_checked(report)}

Each row is a problem, a thought and a solution, with the ids of its problem and of the
trace it was made from. `rejected.jsonl` names every trace that is not here, with the
stage and the reason. The figures below are from `report.json`."""


def _checked(report: dict[str, Any]) -> str:
    """What the rows have passed; a set that nothing can check is named."""
    settings = report["settings"]
    if not settings["verify"]:
        return "The answers were judged, but wrong ones were **not** left out."
    sets = report["train"]["sets"]
    exempt = [name for name in settings["unchecked"] if sets.get(name)]
    if not exempt:
        return (
            "The answer of every row was judged correct. Only answers are judged: steps"
            " on the way to a right answer may be wrong."
        )
    named = ", ".join(f"{name} ({sets[name]:,} rows)" for name in exempt)
    return (
        "The answer of every row was judged correct, except where nothing could check"
        f" it: {named}. Only answers are judged: steps on the way may be wrong."
    )


def _composition(report: dict[str, Any], about: About) -> str:
    train = report["train"]
    wanted = report["mixture"]["wanted"]
    sources = {one["set"]: one for one in report["sources"]}
    rows = [
        (
            name,
            sources.get(name, {}).get("source", ""),
            _license(report, about, name) or "not stated",
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
        traces = sum(verdicts.values())
        before, after = (
            sum(n for key, n in verdicts.items() if wanted in key)
            for wanted in ("right before", "right after")
        )
        turned_down = [f"{key} {n:,}" for key, n in counts["turned_down"].items()]
        rows.append(
            (
                name,
                traces,
                counts["by"].get("model", 0),
                counts["by"].get("rule", 0),
                share(before, traces),
                share(after, traces),
                verdicts.get("right before, wrong after", 0),
                verdicts.get("wrong before, right after", 0),
                ", ".join(turned_down) or "-",
            )
        )
    header = ["set", "traces", "by model", "by rule", "right before", "right after"]
    header += ["lost", "gained", "turned down for"]
    return (
        "## Rewrites\n\nTraces that were divided into thought and solution, by a model"
        " or by the rule that changes no word, and how many the judge called right"
        " before and after. Where only right traces are divided, all are right before."
        "\n\n" + table(header, rows)
    )


def share(part: int, whole: int) -> str:
    """A count with its share: `34 (42.5 %)`."""
    return f"{part:,} ({100 * part / whole:.1f} %)" if whole else f"{part:,}"


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
        f" {found['traces']:,} traces held one"
        + (f" and were {what}" if found["traces"] else "")
        + "; every hit is in `report.json` with the matched words, unless the benchmark"
        " is confidential.",
    ]
    if methods:
        rows = [(*key, number) for key, number in sorted(methods.items())]
        parts.append(table(("found in", "method", "hits"), rows))
    planted = found["planted"]
    if planted:
        kinds = [
            (
                name,
                kind["planted"],
                kind["found"],
                f"{100 * kind['recall']:.1f} %"
                + (" **(below)**" if below(kind) else ""),
                "-" if kind["promised"] is None else f"{100 * kind['promised']:g} %",
            )
            for name, kind in planted["kinds"].items()
        ]
        header = ("planted leak", "planted", "found", "recall", "at least")
        parts += [
            "In this run, benchmark problems were planted as leaks of these kinds:",
            table(header, kinds),
            f"Of {planted['controls']:,} benchmark problems, each looked up among all"
            f" others, {share(planted['false'], planted['controls'])} were taken for"
            f" one of them. Precision, {_sum(planted)} leaks found of all hits:"
            f" {_cell(planted['precision'])}.",
        ]
    return "\n\n".join(parts)


def below(kind: Mapping[str, Any]) -> bool:
    """Whether fewer planted leaks of a kind were found than is promised."""
    return kind["promised"] is not None and kind["recall"] < kind["promised"]


def _sum(planted: dict[str, Any]) -> str:
    return f"{sum(kind['found'] for kind in planted['kinds'].values()):,}"


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
            "`retrace lineage ROW` leads from a row to its raw problem. Where"
            f" [`{ATTESTATION}`]({ATTESTATION}) lies beside this card, it attests these"
            " files and all that they were made from; `retrace attest --check` compares"
            " them.",
            f"Made with {software} from:",
            table(("input", "set", "shard", "rows", "sha256"), rows),
        ]
    )
