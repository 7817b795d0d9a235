"""What Snakemake ran, as DVC records it: tampering is found, clones have nothing to do.

The tamper matrix says for every event which of four commands notices it: a plan of
Snakemake's, `dvc status`, the gate before recording, and `retrace verify`.
"""

from __future__ import annotations

import copy
import json
import os
import shutil
import sys
import urllib.request
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from auditing import Clone, recorded_clone
from conftest import Checkout
from s3fs import S3FileSystem

from retrace.curation.card import ATTESTATION
from retrace.provenance import (
    attest,
    gate,
    jobs,
    ledger,
    lineage,
    record,
    records,
    stages,
    verify,
)

pytestmark = pytest.mark.slow

TRACES = "data/traces/teacher/sums/0001.jsonl"
VERDICTS = "data/verdicts/teacher/sums/0001.jsonl"
SCORE = "scores/plain/sums.json"
PAGE = "reports/tiny.html"


@pytest.fixture(scope="session")
def original(finished: Checkout, tmp_path_factory: pytest.TempPathFactory) -> Clone:
    """A recorded clone that no test changes."""
    folder = tmp_path_factory.mktemp("recorded")
    shutil.copytree(finished.path, folder / "clone", symlinks=True)
    recipe = copy.deepcopy(finished.recipe)
    checkout = Checkout(folder / "clone", recipe, finished.environment)
    return recorded_clone(checkout, folder / "remote")


@pytest.fixture
def recorded(original: Clone, tmp_path: Path) -> Clone:
    path = tmp_path / "clone"
    shutil.copytree(original.path, path, symlinks=True)
    return Clone(path, copy.deepcopy(original.recipe), dict(original.environment))


# --- The tamper matrix ----------------------------------------------------------------


@dataclass(frozen=True)
class Outcome:
    """Whether each command notices."""

    snakemake: bool
    dvc: bool
    gate: bool
    verify: bool


def edit_prompt(clone: Clone) -> None:
    clone.recipe["sets"]["sums"]["template"] = "Now solve this: {statement}"


def delete_shard(clone: Clone) -> None:
    (clone.path / TRACES).unlink()


def edit_intermediate(clone: Clone) -> None:
    clone.path.joinpath(VERDICTS).write_text(forged(clone, VERDICTS), "utf-8")


def forge_score(clone: Clone) -> None:
    path = clone.path / SCORE
    told = json.loads(path.read_text("utf-8"))
    path.write_text(json.dumps(told | {"accuracy": 99.0}, indent=2), "utf-8")


def forge_score_and_plan_again(clone: Clone) -> None:
    """The report is made again from the forged score, so that all looks fresh."""
    forge_score(clone)
    clone.snakemake("--config", "record=false")


def edit_last_file(clone: Clone) -> None:
    path = clone.path / PAGE
    path.write_text(path.read_text("utf-8") + "<!-- better -->", "utf-8")


def flip_byte(clone: Clone, path: str = TRACES) -> None:
    clone.dvc("status")  # DVC knows the file by its time and size from now on
    file = clone.path / path
    before = file.stat()
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))


def flip_byte_of_last_file(clone: Clone) -> None:
    flip_byte(clone, PAGE)


def edit_library(clone: Clone) -> None:
    place = "        default={}, gt=0"
    clone.edit("retrace/judging/math.py", place.format("5.0"), place.format("4.0"))


def edit_environment(clone: Clone) -> None:
    pins = (clone.path / "envs/laptop.txt").read_text("utf-8")
    pinned = next(line for line in pins.splitlines() if line.startswith("sympy=="))
    clone.edit("envs/laptop.txt", pinned, "sympy==0.0.1")


def edit_lock(clone: Clone) -> None:
    """Another hash for a folder of traces, as if other traces had been recorded."""
    out = next(o for o in ledger.read(clone.path).outs if o.path in TRACES)
    lock = clone.path / "dvc.lock"
    text = lock.read_text("utf-8").replace(out.md5, f"{'0' * 32}.dir", 1)
    lock.write_text(text, "utf-8")


def forge_score_and_commit(clone: Clone) -> None:
    """DVC is told to take the forged score for what was made."""
    forge_score(clone)
    clone.dvc("commit", "--force", "--quiet")


def edit_records(clone: Clone) -> None:
    """Snakemake's record of a job says that another command was run."""
    kept = records.read(clone.path, SCORE)
    assert kept is not None
    file = clone.path / kept.file
    told = json.loads(file.read_text("utf-8"))
    told["shellcmd"] += " --nicely"
    file.write_text(json.dumps(told), "utf-8")


