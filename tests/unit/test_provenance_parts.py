"""The parts of the audit that need neither Snakemake nor DVC to run."""

from __future__ import annotations

import base64
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from retrace.provenance import (
    gate,
    hashing,
    identity,
    ledger,
    record,
    records,
    repair,
    settings,
    stages,
    verify,
)
from retrace.provenance.hashing import Digest, digest_file, digest_files
from retrace.provenance.jobs import Job, Plan
from retrace.rows import Answer, Domain, Problem, content_id, shard_of


def job(rule: str, inputs: list[str], outputs: list[str], stale: str = "") -> Job:
    return Job(rule, {}, inputs, outputs, [], stale)


# --- Hashes ---------------------------------------------------------------------------


@pytest.mark.parametrize("big", [hashing.BIG, 1])
def test_both_hashes_of_a_file(
    tmp_path: Path, big: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hashing, "BIG", big)
    content = bytes(range(256)) * 10_000
    (tmp_path / "file").write_bytes(content)
    md5, sha256 = hashlib.md5(content).hexdigest(), hashlib.sha256(content).hexdigest()
    assert digest_file(tmp_path / "file") == Digest(md5, sha256, len(content))


def test_missing_files_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"")
    assert set(digest_files(tmp_path, ["a", "b", "a/c"])) == {"a"}


def test_a_folder_has_the_hash_that_dvc_gives_it(tmp_path: Path) -> None:
    from dvc_data.hashfile.hash_info import HashInfo
    from dvc_data.hashfile.tree import Tree

    names = {"b.jsonl": "0" * 32, "a.jsonl": "1" * 32, "c/d.json": "2" * 32}
    tree = Tree()
    for name, md5 in names.items():
        tree.add(tuple(name.split("/")), None, HashInfo("md5", md5))
    tree.digest()
    assert ledger.folder_hash(names) == tree.hash_info.value


# --- Records --------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["scores/a/b.json", "data/" + "long/" * 80 + "x"])
def test_a_record_is_found_as_snakemake_files_it(tmp_path: Path, path: str) -> None:
    from snakemake.persistence.file import FilePersistence

    told = {
        "rule": "judge_traces",
        "input": ["a"],
        "shellcmd": "python x.py --out b",
        "params": ["'{}'", "['retrace/rows.py 0123456789abcdef']", "['sympy==1.0']"],
        "input_checksums": {"a": "sha256:00"},
        "starttime": 1.0,
        "endtime": 2.0,
        "record_format_version": 6,
    }
    folder = tmp_path / records.FOLDER
    folder.mkdir(parents=True)
    keeper = object.__new__(FilePersistence)
    keeper._max_len = None
    file = Path(keeper._record_path(str(folder), path))
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(told), "utf-8")
    found = records.read(tmp_path, path)
    assert found is not None
    assert (found.rule, found.checksums, found.finished) == (
        *("judge_traces", {"a": "00"}),
        2.0,
    )
    assert found.code == {"retrace/rows.py": "0123456789abcdef"}
    assert found.software == ["sympy==1.0"]
    assert [record.path for record in records.read_all(tmp_path)] == [path]
    file.write_text(json.dumps(told | {"record_format_version": 7}), "utf-8")
    with pytest.raises(records.RecordError, match="format 7, expected 6"):
        records.read(tmp_path, path)


# --- Stages ---------------------------------------------------------------------------

LOOP = Plan(
    {"sets": {}, "students": {}, "datasets": {}},
    ["ask", "teach", "score"],
    [
        job("ask", ["data/p/0"], ["data/traces/teacher/0"]),
        job("teach", ["data/traces/teacher/0"], ["models/student/w"]),
        job("ask", ["data/p/0", "models/student/w"], ["data/traces/student/0"]),
        job("score", ["data/traces/student/0"], ["scores/student"]),
        job("score", ["data/traces/teacher/0"], ["scores/teacher"]),
    ],
)


