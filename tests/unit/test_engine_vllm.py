"""The launcher: what it starts it ends, and what goes wrong it says.

Faults are played by a stand-in for vLLM's server module; the slow tests run vLLM.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from pydantic import ValidationError

from retrace import engines
from retrace.dispatch import Effort
from retrace.engines import guard, lending, vllm
from retrace.engines.base import EngineError, revision_of
from retrace.journal import Journal
from retrace.sampling import Request, Sampling, ask

HAS_VLLM = importlib.util.find_spec("vllm") is not None
needs_vllm = pytest.mark.skipif(not HAS_VLLM, reason="vLLM is not installed")
pytestmark = needs_vllm

CPU_ARGS = [
    *("--max-model-len", "512", "--enforce-eager"),
    *("--no-enable-chunked-prefill", "--max-num-batched-tokens", "8192"),
]

STAND_IN = """
import os, subprocess, sys, threading, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
options = dict(zip(sys.argv[1::2], sys.argv[2::2]))
print("stand-in starts", flush=True)
mode = os.environ["MODE"]
subprocess.Popen(["sleep", "1000"], start_new_session=True)
if mode == "refuse":
    sys.exit("the flag --nonsense is not known")
if mode == "taken" and not Path(os.environ["MARK"]).exists():
    Path(os.environ["MARK"]).touch()
    sys.exit("OSError: [Errno 98] Address already in use")
if mode == "never":
    time.sleep(1000)
class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    count = 0
    def do_GET(self):
        self.answer(b"")
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        Handler.count += 1
        assert self.headers["Authorization"] == "Bearer " + os.environ["VLLM_API_KEY"]
        mark = Path(os.environ["MARK"])
        if mode == "crash" and Handler.count > 5 and not mark.exists():
            mark.touch()
            print("EngineDeadError: told to die", flush=True)
            os._exit(1)
        if mode == "poison" and b"question 7" in body:
            os._exit(1)
        time.sleep(0.01)
        self.answer(b'{"choices":[{"message":{"content":"hi"},"finish_reason":"stop"}],'
                    b'"usage":{"prompt_tokens":1,"completion_tokens":1}}')
    def answer(self, body):
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_):
        pass
ThreadingHTTPServer(("127.0.0.1", int(options["--port"])), Handler).serve_forever()
"""


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    folder = tmp_path / "weights"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(b"none")
    return folder


@pytest.fixture
def stand_in(tmp_path: Path) -> Path:
    package = tmp_path / "stand_in"
    module = package / "vllm/entrypoints/openai/api_server.py"
    module.parent.mkdir(parents=True)
    module.write_text(STAND_IN)
    for folder in (module.parent, module.parent.parent, module.parent.parent.parent):
        (folder / "__init__.py").touch()
    return package


@pytest.fixture(autouse=True)
def _leaves_no_process() -> Iterator[None]:
    before = running_children()
    yield
    until = time.monotonic() + 30
    while running_children() - before and time.monotonic() < until:
        time.sleep(0.05)
    assert running_children() - before == set()


def running_children() -> set[psutil.Process]:
    """What this process has started and has not ended; the guard of a lent server is
    its child, and a zombie once it has ended."""
    return {
        child
        for child in psutil.Process().children(recursive=True)
        if child.is_running() and child.status() != psutil.STATUS_ZOMBIE
    }


def make(
    stand_in: Path, weights: Path, mode: str, timeout: int = 90, linger: float = 0.0
) -> vllm.VLLM:
    mark = str(stand_in / "mark")
    settings = vllm.Settings(
        env={"PYTHONPATH": str(stand_in), "MODE": mode, "MARK": mark},
        start_timeout=timeout,
        concurrency=4,
        linger=linger,
    )
    return vllm.make(settings, str(weights), "", stand_in / "server.log")


def requests(count: int) -> list[Request]:
    sampling = Sampling(temperature=1.0, max_tokens=5)
    return [
        Request([{"role": "user", "content": f"question {number}."}], sampling)
        for number in range(count)
    ]


def stand_ins(mark: str) -> list[int]:
    """Processes that were started with this stand-in in their environment."""
    found = []
    for process in psutil.process_iter():
        try:
            if mark in process.environ().get("PYTHONPATH", ""):
                found.append(process.pid)
        except (psutil.AccessDenied, psutil.NoSuchProcess, psutil.ZombieProcess):
            continue
    return found


def test_everything_started_is_ended(stand_in: Path, weights: Path) -> None:
    with make(stand_in, weights, "good") as engine:
        endpoint = engine.start()
        assert endpoint.base_url.startswith("http://127.0.0.1:")
        assert engine.start() is endpoint
        assert engine.is_alive()
        # The guard, the server, and a grandchild in a session of its own.
        assert len(stand_ins(str(stand_in))) == 3
    assert stand_ins(str(stand_in)) == []


def test_the_key_is_on_no_command_line(stand_in: Path, weights: Path) -> None:
    with make(stand_in, weights, "good") as engine:
        (key,) = engine.start().keys
        lines = [psutil.Process(pid).cmdline() for pid in stand_ins(str(stand_in))]
        assert len(lines) == 3
        assert not any(key in word for line in lines for word in line)


def test_a_server_on_the_processor_has_more_threads_than_its_job(
    stand_in: Path, weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MKL_NUM_THREADS", "1")  # as Snakemake does
    with make(stand_in, weights, "good") as engine:
        engine.start()
        for pid in stand_ins(str(stand_in)):
            server = psutil.Process(pid).environ()
            assert "MKL_NUM_THREADS" not in server
            assert "VLLM_CPU_OMP_THREADS_BIND" in server


def test_the_sockets_of_a_server_go_with_it(stand_in: Path, weights: Path) -> None:
    with make(stand_in, weights, "good") as engine:
        engine.start()
        ours = [psutil.Process(pid) for pid in stand_ins(str(stand_in))]
        found = {process.environ().get(guard.SOCKETS) for process in ours}
        (directory,) = found - {None}
        assert directory is not None
        Path(directory, "a socket").touch()
    assert not Path(directory).exists()


def test_a_server_that_refuses_is_quoted(stand_in: Path, weights: Path) -> None:
    with (
        make(stand_in, weights, "refuse") as engine,
        pytest.raises(EngineError, match=r"ended with status 1(.|\n)*--nonsense"),
    ):
        engine.start()
    assert stand_ins(str(stand_in)) == []


def test_a_server_that_never_gets_healthy_is_ended(
    stand_in: Path, weights: Path
) -> None:
    with (
        make(stand_in, weights, "never", timeout=1) as engine,
        pytest.raises(EngineError, match="start_timeout=1 s"),
    ):
        engine.start()
    assert stand_ins(str(stand_in)) == []


def test_a_taken_port_is_another_try(stand_in: Path, weights: Path) -> None:
    with make(stand_in, weights, "taken") as engine:
        assert engine.start().keys


def test_a_crash_is_survived_once(
    stand_in: Path, weights: Path, tmp_path: Path
) -> None:
    with (
        Journal(tmp_path / "j.jsonl") as journal,
        make(stand_in, weights, "crash") as engine,
    ):
        effort = Effort(attempts=1, backoff=0.01)
        answers = list(ask(requests(30), engine, journal, effort))
        assert [answer.text for answer in answers] == ["hi"] * 30


@pytest.fixture
def run_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """This process owns the servers that its engines lend one another."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.delenv(lending.OWNER, raising=False)
    monkeypatch.setenv(lending.OWNER, f"{os.getpid()}:{lending._started(os.getpid())}")


