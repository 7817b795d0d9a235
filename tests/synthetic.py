"""A recipe's files made up for tests of the report, and for measuring it.

Nothing here was said by a model: texts are drawn from a seed, in the shapes that real
ones have, with mathematics, code, long thoughts and every kind of failure.
"""

from __future__ import annotations

import json
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from retrace.rows import (
    Answer,
    Domain,
    Problem,
    Reason,
    RejectedRow,
    Rewrite,
    Trace,
    TrainingRow,
    Turn,
    Usage,
    Verdict,
    content_id,
    read_rows,
    write_lines,
    write_rows,
)

FAILURES = [Reason.WRONG_ANSWER] * 6 + [Reason.NO_ANSWER, Reason.TRUNCATED]
TRAINING_SETS = ("train-sums", "train-algebra")
BENCHMARKS = ("sums", "algebra", "diamond")
SKILL = {"base": 0.15, "base-few-shot": 0.3, "student": 0.62, "teacher": 0.45}


@dataclass(frozen=True)
class Size:
    """How much to make: problems of each set, samples, words of a thought."""

    problems: int = 40
    samples: int = 4
    words: int = 60


def write_recipe(folder: Path, size: Size, extra: list[str] | None = None) -> list[str]:
    """Write all files of a recipe below a folder; the arguments of build_report.

    Args:
        extra: statements and traces to add to the training sets, as they are.
    """
    rng = random.Random(17)
    arguments: list[str] = []
    files: dict[str, list[Path]] = {}
    for name in TRAINING_SETS + BENCHMARKS:
        problems = [_problem(name, number, rng) for number in range(size.problems)]
        if name in TRAINING_SETS:
            problems += [_foreign(name, text) for text in extra or []]
        path = folder / "data/problems" / name / "0000.jsonl"
        write_rows(path, problems)
        files.setdefault("problems", []).append(path)
        models = (
            ["teacher"]
            if name in TRAINING_SETS
            else ["base", "base-few-shot", "student"]
        )
        for model in models:
            samples = size.samples if name in TRAINING_SETS or name == "sums" else 1
            _write_model(
                folder, files, name, model, problems, samples, size, rng, extra
            )
    _write_dataset(folder, files)
    _write_student(folder, files)
    _write_timings(folder, files)
    for option, paths in files.items():
        arguments += [f"--{option}", *map(str, paths)]
    return [
        *arguments,
        "--recipe",
        "synthetic",
        "--description",
        "A recipe that was made up to test the report. It shows nothing about models.",
        "--config",
        json.dumps(config(size)),
        "--commit",
        "0123456789abcdef",
    ]


def config(size: Size) -> dict[str, Any]:
    """The resolved recipe, as far as the report reads it."""
    engine = {"kind": "vllm", "tensor_parallel": 2, "data_parallel": 4}
    return {
        "recipe": "synthetic",
        "environment": "envs/laptop.txt",
        "models": {
            "teacher": {"weights": "small", "engine": engine},
            "base": {"weights": "small", "engine": engine},
            "base-few-shot": {"weights": "small", "engine": engine, "few_shot": True},
            "student": {"weights": "pupil", "engine": engine},
        },
        "sets": {
            name: {"shots": [], "confidential": name == "diamond"}
            for name in TRAINING_SETS + BENCHMARKS
        },
        "datasets": {
            "mix": {
                "teacher": "teacher",
                "mixture": dict.fromkeys(TRAINING_SETS, size.problems),
            }
        },
        "students": {"pupil": {"base": "small", "dataset": "mix"}},
        "benchmarks": {
            "sums": {"sets": ["sums"], "description": "word problems, four samples"},
            "algebra": {"sets": ["algebra"], "description": "held-out templates"},
            "diamond": {"sets": ["diamond"], "description": "a confidential set"},
        },
        "published": published(),
        "prices": {
            "gpu_hour": 2.99,
            "published": [
                {"stage": "train_student", "dollars": 450, "source": "a blog"}
            ],
        },
    }


