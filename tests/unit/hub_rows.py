"""Made-up rows in the exact layouts of the hub data sets that config.yaml names."""

from __future__ import annotations

import base64
import csv
import io
import json
import pickle
import zlib
from typing import Any

Row = dict[str, Any]

THOUGHT = "<|begin_of_thought|>\n\nWell.\n\n<|end_of_thought|>\n\n"
TRACE = f"{THOUGHT}<|begin_of_solution|>So 4.<|end_of_solution|>"
SYSTEM = "Think, then solve:"


def jsonl(rows: list[Row]) -> bytes:
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


def parquet(rows: list[Row]) -> bytes:
    import pyarrow
    from pyarrow.parquet import write_table

    file = io.BytesIO()
    write_table(pyarrow.Table.from_pylist(rows), file)
    return file.getvalue()


def table(rows: list[Row]) -> bytes:
    file = io.StringIO()
    writer = csv.DictWriter(file, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    return file.getvalue().encode()


def numina(problem: str, source: str, solution: str) -> Row:
    said = [{"content": problem, "role": "user"}]
    return {
        "source": source,
        "problem": problem,
        "solution": solution,
        "messages": said,
    }


def label(problem: str, source: str, level: float) -> Row:
    row = numina(problem, source, "")
    return row | {"gpt_difficulty": f"[[{level}]]", "gpt_difficulty_parsed": level}


def apps(question: str, tests: Row | str, starter: str = "") -> Row:
    return {
        "id": 0,
        "question": question,
        "solutions": "",
        "input_output": tests if isinstance(tests, str) else json.dumps(tests),
        "difficulty": "interview",
        "url": "https://example.org/p",
        "starter_code": starter,
    }


def taco(question: str, difficulty: str, tests: Row) -> Row:
    texts = dict.fromkeys(
        ["name", "date", "Expected Auxiliary Space", "memory_limit"], None
    )
    return {
        "question": question,
        "solutions": "[]",
        "starter_code": "",
        "input_output": json.dumps(tests),
        "difficulty": difficulty,
        "raw_tags": "['greedy']",
        "source": "codeforces",
        "url": "https://example.org/t",
        "time_limit": "1 second",
        "picture_num": "0",
        **texts,
    }


def packed(cases: list[Row]) -> str:
    """As LiveCodeBench packs its private tests."""
    return base64.b64encode(zlib.compress(pickle.dumps(json.dumps(cases)))).decode()


def livecodebench(question: str, difficulty: str, name: str = "") -> Row:
    kind = "functional" if name else "stdin"
    private = [{"input": "[1, 2]\n3", "output": "[4]", "testtype": kind}]
    public = [{"input": "[5]\n6", "output": "[7]", "testtype": kind}]
    return {
        "question_title": "T",
        "question_content": question,
        "platform": "leetcode" if name else "atcoder",
        "question_id": "1",
        "contest_id": "1",
        "contest_date": "2023-08-21T00:00:00",
        "starter_code": "class Solution: ..." if name else "",
        "difficulty": difficulty,
        "public_test_cases": json.dumps(public),
        "private_test_cases": packed(private),
        "metadata": json.dumps({"func_name": name} if name else {}),
    }


def gpqa(number: int) -> Row:
    return {
        "Question": f"Made-up question {number}?",
        "Correct Answer": f"right {number}\n",
        "Incorrect Answer 1": "wrong one",
        "Incorrect Answer 2": "wrong two",
        "Incorrect Answer 3": "wrong three",
        "Explanation": "none",
        "High-level domain": "Physics",
        "Record ID": f"rec{number}",
        "Canary String": "made up",
    }


def aime(number: int, year: int) -> Row:
    return {
        "id": number,
        "problem": f"Made-up problem {number}.",
        "solution": "One way. Another way.",
        "answer": f"{number:03d}",
        "url": f"https://example.org/{year}_I/Problem_{number}",
    }


def sky_t1(user: str) -> Row:
    turns = [{"from": "user", "value": user}, {"from": "assistant", "value": TRACE}]
    return {"system": SYSTEM, "conversations": turns}


BOXED = r"Return your final response within \boxed{}. "
STDIN = {"inputs": ["1\n"], "outputs": ["2\n"]}
CALL = {"inputs": [[1, [2]]], "outputs": [[3]], "fn_name": "f"}

REPOS: dict[str, dict[str, bytes]] = {
    "AI-MO/NuminaMath-CoT": {
        "data/train-00000-of-00001.parquet": parquet(
            [
                numina("m1", "math", r"\boxed{1}"),
                numina("a1", "amc_aime", r"\boxed{B}"),
                numina("o1", "olympiads", r"\boxed{3}"),
                numina("c1", "cn_k12", r"\boxed{4}"),
            ]
        )
    },
    "NovaSky-AI/labeled_numina_difficulty_859K": {
        "data/train-00000-of-00001.parquet": parquet(
            [
                label("m1", "math", 5.0),
                label("a1", "amc_aime", 1.0),
                label("o1", "olympiads", 9.0),
            ]
        )
    },
    "codeparrot/apps": {
        "apps.py": b"raise SystemExit('a hub script was run')\n",
        "test.jsonl": jsonl(
            [apps("q1", STDIN), apps("q2", CALL, "def f(a, b):"), apps("q3", "")]
        ),
    },
    "BAAI/TACO": {
        "TACO.py": b"raise SystemExit('a hub script was run')\n",
        "ALL/train-00000-of-00001.parquet": parquet(
            [taco("t1", "MEDIUM", STDIN), taco("t2", "EASY", STDIN)]
        ),
        "ALL/test-00000-of-00001.parquet": parquet([taco("t3", "HARD", STDIN)]),
    },
    "RUC-AIBOX/long_form_thought_data_5k": {
        "data/train-00000-of-00001.parquet": parquet(
            [
                {"question": f"{domain}?", "combined_text": TRACE, "domain": domain}
                for domain in ("math", "physics", "chemistry", "code", "puzzle")
            ]
        )
    },
    "NovaSky-AI/Sky-T1_data_17k": {
        "Sky-T1_data_17k.json": json.dumps(
            [sky_t1(BOXED + "2+2?"), sky_t1("Write a program.")], indent=2
        ).encode()
    },
    "HuggingFaceH4/MATH-500": {
        "test.jsonl": jsonl(
            [
                {
                    "problem": "p",
                    "solution": r"\boxed{1}",
                    "answer": "1",
                    "subject": "Algebra",
                    "level": 2,
                    "unique_id": "test/1.json",
                }
            ]
        )
    },
    "AI-MO/aimo-validation-aime": {
        "data/train-00000-of-00001.parquet": parquet(
            [aime(7, 2023), aime(25, 2024), aime(33, 2024)]
        )
    },
    "livecodebench/code_generation_lite": {
        "code_generation_lite.py": b"raise SystemExit('a hub script was run')\n",
        "test.jsonl": jsonl([livecodebench("l1", "easy"), livecodebench("l2", "hard")]),
        "test2.jsonl": jsonl([livecodebench("l3", "medium", "solve")]),
        "test3.jsonl": jsonl([livecodebench("too late", "easy")]),
    },
    "Idavidrein/gpqa": {"gpqa_diamond.csv": table([gpqa(n) for n in range(20)])},
    "Hothan/OlympiadBench": {
        "OlympiadBench/OE_TO_maths_en_COMP/OE_TO_maths_en_COMP.parquet": parquet(
            [{"id": 1, "question": "o", "final_answer": ["2"], "subfield": "Algebra"}]
        )
    },
    "AI-MO/aimo-validation-amc": {
        "data/train-00000-of-00001.parquet": parquet(
            [
                {"id": 1, "problem": "x", "answer": 27.0, "url": "https://e.org/2023"},
                {"id": 2, "problem": "y", "answer": 1.5, "url": "https://e.org/2022"},
            ]
        )
    },
    "opencompass/AIME2025": {
        "aime2025-I.jsonl": jsonl([{"question": "one", "answer": "70"}]),
        "aime2025-II.jsonl": jsonl([{"question": "two", "answer": "468"}]),
    },
    "svc-huggingface/minerva-math": {
        "test.jsonl": jsonl([{"problem": "v", "solution": r"\boxed{3 \text{ m}}"}])
    },
    "openai/gsm8k": {
        "main/test-00000-of-00001.parquet": parquet(
            [{"question": "g", "answer": "2+2=<<2+2=4>>4\n#### 4"}]
        )
    },
    "cais/mmlu": {
        "all/test-00000-of-00001.parquet": parquet(
            [{"question": "k", "subject": "s", "choices": ["a", "b"], "answer": 1}]
        )
    },
    "TIGER-Lab/MMLU-Pro": {
        "data/test-00000-of-00001.parquet": parquet(
            [
                {
                    "question_id": 70,
                    "question": "q",
                    "options": list("abcdefghij"),
                    "answer": "J",
                    "answer_index": 9,
                    "category": "business",
                }
            ]
        )
    },
    "allenai/ai2_arc": {
        "ARC-Challenge/train-00000-of-00001.parquet": parquet(
            [
                {
                    "id": "1",
                    "question": "r",
                    "choices": {"text": ["u", "v", "w"], "label": ["1", "2", "3"]},
                    "answerKey": "3",
                }
            ]
        )
    },
}
