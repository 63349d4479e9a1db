"""Brings PyTorch up on a device, and reads its errors."""

import warnings
from typing import Any, Final

import torch

from trainbench.engines.shared.framework import Framework
from trainbench.engines.shared.interface import Execution

_OUT_OF_MEMORY_TEXTS: Final = (
    "can't allocate memory",
    "CUDA error: out of memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_ALLOC_FAILED",
)
"""What PyTorch's allocator for CPUs, and CUDA's libraries, say in a RuntimeError for too little memory."""


def _out_of_memory(error: Exception) -> str | None:
    is_it = isinstance(error, torch.OutOfMemoryError) or (
        isinstance(error, RuntimeError) and any(text in str(error) for text in _OUT_OF_MEMORY_TEXTS)
    )
    return str(error).splitlines()[0] if is_it else None


def _missing_operation(error: Exception) -> str | None:
    is_it = isinstance(error, RuntimeError) and _out_of_memory(error) is None
    return str(error).splitlines()[0] if is_it else None


FRAMEWORK: Final = Framework("PyTorch", torch.__version__, _out_of_memory, _missing_operation)


def set_up(execution: Execution, rank: int, parts: int) -> None:
    """Bring PyTorch up for the replica `rank`, which takes its batches in so many parts.

    Raises:
        Refused: GPUs are asked for and PyTorch sees fewer.
    """
    if execution.kind == "gpu":
        FRAMEWORK.demand_gpus(
            execution.replicas,
            torch.cuda.device_count() if torch.cuda.is_available() else 0,
            is_built_with_cuda=torch.version.cuda is not None,
            otherwise="it could not reach the card (remedy: read the warnings in this log, compare the driver that "
            f"`nvidia-smi` shows with CUDA {torch.version.cuda})",
        )
        torch.cuda.set_device(rank)
    # Shapes never change: cuDNN tries its algorithms once, in the warm-up, and keeps the fastest.
    torch.backends.cudnn.benchmark = True
    # Each by name: cuDNN's default is TF32.
    float32_is = "tf32" if execution.precision == "tf32" else "ieee"
    for operations in (torch.backends.cuda.matmul, torch.backends.cudnn.conv, torch.backends.cudnn.rnn):
        operations.fp32_precision = float32_is
    torch.set_num_threads(1 if parts > 1 else max(1, execution.threads // execution.replicas))
    if torch.get_num_interop_threads() != 1:
        # PyTorch allows it once, before its first work. Nothing here uses that pool.
        torch.set_num_interop_threads(1)
    # The LSTM's weights lie as the optimiser wants them; cuDNN copies them, 26 kB, in each step.
    warnings.filterwarnings("ignore", message="RNN module weights are not part of single contiguous chunk")


def device_of(execution: Execution, rank: int) -> Any:
    """The device of the replica `rank`."""
    return torch.device("cpu") if execution.kind == "cpu" else torch.device("cuda", rank)
