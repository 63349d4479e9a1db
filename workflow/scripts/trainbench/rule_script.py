"""What every rule's script does around its work: one sentence for a user's mistake, a log, lines on the terminal."""

import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from trainbench.errors import InputError, RunFailed


@contextmanager
def ending_with_one_sentence(log: Path) -> Iterator[None]:
    """End the script with exit code 1 when the block raises, and say why.

    A user's mistake is told in its one sentence, on the terminal and in the log. A failed run has its log already.
    Anything else is a bug: its traceback goes to both.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    log.touch()
    try:
        yield
    except InputError as error:
        text = f"trainbench: {error}\n"
    except RunFailed as error:
        sys.stderr.write(f"trainbench: {error}\n")
        sys.exit(1)
    except Exception:
        text = traceback.format_exc()
    else:
        return
    with log.open("a", encoding="utf-8") as file:
        file.write(text)
    sys.stderr.write(text)
    sys.exit(1)


def announce(line: str) -> None:
    """Show one line of progress on the terminal; one write, so that lines of runs side by side do not mix."""
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()
