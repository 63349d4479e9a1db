"""Asks NVML, the library behind nvidia-smi, which NVIDIA cards there are and what they are doing.

The only module that imports pynvml. Importing it does not touch the driver. A value that NVML does not know,
for whatever reason (an old card, an old driver, a card split by MIG), is None, never 0.
"""

import os
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Self, TypeVar

import psutil
import pynvml

Value = TypeVar("Value")

BYTES_PER_MIB = 2**20
_BITS_PER_WORD = 64

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
class Gpu:
    """One card.

    Attributes:
        index: Its number in NVML's order (PCI order), which is not always CUDA's.
        name: The product's name, as in "NVIDIA H200".
        uuid: NVIDIA's name for this very card; CUDA_VISIBLE_DEVICES accepts it.
        memory_mib: All of its memory.
        pci_address: Domain, bus and device, as in "00000000:1B:00.0".
    """

    index: int
    name: str | None
    uuid: str | None
    memory_mib: float | None
    pci_address: str | None


@dataclass(frozen=True)
class Inventory:
    """The cards NVML sees.

    Attributes:
        driver_version: The NVIDIA driver, as in "580.65.06".
        cuda_driver_version: The newest CUDA that the driver supports, as in "13.0".
        gpus: The cards in NVML's order; empty where NVML cannot be used.
        problem: NVML's own reason why it cannot be used, None where it can.
    """

    driver_version: str | None
    cuda_driver_version: str | None
    gpus: tuple[Gpu, ...]
    problem: str | None


@dataclass(frozen=True)
class Reading:
    """What one card is doing at one moment.

    Attributes:
        utilization_percent: Share of NVML's last window (1/6 to 1 s) in which any kernel ran.
        memory_used_mib: Memory in use by all processes, as nvidia-smi shows it; drivers before 510 count
            their own reserve in.
        power_watts: Power of the whole board; on Ampere and later an average over the last second.
        energy_joules: Counter since the driver was loaded; take differences. Volta and later.
        temperature_celsius: Of the chip.
        sm_clock_mhz: Clock of the streaming multiprocessors.
        throttle_reasons: What holds the clocks down (values of `THROTTLE_REASONS`); empty when nothing does.
        process_ids: Processes that compute on the card, by the PIDs that NVML reports: the host's.
        process_memory_mib: Memory of those processes that were asked about; None when none of them is listed.
    """

    utilization_percent: float | None
    memory_used_mib: float | None
    power_watts: float | None
    energy_joules: float | None
    temperature_celsius: float | None
    sm_clock_mhz: float | None
    throttle_reasons: tuple[str, ...] | None
    process_ids: tuple[int, ...] | None
    process_memory_mib: float | None


