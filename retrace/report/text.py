"""Make text that a model or a data set wrote safe to show, on a page or a terminal."""

from __future__ import annotations

import json
import re
from typing import Any

# C0 and C1 controls but tab and newline, marks and overrides of writing direction,
# invisible spaces and tags, separators that JavaScript takes for newlines, lone
# surrogates.
_UNSAFE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f"
    "\ufeff\ufff9-\ufffb\ud800-\udfff\U000e0000-\U000e007f]"
)


def visible(text: str) -> str:
    """Text in which every character that acts instead of being seen is shown as a name.

    Control characters become their pictures (escape is ␛), others their code point.
    """
    return _UNSAFE.sub(_name, text.replace("\r\n", "\n"))


def excerpt(text: str, limit: int) -> str:
    """The text, or its beginning and end with a note of what lies between."""
    if len(text) <= limit:
        return text
    head, tail = text[: limit * 2 // 3], text[len(text) - limit // 3 :]
    left_out = len(text) - len(head) - len(tail)
    return f"{head}\n\n[… {left_out:,} characters are left out here …]\n\n{tail}"


def script_json(value: Any) -> str:
    """JSON that can stand in a script element: nothing in it ends the element."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def printed_json(value: Any) -> str:
    """JSON for a terminal or a pipe: what would act is escaped, and the value stays."""
    text = json.dumps(value, indent=2, ensure_ascii=False)
    return _UNSAFE.sub(lambda match: json.dumps(match.group())[1:-1], text)


def _name(match: re.Match[str]) -> str:
    code = ord(match.group())
    if code < 0x20:
        return chr(0x2400 + code)
    if code == 0x7F:
        return "\u2421"
    return f"‹U+{code:04X}›"
