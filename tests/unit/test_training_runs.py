"""Whole trainings of the tiny model: killed, stopped, broken, and gone on with."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from retrace import weights
from retrace.rows import write_rows
from retrace.stopping import EXIT_AGAIN, LIMIT_VARIABLE
from tests import tiny_model
from tests.unit.training_rows import rows

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the tiny model and a training set."""
    folder = tmp_path_factory.mktemp("training")
    tiny_model.build(folder / "base")
    write_rows(folder / "train.jsonl", rows(40, longest=4))
    return folder


def start(
    inputs: Path,
    folder: Path,
    ranks: int = 1,
    environment: Any = None,
    base: tuple[str, ...] = (),
    **changes: Any,
) -> subprocess.Popen[str]:
    settings = {
        "epochs": 8,
        "learning_rate": 1e-3,
        "batch_size": 8,
        "max_length": 1024,
        "save_steps": 4,
        "gradient_checkpointing": False,
        "precision": "float32",  # five times as fast here as bfloat16
    }
    command = [
        *(sys.executable, "-m", "retrace.training.launch", "--ranks", str(ranks)),
        *("scripts/train_student.py", "--student", "pupil"),
        *("--dataset", str(inputs / "train.jsonl")),
        *(base or ("--weights", str(inputs / "base"))),
        *("--training", json.dumps(settings | changes)),
        *("--threads", str(ranks)),
        *("--checkpoints", str(folder / "checkpoints/pupil")),
        *("--shards", "2"),
        *("--out", str(folder / "model")),
        *("--metrics", str(folder / "model/metrics.jsonl")),
    ]
    return subprocess.Popen(
        command,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), **(environment or {})},
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process: subprocess.Popen[str], seconds: float = 240) -> tuple[int, str]:
    _, told = process.communicate(timeout=seconds)
    return process.returncode, told


def train(inputs: Path, folder: Path, ranks: int = 1, **changes: Any) -> str:
    code, told = finish(start(inputs, folder, ranks, **changes))
    assert code == 0, told
    return told


def metrics(folder: Path) -> list[dict[str, Any]]:
    text = (folder / "model/metrics.jsonl").read_text()
    return [json.loads(line) for line in text.splitlines()]


def wait_for_step(folder: Path, step: int, process: subprocess.Popen[str]) -> None:
    """Until a training says that it has taken so many steps."""
    until = time.monotonic() + 200
    while time.monotonic() < until and process.poll() is None:
        for path in folder.glob("checkpoints/pupil/*/progress.json"):
            if json.loads(path.read_text())["step"] >= step:
                return
        time.sleep(0.01)
    raise AssertionError(f"step {step} was never reached: {finish(process)[1]}")


def kill(process: subprocess.Popen[str]) -> None:
    """The launcher and its ranks, at once and without a word."""
    everyone = [*psutil.Process(process.pid).children(recursive=True)]
    for one in [psutil.Process(process.pid), *everyone]:
        one.kill()
    process.communicate()
    psutil.wait_procs(everyone, 30)


def tensors(folder: Path) -> dict[str, bytes]:
    manifest = weights.verify(folder / "model")
    names = [name for name in manifest["files"] if name.endswith(".safetensors")]
    return {name: (folder / "model" / name).read_bytes() for name in names}


