"""Writes a file whole or not at all."""

import os
import secrets
from pathlib import Path


def write(content: str | bytes, path: Path) -> None:
    """Write `content` (text as UTF-8) so that no reader, no crash and no full disk ever leaves half a file at `path`.

    Folders that are missing are made. An OSError is passed on and names the file; what was at `path` before is then
    still there.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # In the same folder, so that the rename stays within one file system; under a random name, so that two writers
    # never meet.
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}.tmp")
    try:
        with temporary.open("xb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        # A write that fails does not say where, as opening does.
        if error.errno is not None and error.filename is None:
            error.filename = str(path)
        raise
    finally:
        temporary.unlink(missing_ok=True)
