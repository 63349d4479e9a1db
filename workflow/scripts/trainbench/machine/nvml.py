"""Asks NVML, the library behind nvidia-smi, what NVIDIA cards are doing.

Importing this module does not touch the driver. A value that NVML does not know, for whatever reason (an old card, an
old driver, a card split by MIG), is None, never 0.
"""

import os
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Self, TypeVar

import psutil
import pynvml

Value = TypeVar("Value")

BYTES_PER_MIB = 2**20
SLICE_PREFIX = "MIG-"
MPS_SERVER = "nvidia-cuda-mps"
"""How the name of MPS' server, nvidia-cuda-mps-server, begins: the kernel keeps 15 characters of a process' name."""

_BITS_PER_WORD = 64

HIGHEST_PROCESS_ID = 2**22
"""PID_MAX_LIMIT of Linux, include/linux/threads.h. NVML's are of 32 bits, and drivers have listed 4294967295."""

IDLE = 0x001

# What lowers a card's clocks, by the bits of nvmlClocksEventReasons in nvml.h. The bit of an idle card stays
# out: such a card slows down because nobody asks anything of it, whatever else is said of its clocks.
THROTTLE_REASONS = {
    0x002: "application_clocks",
    0x004: "software_power_cap",
    0x008: "hardware_slowdown",
    0x010: "sync_boost",
    0x020: "software_thermal_slowdown",
    0x040: "hardware_thermal_slowdown",
    0x080: "hardware_power_brake",
    0x100: "display_clocks",
    0x200: "board_limit",
    0x400: "reliability",
}

# Of these, what somebody has set, for as long as the setting lasts, rather than what the card does to itself under
# load: "GPU clocks are limited by current setting of applications clocks", the same of display clocks, and "all GPUs
# in the sync boost group will boost to the minimum possible clocks across the entire group".
# Source: nvml.h, nvmlClocksEventReasons; nvidia-smi(1), "Clocks Event Reasons".
CLOCK_SETTINGS = frozenset({"application_clocks", "sync_boost", "display_clocks"})


class NvmlUnavailable(Exception):  # noqa: N818  # the name says what is the case
    """NVML cannot be used on this machine; the text is NVML's own reason."""


class GpuLost(Exception):  # noqa: N818  # the name says what is the case
    """A card that was asked about is not there, or not there any more."""


@dataclass(frozen=True)
class Reading:
    """What one card, or a slice of one, is doing at one moment.

    Of a slice NVML does not tell utilisation, power and energy ("On MIG-enabled GPUs, querying device utilization
    rates is not currently supported", nvml.h): they are None, and not those of the card. Temperature (the chip's),
    clock (the streaming multiprocessors') and throttling are the card's.
    """

    utilization_percent: float | None
    """Share of NVML's last window (1/6 to 1 s) in which any kernel ran."""
    memory_used_mib: float | None
    """By all processes, as nvidia-smi shows it; drivers before 510 count their own reserve in."""
    power_watts: float | None
    """Of the whole board; on Ampere and later an average over the last second."""
    energy_joules: float | None
    """Counter since the driver was loaded; take differences. Volta and later."""
    temperature_celsius: float | None
    sm_clock_mhz: float | None
    throttle_reasons: tuple[str, ...] | None
    """What holds the clocks down (values of `THROTTLE_REASONS`); empty when nothing does."""
    process_ids: tuple[int, ...] | None
    """Processes that compute on the card, by the host's PIDs. Clients of MPS are among them, its server is not."""
    process_memory_mib: float | None
    """Of those processes that were asked about; None when none of them is listed."""


class Questions:
    """Puts questions about one card to NVML, and tells a value nobody knows from a card that is gone."""

    def __init__(self, card: str) -> None:
        self.card = card
        self.answered = False
        self.failure: str | None = None

    def ask(self, *alternatives: Callable[[], Value]) -> Value | None:
        """Return the first alternative's value that NVML knows.

        Alternatives are the same question to newer and older drivers, newest first.

        Raises:
            GpuLost: NVML says that the card is lost.
        """
        for alternative in alternatives:
            try:
                value = alternative()
            except pynvml.NVMLError as error:
                if error.value == pynvml.NVML_ERROR_GPU_IS_LOST:
                    raise GpuLost(f"{self.card} is lost (NVML: {error})") from error
                if error.value == pynvml.NVML_ERROR_UNKNOWN:
                    self.failure = str(error)
            else:
                self.answered = True
                return value
        return None

    def number(self, divisor: float, *alternatives: Callable[[], float]) -> float | None:
        """What `ask` returns, in a unit so many times as large."""
        found = self.ask(*alternatives)
        return None if found is None else found / divisor

    def require_a_card(self) -> None:
        """Refuse a card of which nothing is known.

        A card that fell off the bus may answer "Unknown Error" to everything instead of being "lost".

        Raises:
            GpuLost: No question was answered, and at least one failed in that way.
        """
        if not self.answered and self.failure is not None:
            raise GpuLost(f"{self.card} answers nothing any more (NVML: {self.failure})")


