"""The journal keeps every answer once, and says what is wrong with a damaged one."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retrace.journal import (
    Journal,
    JournalError,
    compact,
    encode_line,
    follow,
    journals_under,
    read_lines,
)
from retrace.locking import LockedError

CONTRACT = {"engine": "test", "version": "1"}


def key(number: int) -> str:
    return f"{number:032x}"


def fill(path: Path, numbers: range, text: str = "text") -> None:
    with Journal(path) as journal:
        journal.sign(CONTRACT)
        for number in numbers:
            journal.append(key(number), {"text": f"{text} {number}"}, {})


def test_an_answer_comes_back_with_its_own_contract(tmp_path: Path) -> None:
    fill(tmp_path / "a.jsonl", range(3))
    with Journal(tmp_path / "a.jsonl") as journal:
        journal.sign({"engine": "another"})
        journal.append(key(9), {"text": "later"}, {"seconds": 1})
        early, late = journal.get(key(1)), journal.get(key(9))
        assert early is not None
        assert early.contract == CONTRACT
        assert early.answer == {"text": "text 1"}
        assert late is not None
        assert late.contract == {"engine": "another"}
        assert key(4) not in journal
        assert journal.get(key(4)) is None


def test_answers_of_other_journals_are_found(tmp_path: Path) -> None:
    fill(tmp_path / "one/a.jsonl", range(3), "a")
    fill(tmp_path / "two/b.jsonl", range(2, 5), "b")
    with Journal(tmp_path / "c.jsonl", journals_under(tmp_path)) as journal:
        texts = [journal.get(key(number)) for number in range(5)]
        assert [entry.answer["text"] for entry in texts if entry] == [
            "a 0",
            "a 1",
            "a 2",
            "b 3",
            "b 4",
        ]


@settings(max_examples=40, deadline=None)
@given(cut=st.integers(min_value=1), texts=st.lists(st.text(), min_size=1, max_size=4))
def test_a_torn_tail_costs_only_the_last_answer(
    tmp_path_factory: pytest.TempPathFactory, cut: int, texts: list[str]
) -> None:
    path = tmp_path_factory.mktemp("torn") / "a.jsonl"
    with Journal(path) as journal:
        journal.sign(CONTRACT)
        for number, text in enumerate(texts):
            safe = text.encode("utf-8", "replace").decode()
            journal.append(key(number), {"text": safe}, {})
    lines = path.read_bytes().splitlines(keepends=True)
    torn = len(lines[-1]) - 1 - cut % (len(lines[-1]) - 1)
    path.write_bytes(b"".join(lines[:-1]) + lines[-1][:torn])
    with Journal(path) as journal:
        held = [key(number) in journal for number in range(len(texts))]
        assert held == [True] * (len(texts) - 1) + [False]
    assert path.read_bytes() == b"".join(lines[:-1])


def test_zeros_after_a_power_cut_are_a_torn_tail(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    fill(path, range(2))
    whole = path.read_bytes()
    path.write_bytes(whole + b"\0" * 4096)
    fill(path, range(2, 3))
    assert path.read_bytes().startswith(whole)
    assert len(list(read_lines(path))) == 4


@pytest.mark.parametrize("line", [1, 2, 3])
def test_a_damaged_middle_line_is_refused_with_file_and_line(
    tmp_path: Path, line: int
) -> None:
    path = tmp_path / "a.jsonl"
    fill(path, range(4))
    lines = path.read_bytes().splitlines(keepends=True)
    lines[line - 1] = lines[line - 1].replace(b'"', b"'", 3)
    path.write_bytes(b"".join(lines))
    with pytest.raises(JournalError, match=rf"a\.jsonl:{line}: damaged line"):
        fill(path, range(1))
    # Its number is that in the file, from wherever it is read.
    behind = len(b"".join(lines[: line - 1]))
    with pytest.raises(JournalError, match=rf"a\.jsonl:{line}: .*sed -i {line}d /"):
        list(follow(path, behind))


def test_an_answer_without_its_contract_is_not_passed_on(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    fill(path, range(3))
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[1:]))
    with Journal(path) as journal, pytest.raises(JournalError, match="who gave the"):
        journal.get(key(1))


def test_a_flipped_letter_in_a_text_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    fill(path, range(3))
    path.write_bytes(path.read_bytes().replace(b"text 1", b"test 1"))
    with pytest.raises(JournalError, match="damaged line"):
        fill(path, range(1))


def test_a_line_that_another_job_is_writing_is_not_an_error(tmp_path: Path) -> None:
    fill(tmp_path / "busy.jsonl", range(2))
    half = encode_line({"key": key(7), "contract": "", "answer": {}, "stats": {}})[:30]
    with open(tmp_path / "busy.jsonl", "ab") as file:
        file.write(half)
    with Journal(tmp_path / "mine.jsonl", journals_under(tmp_path)) as journal:
        assert key(1) in journal
    assert (tmp_path / "busy.jsonl").read_bytes().endswith(half)


def test_a_second_writer_is_refused_and_named(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    with Journal(path), pytest.raises(LockedError, match=f"process {os.getpid()} on"):
        Journal(path, lock_wait=0.1).__enter__()
    fill(path, range(1))


def test_a_killed_writer_leaves_no_lock_and_its_answers(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    code = (
        "import os, signal, sys; from pathlib import Path;"
        "from retrace.journal import Journal;"
        f"journal = Journal(Path({str(path)!r})).__enter__(); journal.sign({{}});"
        f"journal.append({key(5)!r}, {{'text': 'kept'}}, {{}});"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False)
    assert done.returncode == -9
    with Journal(path, lock_wait=0.1) as journal:
        entry = journal.get(key(5))
        assert entry is not None
        assert entry.answer["text"] == "kept"


def test_a_full_disk_leaves_whole_lines_and_says_so(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    code = (
        "import resource, signal; from pathlib import Path;"
        "from retrace.journal import Journal;"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (3000, 3000));"
        f"journal = Journal(Path({str(path)!r})).__enter__(); journal.sign({{}});"
        "[journal.append(f'{n:032x}', {'text': 'x' * 500}, {}) for n in range(9)]"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], check=False, capture_output=True, text=True
    )
    assert "cannot append" in done.stderr
    assert "every earlier answer is kept" in done.stderr
    assert path.read_bytes().endswith(b"\n")
    assert len([line for line in read_lines(path) if "key" in line]) >= 3


def test_compaction_keeps_every_answer_once(tmp_path: Path) -> None:
    fill(tmp_path / "a.jsonl", range(5), "a")
    with Journal(tmp_path / "b.jsonl") as journal:
        journal.sign({"engine": "other"})
        journal.note("failure", kind="server", message="gone")
        for number in range(3, 8):
            journal.append(key(number), {"text": f"b {number}"}, {})
    done = compact(tmp_path)
    assert (done.kept, done.dropped) == (8, 3)
    assert done.bytes_after < done.bytes_before
    with Journal(tmp_path / "c.jsonl", journals_under(tmp_path)) as journal:
        entries = [journal.get(key(number)) for number in range(8)]
        assert [entry.answer["text"][0] for entry in entries if entry] == list(
            "aaaaabbb"
        )
        last = entries[-1]
        assert last is not None
        assert last.contract == {"engine": "other"}


def test_compaction_keeps_what_a_later_job_must_know(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    with Journal(path) as journal:
        journal.note("run", total=3)
        journal.note("batch", id="over", keys=[key(1)])
        journal.note("batch", id="out", keys=[key(2)])
        journal.note("batch", id="over", status="completed")
        journal.note("failure", kind="refused", request=key(3), message="no")
        journal.note("failure", kind="server", request=key(4), message="gone")
        journal.note("end", outcome="done")
    compact(tmp_path)
    with Journal(path) as journal:
        assert [note["id"] for note in journal.notes("batch")] == ["out"]
        assert [journal.was_refused(key(n)) for n in (3, 4)] == [True, False]
        assert len(list(journal.notes("run"))) == 1


def test_compaction_waits_for_no_running_job(tmp_path: Path) -> None:
    fill(tmp_path / "a.jsonl", range(2))
    before = (tmp_path / "a.jsonl").read_bytes()
    with Journal(tmp_path / "b.jsonl"), pytest.raises(LockedError):
        compact(tmp_path)
    assert (tmp_path / "a.jsonl").read_bytes() == before


@pytest.mark.slow
@pytest.mark.long
def test_memory_for_200_000_answers_is_bounded(tmp_path: Path) -> None:
    """An index of hashes and offsets: the texts stay in the file, however long."""
    path = tmp_path / "big.jsonl"
    body = "x" * 2_000
    with open(path, "wb") as file:
        file.write(encode_line({"contract_id": "c", "contract": CONTRACT}))
        for number in range(200_000):
            answer = {"text": body}
            file.write(
                encode_line(
                    {"key": key(number), "contract": "c", "answer": answer, "stats": {}}
                )
            )
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with Journal(tmp_path / "mine.jsonl", [path]) as journal:
        entry = journal.get(key(199_999))
        assert entry is not None
        assert entry.answer["text"] == body
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert (after - before) / 1024 < 200
    path.unlink()


def test_a_line_is_plain_json_with_the_checksum_first() -> None:
    line = encode_line({"key": key(1), "answer": {"text": "π"}})
    assert json.loads(line)["answer"] == {"text": "π"}
    assert list(json.loads(line)) == ["crc", "key", "answer"]
