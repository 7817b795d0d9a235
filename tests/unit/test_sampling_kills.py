"""The script that samples, killed and stopped at bad moments."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from retrace.journal import read_lines
from retrace.rows import Answer, Domain, Problem, Trace, read_rows, write_rows
from retrace.stopping import EXIT_AGAIN, LIMIT_VARIABLE
from tests.fault_server import FaultServer

ROOT = Path(__file__).parents[2]
CONCURRENCY = 8


def make_problems(path: Path, count: int) -> None:
    write_rows(
        path,
        [
            Problem.make("set", Domain.MATH, f"What is {i} + {i}?", Answer(answer="?"))
            for i in range(count)
        ],
    )


def start(
    server: FaultServer, folder: Path, problems: Path, **environment: str
) -> subprocess.Popen[bytes]:
    engine = {
        "kind": "openai",
        "base_url": server.base_url,
        "model": "m",
        "key_variables": ["RETRACE_TEST_KEY"],
        "concurrency": CONCURRENCY,
    }
    effort = {"backoff": 0.01, "grace": 5.0, "margin": 2.0}
    sampling = {"n": 2, "temperature": 1.0, "max_tokens": 9}
    arguments = {
        "--problems": str(problems),
        "--model-name": "m",
        "--engine": json.dumps(engine),
        "--revision": "r",
        "--prompt": json.dumps({"template": "Q: {statement}"}),
        "--sampling": json.dumps(sampling),
        "--terms": json.dumps({"m": {"effort": effort}}),
        "--journals": str(folder / "journals"),
        "--journal": str(folder / "journals/set/0000.jsonl"),
        "--out": str(folder / "out.jsonl"),
        "--engine-out": str(folder / "out.engine.json"),
    }
    words = [word for pair in arguments.items() for word in pair]
    return subprocess.Popen(
        [sys.executable, "scripts/sample_traces.py", *words],
        cwd=ROOT,
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "RETRACE_TEST_KEY": "k",
            **environment,
        },
        stderr=subprocess.PIPE,
    )


def finish(job: subprocess.Popen[bytes]) -> str:
    _, stderr = job.communicate(timeout=120)
    assert job.returncode == 0, stderr.decode()
    return stderr.decode()


def wait_until_asked(server: FaultServer, count: int) -> None:
    until = time.monotonic() + 90
    while server.seen()["requests"] < count and time.monotonic() < until:
        time.sleep(0.01)
    assert server.seen()["requests"] >= count


def check_kills(tmp_path: Path, kills: int, problems: int, seed: int) -> None:
    """Kill at random moments; same bytes as without, nothing asked twice in vain."""
    moments = random.Random(seed)
    file = tmp_path / "set/0000.jsonl"
    make_problems(file, problems)
    with FaultServer(latency=0.05) as server:
        finish(start(server, tmp_path / "whole", file))
        server.forget()
        done = 0
        for _ in range(kills):
            job = start(server, tmp_path / "killed", file)
            # Somewhere in what this run will ask, the first and last moments included.
            done += moments.randint(1, problems * 2 // (kills + 1))
            wait_until_asked(server, done)
            time.sleep(moments.uniform(0, 0.05))
            job.send_signal(signal.SIGKILL)
            job.communicate()
            done = server.seen()["requests"]
        finish(start(server, tmp_path / "killed", file))
        seen = server.seen()
    assert seen["distinct"] == problems * 2
    assert seen["repeats"] <= kills * CONCURRENCY
    for name in ("out.jsonl", "out.engine.json"):
        assert (tmp_path / "killed" / name).read_bytes() == (
            tmp_path / "whole" / name
        ).read_bytes()


@pytest.mark.slow
def test_kill_9_costs_only_what_was_in_flight(tmp_path: Path) -> None:
    check_kills(tmp_path, kills=1, problems=30, seed=1)


@pytest.mark.slow
@pytest.mark.long
def test_kill_9_at_20_random_moments(tmp_path: Path) -> None:
    check_kills(tmp_path, kills=20, problems=400, seed=2)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_gracefully_and_the_same_command_goes_on(
    tmp_path: Path, number: int
) -> None:
    file = tmp_path / "set/0000.jsonl"
    make_problems(file, 50)
    with FaultServer(latency=0.1) as server:
        job = start(server, tmp_path, file)
        wait_until_asked(server, 20)
        job.send_signal(number)
        _, stderr = job.communicate(timeout=120)
        assert job.returncode == EXIT_AGAIN, stderr.decode()
        assert b"the same command goes on from here" in stderr
        assert not (tmp_path / "out.jsonl").exists()
        asked = server.seen()["requests"]
        assert asked < 80
        told = finish(start(server, tmp_path, file))
        # Requests in flight had the time to finish: nothing is asked again.
        assert f"{asked} answers are in the journals" in told
        assert server.seen()["repeats"] == 0
    assert len(list(read_rows(tmp_path / "out.jsonl", Trace))) == 100


@pytest.mark.slow
def test_a_job_stops_before_its_time_limit(tmp_path: Path) -> None:
    file = tmp_path / "set/0000.jsonl"
    make_problems(file, 2000)
    with FaultServer(latency=0.1) as server:
        limit = {LIMIT_VARIABLE: str(time.time() + 15.0)}
        job = start(server, tmp_path, file, **limit)
        _, stderr = job.communicate(timeout=120)
        assert job.returncode == EXIT_AGAIN
        assert b"time limit" in stderr
        held = [
            line
            for line in read_lines(tmp_path / "journals/set/0000.jsonl")
            if "key" in line
        ]
        assert len(held) == server.seen()["requests"] > 20


def test_two_contracts_in_one_shard_are_told(tmp_path: Path) -> None:
    file = tmp_path / "set/0000.jsonl"
    make_problems(file, 4)
    with FaultServer() as server:
        finish(start(server, tmp_path, file))
        told = json.loads((tmp_path / "out.engine.json").read_text())
        assert (told["mixed"], told["failed"]) == (False, 0)
        journal = tmp_path / "journals/set/0000.jsonl"
        lines = [line for line in read_lines(journal) if "key" in line]
        contract = lines[0]["contract"]
        # Half of the answers were given by an engine on another device.
        from retrace.journal import Journal

        journal.unlink()
        with Journal(journal) as written:
            for name, half in (("cpu", lines[:4]), ("gpu", lines[4:])):
                written.sign({"engine": "openai", "device": name})
                for line in half:
                    written.append(line["key"], line["answer"], line["stats"])
        assert contract
        finish(start(server, tmp_path, file))
        told = json.loads((tmp_path / "out.engine.json").read_text())
    assert told["mixed"] is True
    assert [(c["device"], c["answers"]) for c in told["contracts"]] == [
        ("cpu", 4),
        ("gpu", 4),
    ]


def test_a_failure_is_a_line_and_no_traceback(tmp_path: Path) -> None:
    file = tmp_path / "set/0000.jsonl"
    make_problems(file, 3)
    with FaultServer(key="another") as server:
        job = start(server, tmp_path, file)
        _, stderr = job.communicate(timeout=120)
    assert job.returncode == 1
    assert b"Traceback" not in stderr
    assert b"check the key, the base URL and the model's name" in stderr


def test_an_output_is_whole_or_absent(tmp_path: Path) -> None:
    file = tmp_path / "set/0000.jsonl"
    make_problems(file, 3)
    (tmp_path / "out.jsonl").write_text("old and whole\n")
    with FaultServer(faults={"500": 1.0}, times=10**6) as server:
        job = start(server, tmp_path, file)
        job.communicate(timeout=120)
        assert job.returncode == 1
    assert (tmp_path / "out.jsonl").read_text() == "old and whole\n"
