"""Scalars: what a word in YAML 1.2 means, and how a value is written as one.

PyYAML reads YAML 1.1, where `1e-3` is text, `on` and `no` are booleans, and `010` is eight.
Source: the core schema, https://yaml.org/spec/1.2.2/#103-core-schema
"""

from __future__ import annotations

import json
import re
from math import inf, isinf, isnan, nan
from typing import Any

WHOLE = re.compile(r"[-+]?[0-9]+")
PREFIXED = re.compile(r"0o[0-7]+|0x[0-9a-fA-F]+")
NUMBER = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
WORDS = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **{f"{sign}{word}": inf for sign in ("", "+") for word in (".inf", ".Inf", ".INF")},
    **dict.fromkeys(("-.inf", "-.Inf", "-.INF"), -inf),
    **dict.fromkeys((".nan", ".NaN", ".NAN"), nan),
}
PLAIN = re.compile(r"[A-Za-z_/.][\w./-]*(:[\w./-]+)*", re.ASCII)
AMBIGUOUS = {"y", "n", "yes", "no", "on", "off"}  # text to us, booleans to YAML 1.1
UNPRINTABLE = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]")
LONGEST_WHOLE = 4000  # digits; Python itself refuses to read more than 4300


def scalar(word: str) -> Any:
    """Return what an unquoted word means: null, a boolean, a number or text."""
    if word in WORDS:
        return WORDS[word]
    if WHOLE.fullmatch(word) and len(word) <= LONGEST_WHOLE:
        return int(word)
    if PREFIXED.fullmatch(word) and len(word) <= LONGEST_WHOLE:
        return int(word, 0)
    return float(word) if NUMBER.fullmatch(word) else word


def written(value: Any) -> str:
    """Return a value on one line of YAML, so that reading it gives the same value again."""
    if isinstance(value, list | tuple):
        return f"[{', '.join(written(item) for item in value)}]"
    if isinstance(value, dict):
        return (
            f"{{{', '.join(f'{written(name)}: {written(item)}' for name, item in value.items())}}}"
        )
    if isinstance(value, float):
        return (
            ".nan" if isnan(value) else f"{'-' * (value < 0)}.inf" if isinf(value) else repr(value)
        )
    if isinstance(value, str):
        return _text(value)
    return json.dumps(value, default=repr)


def _text(text: str) -> str:
    if PLAIN.fullmatch(text) and isinstance(scalar(text), str) and text.lower() not in AMBIGUOUS:
        return text
    quoted = json.dumps(text, ensure_ascii=False)  # JSON is YAML, but for what YAML cannot print
    return UNPRINTABLE.sub(lambda sign: f"\\u{ord(sign.group()):04x}", quoted)


def shown(value: Any, longest: int = 60) -> str:
    """Return a value as messages quote it: text in quotes, the rest as YAML, shortened if long."""
    text = repr(value) if isinstance(value, str) else written(value)
    return text if len(text) <= longest else f"{text[: longest - 4]} ..."


def described(value: Any) -> str:
    """Return a value where one of another kind was expected; what is in a list does not matter."""
    if isinstance(value, str | int | float | None):
        return shown(value)
    return (
        "a list"
        if isinstance(value, list)
        else "a mapping"
        if isinstance(value, dict)
        else "a reference"
    )
