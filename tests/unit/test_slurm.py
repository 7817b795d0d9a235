"""What SLURM's own words mean, and which of a recipe's jobs it would refuse."""

from __future__ import annotations

from pathlib import Path

import pytest

from retrace import slurm
from retrace.site import SiteError, read_site, unanswered

NODES = [
    slurm.Nodes("cpu", True, 64, 250_000, 1440, {}),
    slurm.Nodes("gpu", True, 96, 1_000_000, 2880, {"h100": 8}),
    slurm.Nodes("gpu", True, 96, 500_000, 2880, {"a100": 4}),
    slurm.Nodes("long", True, 64, 250_000, None, {}),
    slurm.Nodes("old", False, 64, 250_000, 1440, {}),
]


@pytest.mark.parametrize(
    ("text", "minutes"),
    [
        ("30", 30),
        ("30:00", 30),
        ("1:30:00", 90),
        ("2-00:00:00", 2880),
        ("1-12", 2160),
        ("1-00:30", 1470),
        ("infinite", None),
        ("UNLIMITED", None),
    ],
)
def test_times(text: str, minutes: int | None) -> None:
    assert slurm.minutes_of(text) == minutes


@pytest.mark.parametrize(
    ("gres", "gpus"),
    [
        ("(null)", {}),
        ("gpu:8", {"": 8}),
        ("gpu:h100:8", {"h100": 8}),
        ("gpu:h100:8(S:0-1),nvme:2", {"h100": 8}),
        ("shard:4,gpu:a100_3g.20gb:4,gpu:a100:4", {"a100_3g.20gb": 4, "a100": 4}),
    ],
)
def test_gpus_of_a_node(gres: str, gpus: dict[str, int]) -> None:
    assert slurm._gpus(gres) == gpus


def request(**changes: object) -> slurm.Request:
    told = {"partition": "gpu", "account": None, "cpus": 64, "mem_mb": 800_000}
    told |= {"name": "train_student", "minutes": 1440, "gpus": 8, "gpu_type": "h100"}
    return slurm.Request(**(told | changes))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({}, None),
        ({"gpu_type": None}, None),
        ({"partition": "cpu", "gpus": 0, "mem_mb": 8000}, None),
        ({"partition": "long", "gpus": 0, "mem_mb": 8000, "minutes": 99_999}, None),
        ({"partition": "night"}, "there is no partition night"),
        ({"partition": "old"}, "partition old is down"),
        ({"partition": "cpu"}, "partition cpu have none: in profiles/slurm/site.yaml"),
        ({"partition": "cpu"}, "gpu.partition may be gpu"),
        ({"gpu_type": "h200"}, "no partition has them"),
        ({"gpu_type": "a100"}, "have 8 h100; 4 a100"),
        ({"minutes": 3000}, "asks for 3000 minutes, partition gpu allows 2880"),
        ({"mem_mb": 2_000_000}, "the nodes of partition gpu have 1000000"),
        ({"cpus": 128}, "asks for 128 processors"),
    ],
)
def test_what_slurm_would_refuse(changes: dict[str, object], part: str | None) -> None:
    line = slurm._refusal(request(**changes), NODES)
    assert (line is None) == (part is None)
    assert part is None or part in (line or "")


def test_the_shipped_site_leaves_its_questions_open() -> None:
    site = read_site(Path(__file__).parents[2] / "profiles/slurm/site.yaml")
    keys = [line.split(":")[0] for line in unanswered(site, with_gpus=True)]
    assert keys == ["account", "cpu.partition", "gpu.partition", "gpu.type"]


def test_a_site_with_an_unknown_key(tmp_path: Path) -> None:
    file = tmp_path / "site.yaml"
    file.write_text("cpu: {queue: fast}\n")
    with pytest.raises(SiteError, match=r"cpu\.queue: Extra inputs are not permitted"):
        read_site(file)


def test_the_example_of_partitions_is_one_that_the_plugin_reads() -> None:
    from snakemake_executor_plugin_slurm.partitions import read_partition_file

    root = Path(__file__).parents[2]
    found = read_partition_file(root / "profiles/slurm/partitions.example.yaml")
    assert [partition.name for partition in found] == ["standard", "highmem", "h100"]
