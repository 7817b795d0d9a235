"""The report as a file: what is in it, what never is, and that it stays the same."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from retrace.journal import Journal
from retrace.report import browser, costs, curation, exports
from retrace.report.inputs import Asked, Inputs, Timing
from retrace.report.page import build as page_of
from retrace.report.summary import summarise
from retrace.report.text import excerpt, script_json, visible
from retrace.rows import (
    Answer,
    Domain,
    Problem,
    Reason,
    RejectedRow,
    Trace,
    Usage,
    Verdict,
    read_rows,
    write_rows,
)
from retrace.scoring.benchmark import score

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))
import build_report
import synthetic

ATTACKS = [
    "</script><script>window.hacked = 1</script>",
    '<img src=x onerror="window.hacked = 1">',
    "$\\href{javascript:window.hacked=1}{x}$ and $\\htmlClass{a}{b}$",
    "left \u202e thgir \x1b[31mred\x1b[0m \x9b2J \u2028 end",
    "{{ 7 * 7 }} {% for x in y %}",
]


def build(folder: Path, extra: list[str] | None = None) -> str:
    arguments = synthetic.write_recipe(folder, synthetic.Size(8, 4, 30), extra)
    out = folder / "reports" / "synthetic.html"
    assert build_report.main([*arguments, "--out", str(out)]) == 0
    return out.read_text("utf-8")


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    return build(tmp_path_factory.mktemp("report"), ATTACKS)


def without_scripts(page: str) -> str:
    return re.sub("(<script[^>]*>).*?</script>", r"\1", page, flags=re.DOTALL)


def rows_of(page: str) -> dict[str, Any]:
    found = re.search(r'id="rows-data">(.*?)</script>', page, re.DOTALL)
    assert found is not None
    data: dict[str, Any] = json.loads(found.group(1))
    return data


def test_sections_and_numbers(page: str) -> None:
    for section in ("scores", "data", "training", "cost", "rows", "provenance"):
        assert f'<section id="{section}"' in page
    assert "not distinguishable" in page
    assert "18 h 35 min" in page
    assert "train student $450.00 (a blog)" in page
    assert "held-out templates" in page
    assert "0123456789abcdef" in page
    assert "1,280 of 1,300 rows: 20 over the length limit were left out, 1 lost" in page


def test_nothing_is_loaded_from_elsewhere(page: str) -> None:
    shown = without_scripts(page)
    assert not re.search(r'(?:src|href)="(?!#|data:)', shown)
    assert not re.search(r"url\((?!data:|#)", shown)
    assert "default-src &#39;none&#39;" in page


def test_the_same_inputs_give_the_same_page(page: str, tmp_path: Path) -> None:
    assert build(tmp_path, ATTACKS) == page


def test_confidential_texts_are_nowhere(page: str) -> None:
    assert "SECRET" not in page
    shown = [row for row in rows_of(page)["rows"] if row["set"] == "diamond"]
    assert shown
    for row in shown:
        assert not {"solution", "thought", "answer", "detail"} & set(row)
        assert row["reason"]


def test_foreign_text_stays_text(page: str) -> None:
    shown = without_scripts(page)
    assert "<img" not in shown
    assert "{{ 7 * 7 }}" not in shown
    assert len(re.findall("<script[ >]", shown)) == 3
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e]", page)
    statements = [
        problem["statement"] for problem in rows_of(page)["problems"].values()
    ]
    assert "left ‹U+202E› thgir ␛[31mred␛[0m ‹U+009B›2J ‹U+2028› end" in statements
    assert ATTACKS[0] in statements


def test_rejected_rows_and_failures_are_among_the_rows(page: str) -> None:
    rows = rows_of(page)["rows"]
    stages = {fate["stage"] for row in rows for fate in row["fates"]}
    assert {"judge", "select"} <= stages
    assert any(fate["row"] for row in rows for fate in row["fates"])
    assert any(row["model"] == "student" and row["reason"] != "correct" for row in rows)


def test_the_sample_has_every_kind_of_row(tmp_path: Path) -> None:
    arguments = synthetic.write_recipe(tmp_path, synthetic.Size(12, 4, 20))
    out = tmp_path / "r.html"
    build_report.main([*arguments, "--out", str(out), "--max-rows", "60"])
    data = rows_of(out.read_text("utf-8"))
    assert len(data["rows"]) == 60
    assert data["total"] > 200
    groups = {(row["model"], row["set"]) for row in data["rows"]}
    assert len(groups) == 11


def test_a_report_of_nothing(tmp_path: Path) -> None:
    out = tmp_path / "r.html"
    assert build_report.main(["--recipe", "empty", "--out", str(out)]) == 0
    assert "No scores yet" in out.read_text("utf-8")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\tb\nc", "a\tb\nc"),
        ("a\r\nb\rc", "a\nb␍c"),
        ("\x1b[2J\x7f\x00", "␛[2J␡␀"),
        ("\u2066x\u2069\u200b\ufeff", "‹U+2066›x‹U+2069›‹U+200B›‹U+FEFF›"),
        ("\ud800", "‹U+D800›"),
        ("é 数 👩‍🔬 √2", "é 数 👩‍🔬 √2"),
    ],
)
def test_visible(text: str, shown: str) -> None:
    assert visible(text) == shown


def test_excerpt_keeps_both_ends() -> None:
    text = "a" * 900 + "z" * 900
    short = excerpt(text, 300)
    assert short.startswith("a" * 200)
    assert short.endswith("z" * 100)
    assert "1,500 characters are left out" in short
    assert excerpt("short", 300) == "short"


def test_json_never_ends_its_script() -> None:
    value = {"a": "</script><!-- & >"}
    text = script_json(value)
    assert "<" not in text
    assert json.loads(text) == value


def test_a_look_alike_of_a_confidential_problem_is_not_shown(tmp_path: Path) -> None:
    arguments = synthetic.write_recipe(tmp_path, synthetic.Size(8, 4, 30))
    path = tmp_path / "data/datasets/mix/rejected.jsonl"
    rows = list(read_rows(path, RejectedRow))
    leak = rows[0].model_copy(
        update={"stage": "decontaminate", "detail": "the benchmark's own words"}
    )
    write_rows(path, [leak, *rows[1:]])
    out = tmp_path / "r.html"
    build_report.main([*arguments, "--out", str(out)])
    page = out.read_text("utf-8")
    assert "the benchmark's own words" not in page
    data = rows_of(page)
    assert data["problems"][leak.problem_id] == {
        "statement": browser.HIDDEN,
        "confidential": True,
    }
    hidden = [row for row in data["rows"] if row["problem"] == leak.problem_id]
    assert hidden
    assert all("solution" not in row and "answer" not in row for row in hidden)


QUOTE = (
    "A cuvette holds three grams of a pale yellow salt whose colour fades within"
    " an hour of standing in bright daylight."
)


def with_statement(path: Path, statement: str, **meta: Any) -> Problem:
    """Give the first problem of a file another statement, under its own id."""
    first, *others = read_rows(path, Problem)
    changed = first.model_copy(
        update={"statement": statement, "meta": {**first.meta, **meta}}
    )
    write_rows(path, [changed, *others])
    return changed


@pytest.mark.parametrize("closed", ["gated", "canary"])
def test_what_quotes_a_confidential_problem_is_not_shown(
    closed: str, tmp_path: Path
) -> None:
    """The problem's words in an open set, in a trace, and in a reason."""
    arguments = synthetic.write_recipe(tmp_path, synthetic.Size(8, 4, 30))
    at = arguments.index("--config") + 1
    config = json.loads(arguments[at])
    config["sets"]["diamond"] = {
        "confidential": False,
        "source": {"gated": closed == "gated"},
    }
    arguments[at] = json.dumps(config)
    data = tmp_path / "data"
    mark = {"canary": "a mark"} if closed == "canary" else {}
    with_statement(data / "problems/diamond/0000.jsonl", f"{QUOTE} Why?", **mark)
    with_statement(data / "problems/train-sums/0000.jsonl", f"Solve: {QUOTE} 1+1?")
    path = data / "traces/teacher/train-algebra/0000.jsonl"
    first, *others = read_rows(path, Trace)
    write_rows(path, [first.model_copy(update={"text": f"Like $ {QUOTE}$"}), *others])
    out = tmp_path / "r.html"
    build_report.main([*arguments, "--out", str(out)])
    page = out.read_text("utf-8")
    assert "pale yellow salt" not in page
    quoting = [r for r in rows_of(page)["rows"] if r["id"] == first.trace_id]
    assert quoting
    assert "solution" not in quoting[0]


