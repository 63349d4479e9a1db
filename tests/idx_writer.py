"""Writes small data sets of labelled images as directories of four IDX files."""

import gzip
import struct
from pathlib import Path

import numpy as np
import numpy.typing as npt

IMAGES_MAGIC = 2051
LABELS_MAGIC = 2049


def write_idx_directory(
    directory: Path,
    *,
    train_samples: int = 240,
    test_samples: int = 80,
    height: int = 8,
    width: int = 12,
    classes: int = 4,
    seed: int = 0,
    compress: bool = False,
) -> Path:
    """Writes a data set that models can learn and returns `directory`.

    Every class has its own pattern of dark and bright pixels, to which each image adds noise. Labels are in
    random order and as equally frequent as they can be. The same arguments give the same bytes.
    """
    directory.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(seed)
    patterns = random.choice([64.0, 192.0], size=(classes, height, width))
    for prefix, samples in (("train", train_samples), ("t10k", test_samples)):
        labels = random.permutation(np.arange(samples) % classes).astype(np.uint8)
        noise = random.normal(scale=32.0, size=(samples, height, width))
        images = np.clip(patterns[labels] + noise, 0, 255).astype(np.uint8)
        ending = ".gz" if compress else ""
        write_file(directory / f"{prefix}-images-idx3-ubyte{ending}", idx_bytes(images))
        write_file(directory / f"{prefix}-labels-idx1-ubyte{ending}", idx_bytes(labels))
    return directory


def idx_bytes(values: npt.NDArray[np.uint8]) -> bytes:
    """Encodes labels [N] or images [N, height, width] as the contents of an IDX file."""
    magic = {1: LABELS_MAGIC, 3: IMAGES_MAGIC}[values.ndim]
    return struct.pack(f">{1 + values.ndim}I", magic, *values.shape) + values.tobytes()


def idx_header(magic: int, *sizes: int) -> bytes:
    """Encodes a header alone, for files that are to be wrong."""
    return struct.pack(f">{1 + len(sizes)}I", magic, *sizes)


def write_file(path: Path, content: bytes) -> None:
    """Writes `content`, compressed if `path` ends in .gz."""
    path.write_bytes(gzip.compress(content, mtime=0) if path.suffix == ".gz" else content)
