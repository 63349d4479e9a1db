"""Reads a data set of labelled images from a directory of four IDX files.

Standard library only: the rules read a data set's shape at every parse.

The IDX format (http://yann.lecun.com/exdb/mnist/): big-endian 32-bit integers, first a magic number that says
type and number of dimensions, then the size of each dimension; the values follow, here unsigned bytes.
"""

import gzip
import hashlib
import io
import math
import os
import re
import struct
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from trainbench.errors import InputError

SUMS_NAME = "SHA256SUMS"

_CHUNK_BYTES = 1 << 20
_MAGIC_BYTES = 4
# Hidden files are none: macOS leaves `._train-images-idx3-ubyte` beside what it unpacks.
_NAME = re.compile(
    r"(?P<prefix>(?:[^.].*[-_.])?)(?P<part>train|t10k|test)-(?P<kind>images|labels)(?P<joint>[-.])"
    r"(?:(?<=images.)idx3|(?<=labels.)idx1)-ubyte(?P<gz>\.gz)?"
)
_SUMS_LINE = re.compile(r"(?P<sum>[0-9a-fA-F]{64}) [ *](?P<name>.+)")


@dataclass(frozen=True)
class Kind:
    """What an IDX file holds: its name in messages, its magic number and its number of dimensions."""

    name: str
    magic: int
    dimensions: int

    @property
    def header_bytes(self) -> int:
        """Bytes before the first value."""
        return _MAGIC_BYTES + 4 * self.dimensions


IMAGES = Kind("images", magic=2051, dimensions=3)
LABELS = Kind("labels", magic=2049, dimensions=1)

_ROLES = {
    "train_images": ("train-images", IMAGES),
    "train_labels": ("train-labels", LABELS),
    "test_images": ("t10k-images", IMAGES),
    "test_labels": ("t10k-labels", LABELS),
}
"""How the name of each of the four files begins, and what it holds."""


class IdxFiles(NamedTuple):
    """Where the four files of a data set are."""

    train_images: Path
    train_labels: Path
    test_images: Path
    test_labels: Path


@dataclass(frozen=True)
class Shape:
    """How many images a data set has and how many pixels high and wide they are."""

    train_samples: int
    test_samples: int
    height: int
    width: int


@dataclass(frozen=True)
class Payload:
    """One IDX file, decompressed: the size of each dimension and every byte, header included."""

    sizes: tuple[int, ...]
    content: bytes

    @property
    def values(self) -> memoryview:
        """The bytes after the header."""
        return memoryview(self.content)[-math.prod(self.sizes) :]


def find_files(directory: Path) -> IdxFiles:
    """Finds the four files in `directory`, each plain or `.gz`, `-idx3-ubyte` or `.idx3-ubyte`, `t10k-` or `test-`.

    All four may have a prefix in common, as EMNIST's `emnist-letters-train-images-idx3-ubyte.gz`; files without one
    come first. Of several copies of one file the first in the order above is found; `read_contents` compares them.

    Raises:
        InputError: the directory cannot be read, a file is missing, or it holds several data sets with prefixes.
    """
    return IdxFiles(**{role: copies[0] for role, copies in _find_copies(directory).items()})


def read_shape(files: IdxFiles) -> Shape:
    """Reads a data set's shape from the four headers and, of files that are not compressed, from their sizes.

    Raises:
        InputError: a file cannot be read, is not of its kind, is empty, or disagrees with another.
    """
    sizes = [_read_header(path, kind) for path, (_, kind) in zip(files, _ROLES.values(), strict=True)]
    (train_samples, *train_size), (train_labels,), (test_samples, *test_size), (test_labels,) = sizes
    for images, samples, labels, label_count in (
        (files.train_images, train_samples, files.train_labels, train_labels),
        (files.test_images, test_samples, files.test_labels, test_labels),
    ):
        if samples != label_count:
            raise InputError(
                f"{labels} holds {label_count} labels but {images} holds {samples} images: there must be one "
                "label for each image, take both files from one data set."
            )
    if train_size != test_size:
        raise InputError(
            f"{files.test_images} holds images of {_text(test_size)} pixels but {files.train_images} holds "
            f"images of {_text(train_size)}: training and test images must have one size, take both from "
            "one data set."
        )
    return Shape(train_samples, test_samples, *train_size)


