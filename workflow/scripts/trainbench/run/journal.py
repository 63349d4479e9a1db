"""Notes what a training process finds out, a line at a time, so that its launcher knows it however the process ends."""

import json
from pathlib import Path
from typing import Any


class Journal:
    """The notes of one process, in a new file; each note is written before the call returns.

    An OSError of writing is passed on.
    """

    def __init__(self, path: Path) -> None:
        self._file = path.open("w", encoding="utf-8", buffering=1)

    def note(self, facts: dict[str, Any]) -> None:
        """Note facts by name; a later note of a name replaces the earlier one, but `epochs` are added to it."""
        self._file.write(json.dumps(facts) + "\n")


def read(path: Path) -> dict[str, Any]:
    """All that was noted; a last line cut short is left out, and a file that is not there holds nothing."""
    facts: dict[str, Any] = {}
    content = path.read_bytes() if path.exists() else b""
    for line in content[: content.rfind(b"\n") + 1].splitlines():
        noted = json.loads(line)
        epochs = [*facts.get("epochs", []), *noted.get("epochs", [])]
        facts |= noted
        if epochs:
            facts["epochs"] = epochs
    return facts
