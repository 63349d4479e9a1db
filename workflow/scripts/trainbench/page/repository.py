"""Says which commit of the repository the code is."""

import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

TIMEOUT_SECONDS: Final = 20


@dataclass(frozen=True)
class Commit:
    """A commit; `changed` says whether files that it holds were edited since.

    `origin` is where anybody can clone the repository from, None where no such place is known.
    """

    sha: str
    changed: bool
    origin: str | None = None


def commit_of(folder: Path) -> Commit | None:
    """The commit that is checked out at the repository `folder`; None where that is not known.

    Not known is it without git, and where `folder` is not the top of a repository, as in a downloaded archive.
    """
    found = _git(folder, "rev-parse", "--show-toplevel", "HEAD")
    changes = _git(folder, "status", "--porcelain", "--untracked-files=no")
    top, _, sha = (found or "").rpartition("\n")
    if found is None or changes is None or Path(top).resolve() != folder.resolve():
        return None
    return Commit(sha, bool(changes), _public(_git(folder, "config", "--get", "remote.origin.url")))


def _public(url: str | None) -> str | None:
    """An address that may be shown to anybody: of the web, without user name, password or query; else None."""
    try:
        parts = urlsplit(url or "")
    except ValueError:
        return None
    is_plain = parts.hostname and not (parts.username or parts.password or parts.query or parts.fragment)
    return url if parts.scheme in {"http", "https"} and is_plain and "@" not in parts.netloc else None


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        found = subprocess.run(
            ["git", "-C", folder, *arguments],  # noqa: S607 - whichever git the user has
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=TIMEOUT_SECONDS,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return found.stdout.strip()