@pytest.mark.long
@pytest.mark.parametrize("ranks", [1, 2])
@pytest.mark.parametrize("packing", [False, True])
def test_a_run_killed_at_three_steps_ends_with_the_same_bits(
    inputs: Path, tmp_path: Path, ranks: int, packing: bool
) -> None:
    how = {"packing": packing, "max_length": 1024}
    train(inputs, tmp_path / "a", ranks, **how)
    assert metrics(tmp_path / "a")[-1]["step"] == 40
    chance = random.Random(ranks)
    for step in sorted(chance.sample(range(1, 40), 3)):
        process = start(inputs, tmp_path / "b", ranks, **how)
        wait_for_step(tmp_path / "b", step, process)
        time.sleep(chance.random() * 0.3)
        kill(process)
        assert not (tmp_path / "b/model").exists()
    told = train(inputs, tmp_path / "b", ranks, **how)
    assert "step 1/40 " not in told
    assert tensors(tmp_path / "a") == tensors(tmp_path / "b")
    same = ("step", "epoch", "loss", "learning_rate", "grad_norm", "tokens")
    for one, other in zip(
        metrics(tmp_path / "a"), metrics(tmp_path / "b"), strict=True
    ):
        assert {key: one[key] for key in same} == {key: other[key] for key in same}
    (run,) = (tmp_path / "b/checkpoints/pupil").iterdir()
    assert len(list(run.glob("checkpoint-*"))) == 2


@pytest.mark.long
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_run_near_its_limit_saves_and_goes_on(
    inputs: Path, tmp_path: Path, precision: str
) -> None:
    limit = {LIMIT_VARIABLE: str(time.time() + 1)}
    how = {"epochs": 2, "save_steps": 100, "precision": precision}
    code, told = finish(start(inputs, tmp_path, environment=limit, **how))
    assert code == EXIT_AGAIN, told
    assert "the job's time limit is near" in told
    (run,) = (tmp_path / "checkpoints/pupil").iterdir()
    assert [path.name for path in run.glob("checkpoint-*")] == ["checkpoint-1"]
    told = train(inputs, tmp_path, **how)
    assert "step 1/10 " not in told
    assert "step 2/10 " in told
    steps = metrics(tmp_path)
    assert [line["step"] for line in steps] == list(range(1, 11))
    assert 0 < steps[-1]["tokens"] <= steps[-1]["padded_tokens"]
    manifest = weights.verify(tmp_path / "model")
    before = tensors(tmp_path)
    # Killed after the last step, before the student was written.
    shutil.rmtree(tmp_path / "model")
    train(inputs, tmp_path, **how)
    assert tensors(tmp_path) == before
    assert metrics(tmp_path)[-1]["loss"] == steps[-1]["loss"]
    assert manifest["training"]["tokens_seen"] == steps[-1]["tokens"]
    assert manifest["training"]["kept"] == 40


@pytest.mark.long
@pytest.mark.parametrize("lora", [None, {"rank": 4, "alpha": 8}])
def test_another_number_of_ranks_goes_on_once_reshaped(
    inputs: Path, tmp_path: Path, lora: Any
) -> None:
    how = {"epochs": 2, "save_steps": 100, "lora": lora}
    train(inputs, tmp_path / "a", **how)
    limit = {LIMIT_VARIABLE: str(time.time() + 1)}
    code, _ = finish(start(inputs, tmp_path / "b", environment=limit, **how))
    assert code == EXIT_AGAIN
    code, told = finish(start(inputs, tmp_path / "b", ranks=2, **how))
    assert code == 1
    assert "written by 1 ranks and cannot go on with 2" in told
    lines = {line.strip() for line in told.splitlines()}
    (advice,) = {line for line in lines if line.startswith("python -m retrace")}
    command = [sys.executable, *advice.split()[1:]]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    train(inputs, tmp_path / "b", ranks=2, **how)
    one, two = metrics(tmp_path / "a"), metrics(tmp_path / "b")
    assert [line["step"] for line in two] == list(range(1, 11))
    for before, after in zip(one, two, strict=True):
        assert after["loss"] == pytest.approx(before["loss"], rel=1e-2)


@pytest.mark.slow
@pytest.mark.parametrize(
    "number",
    [signal.SIGUSR1, pytest.param(signal.SIGTERM, marks=pytest.mark.long)],
)
def test_a_signal_stops_after_the_step(
    inputs: Path, tmp_path: Path, number: signal.Signals
) -> None:
    process = start(inputs, tmp_path, save_steps=1000)
    wait_for_step(tmp_path, 2, process)
    process.send_signal(number)
    code, told = finish(process)
    assert code == EXIT_AGAIN, told
    (run,) = (tmp_path / "checkpoints/pupil").iterdir()
    assert len(list(run.glob("checkpoint-*/complete.json"))) == 1