def move_row(clone: Clone) -> None:
    """A problem moves to another shard."""
    first, second = (
        clone.path / f"data/problems/sums/000{number}.jsonl" for number in (0, 1)
    )
    lines = first.read_text("utf-8").splitlines(keepends=True)
    first.write_text("".join(lines[1:]), "utf-8")
    second.write_text(second.read_text("utf-8") + lines[0], "utf-8")


def forged(clone: Clone, path: str) -> str:
    text = (clone.path / path).read_text("utf-8")
    assert '"ok":false' in text
    return text.replace('"ok":false', '"ok":true', 1)


MATRIX: list[tuple[Callable[[Clone], None], Outcome]] = [
    (edit_prompt, Outcome(snakemake=True, dvc=True, gate=True, verify=False)),
    (delete_shard, Outcome(snakemake=True, dvc=True, gate=True, verify=True)),
    (edit_intermediate, Outcome(snakemake=True, dvc=True, gate=True, verify=True)),
    (forge_score, Outcome(snakemake=True, dvc=True, gate=True, verify=True)),
    (
        forge_score_and_plan_again,
        Outcome(snakemake=False, dvc=True, gate=True, verify=True),
    ),
    (edit_last_file, Outcome(snakemake=False, dvc=True, gate=True, verify=True)),
    (flip_byte, Outcome(snakemake=False, dvc=False, gate=True, verify=True)),
    (
        flip_byte_of_last_file,
        Outcome(snakemake=False, dvc=False, gate=True, verify=True),
    ),
    (edit_library, Outcome(snakemake=True, dvc=True, gate=True, verify=True)),
    (edit_environment, Outcome(snakemake=True, dvc=True, gate=True, verify=True)),
    (edit_lock, Outcome(snakemake=False, dvc=True, gate=False, verify=True)),
    (
        forge_score_and_commit,
        Outcome(snakemake=True, dvc=False, gate=True, verify=True),
    ),
    (edit_records, Outcome(snakemake=False, dvc=True, gate=True, verify=True)),
    (move_row, Outcome(snakemake=True, dvc=True, gate=True, verify=True)),
]


# One that runs the workflow takes too long for daily work.
LONG = defaultdict(list, {forge_score_and_plan_again: [pytest.mark.long]})


@pytest.mark.parametrize(
    ("tamper", "expected"),
    [pytest.param(*case, id=case[0].__name__, marks=LONG[case[0]]) for case in MATRIX],
)
def test_tampering_is_noticed(
    recorded: Clone, tamper: Callable[[Clone], None], expected: Outcome
) -> None:
    tamper(recorded)
    recorded.write_recipe()
    plan = jobs.plan(recorded.path, ["recipe.yaml"])
    found = Outcome(
        snakemake=any(job.stale for job in plan.jobs),
        dvc="up to date" not in recorded.dvc("status"),
        gate=bool(gate.findings(record.look(recorded.path, plan))),
        verify=bool(verify.verify(recorded.path).faults),
    )
    assert found == expected


def test_a_moved_row_says_so_itself(recorded: Clone) -> None:
    move_row(recorded)
    faults = verify.verify(recorded.path).faults
    rows = [fault for fault in faults if fault.witness == "row"]
    assert any("belongs to shard 0000" in fault.what for fault in rows)


def test_a_flipped_byte_is_listed_and_repaired(recorded: Clone) -> None:
    flip_byte(recorded)
    said = recorded.retrace("verify", codes=(1,))
    assert f"{TRACES}: has md5" in said
    # The cache has lost it too: the remote still has it.
    out = ledger.read(recorded.path).files[TRACES]
    kept = ledger.object_path(recorded.path, out)
    kept.chmod(0o644)
    kept.write_bytes(b"not what it was")
    said = recorded.retrace("verify", "--repair")
    assert f"{TRACES} is back" in said
    assert "all is as recorded" in said
    assert list((recorded.path / "tmp/replaced").rglob("0001.jsonl"))
    assert recorded.plan() == {}


