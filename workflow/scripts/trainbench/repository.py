"""Says which commit of the repository the code is."""

import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Final

TIMEOUT_SECONDS: Final = 20


@dataclass(frozen=True)
class Commit:
    """A commit; `changed` says whether files that it holds were edited since."""

    sha: str
    changed: bool


def commit_of(folder: Path) -> Commit | None:
    """The commit that is checked out at the repository `folder`; None where that is not known.

    Not known is it without git, and where `folder` is not the top of a repository, as in a downloaded archive.
    """
    top = _git(folder, "rev-parse", "--show-toplevel")
    sha = _git(folder, "rev-parse", "--verify", "HEAD")
    changes = _git(folder, "status", "--porcelain", "--untracked-files=no")
    if top is None or sha is None or changes is None or Path(top).resolve() != folder.resolve():
        return None
    return Commit(sha, changed=bool(changes))


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        found = subprocess.run(
            ["git", "-C", folder, *arguments],  # noqa: S607 - whichever git the user has
            capture_output=True,
            text=True,
            timeout=TIMEOUT_SECONDS,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return found.stdout.strip()
