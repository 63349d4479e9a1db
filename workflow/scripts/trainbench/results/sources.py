"""Finds and reads runs in the results folders of others, and names every file that cannot be used.

A source is a results folder (its runs lie in RUNS_FOLDER), that folder of runs itself, any folder below which runs lie,
or a folder with published results, told by its descriptor (`published.py` reads those).
"""

import glob
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from trainbench.errors import InputError
from trainbench.files import fingerprint
from trainbench.files.bounded_file import Unusable, printable
from trainbench.records import record
from trainbench.records.record import Metrics
from trainbench.records.same_host import Hosts
from trainbench.words.markdown import bullets

METRICS_NAME: Final = "metrics.json"
RUNS_FOLDER: Final = "runs"
LAYOUT: Final = f"MODEL/BATCH_SIZE/DEVICE/REPEAT/{METRICS_NAME}"
DESCRIPTOR: Final = "published.json"
FOLDER_KEY: Final = "runs_folder"
"""Under this key a record says in which results folder it was found."""

_OF_A_RUN: Final = ("model", "batch_size", "device", "repeat")

# More names than these make a sentence that nobody reads to its end.
NAMED_REFUSALS: Final = 5

FileIdentity = tuple[int, int]


@dataclass(frozen=True)
class Refusal:
    """A file or folder that is not used; `reason` says why, as in "is not valid JSON (...)"."""

    path: Path
    reason: str

    def __str__(self) -> str:
        return f"{printable(str(self.path))} {self.reason}"


@dataclass(frozen=True)
class Found:
    """What lies in sources: metrics files, folders with published results, and what was refused unread."""

    metrics: tuple[Path, ...] = ()
    published: tuple[Path, ...] = ()
    refused: tuple[Refusal, ...] = ()


def find(patterns: Iterable[str], key: str = "sources") -> Found:
    """Everything in the folders that `patterns` (with the wildcards *, ? and [...]) name, sorted within each of them.

    Names that start with a dot are passed over. Links to folders are refused, not followed: they can lead in circles,
    or out of the source.

    Args:
        patterns: Folders, relative to the one in which Snakemake works; ~ is the home folder.
        key: The config key that they stand under, for the refusal.

    Raises:
        InputError: a pattern matches no folder.
    """
    metrics: list[Path] = []
    published: list[Path] = []
    refused: list[Refusal] = []
    for folder in dict.fromkeys(folder for pattern in patterns for folder in _folders(pattern, key)):
        if os.path.lexists(folder / DESCRIPTOR):
            published.append(folder)
            continue
        empty = True
        # Only the top folder may be a link: whoever names it knows where it leads.
        for found in _below(folder / RUNS_FOLDER if _is_folder(folder / RUNS_FOLDER) else folder):
            empty = False
            if isinstance(found, Refusal):
                refused.append(found)
            else:
                metrics.append(found)
        if empty:
            refused.append(Refusal(folder, f"holds no results, expected {LAYOUT} below it or below {RUNS_FOLDER}/"))
    return Found(tuple(metrics), tuple(published), tuple(refused))


def read(own: Iterable[Path], found: Found, refused: list[Refusal], hosts: Hosts) -> Iterator[Metrics]:
    """The records of a study's own runs, then those of sources, one at a time.

    A file that appears several times, as when two patterns overlap or a link leads to it, is read once. Beside what the
    file says, a record has the folder of results that it was found in, as `FOLDER_KEY`. Its host has the
    id that `hosts` gives it.

    Args:
        own: Metrics files of the study.
        found: What `find` gave.
        refused: What cannot be used is appended here, so that whoever reads on can say what is left out.
        hosts: The hosts that were met before, and those that are met now.

    Raises:
        InputError: one of the study's own files cannot be used.
    """
    refused.extend(found.refused)
    read_files: set[FileIdentity | Path] = set()
    paths_of_runs: dict[str, Path] = {}
    for path, is_own in (*((path, True) for path in own), *((path, False) for path in found.metrics)):
        identity = _identity(path)
        if identity in read_files and not is_own:
            continue
        read_files.add(identity)
        try:
            metrics = record.read(path)
            problem = _misplaced(path, metrics)
            if problem is None and (other := paths_of_runs.get(metrics["run_id"])):
                problem = f"is the same run as {printable(str(other))} (run_id {metrics['run_id']})"
        except Unusable as error:
            problem = str(error)
        if problem is None:
            paths_of_runs[metrics["run_id"]] = path
            host = metrics["host"] | {"id": hosts.name(metrics["host"])}
            # The folder above the four that name a run. Path.resolve would follow links.
            yield metrics | {"host": host, FOLDER_KEY: os.path.abspath(path.parents[4])}  # noqa: PTH100
        elif is_own:
            raise InputError(
                f"the metrics file {path} {problem}; delete it (rm {path}) and run snakemake again to measure that run "
                "anew"
            )
        else:
            refused.append(Refusal(path, problem))


