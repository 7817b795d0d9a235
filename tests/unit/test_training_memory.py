"""Memory ahead of a training: what is known of Sky-T1's, refusals, nearest settings."""

from __future__ import annotations

from pathlib import Path

import pytest

from retrace import cli
from retrace.training import memory
from retrace.training.memory import GIB, Layout, Node
from retrace.training.settings import Settings, TrainingError
from retrace.training.shapes import Shape, named
from tests.unit.test_training_encoding import settings

EIGHT = Layout(8, 8)


def shape(name: str) -> Shape:
    found = named(name)
    assert found is not None
    return found


def sky_t1(**changes: object) -> Settings:
    return settings(
        batch_size=96, max_length=16384, gradient_checkpointing=True, **changes
    )


@pytest.mark.parametrize(
    ("name", "billions"),
    [
        ("Qwen/Qwen2.5-0.5B-Instruct", 0.494),
        ("Qwen/Qwen2.5-Math-1.5B", 1.544),
        ("Qwen/Qwen2.5-3B", 3.086),
        ("Qwen/Qwen2.5-7B-Instruct", 7.616),
        ("Qwen/Qwen2.5-Coder-14B", 14.770),
        ("Qwen/Qwen2.5-32B-Instruct", 32.764),
        ("Qwen/Qwen2.5-72B", 72.706),
    ],
)
def test_shapes_have_the_published_number_of_parameters(
    name: str, billions: float
) -> None:
    assert shape(name).parameters / 1e9 == pytest.approx(billions, abs=1e-3)


def test_states_of_32b_on_eight_gpus_are_61_gib_each() -> None:
    """bfloat16 weights and gradients, float32 copies and moments: 16 bytes."""
    large = shape("Qwen2.5-32B")
    short = sky_t1().model_copy(update={"max_length": 16})
    states = 16 * large.parameters / 8 / GIB
    assert states == pytest.approx(61, abs=0.1)
    assert memory.need(large, short, EIGHT).gpu / GIB > states


def test_32b_without_offload_is_refused_on_eight_gpus_of_80_gb() -> None:
    told = memory.refusal(
        shape("Qwen2.5-32B"), sky_t1(), EIGHT, Node(79.6 * GIB, 1800 * GIB)
    )
    assert told is not None
    assert told.startswith("a GPU needs ")
    assert told.endswith("has 80: nearest that fits: offload: optimizer")


def test_744_gb_of_host_memory_are_not_enough_for_full_offload() -> None:
    full = sky_t1(offload="optimizer+params")
    large = shape("Qwen2.5-32B")
    assert memory.refusal(large, full, EIGHT, Node(79.6 * GIB, 744e9)) is not None
    assert memory.refusal(large, full, EIGHT, Node(79.6 * GIB, 1800 * GIB)) is None


def test_the_nearest_settings_fit() -> None:
    large = shape("Qwen2.5-7B")
    node = Node(30 * GIB, 2000 * GIB)
    told = memory.refusal(large, sky_t1(), EIGHT, node)
    assert told is not None
    assert "nearest that fits: offload: optimizer" in told
    fixed = sky_t1(offload="optimizer")
    assert memory.refusal(large, fixed, EIGHT, node) is None


def test_what_fits_nowhere_is_told_to_grow() -> None:
    told = memory.refusal(
        shape("Qwen2.5-72B"), sky_t1(), Layout(1, 1), Node(10 * GIB, 20 * GIB)
    )
    assert told is not None
    assert told.endswith("train on more nodes")


def test_each_change_that_is_proposed_needs_less() -> None:
    large, how = (
        shape("Qwen2.5-7B"),
        settings(max_length=4096, micro_batch_size=4, gradient_checkpointing=False),
    )
    before = memory.need(large, how, EIGHT).gpu
    for change in (
        {"gradient_checkpointing": True},
        {"micro_batch_size": 2},
        {"micro_batch_size": 1},
        {"offload": "optimizer"},
        {"offload": "optimizer+params"},
    ):
        (name,) = change
        assert name in memory.cheaper(how)
        how = how.model_copy(update=change)
        needed = memory.need(large, how, EIGHT).gpu
        assert needed < before
        before = needed


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (
            RuntimeError("CUDA out of memory. Tried to allocate 9 GiB.\nMore"),
            r"out of GPU memory \(.* 9 GiB\.\): set offload to optimizer\+params",
        ),
        (
            RuntimeError("NCCL error: Failed to CUDA malloc 4 bytes"),
            "out of GPU memory .*: set offload to optimizer\\+params",
        ),
        (
            RuntimeError("DefaultCPUAllocator: can't allocate memory: 8 bytes"),
            "out of host memory .*: set offload to none",
        ),
        (MemoryError(), r"out of host memory \(MemoryError\): set offload to none"),
    ],
)
def test_memory_that_ran_out_names_the_setting_to_change(
    error: Exception, told: str
) -> None:
    with (
        pytest.raises(TrainingError, match=told),
        memory.explained(sky_t1(offload="optimizer")),
    ):
        raise error


def test_other_errors_stay_what_they_are() -> None:
    with (
        pytest.raises(RuntimeError, match="shapes"),
        memory.explained(sky_t1()),
    ):
        raise RuntimeError("shapes cannot be multiplied")


def test_a_host_that_ran_out_is_never_told_to_offload_more() -> None:
    how = sky_t1(offload="none")
    assert "offload" not in memory.cheaper(how, host=True)
    assert "max_length" in memory.cheaper(how, host=True)


def test_a_plan_fails_on_what_cannot_fit(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    small = tmp_path / "small.yaml"
    small.write_text(
        "students: {sky-t1-32b-preview: {memory: {gpu_gib: 79.6, host_gib: 693},"
        " training: {offload: none}}}"
    )
    assert cli.main(["plan", "--configfile", "config.yaml", str(small)]) == 1
    told = capsys.readouterr().err
    assert "sky-t1-32b-preview: a GPU needs" in told
    assert "nearest that fits: max_length: 4096" in told
    assert cli.main(["plan", "--configfile", "config.yaml"]) == 0
    assert "memory for sky-t1-32b-preview: a GPU" in capsys.readouterr().out