def published() -> list[dict[str, Any]]:
    return [
        _published(
            "student", "sums", 61.0, "first", "a table", {"sampling": {"top_p": 1.0}}
        ),
        _published("student", "sums", 66.0, "second", "the same table, later"),
        _published("student", "diamond", 90.0, "", "a table"),
        _published("someone-else", "algebra", 44.0, "", "a paper"),
    ]


def protocol(model: str) -> dict[str, Any]:
    return {
        "prompt": "Solve it, and put the answer into a box.\n" * 4,
        "few_shot": model == "base-few-shot",
        "sampling": {"temperature": 0.7, "top_p": 0.95, "max_tokens": 512},
        "judge": {"kind": "math"},
        "engine": "vllm 0.32.0",
        "revision": "sha256:" + content_id(model),
    }


# --- Rows -----------------------------------------------------------------------------


def _published(
    model: str,
    benchmark: str,
    score: float,
    version: str,
    source: str,
    protocol: dict[str, Any] | None = None,
) -> dict[str, Any]:
    return {
        "protocol": protocol,
        "model": model,
        "benchmark": benchmark,
        "score": score,
        "version": version,
        "source": source,
    }


def _problem(set_name: str, number: int, rng: random.Random) -> Problem:
    a, b = rng.randint(2, 99), rng.randint(2, 99)
    level = str(1 + number % 5)
    if "algebra" in set_name:
        square = f"x^2 - {2 * a}x + {a * a} = {b * b}"
        text = f"Problem {number}. Find $x$ if ${square}$ and $x > {a}$."
    else:
        crate = f"A crate holds {a} pears at $3 each, another {b}."
        text = f"Problem {number}. {crate} How many pears?"
    answer = a + b
    if set_name == "diamond":
        text = f"SECRET-STATEMENT {number}: {text}"
    meta = {"source": "synthetic", "row": number, "level": level}
    return Problem.make(set_name, Domain.MATH, text, Answer(answer=str(answer)), meta)


def _foreign(set_name: str, text: str) -> Problem:
    return Problem.make(
        set_name, Domain.MATH, text, Answer(answer=text), {"url": text, text: 1}
    )


