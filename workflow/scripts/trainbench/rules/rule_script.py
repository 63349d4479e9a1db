"""What every rule's script does around its work: one sentence for a user's mistake, a log, lines on the terminal."""

import io
import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from trainbench.errors import InputError, RunFailed
from trainbench.files import full_disk
from trainbench.machine import lifetime

NEWLINE: Final = "\n"
BUG: Final = "trainbench: this is a bug of trainbench; please report it with these lines"
"""What a script's log ends with after its traceback."""
_INTERRUPTED: Final = 130  # as shells have it: 128 and the number of the signal


@contextmanager
def ending_with_one_sentence(log: Path) -> Iterator[None]:
    """End the script with exit code 1 when the block raises, and say why.

    A user's mistake and a disk that is full or cannot be used are told in one sentence, on the terminal and in the log.
    A failed run has its log already. Anything else is a bug: its traceback goes to both.
    """
    try:
        lifetime.end_with_snakemake(os.environ)
        log.parent.mkdir(parents=True, exist_ok=True)
        log.touch()
        yield
    except InputError as error:
        text = f"trainbench: {error}\n"
    except RunFailed as error:
        sys.stderr.write(f"trainbench: {error}\n")
        # The log has the rest already. Its last line tells that the run failed and was not broken off.
        _append(log, f"trainbench: {str(error).partition(NEWLINE)[0]}\n")
        sys.exit(1)
    except KeyboardInterrupt:
        # Snakemake says so itself, and the next call goes on: a log that ends with a sentence would tell of a failure.
        sys.exit(_INTERRUPTED)
    except OSError as error:
        told = full_disk.told(error, log.parent)
        text = _bug() if told is None else f"trainbench: {told}\n"
    except Exception:
        text = _bug()
    else:
        return
    _append(log, text)
    sys.stderr.write(text)
    sys.exit(1)


def _bug() -> str:
    return f"{traceback.format_exc()}{BUG}\n"


def _append(log: Path, text: str) -> None:
    # The terminal has the text too, which a full disk does not keep from getting there.
    with suppress(OSError), log.open("a", encoding="utf-8") as file:
        file.write(text)


def show(text: str) -> None:
    """Write to stdout what a user may look at, and finds in files too: nothing is lost where it cannot be written.

    A letter that the encoding of stdout lacks becomes a question mark (for stderr Python has replacements anyway).
    """
    try:
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(errors="replace")
        print(text, end="", flush=True)  # noqa: T201 - and no error where there is no stdout
    except OSError:
        # Nobody reads any more (`| head`), or a disk is full. What is left in the buffer would fail once more at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def announce(line: str) -> None:
    """Show one line of progress on the terminal; one write, so that lines of runs side by side do not mix."""
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()
