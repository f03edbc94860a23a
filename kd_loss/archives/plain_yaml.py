"""The subset of YAML that dataset files use, parsed without a library: keys, lists and plain values.

Blocks by indentation, `- ` lists, `[a, b]` over one line or several, `{a: b}`, quotes and comments. Anchors, tags,
several documents and multi-line texts are refused: they are not needed, and anchors can expand without limit.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from kd_loss.imaging.pictures import BadSample, read_text
from kd_loss.system.errors import UserError

_MOST_BYTES, _DEEPEST = 1 << 22, 20
Line = tuple[int, int, str]


def read_yaml(path: Path) -> dict[str, Any]:
    """Return the keys and values of a file; raise `UserError` naming the line that cannot be parsed."""
    try:
        text = read_text(path, _MOST_BYTES)
    except BadSample as error:
        raise UserError(f"{path} {error}") from None
    try:
        values = parse_yaml(text)
    except ValueError as error:
        raise UserError(f"{path} cannot be parsed: {error}") from None
    if not isinstance(values, dict):
        raise UserError(f"{path} has no keys")
    return values


def parse_yaml(text: str) -> Any:
    r"""Parse a text; raise `ValueError` naming the line that is outside this subset of YAML.

    >>> parse_yaml("kpt_shape: [2, 3]  # points, numbers\nkpt_names:\n  0:\n    - eye\n    - 'the nose'\ntest:")
    {'kpt_shape': [2, 3], 'kpt_names': {0: ['eye', 'the nose']}, 'test': None}
    """
    lines = list(_lines(text))
    if not lines:
        return {}
    values, rest = _block(lines, 0, lines[0][1], 0)
    if rest < len(lines):
        raise ValueError(f"line {lines[rest][0]}: its indentation matches no line above")
    return values


def _lines(text: str) -> list[Line]:
    """Return number, indentation and content of each line; an open `[` or `{` continues on the next lines."""
    found: list[Line] = []
    open_until = 0
    for number, raw in enumerate(text.splitlines(), 1):
        content = _without_comment(raw).rstrip()
        if not content.strip() or (content == "---" and not found):
            continue
        if open_until > 0:
            first, indent, before = found[-1]
            found[-1] = (first, indent, f"{before} {content.strip()}")
        else:
            if "\t" in content[: len(content) - len(content.lstrip())]:
                raise ValueError(f"line {number}: indented with a tab")
            found.append((number, len(content) - len(content.lstrip(" ")), content.strip()))
        bare = re.sub(r"'[^']*'|\"[^\"]*\"", "", content)
        open_until += sum(bare.count(c) for c in "[{") - sum(bare.count(c) for c in "]}")
    if open_until > 0:
        raise ValueError(f"line {found[-1][0]}: an unclosed bracket")
    return found


def _without_comment(line: str) -> str:
    for match in re.finditer(r"'[^']*'|\"[^\"]*\"|(?:^|(?<=\s))#.*", line):
        if match[0].startswith("#"):
            return line[: match.start()]
    return line


def _block(lines: list[Line], at: int, indent: int, depth: int) -> tuple[Any, int]:
    """Parse the lines from `at` indented by `indent`; return the value and the index of the next line."""
    if depth > _DEEPEST:
        raise ValueError(f"line {lines[at][0]}: nested too deeply")
    if lines[at][2].startswith("- ") or lines[at][2] == "-":
        return _list(lines, at, indent, depth)
    values: dict[Any, Any] = {}
    while at < len(lines) and lines[at][1] == indent:
        number, _, content = lines[at]
        match = re.match(r"('[^']*'|\"[^\"]*\"|[^\s\[\]{},:#&*!|>'\"][^:]*?)\s*:(?:\s+(.*))?$", content)
        if not match:
            raise ValueError(f"line {number}: '{content[:40]}' is not key: value")
        key, text = _scalar(match[1], number), (match[2] or "").strip()
        at += 1
        if text:
            values[key] = _value(text, number)
        elif at < len(lines) and (lines[at][1] > indent or (lines[at][1] == indent and lines[at][2][:1] == "-")):
            values[key], at = _block(lines, at, lines[at][1], depth + 1)
        else:
            values[key] = None
    return values, at


def _list(lines: list[Line], at: int, indent: int, depth: int) -> tuple[list[Any], int]:
    items: list[Any] = []
    while at < len(lines) and lines[at][1] == indent and re.match(r"-(\s|$)", lines[at][2]):
        number, _, content = lines[at]
        text = content[1:].strip()
        at += 1
        if text:
            items.append(_value(text, number))
        elif at < len(lines) and lines[at][1] > indent:
            item, at = _block(lines, at, lines[at][1], depth + 1)
            items.append(item)
        else:
            items.append(None)
    return items, at


def _value(text: str, number: int) -> Any:
    """A plain value, or one in brackets."""
    if text[0] not in "[{":
        return _scalar(text, number)
    tokens = re.findall(r"'[^']*'|\"[^\"]*\"|[\[\]{},]|:(?=\s)|[^\[\]{},:'\"\s][^\[\]{},:]*", text)
    value, rest = _flow(tokens, 0, number, 0)
    if rest != len(tokens):
        raise ValueError(f"line {number}: unexpected text after the bracket")
    return value


def _flow(tokens: list[str], at: int, number: int, depth: int) -> tuple[Any, int]:
    if depth > _DEEPEST or at >= len(tokens):
        raise ValueError(f"line {number}: brackets are unclosed or nested too deeply")
    if tokens[at] not in ("[", "{"):
        return _scalar(tokens[at].strip(), number), at + 1
    close, items, keys = {"[": "]", "{": "}"}[tokens[at]], [], []
    pairs = close == "}"
    at += 1
    while at < len(tokens) and tokens[at] != close:
        item, at = _flow(tokens, at, number, depth + 1)
        if pairs:
            if at >= len(tokens) or tokens[at] != ":" or isinstance(item, list | dict):
                raise ValueError(f"line {number}: a key has no value")
            keys.append(item)
            item, at = _flow(tokens, at + 1, number, depth + 1)
        items.append(item)
        if at < len(tokens) and tokens[at] == ",":
            at += 1
        elif at >= len(tokens) or tokens[at] != close:
            raise ValueError(f"line {number}: mismatched brackets")
    if at >= len(tokens):
        raise ValueError(f"line {number}: an unclosed bracket")
    return (dict(zip(keys, items, strict=True)) if pairs else items), at + 1


def _scalar(text: str, number: int) -> Any:
    if text[0] in "'\"":
        if len(text) < 2 or text[-1] != text[0]:
            raise ValueError(f"line {number}: an unclosed quote")
        return text[1:-1]
    if text[0] in "&*!|>%@`[]{},:":
        raise ValueError(f"line {number}: '{text[:20]}' (anchors, tags and long texts are not read)")
    if re.fullmatch(r"[-+]?\d{1,18}", text):
        return int(text)
    if re.fullmatch(r"[-+]?(\d+\.\d*|\.\d+|\d+)([eE][-+]?\d+)?", text):
        return float(text)
    return {"true": True, "false": False, "null": None, "~": None}.get(text.lower(), text)