def test_the_page_keeps_to_its_size_whatever_is_written(tmp_path: Path) -> None:
    """Texts that are far longer as JSON than they are in letters."""
    attack = "数<\x1b\u202e" * 2000
    synthetic.write_recipe(tmp_path, synthetic.Size(4, 2, 10), [attack] * 20)
    inputs = Inputs(
        "r",
        "",
        {},
        max_bytes=100_000,
        problems=sorted((tmp_path / "data/problems").rglob("*.jsonl")),
        traces=sorted((tmp_path / "data/traces").rglob("*.jsonl")),
        verdicts=sorted((tmp_path / "data/verdicts").rglob("*.jsonl")),
    )
    found = browser.browse(inputs, summarise(inputs))
    assert 10 < len(found["rows"]) < found["total"]
    assert len(script_json(found).encode()) < 110_000


def test_what_is_not_committed_or_not_verified_is_said() -> None:
    datasets = {"a": {"teacher": "t", "mixture": {}, "curation": {"verify": False}}}
    shown = page_of(Inputs("r", "", {"datasets": datasets}, commit="0a1b-dirty"))
    assert "0a1b, with changes that were not committed" in shown
    assert "kept, not verified" in shown


def test_students_side_by_side(tmp_path: Path) -> None:
    """Two students that differ in one setting: the table names it, and both scores."""
    arguments = synthetic.write_recipe(tmp_path, synthetic.Size(8, 2, 30))
    at = arguments.index("--config") + 1
    config = json.loads(arguments[at])
    config["models"]["base-few-shot"]["weights"] = "other"
    config["students"]["other"] = {"base": "small", "dataset": "mix", "seed": 2}
    config["students"]["pupil"]["seed"] = 1
    arguments[at] = json.dumps(config)
    out = tmp_path / "r.html"
    build_report.main([*arguments, "--out", str(out)])
    page = out.read_text("utf-8")
    table = page[
        page.index('<section id="ablation"') : page.index('<section id="data"')
    ]
    assert re.search(r'seed</th>\s*<td>2</td>\s*<td class="changed">1</td>', table)
    assert "dataset.teacher" not in table
    assert len(re.findall("<b>[0-9.]+</b>", table)) == 6