class _Questions:
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

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._handles.clear()
        _shutdown()

    def read(self, uuid: str, process_ids: Collection[int] = (), *, with_processes: bool = True) -> Reading:
        """Read everything about one card.

        Args:
            uuid: The card's UUID, from `inventory`.
            process_ids: The processes whose memory on the card to add up.
            with_processes: Whether to list processes, by far the slowest question.

        Raises:
            GpuLost: The card is not there.
        """
        handle = self._handle(uuid)
        questions = _Questions(f"GPU {uuid}")
        ask = questions.ask
        utilization = ask(lambda: pynvml.nvmlDeviceGetUtilizationRates(handle).gpu)
        memory_bytes = ask(
            lambda: pynvml.nvmlDeviceGetMemoryInfo(handle, pynvml.nvmlMemory_v2).used,
            lambda: pynvml.nvmlDeviceGetMemoryInfo(handle).used,
        )
        power_milliwatts = ask(lambda: pynvml.nvmlDeviceGetPowerUsage(handle))
        energy_millijoules = ask(lambda: pynvml.nvmlDeviceGetTotalEnergyConsumption(handle))
        temperature = ask(lambda: pynvml.nvmlDeviceGetTemperature(handle, pynvml.NVML_TEMPERATURE_GPU))
        clock = ask(lambda: pynvml.nvmlDeviceGetClockInfo(handle, pynvml.NVML_CLOCK_SM))
        reasons = ask(
            lambda: pynvml.nvmlDeviceGetCurrentClocksEventReasons(handle),
            lambda: pynvml.nvmlDeviceGetCurrentClocksThrottleReasons(handle),
        )
        processes = ask(lambda: _processes(handle)) if with_processes else None
        questions.require_a_card()
        return Reading(
            utilization_percent=_scaled(utilization, 1),
            memory_used_mib=_scaled(memory_bytes, BYTES_PER_MIB),
            power_watts=_scaled(power_milliwatts, 1000),
            energy_joules=_scaled(energy_millijoules, 1000),
            temperature_celsius=_scaled(temperature, 1),
            sm_clock_mhz=_scaled(clock, 1),
            throttle_reasons=None if reasons is None else throttle_reasons(reasons),
            process_ids=None if processes is None else tuple(processes),
            process_memory_mib=_memory_of(processes or {}, process_ids),
        )

    def near_cores(self, uuid: str) -> frozenset[int] | None:
        """Logical CPUs near the card, or None where NVML does not know.

        Raises:
            GpuLost: The card is not there.
        """
        handle = self._handle(uuid)
        words = -(-(os.cpu_count() or 1) // _BITS_PER_WORD)
        mask = _Questions(f"GPU {uuid}").ask(lambda: list(pynvml.nvmlDeviceGetCpuAffinity(handle, words)))
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
        return _Questions(f"GPU {uuid}").ask(lambda: int(pynvml.nvmlDeviceGetMemoryInfo(handle).free))

    def lists_process(self, uuid: str, process_ids: Collection[int]) -> bool | None:
        """Tell whether any of the processes computes on the card.

        None when NVML cannot tell: it lists no process, or one that does not exist here. NVML's PIDs are the
        host's, so in a container that numbers its own processes the list proves nothing.

        Raises:
            GpuLost: The card is not there.
        """
        handle = self._handle(uuid)
        questions = _Questions(f"GPU {uuid}")
        listed = questions.ask(lambda: _processes(handle))
        questions.require_a_card()
        if not listed:
            return None
        if not listed.keys().isdisjoint(process_ids):
            return True
        return False if all(psutil.pid_exists(pid) for pid in listed) else None

    def _handle(self, uuid: str) -> object:
        if uuid not in self._handles:
            try:
                self._handles[uuid] = pynvml.nvmlDeviceGetHandleByUUID(uuid)
            except pynvml.NVMLError as error:
                raise GpuLost(f"GPU {uuid} cannot be found (NVML: {error})") from error
        return self._handles[uuid]


def inventory() -> Inventory:
    """List the cards; a machine without card, driver or library has none and says why in `problem`."""
    try:
        with _initialised():
            questions = _Questions("the driver")
            driver = questions.ask(pynvml.nvmlSystemGetDriverVersion)
            cuda = questions.ask(pynvml.nvmlSystemGetCudaDriverVersion_v2, pynvml.nvmlSystemGetCudaDriverVersion)
            gpus = tuple(_gpu(index) for index in range(pynvml.nvmlDeviceGetCount()))
            return Inventory(_text(driver), cuda_version(cuda), gpus, None)
    except (pynvml.NVMLError, GpuLost) as error:
        return Inventory(None, None, (), str(error))


def throttle_reasons(bits: int) -> tuple[str, ...]:
    """Name the reasons in NVML's bit field; bits without a name come last, as "other_0x800".

    An idle card has none: what holds its clocks down is that nothing runs on it.
    """
    if bits & IDLE:
        return ()
    named = tuple(name for bit, name in THROTTLE_REASONS.items() if bits & bit)
    unnamed = bits & ~sum(THROTTLE_REASONS)
    return (*named, f"other_{unnamed:#x}") if unnamed else named


def cuda_version(number: int | None) -> str | None:
    """Write NVML's 1000 * major + 10 * minor as "major.minor"."""
    return None if number is None else f"{number // 1000}.{number % 1000 // 10}"


@contextmanager
def _initialised() -> Iterator[None]:
    pynvml.nvmlInit()
    try:
        yield
    finally:
        _shutdown()


def _shutdown() -> None:
    try:
        pynvml.nvmlShutdown()
    except pynvml.NVMLError:
        # A driver that went away while it was read has shut itself down.
        return


def _gpu(index: int) -> Gpu:
    nothing = Gpu(index, None, None, None, None)
    try:
        questions = _Questions(f"GPU {index}")
        handle = questions.ask(lambda: pynvml.nvmlDeviceGetHandleByIndex(index))
        if handle is None:
            return nothing
        return Gpu(
            index=index,
            name=_text(questions.ask(lambda: pynvml.nvmlDeviceGetName(handle))),
            uuid=_text(questions.ask(lambda: pynvml.nvmlDeviceGetUUID(handle))),
            memory_mib=_scaled(questions.ask(lambda: pynvml.nvmlDeviceGetMemoryInfo(handle).total), BYTES_PER_MIB),
            pci_address=_text(questions.ask(lambda: pynvml.nvmlDeviceGetPciInfo(handle).busId)),
        )
    except GpuLost:
        # The driver still counts a card that has failed: it keeps its place in the list.
        return nothing


def _processes(handle: object) -> dict[int, int | None]:
    """List the computing processes and the bytes each uses; None where NVML lists the process only."""
    return {process.pid: process.usedGpuMemory for process in pynvml.nvmlDeviceGetComputeRunningProcesses(handle)}


def _memory_of(listed: dict[int, int | None], process_ids: Collection[int]) -> float | None:
    memory_bytes = [used for pid, used in listed.items() if pid in process_ids]
    known = [used for used in memory_bytes if used is not None]
    return sum(known) / BYTES_PER_MIB if known and len(known) == len(memory_bytes) else None


def _scaled(number: float | None, divisor: int) -> float | None:
    return None if number is None else number / divisor


def _text(value: str | bytes | None) -> str | None:
    return value.decode(errors="replace") if isinstance(value, bytes) else value
