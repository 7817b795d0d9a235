"""Training speed and memory, on the GPUs or the CPU of this machine.

    python benchmarks/training.py [--json] [--only PATTERN] [--steps 5]

Random weights and random rows of Sky-T1's spread of lengths; each case is a training of
its own processes, started as the pipeline starts it. On a CPU a loop of transformers'
own Trainer over the same rows stands beside it. The measured peak of a rank stands
beside the predicted one.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from retrace import weights
from retrace.rows import Domain, TrainingRow, Turn, write_rows
from retrace.training import memory
from retrace.training.settings import Settings
from retrace.training.shapes import Shape, named
from tests import tiny_model

ROOT = Path(__file__).parents[1]
PLAIN = "plain"
# Rows of a step.
BATCH = 8

SMALL = Shape(384, 8, 6, 2, 1024, 32000, True, 64, True)
SMOL = Shape(576, 30, 9, 3, 1536, 49152, True, 64)


@dataclass(frozen=True)
class Case:
    """A training to measure: `length` is the longest row, about twice the mean."""

    name: str
    shape: Shape
    ranks: int = 1
    length: int = 512
    changes: dict[str, Any] = field(default_factory=dict)

    def settings(self) -> Settings:
        """One epoch, so that the longest row is in it."""
        base = {
            "epochs": 1,
            "learning_rate": 1e-5,
            "batch_size": BATCH,
            "max_length": self.length,
            "save_steps": 10_000,
            "gradient_checkpointing": False,
        }
        return Settings.model_validate(base | self.changes)


def on_cpu() -> list[Case]:
    remembered = {"gradient_checkpointing": True}
    cases = [
        Case("30M", SMALL),
        Case("30M, 4 rows at once", SMALL, changes={"micro_batch_size": 4}),
        Case("30M, packed", SMALL, changes={"packing": True}),
        Case("30M, packed, 2 ranks", SMALL, 2, changes={"packing": True}),
        Case("30M, packed, 2048", SMALL, length=2048, changes={"packing": True}),
        Case("135M", SMOL),
        Case("135M, 4 rows at once", SMOL, changes={"micro_batch_size": 4}),
        Case("135M, packed", SMOL, changes={"packing": True}),
        Case(
            "135M, packed, checkpointing", SMOL, changes={"packing": True} | remembered
        ),
        Case("135M, packed, 2 ranks", SMOL, 2, changes={"packing": True}),
        Case("135M, packed, 1024", SMOL, length=1024, changes={"packing": True}),
        Case(
            "135M, packed, LoRA",
            SMOL,
            changes={"packing": True, "lora": {"rank": 16, "alpha": 32}},
        ),
        Case(
            "135M, packed, offload",
            SMOL,
            changes={"packing": True, "offload": "optimizer+params"},
        ),
    ]
    return [Case(PLAIN, SMALL, changes={"micro_batch_size": 4}), *cases]


def on_gpus(count: int) -> list[Case]:
    cases = []
    for size in ("0.5", "7"):
        shape = named(f"Qwen2.5-{size}B")
        assert shape is not None
        for length in (8192, 16384):
            for switches in (
                {},
                {"packing": True},
                {"packing": True, "liger": True},
                {"packing": True, "liger": True, "offload": "optimizer"},
                {"packing": True, "liger": True, "offload": "optimizer+params"},
            ):
                told = ", ".join(
                    key if v is True else str(v) for key, v in switches.items()
                )
                changes = {"gradient_checkpointing": True, **switches}
                name = f"{size}B, {length}{', ' + told if told else ''}"
                cases.append(Case(name, shape, count, length, changes))
    return cases


def build(folder: Path, shape: Shape) -> Path:
    """A model of random weights as the pipeline's own models are written."""
    import torch
    from transformers import Qwen2Config, Qwen2ForCausalLM

    path = folder / f"base-{shape.parameters}"
    if path.exists():
        return path
    words = tiny_model.tokenizer()
    config = Qwen2Config(
        vocab_size=shape.vocabulary,
        hidden_size=shape.hidden,
        intermediate_size=shape.intermediate,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.kv_heads,
        max_position_embeddings=32768,
        tie_word_embeddings=shape.tied,
        eos_token_id=words.eos_token_id,
        pad_token_id=words.pad_token_id,
    )
    torch.manual_seed(0)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    with torch.device(device):
        model = Qwen2ForCausalLM(config).bfloat16().float()
    weights.save(path, model, words, 1, {})
    return path