def read_payload(path: Path, kind: Kind) -> Payload:
    """Reads one whole file, gzip or plain, and checks its header and its exact length.

    Raises:
        InputError: the file cannot be read, is not of `kind`, is cut short or goes on after its last value.
    """
    sizes = _read_header(path, kind)
    expected_bytes = kind.header_bytes + math.prod(sizes)
    content = bytearray()

    def so_far() -> str:
        return f"after {len(content)} decompressed bytes where its header ({_text(sizes)}) promises {expected_bytes}"

    with _opened(path, so_far) as stream:
        # read1 hands over what was decompressed before an error, so that the message can say how much.
        while chunk := stream.read1(_CHUNK_BYTES):
            content += chunk
    _check_length(path, kind, sizes, len(content))
    return Payload(sizes, bytes(content))


def read_contents(directory: Path) -> dict[Path, Payload]:
    """Reads and checks the four files in `directory`, training before test, images before labels.

    Raises:
        InputError: they are missing or broken, disagree with each other, with copies of them or with their sums.
    """
    copies = _find_copies(directory)
    read_shape(find_files(directory))
    payloads: dict[Path, Payload] = {}
    different = []
    for role, (_, kind) in _ROLES.items():
        first, *others = copies[role]
        payloads[first] = read_payload(first, kind)
        different += [f"{first.name} and {copy.name}" for copy in others if read_payload(copy, kind) != payloads[first]]
    if different:
        raise InputError(
            f"{directory} has {', '.join(different)} with different contents, where copies of one file were expected: "
            "remove one of each."
        )
    check_sums(directory, {path.name.removesuffix(".gz"): payload.content for path, payload in payloads.items()})
    return payloads


def check_sums(directory: Path, contents: Mapping[str, bytes]) -> None:
    """Compares decompressed contents, by plain name, with `SHA256SUMS` where `directory` has that file.

    Other files that it lists are not looked at.

    Raises:
        InputError: SHA256SUMS cannot be read, lacks one of the names, or a sum differs.
    """
    sums_path = directory / SUMS_NAME
    if not sums_path.exists():
        return
    listed = _read_sums(sums_path)
    for name, content in contents.items():
        if name not in listed:
            raise InputError(
                f"{sums_path} lists no sum for {name} (it lists {', '.join(listed) or 'nothing'}): add the "
                f"sum of its decompressed contents under that name, without .gz, or remove {SUMS_NAME}."
            )
        found = hashlib.sha256(content).hexdigest()
        if found != listed[name]:
            raise InputError(
                f"{directory / name} (decompressed) has the SHA-256 sum {found} where {sums_path} expects "
                f"{listed[name]}: fetch the file again, or correct {SUMS_NAME} if the data were meant to "
                "change."
            )


def _find_copies(directory: Path) -> dict[str, list[Path]]:
    """Returns the copies of each of the four files, by the names in `IdxFiles` and in their order."""
    try:
        if not directory.exists():
            raise InputError(
                f"{directory} does not exist, seen from {Path.cwd()}: set dataset.path to a directory with the four "
                "IDX files."
            )
        if not directory.is_dir():
            raise InputError(
                f"{directory} is not a directory: set dataset.path to the directory that holds the four IDX files."
            )
        matches = [match for path in directory.iterdir() if path.is_file() and (match := _NAME.fullmatch(path.name))]
    except OSError as error:
        raise _unreadable(directory, error) from error
    sets: dict[str, dict[str, list[Path]]] = {}
    for match in sorted(matches, key=lambda found: (found["part"] == "test", found["joint"] == ".", found["gz"] or "")):
        found = sets.setdefault(match["prefix"], {role: [] for role in _ROLES})
        role = f"{'train' if match['part'] == 'train' else 'test'}_{match['kind']}"
        found[role].append(directory / match[0])
    complete = [prefix for prefix in sorted(sets) if all(sets[prefix].values())]
    if len(complete) > 1 and "" not in sets:
        raise InputError(
            f"{directory} has the files of several data sets, those that begin with {' and '.join(complete)}, where "
            "one was expected: link or move the four of one into a directory of their own and set dataset.path to that."
        )
    nearest = max(sorted(sets), key=lambda prefix: sum(map(bool, sets[prefix].values())), default="")
    prefix = "" if "" in sets else nearest
    copies = sets.get(prefix, {})
    for role, (begin, kind) in _ROLES.items():
        if not copies.get(role):
            stem = prefix + begin
            names = ", ".join(f"{stem}{joint}idx{kind.dimensions}-ubyte{gz}" for joint in "-." for gz in ("", ".gz"))
            raise InputError(
                f"{directory} has no {stem} file: one of {names} was expected; put it there or correct dataset.path."
            )
    return copies