def _write_model(
    folder: Path,
    files: dict[str, list[Path]],
    set_name: str,
    model: str,
    problems: list[Problem],
    samples: int,
    size: Size,
    rng: random.Random,
    extra: list[str] | None,
) -> None:
    traces, verdicts, rewrites = [], [], []
    for problem in problems:
        skill = min(0.98, max(0.02, rng.gauss(SKILL[model], 0.25)))
        for sample in range(samples):
            ok = rng.random() < skill
            reason = Reason.CORRECT if ok else rng.choice(FAILURES)
            text = _trace_text(problem, reason, size, rng)
            if problem.statement in (extra or []):
                text = problem.statement
            trace = Trace(
                trace_id=content_id([problem.problem_id, model, sample]),
                problem_id=problem.problem_id,
                model=model,
                sample=sample,
                text=text,
                finish_reason="length" if reason is Reason.TRUNCATED else "stop",
                usage=Usage(prompt_tokens=60, completion_tokens=len(text) // 4),
            )
            verdict = Verdict(
                trace_id=trace.trace_id,
                problem_id=problem.problem_id,
                sample=sample,
                ok=ok,
                reason=reason,
                answer=_answer(problem, reason, rng),
                by="numbers",
                detail="" if ok else f"expected {_reference(problem)[:200]}",
            )
            traces.append(trace)
            verdicts.append(verdict)
            if ok and model == "teacher":
                rewrites.append(_rewrite(trace, verdict, rng))
    place = f"{model}/{set_name}/0000.jsonl"
    for option, rows in (
        ("traces", traces),
        ("verdicts", verdicts),
        ("rewrites", rewrites),
    ):
        if rows:
            write_rows(folder / "data" / option / place, rows)
            files.setdefault(option, []).append(folder / "data" / option / place)
    if set_name in BENCHMARKS:
        files.setdefault("scores", []).append(
            _write_score(folder, set_name, model, problems, traces, verdicts, samples)
        )


def _reference(problem: Problem) -> str:
    assert problem.reference.kind == "answer"
    return problem.reference.answer


def _answer(problem: Problem, reason: Reason, rng: random.Random) -> str:
    if reason is Reason.CORRECT:
        return _reference(problem)
    return str(rng.randint(1, 9)) if reason is Reason.WRONG_ANSWER else ""


def _trace_text(
    problem: Problem, reason: Reason, size: Size, rng: random.Random
) -> str:
    steps = (
        "Let me add the two numbers.",
        r"So \(a + b = c\), and \[\int_0^1 x^2\,dx = \frac{1}{3}\] is of no use here.",
        "Wait, the price of $3 does not matter.",
        "I check it again: $a^2 + b^2 \\ge 2ab$.",
    )
    count = max(1, round(size.words * rng.lognormvariate(0, 0.6) / 8))
    thought = "\n\n".join(rng.choice(steps) for _ in range(count))
    if problem.set == "diamond":
        thought = "SECRET-TRACE " + thought
    if reason is Reason.TRUNCATED:
        return f"<|begin_of_thought|>\n{thought}"
    answer = _reference(problem) if reason is Reason.CORRECT else "7"
    solution = (
        f"The answer is \\boxed{{{answer}}}.\n\n```python\nprint({answer!r})\n```"
    )
    return (
        f"<|begin_of_thought|>\n{thought}\n<|end_of_thought|>\n\n"
        f"<|begin_of_solution|>\n{solution}\n<|end_of_solution|>"
    )


def _rewrite(trace: Trace, verdict: Verdict, rng: random.Random) -> Rewrite:
    by_model = rng.random() < 0.7
    return Rewrite(
        trace_id=trace.trace_id,
        problem_id=trace.problem_id,
        sample=trace.sample,
        thought=trace.text[:400],
        solution=f"So it is \\boxed{{{verdict.answer[:40]}}}.",
        by="model" if by_model else "rule",
        faithful=round(rng.uniform(0.9, 1.0), 4),
        rejected="" if by_model else "words were lost",
        verdict=verdict,
    )


def _write_score(
    folder: Path,
    benchmark: str,
    model: str,
    problems: list[Problem],
    traces: list[Trace],
    verdicts: list[Verdict],
    samples: int,
) -> Path:
    from retrace.scoring.benchmark import dumps, score

    result = score(
        model,
        benchmark,
        problems,
        traces,
        verdicts[:-1] if model == "base" else verdicts,
        {benchmark: samples},
        protocol(model),
        published(),
    )
    path = folder / "scores" / model / f"{benchmark}.json"
    write_lines(path, [dumps(result)])
    return path


# --- What follows the rows ------------------------------------------------------------


def _write_dataset(folder: Path, files: dict[str, list[Path]]) -> None:
    train, rejected = [], []
    for path in files["verdicts"]:
        set_name = path.parent.name
        if set_name not in TRAINING_SETS:
            continue
        for verdict in read_rows(path, Verdict):
            if verdict.ok and verdict.sample < 2:
                train.append(_training_row(verdict, set_name))
            else:
                stage = "select" if verdict.ok else "judge"
                rejected.append(
                    RejectedRow(
                        trace_id=verdict.trace_id,
                        problem_id=verdict.problem_id,
                        set=set_name,
                        stage=stage,
                        reason="enough_rows" if verdict.ok else verdict.reason.value,
                    )
                )
    base = folder / "data/datasets/mix"
    write_rows(base / "train.jsonl", train)
    write_rows(base / "rejected.jsonl", rejected)
    write_lines(base / "report.json", [json.dumps(_dataset_report(len(train)))])
    files["train"] = [base / "train.jsonl"]
    files["rejected"] = [base / "rejected.jsonl"]
    files["dataset-reports"] = [base / "report.json"]


def _dataset_report(rows: int) -> dict[str, Any]:
    """What `curation.build` reports, in numbers that were made up."""
    kinds = {
        "exact": {"planted": 200, "found": 200, "recall": 1.0, "promised": 1.0},
        "renamed": {"planted": 200, "found": 170, "recall": 0.85, "promised": 0.9},
        "reworded": {"planted": 200, "found": 90, "recall": 0.45, "promised": None},
    }
    hit = {"set": "train-sums", "where": "statement", "method": "pieces"}
    return {
        "rows": rows,
        "funnel": [
            {"stage": "verify", "in": {"train-sums": 9}, "out": {"train-sums": 7},
             "reasons": {"wrong_answer": 2}},
        ],
        "rewrites": {
            "train-sums": {
                "verdicts": {
                    "right before, right after": 5,
                    "right before, wrong after": 1,
                    "wrong before, right after": 3,
                },
                "by": {"model": 7, "rule": 2},
                "turned_down": {"invented": 2},
            }
        },
        "mixture": {"shortfalls": ["wanted 9 rows of train-sums, have 7"]},
        "contamination": {
            "benchmarks": {"sums": 40, "diamond": 20},
            "traces": 1,
            "dropped": True,
            "hits": [{**hit, "benchmark": "diamond", "matched": "SECRET-STATEMENT"}],
            "planted": {"kinds": kinds, "controls": 60, "false": 1},
        },
    }  # fmt: skip


def _training_row(verdict: Verdict, set_name: str) -> TrainingRow:
    turns = [
        Turn.model_validate({"from": "user", "value": "?"}),
        Turn.model_validate({"from": "assistant", "value": "!"}),
    ]
    return TrainingRow(
        id=content_id(["row", verdict.trace_id]),
        system="Think first.",
        conversations=turns,
        problem_id=verdict.problem_id,
        trace_id=verdict.trace_id,
        set=set_name,
        domain=Domain.MATH,
    )


def _write_student(folder: Path, files: dict[str, list[Path]]) -> None:
    rng = random.Random(5)
    base = folder / "models/pupil"
    steps = []
    for step in range(1, 241):
        progress = step / 240
        steps.append(
            {
                "step": step,
                "loss": round(
                    0.35 + 1.6 * 2.7 ** (-5 * progress) + rng.gauss(0, 0.05), 4
                ),
                "learning_rate": 1e-5 * min(1.0, progress / 0.1) * (1 - progress),
                "grad_norm": round(rng.uniform(0.6, 1.6), 3),
                "tokens": step * 16_000,
                "tokens_per_second": round(rng.gauss(2100, 60), 1),
            }
        )
    write_lines(base / "metrics.jsonl", [json.dumps(step) for step in steps])
    manifest = {
        "base": "small",
        "training": {
            "steps": 240,
            "ranks": 8,
            "rows": 1_300,
            "kept": 1_280,
            "dropped": [f"row-{number}" for number in range(20)],
            "truncated": {"row-30": 400},
            "tokens_seen": 3_840_000,
            "tokens_seen_with_padding": 5_000_000,
        },
        "files": [{"sha256": "0"}] * 3,
    }
    write_lines(base / "manifest.json", [json.dumps(manifest)])
    files["metrics"] = [base / "metrics.jsonl"]
    files["manifests"] = [base / "manifest.json"]


def _write_timings(folder: Path, files: dict[str, list[Path]]) -> None:
    jobs = {
        "sample_traces/teacher/train-sums": (4180, 21000),
        "sample_traces/student/sums": (810, 20000),
        "judge_traces/teacher/train-sums": (64, 800),
        "train_student/pupil": (66900, 91000),
    }
    for job, (seconds, memory) in jobs.items():
        path = folder / "logs" / f"{job}.tsv"
        head = "s\th:m:s\tmax_rss\tmean_load"
        write_lines(path, [head, f"{seconds}\t0:00:00\t{memory}\t99.0"])
        files.setdefault("benchmark-timings", []).append(path)
