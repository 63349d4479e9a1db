"""Says which NVIDIA cards there are, as NVML lists them, and what CUDA sees of each.

A value that NVML does not know is None, never 0.
"""

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pynvml

from trainbench.machine import kernel_files
from trainbench.machine.nvml import BYTES_PER_MIB, GpuLost, NvmlUnavailable, Questions, Session, slice_handles


@dataclass(frozen=True)
class Slice:
    """A part of a card in MIG mode, which computes as a card of its own."""

    name: str | None
    """The card's name and the slice's profile, as in "NVIDIA H200 MIG 1g.18gb"."""
    uuid: str | None
    """As in "MIG-5c2d3b1e-...", from drivers before 470 "MIG-GPU-.../1/0"; CUDA_VISIBLE_DEVICES accepts it."""
    memory_mib: float | None
    gpu_instance: int | None
    """Number of the part of the card."""
    compute_instance: int | None
    """Number of the slice among those that share the part's memory."""


@dataclass(frozen=True)
class Gpu:
    """One card."""

    index: int
    """Its number in NVML's order (PCI order), which is not always CUDA's."""
    name: str | None
    uuid: str | None
    """NVIDIA's name for this very card; CUDA_VISIBLE_DEVICES accepts it."""
    memory_mib: float | None
    pci_address: str | None
    slices: tuple[Slice, ...] | None = None
    """What CUDA sees of a card in MIG mode in its place; None where it is not in that mode."""


@dataclass(frozen=True)
class Inventory:
    """The cards NVML sees, in its order; none where it cannot be used, for which `problem` has its own reason.

    `is_broken` says that there ought to be cards that NVML cannot tell of, rather than none; `unreadable` has a
    sentence with NVML's reason for each card that is counted and cannot be asked about; a card that this user may not
    use, as under a scheduler, is none of them.
    """

    driver_version: str | None
    gpus: tuple[Gpu, ...]
    problem: str | None
    is_broken: bool = False
    unreadable: tuple[str, ...] = ()


def inventory() -> Inventory:
    """List the cards; a machine without card, driver or library has none and says why in `problem`."""
    try:
        with Session():
            asked = [_gpu(index) for index in range(pynvml.nvmlDeviceGetCount())]
            return Inventory(
                driver_version=Questions("the driver").ask(pynvml.nvmlSystemGetDriverVersion),
                gpus=tuple(gpu for gpu, _ in asked),
                problem=None,
                unreadable=tuple(reason for _, reason in asked if reason is not None),
            )
    except (NvmlUnavailable, pynvml.NVMLError, GpuLost) as error:
        return Inventory(None, (), str(error), is_broken=not _is_absent(error.__cause__ or error))


def _is_absent(error: BaseException) -> bool:
    """Whether there is no driver because nobody has installed one, or because there is no card for it."""
    code = getattr(error, "value", None)
    if code == pynvml.NVML_ERROR_DRIVER_NOT_LOADED:
        return not _is_on_bus(Path("/"))
    return bool(code == pynvml.NVML_ERROR_LIBRARY_NOT_FOUND)


def _is_on_bus(root: Path) -> bool:
    """Whether the kernel knows of a card: 0x10de is NVIDIA, 0x03 the class of displays, also of cards without one.

    Source: the PCI ID Repository (https://pci-ids.ucw.cz); Linux, Documentation/ABI/testing/sysfs-bus-pci.
    """
    return any(
        (kernel_files.text(device / "vendor") or "").startswith("0x10de")
        and (kernel_files.text(device / "class") or "").startswith("0x03")
        for device in (root / "sys/bus/pci/devices").glob("*")
    )


def _gpu(index: int) -> tuple[Gpu, str | None]:
    """One card, and why it cannot be asked about, if it cannot."""
    # The driver still counts a card that has failed: it keeps its place in the list.
    nothing = Gpu(index, None, None, None, None)
    try:
        handle = pynvml.nvmlDeviceGetHandleByIndex(index)
    except pynvml.NVMLError as error:
        is_hidden = error.value == pynvml.NVML_ERROR_NO_PERMISSION
        return nothing, None if is_hidden else f"GPU {index} cannot be asked about (NVML: {error})"
    try:
        questions = Questions(f"GPU {index}")
        gpu = Gpu(
            index=index,
            name=questions.ask(lambda: pynvml.nvmlDeviceGetName(handle)),
            uuid=questions.ask(lambda: pynvml.nvmlDeviceGetUUID(handle)),
            memory_mib=_memory_mib(questions, handle),
            pci_address=questions.ask(lambda: pynvml.nvmlDeviceGetPciInfo(handle).busId),
            slices=_slices(questions, handle),
        )
        questions.require_a_card()
    except GpuLost as error:
        return nothing, str(error)
    return gpu, None


def _slices(questions: Questions, card: object) -> tuple[Slice, ...] | None:
    """The slices of a card, None where it is not in MIG mode."""
    handles = slice_handles(questions, card)
    if handles is None:
        return None
    ask = questions.ask
    return tuple(
        Slice(
            name=ask(partial(pynvml.nvmlDeviceGetName, handle)),
            uuid=ask(partial(pynvml.nvmlDeviceGetUUID, handle)),
            memory_mib=_memory_mib(questions, handle),
            gpu_instance=ask(partial(pynvml.nvmlDeviceGetGpuInstanceId, handle)),
            compute_instance=ask(partial(pynvml.nvmlDeviceGetComputeInstanceId, handle)),
        )
        for handle in handles
    )


def _memory_mib(questions: Questions, handle: object) -> float | None:
    return questions.number(BYTES_PER_MIB, lambda: pynvml.nvmlDeviceGetMemoryInfo(handle).total)
