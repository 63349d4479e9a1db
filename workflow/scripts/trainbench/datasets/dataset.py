"""Prepares a data set once as one checked file, and loads it in every run."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from trainbench.datasets import idx
from trainbench.errors import InputError
from trainbench.files import fingerprint, whole_file

FORMAT_VERSION = 1

# safetensors writes its metadata entries in random order. All of ours are JSON in a single entry, so that the
# same data give the same file, byte for byte.
_METADATA_KEY = "trainbench_dataset"
_ARRAYS = ("train_images", "train_labels", "test_images", "test_labels")
_MIN_CLASSES = 2


@dataclass(frozen=True, eq=False)
class Dataset:
    """Images [samples, height, width] and labels [samples], 0 to classes - 1, in file order.

    `sha256` is that of the four arrays' names, types, shapes and values; the same whether the files that they came from
    were compressed or not.
    """

    train_images: npt.NDArray[np.uint8]
    train_labels: npt.NDArray[np.uint8]
    test_images: npt.NDArray[np.uint8]
    test_labels: npt.NDArray[np.uint8]
    classes: int
    sha256: str


def prepare(directory: Path, output: Path) -> Dataset:
    """Reads and checks the four IDX files in `directory` and writes them to `output`, whole or not at all.

    Raises:
        InputError: the files are missing or broken, disagree with each other or with their sums, or hold a
            single class.
    """
    payloads = idx.read_contents(directory)
    arrays = {
        name: np.frombuffer(payload.values, np.uint8).reshape(payload.sizes)
        for name, payload in zip(_ARRAYS, payloads.values(), strict=True)
    }
    classes = 1 + int(max(arrays["train_labels"].max(), arrays["test_labels"].max()))
    if classes < _MIN_CLASSES:
        _, train_labels, _, test_labels = payloads
        raise InputError(
            f"{train_labels} and {test_labels} hold only the label 0 where at least "
            f"{_MIN_CLASSES} classes were expected: there is nothing to learn, use another data set."
        )
    sha256 = _contents_sha256(arrays)
    metadata = {"format_version": FORMAT_VERSION, "classes": classes, "sha256": sha256}
    whole_file.write(save(arrays, metadata={_METADATA_KEY: json.dumps(metadata)}), output)
    return Dataset(**arrays, classes=classes, sha256=sha256)


def prepare_if_absent(directory: Path, output: Path, files_sha256: str) -> None:
    """Prepares the four IDX files in `directory` as `output`, unless that is there, and removes other prepared files.

    Runs that do so at the same time do no harm: each writes the same bytes under a name of its own and renames it.
    `files_sha256` is the fingerprint of the IDX files (`fingerprint.of_files`) with which the study was planned.

    Raises:
        InputError: as `prepare`; and when the files are not those of the plan.
    """
    if output.exists():
        return
    found = fingerprint.of_files(idx.find_files(directory))
    if found != files_sha256:
        raise InputError(
            f"the data files in {directory} have the fingerprint {found} where the study was planned with "
            f"{files_sha256}: they were changed since; run snakemake again."
        )
    prepare(directory, output)
    for earlier in output.parent.glob(f"*{output.suffix}"):
        if earlier != output:
            earlier.unlink(missing_ok=True)


def load(path: Path) -> Dataset:
    """Loads what `prepare` wrote, without computing its sum again.

    Raises:
        InputError: the file is missing, broken, not a prepared data set, or of another format version.
    """
    advice = "delete it and run snakemake again, which prepares the data set anew."
    try:
        # MNIST takes about 0.02 s: the file is mapped into memory and copied from there once.
        with safe_open(path, framework="numpy") as file:
            # None where nobody wrote any, and none of ours in another program's file.
            metadata = json.loads((file.metadata() or {}).get(_METADATA_KEY, "{}"))
            found = metadata.get("format_version", "none")
            if found != FORMAT_VERSION:
                raise InputError(f"{path} has format version {found} where {FORMAT_VERSION} was expected: {advice}")
            arrays = {name: file.get_tensor(name) for name in _ARRAYS}
        return Dataset(**arrays, classes=metadata["classes"], sha256=metadata["sha256"])
    except FileNotFoundError as error:
        raise InputError(
            f"{path} does not exist where a prepared data set was expected: let the workflow prepare it."
        ) from error
    except (SafetensorError, OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        # What is not as `prepare` writes it, down to metadata that are no JSON or no mapping.
        raise InputError(f"{path} cannot be read as a prepared data set ({error}): {advice}") from error


def training_split(dataset: Dataset, validation_samples: int) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    """Returns the images and labels to train on: all but the first `validation_samples`, in file order.

    The loader of the 2017 tutorials set the first 5000 aside for validation
    (tensorflow/contrib/learn/python/learn/datasets/mnist.py, `read_data_sets`).

    Raises:
        InputError: `validation_samples` is negative or leaves nothing to train on.
    """
    train_samples = len(dataset.train_images)
    if not 0 <= validation_samples < train_samples:
        raise InputError(
            f"dataset.validation_samples is {validation_samples} where 0 to {train_samples - 1} was "
            f"expected: the data set has {train_samples} training images and at least one must be left, "
            "choose a number in that range."
        )
    return dataset.train_images[validation_samples:], dataset.train_labels[validation_samples:]


def _contents_sha256(arrays: dict[str, npt.NDArray[np.uint8]]) -> str:
    digest = hashlib.sha256()
    for name, array in arrays.items():
        digest.update(f"{name} {array.dtype} {array.shape}\n".encode())
        digest.update(array.data)
    return digest.hexdigest()