class Session:
    """Reads cards again and again within one initialisation of NVML.

    Use it as a context manager.

    Raises:
        NvmlUnavailable: On entering, when there is no NVML library, driver or permission.
    """

    def __init__(self) -> None:
        self._handles: dict[str, object] = {}

    def __enter__(self) -> Self:
        try:
            pynvml.nvmlInit()
        except pynvml.NVMLError as error:
            raise NvmlUnavailable(str(error)) from error
        return self

    def __exit__(self, *_: object) -> None:
        self._handles.clear()
        # A driver that went away while it was read has shut itself down.
        with suppress(pynvml.NVMLError):
            pynvml.nvmlShutdown()

    def read(self, uuid: str, process_ids: Collection[int] = (), *, with_processes: bool = True) -> Reading:
        """Read everything about one card or slice; listing its processes is by far the slowest question.

        Raises:
            GpuLost: The card is not there.
        """
        handle = self._handle(uuid)
        questions = Questions(f"GPU {uuid}")
        number, card = questions.number, handle
        if uuid.startswith(SLICE_PREFIX):
            card = _card_of(handle)
            utilization_percent = power_watts = energy_joules = None
        else:
            utilization_percent = number(1, lambda: pynvml.nvmlDeviceGetUtilizationRates(handle).gpu)
            power_watts = number(1000, lambda: pynvml.nvmlDeviceGetPowerUsage(handle))
            energy_joules = number(1000, lambda: pynvml.nvmlDeviceGetTotalEnergyConsumption(handle))
        reasons = questions.ask(
            lambda: pynvml.nvmlDeviceGetCurrentClocksEventReasons(card),
            lambda: pynvml.nvmlDeviceGetCurrentClocksThrottleReasons(card),
        )
        processes = questions.ask(lambda: _processes(handle)) if with_processes else None
        reading = Reading(
            utilization_percent,
            number(
                BYTES_PER_MIB,
                lambda: pynvml.nvmlDeviceGetMemoryInfo(handle, pynvml.nvmlMemory_v2).used,
                lambda: pynvml.nvmlDeviceGetMemoryInfo(handle).used,
            ),
            power_watts,
            energy_joules,
            temperature_celsius=number(1, lambda: pynvml.nvmlDeviceGetTemperature(card, pynvml.NVML_TEMPERATURE_GPU)),
            sm_clock_mhz=number(1, lambda: pynvml.nvmlDeviceGetClockInfo(card, pynvml.NVML_CLOCK_SM)),
            throttle_reasons=None if reasons is None else throttle_reasons(reasons),
            process_ids=None if processes is None else tuple(processes),
            process_memory_mib=_memory_of(processes or {}, process_ids),
        )
        questions.require_a_card()
        return reading

    def near_cores(self, uuid: str) -> frozenset[int] | None:
        """Logical CPUs near the card, or None where NVML does not know.

        Raises:
            GpuLost: The card is not there.
        """
        handle = self._handle(uuid)
        card = _card_of(handle) if uuid.startswith(SLICE_PREFIX) else handle
        words = -(-(os.cpu_count() or 1) // _BITS_PER_WORD)
        mask = Questions(f"GPU {uuid}").ask(lambda: list(pynvml.nvmlDeviceGetCpuAffinity(card, words)))
        if mask is None:
            return None
        bits = range(words * _BITS_PER_WORD)
        return frozenset(bit for bit in bits if mask[bit // _BITS_PER_WORD] >> bit % _BITS_PER_WORD & 1) or None

    def free_memory_bytes(self, uuid: str) -> int | None:
        """Memory of the card that nobody has taken, or None where NVML does not know.

        Raises:
            GpuLost: The card is not there.
        """
        handle = self._handle(uuid)
        return Questions(f"GPU {uuid}").ask(lambda: int(pynvml.nvmlDeviceGetMemoryInfo(handle).free))

    def lists_processes(self, uuids: Collection[str], process_ids: Collection[int]) -> bool | None:
        """Tell whether each of the cards or slices lists any of the processes.

        None where no card of the machine lists any. That proves nothing: NVML's PIDs are the host's, and a container
        numbers its own processes; in the place of a client of MPS it may list the server; and other users' processes
        it may leave out. But a driver that lists the processes on some card lists them wherever they compute.
        """
        found = set()
        for index in range(Questions("the driver").ask(pynvml.nvmlDeviceGetCount) or 0):
            questions = Questions(f"GPU {index}")
            with suppress(GpuLost):
                for handle in _computing_handles(questions, index):
                    listed = questions.ask(partial(_processes, handle)) or {}
                    if not listed.keys().isdisjoint(process_ids):
                        found.add(questions.ask(partial(pynvml.nvmlDeviceGetUUID, handle)))
        return found.issuperset(uuids) if found else None

    def _handle(self, uuid: str) -> object:
        if uuid not in self._handles:
            try:
                self._handles[uuid] = pynvml.nvmlDeviceGetHandleByUUID(uuid)
            except pynvml.NVMLError as error:
                raise GpuLost(f"GPU {uuid} cannot be found (NVML: {error})") from error
        return self._handles[uuid]


def throttle_reasons(bits: int) -> tuple[str, ...]:
    """Name the reasons in NVML's bit field; bits without a name come last, as "other_0x800".

    An idle card has none: what holds its clocks down is that nothing runs on it.
    """
    if bits & IDLE:
        return ()
    named = tuple(name for bit, name in THROTTLE_REASONS.items() if bits & bit)
    unnamed = bits & ~sum(THROTTLE_REASONS)
    return (*named, f"other_{unnamed:#x}") if unnamed else named


def slice_handles(questions: Questions, card: object) -> list[object] | None:
    mode = questions.ask(lambda: pynvml.nvmlDeviceGetMigMode(card)[0])
    if mode != pynvml.NVML_DEVICE_MIG_ENABLE:
        return None
    # The count is how many there can be: an index may be free, or lead to a slice that is not this job's.
    most = questions.ask(lambda: pynvml.nvmlDeviceGetMaxMigDeviceCount(card)) or 0
    handles = [questions.ask(partial(pynvml.nvmlDeviceGetMigDeviceHandleByIndex, card, index)) for index in range(most)]
    return [handle for handle in handles if handle is not None]


def _card_of(slice_handle: object) -> object:
    """The card that a slice is part of; what can be asked of nothing is unknown."""
    return Questions("a slice").ask(lambda: pynvml.nvmlDeviceGetDeviceHandleFromMigDeviceHandle(slice_handle))


def _computing_handles(questions: Questions, index: int) -> list[object]:
    """What CUDA sees of a card: itself, or its slices."""
    handle = questions.ask(lambda: pynvml.nvmlDeviceGetHandleByIndex(index))
    if handle is None:
        return []
    slices = slice_handles(questions, handle)
    return [handle] if slices is None else slices


def _processes(handle: object) -> dict[int, int | None]:
    """List the computing processes and the bytes each uses; None where NVML lists the process only.

    Clients of MPS compute through its server, and have a list of their own.
    """
    listed = [*pynvml.nvmlDeviceGetComputeRunningProcesses(handle)]
    with suppress(pynvml.NVMLError):
        listed += pynvml.nvmlDeviceGetMPSComputeRunningProcesses(handle)
    return {process.pid: process.usedGpuMemory for process in listed if not _is_mps_server(process.pid)}


def _is_mps_server(pid: int) -> bool:
    try:
        return psutil.Process(pid).name().startswith(MPS_SERVER)
    except (psutil.Error, OverflowError):
        return False


def _memory_of(listed: dict[int, int | None], process_ids: Collection[int]) -> float | None:
    memory_bytes = [used for pid, used in listed.items() if pid in process_ids]
    known = [used for used in memory_bytes if used is not None]
    return sum(known) / BYTES_PER_MIB if known and len(known) == len(memory_bytes) else None