def test_models_without_a_common_problem_still_make_a_report() -> None:
    """Each has the samples that the other lacks: no pair, and both scores."""
    scores = []
    for number, model in enumerate(("base", "student")):
        problems, traces, verdicts = two_problems()
        scores.append(
            score(
                model,
                "sums",
                problems,
                [traces[number]],
                [verdicts[number]],
                {"sums": 1},
                {},
            )
        )
    shown = page_of(Inputs("some", "", {}, scores=scores))
    assert "2 of 2 scores are incomplete" in shown
    assert "Models against each other" not in shown


def two_problems() -> tuple[list[Problem], list[Trace], list[Verdict]]:
    problems = [
        Problem.make("sums", Domain.MATH, f"1 + {number}?", Answer(answer="1"))
        for number in range(2)
    ]
    ids = [problem.problem_id for problem in problems]
    traces = [
        Trace(
            trace_id=key,
            problem_id=key,
            model="any",
            sample=0,
            text="1",
            finish_reason="stop",
            usage=Usage(),
        )
        for key in ids
    ]
    verdicts = [
        Verdict(trace_id=key, problem_id=key, sample=0, ok=True, reason=Reason.CORRECT)
        for key in ids
    ]
    return problems, traces, verdicts


def test_a_skipped_benchmark_has_a_row_with_its_reason() -> None:
    reason = "owner/name is gated and there is no hub token"
    shown = page_of(Inputs("some", "", {"skipped": {"gated-one": reason}}))
    row = re.search(r"gated-one.*?skipped.*?</tr>", without_scripts(shown), re.DOTALL)
    assert row is not None
    assert reason in row.group()