def servers(mark: str) -> set[int]:
    """Stand-ins for vLLM that run: not their guards, nor what they started."""
    found = set()
    for pid in stand_ins(mark):
        with contextlib.suppress(psutil.NoSuchProcess):
            command = psutil.Process(pid).cmdline()
            if command[1:3] == ["-m", vllm.MODULE]:
                found.add(pid)
    return found


@pytest.mark.usefixtures("run_of_its_own")
def test_a_lent_server_that_crashed_is_replaced_for_all_who_used_it(
    stand_in: Path, weights: Path, tmp_path: Path
) -> None:
    mark = str(stand_in)
    with (
        make(stand_in, weights, "good", linger=0.2) as first,
        make(stand_in, weights, "good", linger=0.2) as second,
    ):
        lent = first.start()
        assert second.start().base_url == lent.base_url
        (before,) = servers(mark)
        os.kill(before, signal.SIGKILL)
        psutil.wait_procs([psutil.Process(before)], timeout=30)
        assert not first.is_alive()
        assert not second.is_alive()
        fresh = first.restart()
        # The second engine finds the new server; it starts none of its own.
        assert second.restart().base_url == fresh.base_url
        assert servers(mark) != {before}
        assert len(servers(mark)) == 1
        with Journal(tmp_path / "j.jsonl") as journal:
            answers = list(ask(requests(5), second, journal))
        assert [answer.text for answer in answers] == ["hi"] * 5


@pytest.mark.usefixtures("run_of_its_own")
def test_a_job_on_a_lent_server_survives_its_crash(
    stand_in: Path, weights: Path, tmp_path: Path
) -> None:
    with (
        Journal(tmp_path / "j.jsonl") as journal,
        make(stand_in, weights, "crash", linger=0.2) as engine,
    ):
        effort = Effort(attempts=1, backoff=0.01)
        answers = list(ask(requests(30), engine, journal, effort))
        assert [answer.text for answer in answers] == ["hi"] * 30
    until = time.monotonic() + 30
    while stand_ins(str(stand_in)) and time.monotonic() < until:
        time.sleep(0.05)
    assert stand_ins(str(stand_in)) == []


