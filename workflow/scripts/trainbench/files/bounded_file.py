"""Reads a text file that somebody else may have written: a regular one, in UTF-8, no larger than allowed."""

import stat
from pathlib import Path


class Unusable(Exception):  # noqa: N818 - the name says what is the case
    """A file that cannot be used. The text says why, as in "is larger than ...", and leaves naming it to the caller."""


def read_text(path: Path, most_bytes: int) -> str:
    """The contents of `path`, of which no more than `most_bytes` are ever read.

    Raises:
        Unusable: there is no such file, it is no regular one (a pipe would be waited for, a device can act when it is
            opened), it is too large, or it is not UTF-8.
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise Unusable("is not a regular file")
        with path.open("rb") as file:
            content = file.read(most_bytes + 1)
    except OSError as error:
        raise Unusable(f"cannot be read ({error.strerror})") from error
    if len(content) > most_bytes:
        raise Unusable(f"is larger than {most_bytes / 2**20:g} MiB, more than any such file of ours")
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise Unusable(f"is not a text in UTF-8 (byte {error.start + 1})") from error


def printable(text: str, limit: int = 300) -> str:
    """`text` for a message on a terminal: cut to `limit`, with ? for what a terminal would obey instead of show."""
    shown = "".join(character if character.isprintable() else "?" for character in text[:limit])
    return shown if len(text) <= limit else f"{shown}…"