@pytest.mark.slow
def test_a_loss_that_is_no_number_names_its_rows(inputs: Path, tmp_path: Path) -> None:
    import torch
    from safetensors.torch import load_file, save_file

    broken = tmp_path / "inputs"
    tiny_model.build(broken / "base")
    some = rows(16)
    write_rows(broken / "train.jsonl", some)
    shard = broken / "base/model-00001-of-00001.safetensors"
    state = load_file(shard)
    word = tiny_model.tokenizer()("Z", add_special_tokens=False)["input_ids"][0]
    state["model.embed_tokens.weight"][word] = torch.nan
    save_file(state, shard, metadata={"format": "pt"})
    weights.write_manifest(broken / "base", 1, {})
    # The other rank waits for this one, and must not wait for ever.
    code, told = finish(start(broken, tmp_path, ranks=2, batch_size=4))
    assert code == 1
    assert "the loss of step" in told
    (run,) = (tmp_path / "checkpoints/pupil").iterdir()
    named = {row.id: row for row in some}
    bad = [json.loads(path.read_text()) for path in run.glob("bad-step-*")]
    assert bad
    for saved in bad:
        assert 1 <= len(saved["rows"]) <= 2
        assert "Z" in named[saved["rows"][-1]].model_dump_json()


@pytest.mark.slow
def test_a_dead_rank_ends_the_job(inputs: Path, tmp_path: Path) -> None:
    process = start(inputs, tmp_path, ranks=2, epochs=500)
    wait_for_step(tmp_path, 2, process)
    ranks = [
        child
        for child in psutil.Process(process.pid).children(recursive=True)
        if "train_student.py" in " ".join(child.cmdline())
    ]
    assert len(ranks) == 2
    ranks[1].kill()
    code, told = finish(process, seconds=60)
    assert code == 1
    assert "a rank was killed" in told
    assert not psutil.wait_procs(ranks, 1)[1]


def pinned(inputs: Path, folder: Path) -> dict[str, Any]:
    """The base as a commit of a repository whose main branch has moved on, and broke;
    in the cache that the hub's own client keeps."""
    repo = folder / "hub/models--me--tiny"
    commits = ["a" * 40, "b" * 40]
    shutil.copytree(inputs / "base", repo / "snapshots" / commits[0])
    (repo / "snapshots" / commits[1]).mkdir()
    (repo / "snapshots" / commits[1] / "config.json").write_text("{}")
    (repo / "refs").mkdir()
    (repo / "refs/main").write_text(commits[1])
    return {
        "base": ("--weights", "me/tiny", "--revision", commits[0]),
        "environment": {"HF_HUB_CACHE": str(folder / "hub"), "HF_HUB_OFFLINE": "1"},
    }


@pytest.mark.slow
def test_adapters_are_merged_into_the_student(inputs: Path, tmp_path: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    how: dict[str, Any] = {
        "epochs": 1,
        "lora": {"rank": 4, "alpha": 8},
        "learning_rate": 0.01,
    }
    train(inputs, tmp_path, **how, **pinned(inputs, tmp_path))
    assert metrics(tmp_path)[-1]["loss"] < metrics(tmp_path)[0]["loss"]
    student = AutoModelForCausalLM.from_pretrained(tmp_path / "model")
    assert student.dtype == torch.float32
    base = AutoModelForCausalLM.from_pretrained(inputs / "base")
    changed = {
        name
        for name, tensor in student.state_dict().items()
        if not torch.equal(tensor, base.state_dict()[name])
    }
    assert changed
    assert all("_proj" in name for name in changed)
    assert AutoTokenizer.from_pretrained(tmp_path / "model").chat_template