def test_the_report_of_curation_becomes_tables() -> None:
    facts, grids = curation.arrange(
        {
            "rows": 3,
            "planted": {
                "kinds": {"exact": {"recall": 1.0}, "short": {"recall": 0.95}},
                "controls": 200,
            },
            "lists": ["are", "left", "out"],
        }
    )
    assert facts == {"rows": 3, "planted controls": 200}
    assert [grid.title for grid in grids] == ["planted kinds"]
    assert grids[0].rows == [("exact", [1.0]), ("short", [0.95])]


def test_cost_counts_the_gpus_of_engines_and_of_training() -> None:
    timings = [
        Timing("judge_traces", ("teacher", "set", "0000"), 3600.0, None),
        Timing("train_student", ("pupil",), 7200.0, 10.0),
        Timing("sample_traces", ("teacher", "set", "0000"), 3600.0, 20.0),
        Timing("sample_traces", ("remote", "set", "0000"), 3600.0, 5.0),
        Timing("rewrite_traces", ("teacher", "set", "0000"), 3600.0, 5.0),
    ]
    engine = {"kind": "vllm", "tensor_parallel": 2, "data_parallel": 4}
    inputs = Inputs(
        recipe="r",
        description="",
        config={
            "models": {"teacher": {"engine": engine}, "remote": {"engine": {}}},
            "sets": {"set": {"rewriter": "divide", "judge": {"kind": "math"}}},
            "rewriters": {"divide": {"model": "remote"}},
            "prices": {"gpu_hour": 2.0},
        },
        manifests={"pupil": {"training": {"ranks": 3}}},
        metrics={"pupil": [{"step": 1, "tokens": 100}, {"step": 2, "tokens": 7200}]},
        timings=timings,
        asked=[
            Asked("rewrite_traces", "remote", 10, 2_000, 500, 1.25),
            Asked("label_difficulty", "remote", 4, 40, 4, 0.5),
        ],
    )
    stages = {stage.stage: stage for stage in costs.by_stage(inputs)}
    assert list(stages) == [
        "label_difficulty", "sample_traces", "judge_traces", "rewrite_traces",
        "train_student",
    ]  # fmt: skip
    assert stages["sample_traces"].gpu_hours == 8.0
    assert stages["sample_traces"].max_rss_mb == 20.0
    assert stages["judge_traces"].dollars == 0.0
    # The rewriter is asked over an API: the teacher's GPUs have nothing to do with it.
    assert stages["rewrite_traces"].gpu_hours == 0.0
    assert stages["rewrite_traces"].dollars == 1.25
    assert stages["train_student"].dollars == 12.0
    whole = costs.total(list(stages.values()))
    assert (whole.jobs, whole.answers, whole.dollars) == (5, 14, 16 + 12 + 1.75)
    assert costs.training_speed(inputs) == {"pupil": 1.0}


