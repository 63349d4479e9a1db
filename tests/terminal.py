"""A terminal to run programs at: gives them a pseudoterminal, records what they write, and plays it back."""

import fcntl
import os
import pty
import re
import struct
import subprocess
import termios
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

_PART = re.compile(r"\x1b\[(\??[0-9;]*)([A-Za-z])|([\r\n])|([^\x1b\r\n]+)|\x1b.")


class Terminal:
    """One program at a terminal of its own, in front of it as a user's shell would put it there."""

    def __init__(
        self,
        command: Sequence[str | Path],
        environment: Mapping[str, str],
        folder: Path,
        *,
        columns: int = 120,
        stdout: "int | None" = None,
    ) -> None:
        self._own, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
        self.process = subprocess.Popen(
            ["setsid", "--ctty", *command],
            stdin=theirs,
            stdout=theirs if stdout is None else stdout,
            stderr=theirs,
            cwd=folder,
            env={"TERM": "xterm-256color", **environment},
        )
        os.close(theirs)
        self._written = bytearray()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        while True:
            try:
                data = os.read(self._own, 65536)
            except OSError:  # nobody has the other end any more
                return
            if not data:
                return
            self._written += data

    def type(self, text: str) -> None:
        """Press keys; `\\x03` is Ctrl-C."""
        os.write(self._own, text.encode())

    @property
    def bytes_written(self) -> bytes:
        """All that was written so far, as it came."""
        return bytes(self._written)

    @property
    def written(self) -> str:
        """All that was written so far, control sequences included."""
        return self.bytes_written.decode(errors="replace")

    def wait(self, timeout_seconds: float = 300) -> int:
        """Wait for the program's end and give its exit status."""
        try:
            return self.process.wait(timeout_seconds)
        finally:
            if self.process.poll() is None:
                self.process.kill()
            self._reader.join(10)
            os.close(self._own)

    def lines(self) -> list[str]:
        """What stands on the terminal, from the first line on, as if it never scrolled."""
        return played(self.written)


def played(written: str) -> list[str]:
    """What a terminal of any height shows after `written`: text, colours passed over, cursor moved up, lines erased.

    Raises:
        AssertionError: there is a control sequence that this does not know.
    """
    lines, row, column = [""], 0, 0
    for arguments, command, control, text in _PART.findall(written):
        if command in {"m", "h", "l"}:
            continue
        if command == "A":
            row = max(0, row - int(arguments or 1))
        elif command == "K":
            assert arguments == "2", f"erases part of a line: {arguments!r}"
            lines[row] = ""
        elif command == "G":
            column = int(arguments or 1) - 1
        elif control == "\r":
            column = 0
        elif control == "\n":
            row += 1
            if row == len(lines):
                lines.append("")
        elif text:
            lines[row] = lines[row][:column].ljust(column) + text + lines[row][column + len(text) :]
            column += len(text)
        else:
            raise AssertionError(f"unknown control sequence: {arguments!r} {command!r}")
    while len(lines) > 1 and not lines[-2]:
        lines.pop()
    return lines