def test_lineage_names_the_link_that_is_broken(recorded: Clone) -> None:
    train = recorded.path / "data/datasets/everything/train.jsonl"
    row = json.loads(train.read_text("utf-8").splitlines()[0])
    whole = lineage.trace_back(recorded.path, row["id"][:10])
    assert whole.ok
    names = [link.name for link in whole.links]
    assert names == [
        *("source", "problem", "request", "engine", "trace", "verdict"),
        *("training row", "environment", "commit"),
    ]
    assert all(link.checks for link in whole.links[1:])
    shards = sorted((recorded.path / "data/verdicts/teacher").rglob("*.jsonl"))
    own = next(file for file in shards if row["trace_id"] in file.read_text("utf-8"))
    path = own.relative_to(recorded.path).as_posix()
    with open(recorded.path / path.replace(".jsonl", ".judge.json"), "a") as file:
        file.write("\n")
    broken = lineage.trace_back(recorded.path, row["id"])
    assert [link.name for link in broken.links if not link.ok] == ["verdict"]
    assert recorded.retrace("lineage", row["id"], "--json", codes=(1,))


def test_lineage_forward_reaches_what_a_problem_became(original: Clone) -> None:
    folder = original.path / "data/datasets/everything"
    taught = json.loads((folder / "train.jsonl").read_text("utf-8").splitlines()[0])
    names = [
        link.name
        for link in lineage.trace_forward(original.path, taught["problem_id"]).links
    ]
    assert "training row" in names
    assert names.count("trace") == original.recipe["sets"]["sums"]["sampling"]["n"]
    item = json.loads((original.path / SCORE).read_text("utf-8"))["items"][0]
    found = lineage.trace_back(original.path, f"plain/sums/{item['problem_id']}")
    assert found.ok
    assert "score" in [link.name for link in found.links]


# --- Clones ---------------------------------------------------------------------------


def test_clone_pull_plan_has_nothing_to_do(original: Clone, tmp_path: Path) -> None:
    clone = original.clone(tmp_path / "colleague")
    assert "didn't change" in clone.dvc("repro", "--dry", "--allow-missing")
    assert verify.verify(clone.path).faults
    assert "all is as recorded" in clone.retrace("verify", "--remote")
    clone.dvc("pull", "--quiet")
    assert clone.plan() == {}
    assert "up to date" in clone.dvc("status")
    assert not verify.verify(clone.path).faults
    clone.recipe["sets"]["sums"]["template"] = "Now solve this: {statement}"
    # DVC names what changed itself; what follows from it changes when that has run.
    asked = {"sample_traces", "build_dataset", "build_report"}
    assert clone.changed_rules() == asked
    assert asked <= set(clone.plan())


@pytest.mark.long
def test_other_commits_are_clean_in_both(recorded: Clone) -> None:
    recorded.recipe["sets"]["names"]["template"] = "Who? {statement}"
    said = recorded.snakemake()
    assert "recorded" in said
    recorded.commit("Another prompt")
    assert recorded.plan() == {}
    recorded.git("checkout", "--quiet", "HEAD~1")
    recorded.dvc("checkout", "--quiet")
    recorded.recipe = yaml.safe_load((recorded.path / "recipe.yaml").read_text("utf-8"))
    assert recorded.plan() == {}
    assert "up to date" in recorded.dvc("status")
    assert not verify.verify(recorded.path).faults


@pytest.fixture
def bucket() -> Iterator[str]:
    """An S3 server on loopback with an empty bucket; yields its address."""
    pytest.importorskip("moto")
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    address = f"http://{host}:{port}"
    request = urllib.request.Request(f"{address}/results", method="PUT")
    assert urllib.request.urlopen(request).status == 200
    yield address
    server.stop()


