r"""Text for people and for files: names that came from data, counts, tables.

Names of files are bytes; Python shows those that are not UTF-8 as lone surrogates, which neither a terminal nor a text
file takes. Here such a byte is always written as \xNN: `caf\xe9.png`. In terminals, so is what a name could steer one with.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import unicodedata
import zlib
from collections.abc import Iterable, Sequence
from typing import Any

_SURROGATES = re.compile("[\ud800-\udfff]")
#: Spreadsheets take a cell that begins so for a formula, which may start programs.
_FORMULA = re.compile(r"^'*\s*[=+\-@\t\r]")
#: What ends a cell or begins a quoted one.
_QUOTED = re.compile('[,"\r\n]')
#: Bytes of a class's name in a weights file: dim_model_set_class_names in dim.h.
_CLASS_NAME = 255


def valid(name: str) -> str:
    r"""As UTF-8 can hold it: bytes that are not text as \xNN, other lone surrogates as \uNNNN."""
    return _SURROGATES.sub(_escaped, name)


def text_of(name: str) -> str:
    """A file's name as text: its bytes as UTF-8, whatever the locale says of them, so that data has the same names everywhere."""
    return name if name.isascii() else os.fsencode(name).decode("utf-8", "surrogateescape")


def name_of(text: str) -> str:
    """The file's name of such a text."""
    return text if text.isascii() else os.fsdecode(text.encode("utf-8", "surrogateescape"))


def shown(name: str) -> str:
    r"""In one line of a terminal: `valid`, and control characters and those that turn the direction of writing escaped."""
    return "".join(character if _is_plain(character) else _escaped(character) for character in valid(name))


def lines(text: str) -> str:
    """`shown` for a text of several lines, whose own line ends and tabs stay."""
    return "".join(character if _is_plain(character) or character in "\n\t" else _escaped(character) for character in text)


def shell(path: str) -> str:
    r"""As bash and zsh take it, in characters that a terminal shows: caf\xe9 becomes $'caf\xe9'."""
    return shell_word(f"./{path}" if path.startswith("-") else path)  # Else an option.


def shell_word(word: str) -> str:
    """`shell` of any word of a command, an option too."""
    if word == shown(word):
        return shlex.quote(word)
    quoted = "".join(character if _is_plain(character) and character not in "'\\" else _bytes(character) for character in word)
    return f"$'{quoted}'"


def class_names(names: Sequence[str], count: int = 0) -> list[str]:
    """Each by `class_name`, no two the same; up to `count`, those that no data has: "unused 3"."""
    found: dict[str, None] = {}
    for place, name in enumerate([*map(class_name, names), *(f"unused {place}" for place in range(len(names), count))]):
        while name in found:
            name = class_name(f"{name} ({place})")
        found[name] = None
    return list(found)


def class_name(name: str) -> str:
    r"""As a weights file takes it: `valid`, control characters escaped, an empty one as "", a long one cut.

    What was cut off stays in the name as a checksum: two classes do not become one.
    """
    plain = "".join(_escaped(character) if unicodedata.category(character) == "Cc" else character for character in valid(name))
    encoded = plain.encode()
    if len(encoded) <= _CLASS_NAME:
        return plain or '""'
    end = f"..{zlib.crc32(encoded):08x}"
    return encoded[: _CLASS_NAME - len(end)].decode(errors="ignore") + end


def json_value(value: Any) -> Any:
    """A value for json.dumps with every text in it `valid`."""
    if isinstance(value, str):
        return valid(value)
    if isinstance(value, dict):
        return {json_value(key): json_value(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [json_value(item) for item in value]
    return value


def parsed_json(text: str) -> Any:
    """Raises ValueError for what is no JSON or has a key twice, of which json would take the last value, and for numbers and
    depths that json has no words for."""
    try:
        return json.loads(text, object_pairs_hook=_members_once, parse_int=_whole)
    except RecursionError:
        raise ValueError("too many lists or objects inside one another") from None


def _whole(digits: str) -> int:
    try:
        return int(digits)
    except ValueError:
        raise ValueError(f"a whole number of {len(digits):,} digits") from None


def _members_once(members: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in members:
        if key in found:
            raise ValueError(f"the key {shown(key)} is listed twice")
        found[key] = value
    return found


def cell(name: str) -> str:
    """For CSV: `valid`, and with an apostrophe before what a spreadsheet would compute; one more where there are
    some before it already, so that two names do not become one."""
    name = valid(name)
    return f"'{name}" if _FORMULA.match(name) else name


def csv_text(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """A table as CSV. Numbers are written as they are, texts by `cell`."""
    return "".join(map(csv_line, (header, *rows)))


def csv_line(row: Iterable[Any]) -> str:
    """A line of it. Python's csv leaves a carriage return in a text without quotes, and readers end the line there."""
    cells = (cell(value) if isinstance(value, str) else "" if value is None else str(value) for value in row)
    return ",".join(f'"{text.replace(chr(34), chr(34) * 2)}"' if _QUOTED.search(text) else text for text in cells) + "\n"


def decimal(digits: str) -> int:
    """Of decimal digits, however many: int() takes 640 at least, and no count has more than 19."""
    return int(digits) if len(digits) <= 640 else 2**64


def counted(count: int, thing: str, things: str | None = None) -> str:
    """ "1 epoch", "2,000 epochs"."""
    return f"{count:,} {thing if count == 1 else things or thing + 's'}"


def rounded(value: float, digits: int) -> float:
    """To be printed with so many digits: what is nearly 0 is 0.00, whatever its sign, and not -0.00."""
    return round(value, digits) + 0.0


# ---- Columns


def width(text: str) -> int:
    """Columns on a terminal: two for each wide character, none for one that combines."""
    return sum(
        0 if unicodedata.combining(character) else 2 if unicodedata.east_asian_width(character) in "WF" else 1
        for character in text
    )


def cut(text: str, columns: int) -> str:
    """At most so many columns, the middle of what is longer left out: its end tells files apart."""
    if width(text) <= columns:
        return text
    keep = columns - 2
    start, end = "", ""
    for character in text:
        if width(start + character) > keep // 2:
            break
        start += character
    for character in reversed(text):
        if width(character + end) > keep - width(start):
            break
        end = character + end
    return f"{start}..{end}"


def table(rows: Sequence[Sequence[str]], left: int = 1, gap: int = 2, most: int = 40) -> list[str]:
    """Lines with aligned columns, the first `left` to the left and the others to the right; as wide as their cells."""
    cells = [[cut(text, most) for text in row] for row in rows]
    columns = max(map(len, cells), default=0)
    widths = [max((width(row[n]) for row in cells if n < len(row)), default=0) for n in range(columns)]
    found = []
    for row in cells:
        padded = []
        for number, text in enumerate(row):
            space = " " * (widths[number] - width(text))
            padded.append(text + space if number < left else space + text)
        found.append((" " * gap).join(padded).rstrip())
    return found


# ---- Characters


def _is_plain(character: str) -> bool:
    return character.isprintable() or unicodedata.category(character) == "Zs"


def _escaped(found: str | re.Match[str]) -> str:
    code = ord(found if isinstance(found, str) else found[0])
    if 0xDC80 <= code <= 0xDCFF:
        code -= 0xDC00
    return f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _bytes(character: str) -> str:
    """For a shell: every byte of the name."""
    return "".join(f"\\x{byte:02x}" for byte in character.encode("utf-8", "surrogateescape"))