def test_a_rule_has_a_stage_for_each_time_that_the_data_come_by() -> None:
    found = {stage.name: stage for stage in stages.stages(LOOP)}
    assert list(found) == ["ask", "teach", "score", "ask-2", "score-2"]
    assert found["ask"].outs == ["data/traces/teacher"]
    assert found["ask-2"].deps == ["data/p/0", "models/student"]
    assert found["score-2"].outs == ["scores/student"]


def test_a_training_set_of_confidential_rows_is_confidential() -> None:
    sets = {"open": {"confidential": False}, "closed": {"confidential": True}}
    mixtures = {"a": {"open": 1}, "b": {"open": 1, "closed": 1}}
    datasets = {name: {"mixture": one} for name, one in mixtures.items()}
    config = {"sets": sets, "datasets": datasets}
    kept = [
        "data/problems/closed",
        "data/traces/model/closed/0000.jsonl",
        "data/datasets/b/train.jsonl",
    ]
    others = ["data/problems/open/0000.jsonl", "data/datasets/a", "models/closed"]
    assert [path for path in kept + others if stages.confidential(path, config)] == kept


def test_keys_of_the_files_that_have_them() -> None:
    config: dict[str, Any] = {
        "sets": {
            "a.b": {"source": 1, "shards": 2},
            "plain": {"source": {"kind": "files"}, "shards": 2},
        }
    }
    one = [("make_problems", {"set": "a.b"}), ("make_problems", {"set": "plain"})]
    files = {"first.yaml": {"sets": {"a.b": {"source": 1}}}}
    # DVC divides a key at its dots, so what holds such a name is watched.
    assert settings.watched(config, files, one) == {"first.yaml": ["sets"]}
    files = {"x.yaml": {"sets": {"plain": {"shards": 2}}}, "y.yaml": {"recipe": "r"}}
    assert settings.watched(config, files, one) == {"x.yaml": ["sets.plain.shards"]}
    report = [("build_report", {})]
    assert settings.watched(config, files, report) == {"x.yaml": [], "y.yaml": []}


# --- The gate -------------------------------------------------------------------------


def state(tmp_path: Path, known: str = "", finished: float | None = None) -> gate.State:
    file = tmp_path / "scores/a.json"
    file.parent.mkdir(parents=True)
    file.write_text("{}", "utf-8")
    found = digest_file(file)
    assert found is not None
    modified = file.stat().st_mtime if finished is None else finished
    record = records.Record(
        *("scores/a.json", "score", [], "", {}, [], {}, 0.0, modified, "r", "0")
    )
    plan = Plan({}, ["score"], [job("score", [], ["scores/a.json"])])
    return gate.State(
        tmp_path,
        plan,
        [],
        {"scores/a.json": record},
        {"scores/a.json": found},
        {"scores/a.json": known} if known else {},
    )


def test_the_gate_lets_through_what_a_job_has_just_written(tmp_path: Path) -> None:
    assert gate.findings(state(tmp_path)) == []


def test_the_gate_lets_through_what_was_recorded(tmp_path: Path) -> None:
    md5 = hashlib.md5(b"{}").hexdigest()
    assert gate.findings(state(tmp_path, md5, finished=1.0)) == []


def test_the_gate_refuses_what_no_job_wrote(tmp_path: Path) -> None:
    found = gate.findings(state(tmp_path, "0" * 32, finished=1.0))
    assert "was changed after its job wrote it" in found[0].what
    assert "retrace verify --repair scores/a.json" in found[0].mend


# --- Verifying ------------------------------------------------------------------------