def _read_header(path: Path, kind: Kind) -> tuple[int, ...]:
    """The size of each dimension; only the beginning of a gzip file is unpacked, of others the length is checked."""
    within = f"within the header of {kind.header_bytes} bytes that an IDX file of {kind.name} has"
    with _opened(path, lambda: within) as stream:
        header = stream.read(kind.header_bytes)
        found_bytes = os.fstat(stream.fileno()).st_size
    # The magic number first: a file of another kind may well be shorter than this header.
    magic = int.from_bytes(header[:_MAGIC_BYTES], "big")
    if len(header) >= _MAGIC_BYTES and magic != kind.magic:
        raise InputError(
            f"{path} begins with the number {magic} where an IDX file of {kind.name} has {kind.magic}: put "
            f"a file of {kind.name} (unsigned bytes, {kind.dimensions}-dimensional) under that name."
        )
    if len(header) < kind.header_bytes:
        raise InputError(
            f"{path} is cut short: it holds {len(header)} bytes where the header alone of an IDX file of "
            f"{kind.name} has {kind.header_bytes}; fetch or write it again."
        )
    sizes: tuple[int, ...] = struct.unpack(f">{kind.dimensions}I", header[_MAGIC_BYTES:])
    if 0 in sizes:
        raise InputError(
            f"{path} declares the size {_text(sizes)}: every dimension of {kind.name} must be at least 1, "
            "put a file with data under that name."
        )
    if path.suffix != ".gz":
        _check_length(path, kind, sizes, found_bytes)
    return sizes


def _check_length(path: Path, kind: Kind, sizes: tuple[int, ...], found_bytes: int) -> None:
    expected_bytes = kind.header_bytes + math.prod(sizes)
    if found_bytes == expected_bytes:
        return
    fault = "is cut short" if found_bytes < expected_bytes else "goes on after its last value"
    raise InputError(
        f"{path} {fault}: it holds {found_bytes} bytes (decompressed) where its header ({_text(sizes)}) "
        f"promises {expected_bytes}; fetch or write it again."
    )


def _read_sums(path: Path) -> dict[str, str]:
    """Returns the sums in lower case, by file name."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise _unreadable(path, error) from error
    sums: dict[str, str] = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        match = _SUMS_LINE.fullmatch(line)
        if match is None:
            raise InputError(
                f"{path} line {number} is {line!r} where a SHA-256 sum of 64 hexadecimal digits, two spaces "
                "and a file name were expected: write the file with sha256sum."
            )
        name = str(PurePosixPath(match["name"]))  # "./name", as `sha256sum ./*` writes it, is "name"
        found = match["sum"].lower()
        if sums.setdefault(name, found) != found:
            raise InputError(
                f"{path} line {number} gives {name} the sum {found} after an earlier line gave it "
                f"{sums[name]}: keep the right one."
            )
    return sums


@contextmanager
def _opened(path: Path, where: Callable[[], str]) -> Iterator[gzip.GzipFile | io.BufferedReader]:
    """The contents of `path`, decompressed; `where` says where its gzip stream breaks off, should it do so.

    Raises:
        InputError: it cannot be read to where the block reads it.
    """
    try:
        with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as stream:
            yield stream
    except EOFError as error:
        raise InputError(
            f"{path} is cut short: its gzip stream breaks off {where()}; fetch or write it again."
        ) from error
    except (OSError, zlib.error) as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: Exception) -> InputError:
    if isinstance(error, (gzip.BadGzipFile, zlib.error)):
        return InputError(
            f"{path} is not a sound gzip file ({error}) where one was expected: fetch or write it again, or "
            "drop .gz from its name if it is not compressed."
        )
    reason = getattr(error, "strerror", None) or error
    return InputError(f"{path} cannot be read ({reason}): make it readable, or correct dataset.path.")


def _text(sizes: Iterable[int]) -> str:
    return " x ".join(map(str, sizes))