def write(path: Path, length: int, count: int) -> Path:
    """Rows whose lengths spread like Sky-T1's, the longest `length` tokens."""
    chance = random.Random(0)
    turns = []
    for number in range(count):
        size = length if number == 0 else length * chance.lognormvariate(-1.2, 0.6)
        # A token of the small tokenizer for each of these letters.
        text = "".join(chance.choices("QZKWXJ", k=max(1, min(int(size), length) - 40)))
        turns.append([("user", f"{number}?"), ("assistant", text)])
    write_rows(
        path,
        [
            TrainingRow(
                id=str(number),
                system="",
                conversations=[
                    Turn.model_validate({"from": who, "value": said})
                    for who, said in pair
                ],
                problem_id="",
                trace_id="",
                set="",
                domain=Domain.MATH,
            )
            for number, pair in enumerate(turns)
        ],
    )
    return path


def measure(case: Case, folder: Path, steps: int, threads: int) -> dict[str, Any]:
    base = build(folder, case.shape)
    data = write(folder / f"{case.length}.jsonl", case.length, steps * BATCH)
    settings = case.settings()
    out = Path(tempfile.mkdtemp(dir=folder))
    if case.name == PLAIN:
        command = [sys.executable, __file__, "--plain", str(base), str(data)]
        command += [settings.model_dump_json(), str(out / "metrics.jsonl")]
    else:
        command = [sys.executable, "-m", "retrace.training.launch"]
        command += ["--ranks", str(case.ranks), "scripts/train_student.py"]
        command += ["--student", "s", "--dataset", str(data), "--weights", str(base)]
        command += ["--training", settings.model_dump_json(), "--shards", "1"]
        command += [
            "--threads",
            str(threads),
            "--checkpoints",
            str(out / "checkpoints"),
        ]
        command += [
            "--out",
            str(out / "model"),
            "--metrics",
            str(out / "metrics.jsonl"),
        ]
    done = subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if "Error" in line]
        return {"name": case.name, "failed": (lines or ["?"])[-1][:300]}
    text = (out / "metrics.jsonl").read_text()
    return report(case, settings, [json.loads(line) for line in text.splitlines()])


def report(
    case: Case, settings: Settings, lines: list[dict[str, Any]]
) -> dict[str, Any]:
    """Speed over all steps but the first two, which compile and allocate."""
    import torch

    on_gpu = torch.cuda.is_available()
    warm = lines[2:]
    seconds = sum(
        (line["tokens"] - before["tokens"]) / line["tokens_per_second"]
        for before, line in zip(lines[1:], warm, strict=False)
    )
    found: dict[str, Any] = {
        "name": case.name,
        "ranks": case.ranks,
        "parameters": case.shape.parameters,
        "tokens_per_second": (warm[-1]["tokens"] - lines[1]["tokens"]) / seconds,
        "padding": 1 - lines[-1]["tokens"] / lines[-1]["padded_tokens"],
        "loss": lines[-1]["loss"],
        "memory_gib": max(line["memory_gib"] for line in lines),
    }
    if "mfu" in warm[-1]:
        found["mfu"] = sum(line["mfu"] for line in warm) / len(warm)
    if case.name != PLAIN:
        layout = memory.Layout(case.ranks, case.ranks, on_gpu)
        need = memory.need(case.shape, settings, layout)
        found["predicted_gib"] = (need.gpu if on_gpu else need.host) / memory.GIB
    return found