@pytest.mark.long
def test_an_s3_remote_serves_a_clone(
    original: Clone, tmp_path: Path, bucket: str
) -> None:
    author = original.clone(tmp_path / "author")
    author.environment |= {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"}
    author.dvc("pull", "--quiet")
    author.dvc("remote", "add", "--quiet", "--default", "cloud", "s3://results/run")
    author.dvc("remote", "modify", "cloud", "endpointurl", bucket)
    assert "has not" in author.retrace("verify", "--remote", codes=(1,))
    author.commit("Results in the cloud")
    author.dvc("push", "--quiet")
    clone = author.clone(tmp_path / "reader")
    assert "all is as recorded" in clone.retrace("verify", "--remote")
    clone.dvc("pull", "--quiet")
    assert clone.plan() == {}
    # A byte is lost in the bucket: whoever has no data can tell.
    md5 = ledger.read(clone.path).files[SCORE]
    store = S3FileSystem(key="a", secret="b", endpoint_url=bucket)
    store.pipe(f"results/run/files/md5/{md5[:2]}/{md5[2:]}", b"{}")
    said = clone.retrace("verify", "--remote", codes=(1,))
    assert f"{SCORE}: the remote's bytes have md5" in said


@pytest.mark.long
def test_two_clones_that_run_record_the_same_hashes(
    original: Clone, tmp_path: Path
) -> None:
    clone = original.clone(tmp_path / "again")
    assert "recorded" in clone.snakemake()
    first, second = (ledger.read(one.path).files for one in (original, clone))
    assert set(first) == set(second)
    differ = {path for path in first if first[path] != second[path]}
    # Records and the page tell the times of their run.
    assert {p for p in differ if not p.startswith(".snakemake/")} <= {PAGE}
    assert len(first) - len(differ) > 30


@pytest.mark.long
@pytest.mark.timeout(1200)
def test_dvc_repro_leaves_what_snakemake_leaves(recorded: Clone) -> None:
    """The other door: DVC runs what is stale, stage by stage, through Snakemake."""
    edit_prompt(recorded)
    recorded.write_recipe()
    programs = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    recorded.environment["PATH"] = programs
    recorded.dvc("repro")
    assert recorded.plan() == {}
    assert "up to date" in recorded.dvc("status")
    assert not verify.verify(recorded.path).faults
    plan = jobs.plan(recorded.path, ["recipe.yaml"])
    assert gate.findings(record.look(recorded.path, plan)) == []


# --- Attestation ----------------------------------------------------------------------


def test_an_artefact_carries_its_proof(original: Clone, tmp_path: Path) -> None:
    pytest.importorskip("in_toto_attestation")
    folder = "data/datasets/everything"
    out = tmp_path / ATTESTATION
    told = attest.attest(original.path, folder)
    out.write_text(json.dumps(told), "utf-8")
    assert {one["name"] for one in told["subject"]} == {
        *("train.jsonl", "rejected.jsonl", "report.json", "card.md")
    }
    definition = told["predicate"]["buildDefinition"]
    made_from = {one.get("name") for one in definition["resolvedDependencies"]}
    assert {TRACES, VERDICTS, "data/problems/sums/0001.jsonl", "code"} <= made_from
    # Whoever downloads the files has them by their own names.
    shutil.copytree(original.path / folder, tmp_path / "download")
    assert attest.check(out, tmp_path / "download") == []
    with open(tmp_path / "download/train.jsonl", "a") as file:
        file.write("{}\n")
    assert "train.jsonl has sha256" in attest.check(out, tmp_path / "download")[0]


def test_nothing_is_attested_that_changed(recorded: Clone) -> None:
    pytest.importorskip("in_toto_attestation")
    flip_byte(recorded)
    with pytest.raises(attest.AttestationError, match="not as it was recorded"):
        attest.attest(recorded.path, "data/datasets/everything")


# --- Recording ------------------------------------------------------------------------


@pytest.mark.long
def test_a_clone_without_git_is_left_as_it_is(done: Checkout) -> None:
    (done.path / PAGE).unlink()
    said = done.snakemake()
    assert "Not recorded by DVC: this is no git clone" in said
    assert not (done.path / "dvc.lock").exists()


@pytest.mark.long
def test_a_partial_run_succeeds_and_is_not_recorded(recorded: Clone) -> None:
    before = (recorded.path / "dvc.lock").read_bytes()
    edit_prompt(recorded)
    said = recorded.snakemake("--until", "sample_traces")
    assert "not recorded yet" in said
    assert (recorded.path / "dvc.lock").read_bytes() == before


def test_a_second_recording_waits_for_the_first(recorded: Clone) -> None:
    lock = record.Lock(recorded.path / record.LOCK)
    lock.acquire(0)
    try:
        said = recorded.record("--wait", "1", codes=(1,))
    finally:
        lock.release()
    assert "not recorded" in said


def test_a_killed_recording_is_undone_by_the_next(recorded: Clone) -> None:
    former = recorded.path / record.FORMER
    former.mkdir(parents=True)
    for name in (stages.FILE, ledger.LOCK):
        shutil.copy(recorded.path / name, former / name)
    (former / "whole").touch()
    lock = recorded.path / "dvc.lock"
    lock.write_bytes(lock.read_bytes()[:500])
    assert verify.verify(recorded.path).faults
    said = recorded.record()
    assert "killed before its end" in said
    assert not verify.verify(recorded.path).faults


def test_nothing_is_recorded_while_a_run_is_at_work(recorded: Clone) -> None:
    locks = recorded.path / ".snakemake/locks"
    locks.mkdir(exist_ok=True)
    (locks / "0.output.lock").write_text("data/x\n", "utf-8")
    assert "a run is at work" in recorded.record(codes=(1,))