def demand_all_usable(refused: Sequence[Refusal], key: str = "sources") -> None:
    """Let nothing be left out in silence.

    Raises:
        InputError: something was refused; the text names the first few and counts all.
    """
    if not refused:
        return
    named = "; ".join(str(refusal) for refusal in refused[:NAMED_REFUSALS])
    more = f"; and {len(refused) - NAMED_REFUSALS} more" if len(refused) > NAMED_REFUSALS else ""
    ways_out = "correct or remove what is named"
    if key == "sources":
        ways_out += ", or go on without it with skip_bad_sources: true in the config"
    raise InputError(
        f"config key '{key}' leads to {len(refused)} {'file or folder' if len(refused) == 1 else 'files or folders'} "
        f"that cannot be used: {named}{more}; {ways_out}"
    )


def demand_runs(found: Found, folder: str) -> None:
    """Let a baseline be what a study can be compared with.

    Raises:
        InputError: it holds published cells, which have no runs to make an interval of, or files that cannot be used.
    """
    demand_all_usable(found.refused, "baseline")
    if found.published:
        raise InputError(
            f"config key 'baseline' is '{folder}', which holds published cells and no runs, so no interval can be "
            "told; expected a results folder; put it under sources to see it beside this study"
        )


def left_out_markdown(refused: Sequence[Refusal]) -> str:
    """A section of Markdown that lists what was left out; nothing where nothing was."""
    if not refused:
        return ""
    return f"\n## Left out of the sources: {len(refused)}\n\n{bullets(map(str, refused))}\n"


def fingerprint_of(found: Found) -> str:
    """Changes when a file comes, goes, or changes its size or modification time.

    Contents would be safer and take seconds for thousands of runs whenever Snakemake starts; what a touched file costs
    here is the tables, and no training.
    """
    files = [*found.metrics, *(path for folder in found.published for path in sorted(folder.iterdir()))]
    return fingerprint.of_texts(*(_state(path) for path in files), *(str(refusal) for refusal in found.refused))


def _state(path: Path) -> str:
    try:
        status = path.stat()
    except OSError as error:
        return f"{path} {error.strerror}"
    return f"{path} {status.st_size} {status.st_mtime_ns}"


def _folders(pattern: str, key: str) -> list[Path]:
    # A folder may be called results[1]: a name that exists is no pattern.
    expanded = str(Path(pattern).expanduser())
    matches = [expanded] if os.path.lexists(expanded) else sorted(glob.glob(expanded))  # noqa: PTH207
    folders = [Path(match) for match in matches if _is_folder(match)]
    if not folders:
        found = f"matches no folder (but {printable(matches[0], 80)})" if matches else "matches nothing"
        raise InputError(
            f"config key '{key}' names '{pattern}', which {found}, seen from {Path.cwd()}; expected a results folder; "
            "correct it in the config file or with --config"
        )
    return folders


# For os.path a file that may not be looked at is none; for Path it is an exception.
_is_folder: Final = os.path.isdir


def _below(folder: Path) -> Iterator[Path | Refusal]:
    """All metrics files below `folder`, and what stands in the way of finding them."""
    unread: list[OSError] = []
    for root, folders, files in os.walk(folder, onerror=unread.append):
        yield from _unread(unread)
        for name in sorted((*folders, *files)):
            path = Path(root, name)
            if name == METRICS_NAME:
                yield path
            elif not name.startswith(".") and path.is_symlink() and not os.path.isfile(path):  # noqa: PTH113 - as above
                yield Refusal(path, "is a link to a folder or to nothing: name what it leads to as a source")
        folders[:] = sorted(name for name in folders if name != METRICS_NAME and not name.startswith("."))
    yield from _unread(unread)


def _unread(errors: list[OSError]) -> Iterator[Refusal]:
    while errors:
        error = errors.pop(0)
        yield Refusal(Path(error.filename), f"cannot be read ({error.strerror})")


def _identity(path: Path) -> FileIdentity | Path:
    """The same for two paths of one file; of a file that cannot be asked, its path."""
    try:
        status = path.stat()
    except OSError:
        return path
    return status.st_dev, status.st_ino


def _misplaced(path: Path, metrics: Metrics) -> str | None:
    """How a record contradicts the folder it lies in, or itself: one of them is wrong, and nobody knows which."""
    of_folder = "/".join(Path(os.path.abspath(path)).parts[-5:-1])  # noqa: PTH100 - Path.resolve would follow links
    of_record = "/".join(str(metrics[key]) for key in _OF_A_RUN)
    if of_folder != of_record:
        return f"is the record of {of_record}, but lies in {printable(of_folder)}"
    settings = metrics["settings"] | {"device": metrics["settings"]["device"]["name"]}
    of_settings = "/".join(str(settings[key]) for key in _OF_A_RUN)
    return None if of_settings == of_record else f"is the record of {of_record} with the settings of {of_settings}"