def plain(base: str, data: str, settings: Settings, out: Path) -> None:
    """The same rows in transformers' own Trainer, without DeepSpeed or TRL."""
    import time

    import torch
    from datasets import Dataset
    from transformers import (
        AutoModelForCausalLM,
        AutoTokenizer,
        Trainer,
        TrainerCallback,
        TrainingArguments,
    )

    from retrace.rows import read_rows
    from retrace.training.encoding import Encoder
    from retrace.training.trainer import host_memory

    words = AutoTokenizer.from_pretrained(base)
    rows = read_rows(Path(data), TrainingRow)
    examples, _ = Encoder(words, settings).encode_all(rows)

    def collate(items: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        chosen = [examples[item["row"]] for item in items]
        pads = [max(len(e.ids) for e in chosen) - len(e.ids) for e in chosen]
        lines["padded"] += sum(pads)
        lines["tokens"] += sum(len(e.ids) for e in chosen)
        return {
            name: torch.tensor(
                [
                    [*map(int, values(e)), *[fill] * pad]
                    for e, pad in zip(chosen, pads, strict=True)
                ]
            )
            for name, values, fill in (
                ("input_ids", lambda e: e.ids, words.pad_token_id),
                ("labels", lambda e: e.labels(), -100),
                ("attention_mask", lambda e: [1] * len(e.ids), 0),
            )
        }

    lines: dict[str, int] = {"tokens": 0, "padded": 0}
    told: list[dict[str, Any]] = []
    clock = [time.monotonic(), 0.0]

    class Measure(TrainerCallback):  # type: ignore[misc]
        def on_log(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            logs = kwargs["logs"]
            if "loss" not in logs:
                return
            now = time.monotonic()
            told.append(
                {
                    "loss": logs["loss"],
                    "tokens": lines["tokens"],
                    "padded_tokens": lines["tokens"] + lines["padded"],
                    "tokens_per_second": (lines["tokens"] - clock[1])
                    / (now - clock[0]),
                    "memory_gib": host_memory(),
                }
            )
            clock[:] = [now, lines["tokens"]]

    Trainer(
        model=AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32),
        args=TrainingArguments(
            output_dir=str(out.parent / "plain"),
            num_train_epochs=settings.epochs,
            learning_rate=settings.learning_rate,
            per_device_train_batch_size=settings.micro_batch_size,
            gradient_accumulation_steps=settings.batch_size
            // settings.micro_batch_size,
            bf16=True,
            use_cpu=not torch.cuda.is_available(),
            logging_steps=1,
            save_strategy="no",
            report_to=[],
            remove_unused_columns=False,
        ),
        train_dataset=Dataset.from_dict({"row": list(range(len(examples)))}),
        data_collator=collate,
        callbacks=[Measure()],
    ).train()
    out.write_text("".join(json.dumps(line) + "\n" for line in told))


def show(found: list[dict[str, Any]]) -> None:
    print(
        f"{'case':34} {'tokens/s':>9} {'MFU':>6} {'padding':>8}"
        f" {'peak GiB':>9} {'predicted':>10}"
    )
    for one in found:
        if "failed" in one:
            print(f"{one['name']:34} {one['failed']}")
            continue
        mfu = f"{one['mfu']:.1%}" if "mfu" in one else ""
        predicted = f"{one['predicted_gib']:.2f}" if "predicted_gib" in one else ""
        print(
            f"{one['name']:34} {one['tokens_per_second']:>9,.0f} {mfu:>6}"
            f" {one['padding']:>8.1%} {one['memory_gib']:>9.2f} {predicted:>10}"
        )


def main() -> int:
    if sys.argv[1:2] == ["--plain"]:
        base, data, settings, out = sys.argv[2:]
        plain(base, data, Settings.model_validate_json(settings), Path(out))
        return 0
    args = parse_args()
    import torch

    cases = (
        on_gpus(torch.cuda.device_count()) if torch.cuda.is_available() else on_cpu()
    )
    chosen = [case for case in cases if re.search(args.only, case.name)]
    if not chosen:
        names = "\n  ".join(case.name for case in cases)
        print(f"no case matches {args.only!r}; there are\n  {names}", file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory() as folder:
        found = []
        for case in chosen:
            found.append(measure(case, Path(folder), args.steps, args.threads))
            print(json.dumps(found[-1]), file=sys.stderr, flush=True)
    if args.json:
        device = torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"
        about = {"device": device, "threads": args.threads}
        print(json.dumps({**about, "cases": found}))
    else:
        show(found)
    return 1 if any("failed" in one for one in found) else 0


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="one JSON object")
    parser.add_argument("--only", default="", help="regular expression of case names")
    parser.add_argument(
        "--steps", type=int, default=5, help="the first two are not measured"
    )
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    args = parser.parse_args()
    if args.steps < 3:
        parser.error(f"--steps {args.steps}: expected 3 or more")
    return args


if __name__ == "__main__":
    sys.exit(main())