def test_a_field_that_keys_makes_another_identity(
    stand_in: Path, weights: Path
) -> None:
    def identity(**settings: Any) -> dict[str, str]:
        made = vllm.Settings(**settings)
        return vllm.make(made, str(weights), "", stand_in / "log").identity()

    plain = identity(args=["--quantization=fp8"])
    assert plain == identity(args=[])
    keyed = identity(args=["--quantization=fp8"], key_on=["args"])
    assert keyed == plain | {"args": '["--quantization=fp8"]'}
    assert keyed != identity(args=[], key_on=["args"])
    with pytest.raises(ValidationError, match="key_on"):
        vllm.Settings(key_on=["attention"])


def test_a_request_that_kills_the_server_stops_the_job(
    stand_in: Path, weights: Path, tmp_path: Path
) -> None:
    with (
        Journal(tmp_path / "j.jsonl") as journal,
        make(stand_in, weights, "poison") as engine,
        pytest.raises(EngineError, match="died a second time"),
    ):
        ask(requests(30), engine, journal, Effort(backoff=0.01))


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_no_server_outlives_a_killed_job(
    stand_in: Path, weights: Path, number: int
) -> None:
    code = (
        "import sys, time; from pathlib import Path; import retrace.engines.vllm as v;"
        "from retrace.stopping import stop_on_signals;"
        f"s = v.Settings(env={{'PYTHONPATH': {str(stand_in)!r}, 'MODE': 'good',"
        " 'MARK': 'x'});"
        f"e = v.make(s, {str(weights)!r}, '', Path({str(stand_in / 'log')!r}));"
        "stop = stop_on_signals(); stop.__enter__();\n"
        "with e: e.start(); print('up', flush=True); time.sleep(1000)"
    )
    job = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    assert job.stdout is not None
    assert job.stdout.readline() == b"up\n"
    assert len(stand_ins(str(stand_in))) == 3
    os.kill(job.pid, number)
    job.wait(60)
    until = time.monotonic() + 30
    while stand_ins(str(stand_in)) and time.monotonic() < until:
        time.sleep(0.05)
    assert stand_ins(str(stand_in)) == []


def test_our_flags_are_not_further_flags() -> None:
    with pytest.raises(ValidationError, match="--port is set by the pipeline"):
        vllm.Settings(args=["--enforce-eager", "--port=8000"])


def test_cores_are_divided_over_the_workers() -> None:
    assert vllm._bind([0, 1, 2, 3], 1) == "0,1,2,3"
    assert vllm._bind([0, 1, 4, 5], 2) == "0,1|4,5"
    assert vllm._bind([3], 2) == "3|3"


def test_the_revision_is_of_the_weights_alone(weights: Path) -> None:
    plain = revision_of(str(weights), "")
    (weights / "model.safetensors").write_bytes(b"changed")
    assert revision_of(str(weights), "") != plain
    manifest = '{"files":{"a":{"sha256":"1","bytes":2}},"loss":%d}'
    (weights / "manifest.json").write_text(manifest % 1)
    first = revision_of(str(weights), "")
    (weights / "manifest.json").write_text(manifest % 2)
    assert revision_of(str(weights), "") == first
    assert revision_of("org/model", "abc") == "org/model@abc"
    with pytest.raises(EngineError, match="no revision pins it"):
        revision_of("org/model", "")


@pytest.mark.long
def test_vllm_survives_a_burst_of_seeded_requests(tmp_path: Path) -> None:
    """64 problems with n = 4: a split prefill of a seeded request kills CPU engines."""
    from tests.tiny_model import build

    build(tmp_path / "model")
    sampling = Sampling(n=4, temperature=0.8, max_tokens=24, seed=1)
    asked = [
        Request(
            [{"role": "user", "content": f"Tom has {i} bags of apples. " * 12}],
            sampling,
            sample,
        )
        for i in range(64)
        for sample in range(4)
    ]
    settings = {
        "kind": "vllm",
        "dtype": "float32",
        "args": CPU_ARGS,
        "env": {"VLLM_CPU_KVCACHE_SPACE": "1"},
        "start_timeout": 300,
        "concurrency": 64,
    }
    with (
        Journal(tmp_path / "j.jsonl") as journal,
        engines.load(settings, str(tmp_path / "model"), "", tmp_path / "log") as engine,
    ):
        answers = list(ask(asked, engine, journal))
    assert len(answers) == 256
    assert not any(answer.error for answer in answers)
    assert all(answer.usage.completion_tokens > 0 for answer in answers)


@pytest.mark.slow
def test_vllm_with_a_bad_flag_fails_with_its_own_words(tmp_path: Path) -> None:
    from tests.tiny_model import build

    build(tmp_path / "model")
    settings = vllm.Settings(args=["--no-such-flag"], start_timeout=200)
    with (
        vllm.make(settings, str(tmp_path / "model"), "", tmp_path / "log") as engine,
        pytest.raises(EngineError, match="unrecognized arguments: --no-such-flag"),
    ):
        engine.start()