def test_a_cpu_is_no_gpu() -> None:
    inputs = Inputs(
        recipe="r",
        description="",
        config={"models": {"small": {"engine": {"kind": "vllm"}}}},
        engines=[{"model": "small", "contracts": [{"device": "cpu"}]}],
        manifests={
            "pupil": {"training": {"ranks": 1}, "software": ["torch==2.13.0+cpu"]}
        },
    )
    assert costs.gpus(inputs, Timing("sample_traces", ("small", "s", "0"), 1, 1)) == 0
    assert costs.gpus(inputs, Timing("train_student", ("pupil",), 1, 1)) == 0
    assert not costs.priced(inputs)


def test_journals_say_what_each_stage_asked(tmp_path: Path) -> None:
    answers = {
        "api/set/0000.jsonl": (100, 50),
        "api/rewrites-of-teacher/set/0000.jsonl": (1_000, 400),
        "api/labels/set/0000.jsonl": (10, 5),
        "api/verdicts-on-student/set/0000.jsonl": (20, 1),
        "of-another-recipe/set/0000.jsonl": (9, 9),
    }
    paths = []
    for name, (prompt, completion) in answers.items():
        usage = {"prompt_tokens": prompt, "completion_tokens": completion}
        with Journal(tmp_path / "journals" / name) as journal:
            journal.sign({"engine": "openai"})
            journal.append("ab", {"text": "", "usage": usage}, {"time": 1.0})
        paths.append(tmp_path / "journals" / name)
    prices = {"prompt": 1.0, "completion": 10.0}
    config = {"models": {"api": {"terms": {"prices": prices}}}}
    assert costs.unknown_apis(Inputs("r", "", config)) == ["api"]
    found = {one.stage: one for one in build_report._asked(paths, config)}
    assert set(found) == {
        "sample_traces", "rewrite_traces", "label_difficulty", "judge_traces",
    }  # fmt: skip
    assert found["rewrite_traces"].dollars == pytest.approx(0.005)
    assert found["sample_traces"].completion_tokens == 50
    assert {one.answers for one in found.values()} == {1}
    known = Inputs("r", "", config, asked=list(found.values()))
    assert costs.unknown_apis(known) == []


def test_snakemakes_timings_are_read(tmp_path: Path) -> None:
    path = tmp_path / "logs/sample_traces/teacher/sums/0000.tsv"
    path.parent.mkdir(parents=True)
    path.write_text("s\th:m:s\tmax_rss\n12.5\t0:00:12\tNA\n")
    assert build_report._timings(path) == [
        Timing("sample_traces", ("teacher", "sums", "0000"), 12.5, None)
    ]


@pytest.mark.slow
def test_figures_are_files_of_their_own(tmp_path: Path) -> None:
    arguments = synthetic.write_recipe(tmp_path, synthetic.Size(8, 2, 30))
    out = [
        "--out",
        str(tmp_path / "r.html"),
        "--figures-out",
        str(tmp_path / "figures"),
    ]
    build_report.main([*arguments, *out])
    found = sorted((tmp_path / "figures").glob("*.svg"))
    assert [file.stem for file in found] == sorted(exports.NAMES)
    for file in found:
        text = file.read_text("utf-8")
        assert ElementTree.fromstring(text).tag.endswith("svg")
        assert "var(" not in text
        assert "no data" not in text


def test_the_numbers_behind_the_figures(tmp_path: Path) -> None:
    metrics = {"a": [{"step": 1, "loss": 2.5}], "b": [{"step": 1, "loss": 2.0}]}
    found = exports.tables(Inputs("r", "", {}, metrics=metrics))
    assert found["training"].splitlines() == ["student,step,loss", "a,1,2.5", "b,1,2.0"]
    assert found["scores"].startswith("benchmark,model,category,value,problems,")
    empty = exports.tables(Inputs("r", "", {}))
    assert empty["training"] == "student,step\n"


def test_figures_of_nothing_say_so() -> None:
    drawn = exports.export(Inputs(recipe="empty", description="", config={}))
    assert set(drawn) == set(exports.NAMES)
    assert all("no data" in svg for svg in drawn.values())
