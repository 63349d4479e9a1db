"""Says which variables of the caller's environment a run starts with, and which are for its device to set.

Nothing that was exported for another purpose shall change a measurement, or be part of one without being recorded.
Standard library only: rules import this module whenever Snakemake reads them.
"""

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

PASSED: Final = frozenset(
    {
        # where programs, settings, caches and temporary files are
        *("PATH", "HOME", "USER", "LOGNAME", "TMPDIR"),
        # how texts are encoded
        *("LANG", "LC_ALL", "LC_CTYPE"),
        # libraries of a site: of modules, of containers with `--nv`, of NixOS
        *("LD_LIBRARY_PATH", "NIX_LD", "NIX_LD_LIBRARY_PATH"),
        # where Python finds itself and the framework, and where not
        *("PYTHONHOME", "PYTHONPATH", "PYTHONNOUSERSITE", "PYTHONUSERBASE", "EBPYTHONPREFIXES"),
        # where CUDA is, where it keeps compiled kernels, and the server through which cards may have to be reached
        *("CUDA_HOME", "CUDA_PATH", "CUDA_CACHE_PATH", "CUDA_MPS_PIPE_DIRECTORY", "CUDA_MPS_LOG_DIRECTORY"),
    }
)
"""All that passes, as far as the caller has set it: docs/measuring.md says why each does."""

SET_BY_TRAINBENCH: Final[Mapping[str, str]] = {
    "OMP_NUM_THREADS": "give the device threads",
    "PJRT_NPROC": "give the device threads",
    "CUDA_VISIBLE_DEVICES": "give the device gpus; which cards may be used is for the shell to say",
    "CUDA_DEVICE_ORDER": "runs name cards by their UUIDs",
    "XLA_PYTHON_CLIENT_PREALLOCATE": "the memory of a card in use shall be what the run needs",
    "TF_USE_LEGACY_KERAS": "no run uses Keras",
    "PYTHONUNBUFFERED": "each line of a run is read as it is written",
    "PYTHONIOENCODING": "the log of a run is UTF-8",
}
"""What no device can set, and what to do instead or why."""

_RECORDED: Final = ("CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER", "OMP_NUM_THREADS")

_SPEED_PREFIXES: Final = (
    *("OMP_", "GOMP_", "KMP_", "MKL_", "OPENBLAS_", "BLIS_", "DNNL_", "ONEDNN_", "ATEN_", "LRU_CACHE_CAPACITY"),
    *("CUDA_", "CUBLAS", "CUDNN_", "NCCL_", "NVIDIA_TF32_OVERRIDE"),
    *("TF_", "XLA_", "JAX_", "PJRT_", "TORCH", "PYTORCH_", "NPROC"),
    *("LD_PRELOAD", "MALLOC_", "GLIBC_TUNABLES"),
)
"""How the names of variables begin that change the speed or the precision of training.

Sources: "CUDA Environment Variables" of CUDA and of PyTorch, "Environment Variables" of NCCL, "Configuration options"
of JAX, "CPU dispatcher control" and "Verbose mode" of oneDNN, mallopt(3), ld.so(8), "Environment Variables" of OpenMP.
"""

_OF_NO_EFFECT: Final = ("_VERSION", "_HOME", "_ROOT", "_PATH", "_ARCH_LIST")
_OF_TERRAFORM: Final = ("TF_CLI_", "TF_VAR_", "TF_DATA_DIR", "TF_PLUGIN_CACHE_DIR", "TF_WORKSPACE")
"""Terraform's, which TensorFlow does not read: "Environment Variables" of its CLI."""


def of_run(inherited: Mapping[str, str], own: Mapping[str, str]) -> dict[str, str]:
    """What passes of the caller's variables, and a device's `own`, which replace these."""
    return {**{name: value for name, value in inherited.items() if name in PASSED}, **own}


def of_process(
    inherited: Mapping[str, str], threads: int, gpu_uuids: Sequence[str], own: Mapping[str, str] | None = None
) -> dict[str, str]:
    """The environment of a run's process: what passes of the caller's, the variables of its device (`own`), its
    threads, its cards or none, the package to import.
    """
    given = {"TF_CPP_MIN_LOG_LEVEL": "1", **of_run(inherited, own or {})}
    search_path = [str(Path(__file__).resolve().parents[2]), *filter(None, [given.get("PYTHONPATH")])]
    return {
        **given,
        "PYTHONPATH": os.pathsep.join(search_path),
        "PYTHONUNBUFFERED": "1",
        "PYTHONIOENCODING": "utf-8:backslashreplace",  # the log's, whatever the terminal's is
        "OMP_NUM_THREADS": str(threads),
        "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
        "CUDA_VISIBLE_DEVICES": ",".join(gpu_uuids),
        # TensorFlow imports Keras along with itself, a quarter of its time, unless it is to take Keras from the package
        # tf_keras instead, which is not installed. Nothing here uses either.
        "TF_USE_LEGACY_KERAS": "1",
    }


def recorded(environment: Mapping[str, str], own: Mapping[str, str]) -> dict[str, str]:
    """What of a run's environment its metrics file tells: what trainbench sets and speed depends on, and the `own`.

    These as the device sets them: of a PYTHONPATH, without the folder of this checkout that a run gets in front of it.
    """
    return {**{name: environment[name] for name in _RECORDED if name in environment}, **own}


def left_out(inherited: Iterable[str]) -> list[str]:
    """The names of the caller's variables that could change the speed of runs if they were passed on, in order.

    What images of containers and modules tell of versions and folders changes nothing.
    """
    kept = PASSED | SET_BY_TRAINBENCH.keys()
    return sorted(
        name
        for name in inherited
        if name.startswith(_SPEED_PREFIXES)
        and name not in kept
        and not name.endswith(_OF_NO_EFFECT)
        and not name.startswith(_OF_TERRAFORM)
    )


def suspicion(device: str, own: Sequence[str]) -> str:
    """Where to look when a run fails whose device sets variables of its `own`: a part of a sentence."""
    return (
        f"the device sets {', '.join(own)} (the environment of {device} in device_settings), which may be why: try "
        "without"
        if own
        else ""
    )
