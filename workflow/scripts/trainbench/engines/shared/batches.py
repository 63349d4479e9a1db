"""Says how a batch is shared out among devices and threads."""

from typing import Final

EVALUATION_BATCH: Final = 1000
"""Test images a step of the evaluation loop: bounds its memory, 0.1 GiB for conv's first layer."""

SMALLEST_PART: Final = 64
"""Images of a batch that are worth a thread of their own; with 32 each, batches of 128 trained more slowly."""


def sizes(whole: int, parts: int) -> list[int]:
    """`whole` in so many parts that differ by one at most."""
    least, larger = divmod(whole, parts)
    return [least + 1] * larger + [least] * (parts - larger)


def parts_of_a_batch(kind: str, threads: int, batch_size: int) -> int:
    """How many parts of a batch are computed side by side, each by one thread, where a framework computes in parts.

    These networks are chains of small operations. Where each operation is shared among the threads, these wait for one
    another thousands of times a step; where each thread has a part of the batch, once or twice (docs/performance.md).
    With fewer than `SMALLEST_PART` images for each thread, and on a GPU, there is one part.
    """
    return threads if kind == "cpu" and batch_size // threads >= SMALLEST_PART else 1
