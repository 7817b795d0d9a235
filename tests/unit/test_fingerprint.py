"""What makes a step stale: code that it can reach, not comments, not other code."""

from __future__ import annotations

from pathlib import Path

import pytest

from retrace import fingerprint
from retrace.fingerprint import code_digests, constant

FILES = {
    "scripts/step.py": "from retrace import rows\nfrom retrace.judging import judge\n",
    "retrace/__init__.py": "",
    "retrace/rows.py": '"""Rows."""\nLIMIT = 3\n',
    "retrace/judging/__init__.py": "from .base import judge\n",
    "retrace/judging/base.py": "def judge(a):\n    '''Judge.'''\n    return a\n",
    "retrace/judging/math.py": "import json\nfrom retrace import helper\n",
    "retrace/helper.py": "X: tuple[str, ...] = ('a', 'b')\n",
    "retrace/unrelated.py": "Y = 1\n",
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def digests(root: Path, *modules: str) -> list[str]:
    return code_digests(root, Path("scripts/step.py"), *modules)


def test_the_closure_is_what_imports_reach(root: Path) -> None:
    files = [line.split()[0] for line in digests(root)]
    assert files == [
        "retrace/__init__.py",
        "retrace/judging/__init__.py",
        "retrace/judging/base.py",
        "retrace/rows.py",
        "scripts/step.py",
    ]


def test_a_plug_in_brings_its_own_imports(root: Path) -> None:
    added = set(digests(root, "retrace.judging.math")) - set(digests(root))
    assert {line.split()[0] for line in added} == {
        "retrace/judging/math.py",
        "retrace/helper.py",
    }
    with pytest.raises(ValueError, match=r"no module retrace\.judging\.nothing"):
        digests(root, "retrace.judging.nothing")


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("retrace/rows.py", '"""Other words."""\n# why\nLIMIT  =  3\n'),
        (
            "retrace/judging/base.py",
            "def judge(a):\n    'Said otherwise.'\n\n    return a  # and why\n",
        ),
        ("retrace/unrelated.py", "Y = 2\n"),
    ],
)
def test_comments_docstrings_and_other_modules_change_nothing(
    root: Path, file: str, text: str
) -> None:
    before = digests(root)
    (root / file).write_text(text)
    assert digests(root) == before


def test_a_changed_statement_changes_its_own_line_only(root: Path) -> None:
    before = digests(root)
    (root / "retrace/rows.py").write_text("LIMIT = 4\n")
    changed = set(digests(root)) - set(before)
    assert [line.split()[0] for line in changed] == ["retrace/rows.py"]


def test_constants_are_read_without_importing(root: Path) -> None:
    assert constant(root, "retrace.helper", "X") == ("a", "b")
    assert constant(root, "retrace.helper", "Z") == ()


def test_another_process_parses_only_what_changed(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (root / ".snakemake").mkdir()
    before = digests(root)
    parsed: list[str] = []
    real = fingerprint._parse

    def seen(file: Path, content: bytes) -> tuple[str, list[str]]:
        parsed.append(file.as_posix())
        return real(file, content)

    monkeypatch.setattr(fingerprint, "_parse", seen)
    anew()
    assert digests(root) == before
    assert parsed == []

    (root / "retrace/rows.py").write_text('"""Rows."""\nLIMIT = 4\n')
    anew()
    after = digests(root)
    assert parsed == ["retrace/rows.py"]
    assert [line.split()[0] for line in set(after) - set(before)] == parsed

    for broken in ('{"half', "[1]", '{"key": 3}', '{"key": {"a": 1}}', "null"):
        parsed.clear()
        (root / fingerprint.PARSED).write_text(broken)
        anew()
        assert digests(root) == after
        assert len(parsed) == len(after)


def anew() -> None:
    """What a new process knows: nothing but files."""
    fingerprint._read_at.cache_clear()
    fingerprint._parsed.cache_clear()
