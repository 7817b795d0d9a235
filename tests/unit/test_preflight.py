"""What a run is told before it starts."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import yaml

from retrace import preflight, slurm
from retrace.config import Recipe, read_recipe
from retrace.preflight import Work
from retrace.site import Site
from tests import hub_server

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def recipe() -> Recipe:
    return read_recipe(yaml.safe_load((ROOT / "config.yaml").read_text()), ROOT)


def work(**options: object) -> Work:
    nothing: dict[str, object] = dict.fromkeys(
        ["rules", "models", "sets", "students"], frozenset()
    )
    given = {key: frozenset(value) for key, value in options.items() if key != "slurm"}
    return Work(**{**nothing, **given, "slurm": options.get("slurm")})  # type: ignore[arg-type]


def lines(recipe: Recipe, wanted: Work, root: Path, fatal: bool = True) -> list[str]:
    found = preflight.check(recipe, wanted, root)
    return [finding.line for finding in found if finding.fatal == fatal]


def test_nothing_planned_finds_nothing(recipe: Recipe, tmp_path: Path) -> None:
    assert lines(recipe, work(), ROOT) == []


def test_a_missing_key_names_its_variable_and_never_a_value(
    recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = work(models=["gpt-4o-mini"])
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    (line,) = lines(recipe, asked, ROOT)
    assert line.startswith("model gpt-4o-mini: the environment has no OPENAI_API_KEY")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-made-up")
    assert lines(recipe, asked, ROOT) == []


def test_an_unpinned_source_is_a_note(
    recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = work(sets=["amc23", "math500"])
    (note,) = lines(recipe, wanted, ROOT, fatal=False)
    assert note.startswith("AI-MO/aimo-validation-amc@main is not pinned")
    (note,) = lines(recipe, work(sets=["numina-math"]), ROOT, fatal=False)
    labels = "NovaSky-AI/labeled_numina_difficulty_859K@main"
    assert note.startswith(f"{labels} is not pinned")


def test_the_hub_is_reached_or_said_to_be_away(
    recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = work(sets=["math500"], rules=["make_problems"])
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    with hub_server.serve() as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        assert lines(recipe, wanted, ROOT) == []
    (line,) = lines(recipe, wanted, ROOT)
    assert "cannot be reached" in line
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert lines(recipe, wanted, ROOT) == []


def test_a_gated_set_that_the_token_may_not_read(
    recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = work(sets=["gpqa-diamond"], rules=["make_problems"])
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    with hub_server.serve() as hub:
        hub.add("Idavidrein/gpqa", {}, gated=True)
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        monkeypatch.setenv("HF_TOKEN", "hf_somebody_elses")
        (line,) = lines(recipe, wanted, ROOT)
        assert line.startswith("Idavidrein/gpqa is gated: accept its terms at https")
        monkeypatch.setenv("HF_TOKEN", hub_server.TOKEN)
        assert lines(recipe, wanted, ROOT) == []


def test_a_full_disk(
    recipe: Recipe, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr(preflight, "gpu_memory", lambda: [80e9] * 8)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "cache"))
    training = work(students=["sky-t1-32b-preview"])
    usage = shutil.disk_usage(tmp_path)

    def disk(free: float) -> list[str]:
        fake = usage._replace(free=int(free))
        monkeypatch.setattr(shutil, "disk_usage", lambda _path: fake)
        return [f.line for f in preflight.disk(recipe, training, tmp_path)]

    # 64 GB of weights, then 32e9 parameters with 2 bytes, and twice with 14.
    assert disk(1100e9) == []
    (line,) = disk(900e9)
    assert "about 1,024 GB are needed" in line
    assert "900 GB are free" in line


@pytest.mark.parametrize(
    ("memory", "message"),
    [
        ([], "needs 8 GPUs, this machine shows 0"),
        ([80e9] * 4, "needs 8 GPUs, this machine shows 4"),
        ([24e9] * 8, "needs about 37 GB on each GPU, this machine's have 24"),
        ([80e9] * 8, ""),
    ],
)
def test_gpus(
    recipe: Recipe,
    monkeypatch: pytest.MonkeyPatch,
    memory: list[float],
    message: str,
) -> None:
    monkeypatch.setattr(preflight, "gpu_memory", lambda: memory)
    found = list(preflight.gpus(recipe, work(models=["qwq-32b-preview"]), ROOT))
    assert bool(found) == bool(message)
    assert not message or message in found[0].line


def on_slurm(site: Site) -> Work:
    request = slurm.Request("judge", "cpu", None, 8, 8000, 60)
    file = Path("profiles/slurm/site.yaml")
    asked = preflight.SlurmWork(site, file, frozenset([request]), "sacct")
    return work(slurm=asked)


def test_slurm_needs_its_commands_and_no_gpu_here(
    recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "which", lambda _name: None)
    site = Site.model_validate({"account": "none", "cpu": {"partition": "cpu"}})
    (line,) = preflight.cluster(recipe, on_slurm(site), ROOT)
    assert line.line.startswith("SLURM's sbatch, srun, squeue, scancel, sinfo")
    assert list(preflight.cluster(recipe, work(), ROOT)) == []


def test_an_empty_site_is_asked_its_questions(
    recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}")
    found = [one.line for one in preflight.cluster(recipe, on_slurm(Site()), ROOT)]
    assert [line.split(":")[0] for line in found] == [
        "profiles/slurm/site.yaml does not say account",
        "profiles/slurm/site.yaml does not say cpu.partition",
    ]


def test_a_gated_benchmark_without_a_token_is_skipped(
    recipe: Recipe, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_TOKEN_PATH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    found = preflight.skipped(recipe, tmp_path)
    assert list(found) == ["gpqa-diamond"]
    assert "accept its terms at https" in found["gpqa-diamond"]
    monkeypatch.setenv("HF_TOKEN", "made up")
    assert preflight.skipped(recipe, tmp_path) == {}
    monkeypatch.delenv("HF_TOKEN")
    folder = tmp_path / "data/problems/gpqa-diamond"
    folder.mkdir(parents=True)
    (folder / "0000.jsonl").write_text("")
    assert preflight.skipped(recipe, tmp_path) == {}


@pytest.mark.parametrize(
    ("repo", "billions"),
    [
        ("Qwen/QwQ-32B-Preview", 32),
        ("Qwen/Qwen2.5-0.5B-Instruct", 0.5),
        ("deepseek-ai/DeepSeek-R1-Distill-Qwen-7B", 7),
        ("someone/model", 0),
    ],
)
def test_parameters_by_name(repo: str, billions: float) -> None:
    assert preflight.parameters(repo) == billions * 1e9
