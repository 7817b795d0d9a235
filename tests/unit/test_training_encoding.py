"""Rows as tokens: where the loss falls, what ends a turn, and rows over the limit."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from retrace.rows import TrainingRow
from retrace.training import encoding
from retrace.training.encoding import IGNORED, Encoder, end_of_turn
from retrace.training.settings import Settings, TrainingError
from tests import tiny_model
from tests.unit.training_rows import response, row, rows

SOURCE = Path(encoding.__file__).read_text("utf-8")


def settings(**changes: Any) -> Settings:
    base = {"epochs": 1, "learning_rate": 1e-3, "batch_size": 8, "max_length": 4096}
    return Settings.model_validate(base | changes)


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return tiny_model.tokenizer()


def faults(module: ModuleType, tokenizer: Any, some: Sequence[TrainingRow]) -> int:
    """Rows whose trained tokens are not exactly the answer and the end token, or whose
    other tokens are not exactly what the model is asked with."""
    encoder = module.Encoder(tokenizer, settings())
    found = 0
    for one in some:
        example = encoder.encode(one)
        labels, ids = example.labels(), example.ids
        trained = tokenizer.decode(labels[labels != IGNORED])
        others = tokenizer.decode(ids[labels == IGNORED])
        said = [{"role": "user", "content": one.conversations[0].value}]
        if one.system:
            said.insert(0, {"role": "system", "content": one.system})
        asked = tokenizer.apply_chat_template(
            said, add_generation_prompt=True, tokenize=False
        )
        answer = one.conversations[1].value + "<|im_end|>"
        right = trained == answer and others == asked and ids[-1] == encoder.end
        found += not right
    return found


def test_loss_falls_on_the_answer_and_its_end_and_on_nothing_else(
    tokenizer: Any,
) -> None:
    assert faults(encoding, tokenizer, rows(200)) == 0


MUTANTS = [
    ("labels[: self.prompt] = IGNORED", "labels[: self.prompt - 1] = IGNORED"),
    ("labels[: self.prompt] = IGNORED", "labels[: self.prompt + 1] = IGNORED"),
    ("labels[: self.prompt] = IGNORED", "pass"),
    ("labels[: self.prompt] = IGNORED", "labels[self.prompt :] = IGNORED"),
    ("[*prompt, *said, self.end]", "[*prompt, *said]"),
    ("[*prompt, *said, self.end]", "[*prompt, *said, self.end, self.end]"),
    ("Example(row.id, ids, len(prompt))", "Example(row.id, ids, len(said))"),
    ("add_generation_prompt=True", "add_generation_prompt=False"),
    ("_messages(row.system, user.value)", '_messages("", user.value)'),
]


@pytest.mark.parametrize(("old", "new"), MUTANTS)
def test_a_mutated_mask_is_noticed(
    old: str, new: str, tokenizer: Any, tmp_path: Path
) -> None:
    assert SOURCE.count(old) == 1
    path = tmp_path / "mutant.py"
    path.write_text(SOURCE.replace(old, new), "utf-8")
    spec = importlib.util.spec_from_file_location("mutant", path)
    assert spec is not None
    assert spec.loader is not None
    mutant = importlib.util.module_from_spec(spec)
    sys.modules["mutant"] = mutant
    spec.loader.exec_module(mutant)
    assert faults(mutant, tokenizer, rows(20)) > 0


@pytest.mark.parametrize("order", [[], [0], [1, 0], [0, 1, 0, 1]])
def test_a_row_that_is_not_a_question_and_an_answer_is_refused(
    order: list[int], tokenizer: Any
) -> None:
    one = row("a", "b")
    turns = [one.conversations[number] for number in order]
    with pytest.raises(TrainingError, match=r"row r has the turns .*: expected one of"):
        Encoder(tokenizer, settings()).encode(
            one.model_copy(update={"conversations": turns})
        )


def test_the_chat_template_says_what_ends_a_turn(tokenizer: Any) -> None:
    """Base models of Qwen have `eos_token` at the end of a document."""
    end = tokenizer.convert_tokens_to_ids("<|im_end|>")
    assert end_of_turn(tokenizer, None) == end
    other = tiny_model.tokenizer()
    other.eos_token = "<|endoftext|>"
    assert end_of_turn(other, None) == end
    assert end_of_turn(other, "<|endoftext|>") == other.eos_token_id
    with pytest.raises(TrainingError, match="name a special token"):
        end_of_turn(other, "the end")


def test_a_template_without_an_end_falls_back_on_the_tokenizer(tokenizer: Any) -> None:
    bare = tiny_model.tokenizer()
    bare.chat_template = "{% for m in messages %}{{ m.content }}\n{% endfor %}"
    assert end_of_turn(bare, None) == bare.eos_token_id


STEPS = [f"Step {n}: {n} and {n} are {2 * n}." for n in range(1, 30)]


def test_rows_over_the_limit_are_dropped_and_counted(tokenizer: Any) -> None:
    some = [row("a", "b", name="short"), row("a", response(STEPS, "5"), name="long")]
    limit = settings(max_length=200, over_length="drop")
    examples, lengths = Encoder(tokenizer, limit).encode_all(some)
    assert [example.row for example in examples] == ["short"]
    assert (lengths.rows, lengths.kept, lengths.dropped) == (2, 1, ["long"])
    assert lengths.tokens == len(examples[0].ids)
    assert lengths.trained_tokens == examples[0].trained


def test_a_row_over_the_limit_is_an_error_unless_a_policy_is_chosen(
    tokenizer: Any,
) -> None:
    some = [row("a", response(STEPS, "5"), name="long")]
    with pytest.raises(TrainingError, match=r"row long has .* max_length is 200"):
        Encoder(tokenizer, settings(max_length=200)).encode_all(some)
    dropping = settings(max_length=200, over_length="drop")
    with pytest.raises(TrainingError, match="of 1, 1 are over max_length 200"):
        Encoder(tokenizer, dropping).encode_all(some)


def test_a_thought_is_shortened_by_whole_steps_and_its_solution_is_kept(
    tokenizer: Any,
) -> None:
    whole = response(STEPS, "The answer is 58.")
    limit = settings(max_length=300, over_length="truncate_thought")
    encoder = Encoder(tokenizer, limit)
    (example,), lengths = encoder.encode_all([row("a", whole, name="long")])
    text = tokenizer.decode(example.ids[example.prompt : -1])
    kept = text.count("Step")
    assert text == response(STEPS[:kept], "The answer is 58.")
    # One more step would have been too long.
    more = encoder.encode(row("a", response(STEPS[: kept + 1], "The answer is 58.")))
    assert len(example.ids) <= 300 < len(more.ids)
    full = len(encoder.encode(row("a", whole)).ids)
    assert lengths.truncated == {"long": full - len(example.ids)}


@pytest.mark.parametrize(
    "answer",
    [
        "no thought at all " * 30,
        response(["one step"], "a solution that is long by itself " * 20),
        "<|begin_of_thought|>\n\nnever\n\nended " + "x " * 200,
    ],
)
def test_what_cannot_be_shortened_is_dropped(answer: str, tokenizer: Any) -> None:
    some = [row("a", answer, name="long"), row("a", "b", name="short")]
    limit = settings(max_length=120, over_length="truncate_thought")
    examples, lengths = Encoder(tokenizer, limit).encode_all(some)
    assert [example.row for example in examples] == ["short"]
    assert (lengths.dropped, lengths.truncated) == (["long"], {})


def test_think_tags_are_shortened_too(tokenizer: Any) -> None:
    thought = "\n\n".join(STEPS)
    limit = settings(max_length=250, over_length="truncate_thought")
    whole = row("a", f"<think>\n{thought}\n</think>\n\nSo 58.", name="long")
    (example,), _ = Encoder(tokenizer, limit).encode_all([whole])
    text = tokenizer.decode(example.ids[example.prompt : -1])
    assert text.startswith("<think>\nStep 1:")
    assert text.endswith("\n</think>\n\nSo 58.")