@pytest.fixture
def recorded(tmp_path: Path) -> Path:
    """A folder with one recorded file, whose cache lies elsewhere, as on a cluster."""
    root, content = tmp_path / "clone", b'{"accuracy": 1.0}'
    md5 = hashlib.md5(content).hexdigest()
    stage = {"outs": [{"path": "scores/a.json", "md5": md5}]}
    files = {
        "scores/a.json": content,
        "dvc.yaml": b"stages: {score: {outs: [scores/a.json]}}",
        "dvc.lock": json.dumps({"stages": {"score": stage}}).encode(),
        ".dvc/config": f"[cache]\n    dir = {tmp_path}/shared\n".encode(),
        records.FOLDER / base64.urlsafe_b64encode(b"scores/a.json").decode(): RECORD,
        tmp_path / "shared/files/md5" / md5[:2] / md5[2:]: content,
    }
    for name, written in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(written)
    return root


RECORD = json.dumps(
    {
        "rule": "score",
        "input": [],
        "shellcmd": "",
        "params": [],
        "input_checksums": {},
        "starttime": 1.0,
        "endtime": 2.0,
        "record_format_version": 6,
    }
).encode()


def test_a_link_is_no_recorded_file_and_is_repaired(recorded: Path) -> None:
    assert verify.verify(recorded).faults == []
    score, elsewhere = recorded / "scores/a.json", recorded / "a.json"
    score.rename(elsewhere)
    score.symlink_to(elsewhere)
    faults = verify.verify(recorded).faults
    assert ["is a link" in fault.what for fault in faults] == [True]
    assert repair.repair(recorded, faults).back == ["scores/a.json"]
    assert not score.is_symlink()
    assert verify.verify(recorded).faults == []


def test_a_path_that_was_never_recorded_is_not_verified(recorded: Path) -> None:
    assert verify.verify(recorded, ["scores/"]).files == 1
    with pytest.raises(ledger.LedgerError, match="scores/b is not recorded"):
        verify.verify(recorded, ["scores/b"])


def test_a_recording_that_did_not_end_is_told(recorded: Path) -> None:
    (recorded / record.FORMER).mkdir(parents=True)
    (recorded / record.FORMER / "whole").touch()
    (fault,) = verify.verify(recorded).faults
    assert (fault.path, "killed before its end" in fault.what) == ("dvc.lock", True)


def test_what_a_stage_read_another_one_wrote(recorded: Path) -> None:
    lock = json.loads((recorded / "dvc.lock").read_text("utf-8"))
    read = [{"path": "data/traces/a", "md5": f"{'0' * 32}.dir"}]
    lock["stages"]["score"]["deps"] = read
    (recorded / "dvc.lock").write_text(json.dumps(lock), "utf-8")
    (fault,) = verify.verify(recorded).faults
    assert "no stage there wrote it" in fault.what


# --- Ids ------------------------------------------------------------------------------


def test_options_of_a_recorded_command() -> None:
    command = (
        "python scripts/x.py --problems a.jsonl --system=b.json --few-shot"
        ' --prompt \'{"template": "--x {statement}"}\' --software p==1 q==2 2> logs/x'
    )
    assert identity.options(command) == {
        "problems": ["a.jsonl"],
        "system": ["b.json"],
        "few-shot": [],
        "prompt": ['{"template": "--x {statement}"}'],
        "software": ["p==1", "q==2"],
    }


def test_a_problem_knows_its_content_and_its_shard() -> None:
    made = Problem.make("a", Domain.MATH, "1 + 1?", Answer(answer="2"))
    row = made.model_dump(mode="json")
    assert identity.problem_id(row) == made.problem_id
    assert identity.problem_id(row | {"statement": "1 + 2?"}) != made.problem_id
    assert 0 <= shard_of(made.problem_id, 3) < 3


def test_a_training_row_that_is_repeated_knows_its_content() -> None:
    said = ["system", "user", "assistant", "trace"]
    row = {
        "id": content_id([*said, 2]),
        "system": "system",
        "conversations": [{"value": "user"}, {"value": "assistant"}],
        "trace_id": "trace",
    }
    assert identity.training_id(row) == row["id"]
    assert identity.training_id(row | {"system": "another"}) != row["id"]
