"""Build a training set from judged traces: rows, rejected rows and a report."""

from __future__ import annotations

import argparse
import hashlib
import importlib
import json
import logging
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, TypeAdapter

from retrace import environment
from retrace.curation import Settings, build
from retrace.curation.decontaminate import Encoder
from retrace.curation.labels import with_labels
from retrace.prompts import Template
from retrace.rows import (
    Label,
    Problem,
    Rewrite,
    Trace,
    Verdict,
    read_rows,
    write_lines,
    write_rows,
)
from retrace.texts import read_text

R = TypeVar("R", bound=BaseModel)
TEMPLATES: TypeAdapter[dict[str, Template]] = TypeAdapter(dict[str, Template])
ROWS = ("problems", "traces", "verdicts", "rewrites")
log = logging.getLogger("build_dataset")


def main(arguments: list[str] | None = None) -> int:
    args = _parser().parse_args(arguments)
    logging.basicConfig(
        stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(message)s"
    )
    environment.require(args.software)
    system = read_text(args.system_file) if args.system_file else args.system
    recipe = build.Recipe(
        args.templates,
        args.mixture,
        system,
        args.curation,
        frozenset(args.confidential),
    )
    dataset = build.build(
        recipe,
        with_labels(_rows(args.problems, Problem), _rows(args.labels, Label)),
        _rows(args.traces, Trace),
        _rows(args.verdicts, Verdict),
        _rows(args.rewrites, Rewrite),
        _rows(args.benchmarks, Problem),
        _counter(args.tokenizer),
        args.threads,
        _encoder(args),
    )
    write_rows(args.train, dataset.train)
    write_rows(args.rejected, dataset.rejected)
    report = {
        "dataset": args.dataset,
        **dataset.report,
        "tokenizer": bool(args.tokenizer),
        "settings": args.curation.model_dump(mode="json"),
        "software": args.software,
        "inputs": list(_inputs(args)),
        "outputs": {path.name: _sha256(path) for path in (args.train, args.rejected)},
    }
    text = json.dumps(report, ensure_ascii=False, indent=1)
    write_lines(args.report, [text])
    for line in report["mixture"]["shortfalls"]:
        log.warning("%s", line)
    for line in _missed(report["contamination"]["planted"] or {}):
        log.warning("%s", line)
    log.info("%d rows, %d rejected", len(dataset.train), len(dataset.rejected))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--dataset", required=True, help="its name")
    for kind in ROWS:
        add(f"--{kind}", type=Path, nargs="+", required=True)
    add("--labels", type=Path, nargs="*", default=[], help="grades of the problems")
    add("--benchmarks", type=Path, nargs="*", default=[], help="problems to keep out")
    add("--confidential", nargs="*", default=[], help="sets whose texts are not shown")
    add("--templates", type=TEMPLATES.validate_json, required=True, help="of each set")
    add("--mixture", type=json.loads, required=True, help="rows wanted of each set")
    add("--system", default="", help="system text of every row")
    add("--system-file", type=Path, help="file of fetch_text with it, instead")
    add("--curation", type=Settings.model_validate_json, default=Settings())
    add("--tokenizer", help="directory or hub id; without one, words are counted")
    add("--encoder", help="sentence encoder, if the search is by meaning as well")
    add("--encoder-revision", help="of an encoder on the hub")
    add("--threads", type=int, default=1, help="processes")
    add("--software", nargs="*", default=[], help="name==version pins")
    for kind in ("train", "rejected", "report"):
        add(f"--{kind}", type=Path, required=True)
    return parser


def _rows(paths: list[Path], model: type[R]) -> Iterator[R]:
    for path in paths:
        yield from read_rows(path, model)


def _counter(tokenizer: str | None) -> Callable[[str], int]:
    """How a text's length is measured: the student's tokens, or words."""
    if not tokenizer:
        return lambda text: len(text.split())
    from transformers import AutoTokenizer

    loaded = AutoTokenizer.from_pretrained(tokenizer)
    return lambda text: len(loaded(text, add_special_tokens=False)["input_ids"])


def _missed(planted: dict[str, Any]) -> Iterator[str]:
    """Kinds of planted leaks of which the search found fewer than it promises."""
    for name, kind in planted.get("kinds", {}).items():
        if kind["promised"] is not None and kind["recall"] < kind["promised"]:
            yield (
                f"decontamination found {kind['found']} of {kind['planted']} planted"
                f" leaks of the kind {name}, fewer than {kind['promised']:.0%}"
            )


def _encoder(args: argparse.Namespace) -> Encoder | None:
    if args.curation.decontamination.meaning is None:
        return None
    # Named so that the rules know it as a module of its own: only those who search by
    # meaning depend on it.
    meaning = importlib.import_module("retrace.curation.meaning")
    encoder: Encoder = meaning.Encoder(args.encoder, args.encoder_revision)
    return encoder


def _inputs(args: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Hashes of the inputs, in an order that is not that of the command line."""
    for role in (*ROWS, "labels", "benchmarks"):
        found = []
        for path in getattr(args, role):
            with open(path, "rb") as file:
                rows = sum(1 for _ in file)
            found.append((path.parent.name, path.stem, _sha256(path), rows))
        for name, shard, digest, rows in sorted(found):
            yield {
                "role": role,
                "set": name,
                "shard": shard,
                "rows": rows,
                "sha256": digest,
            }


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


if __name__ == "__main__":
    sys.exit(main())
