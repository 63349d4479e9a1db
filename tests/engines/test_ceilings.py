"""Ceilings are those of the device, whatever its speed, its memory and what disturbs it."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from nvml_library import compiled_nvml_library, run_python  # noqa: F401  # the first is a fixture
from trainbench.engines.shared.ceilings import Room, measure, room
from trainbench.engines.shared.interface import OutOfMemory
from trainbench.machine import host

MIB = 2**20
GIB = 2**30
PLENTY = Room(free_bytes=64.0 * GIB, cache_bytes=32 * MIB)


@dataclass
class SimulatedDevice:
    """Two probes that move a clock on as a device of this speed would; each array starts with a slow first call."""

    flop_per_second: float
    bytes_per_second: float
    starting_seconds: float = 1e-4
    first_call_seconds: float = 0.05
    disturbed: Callable[[int], bool] = lambda _: False
    now: float = 0.0
    calls: int = 0
    matrix_bytes: list[int] = field(default_factory=list)
    array_bytes: list[int] = field(default_factory=list)

    def clock(self) -> float:
        return self.now

    def product(self, size: int) -> Callable[[], None]:
        self.matrix_bytes.append(3 * 4 * size**2)
        self.now += self.first_call_seconds
        return lambda: self._pass(2 * size**3 / self.flop_per_second)

    def addition(self, values: int) -> Callable[[int], None]:
        self.array_bytes.append(4 * values)
        self.now += self.first_call_seconds
        return lambda times: self._pass(3 * 4 * values * times / self.bytes_per_second)

    def _pass(self, seconds: float) -> None:
        self.calls += 1
        self.now += (self.starting_seconds + seconds) * (3.0 if self.disturbed(self.calls) else 1.0)


SPEEDS = {
    "an old laptop": (2e10, 5e9),
    "two cores of a server": (2.5e11, 4e10),
    "a server of 128 cores": (5e12, 4e11),
    "a large GPU": (6e13, 4.8e12),
}


@pytest.mark.parametrize(("flop_per_second", "bytes_per_second"), SPEEDS.values(), ids=SPEEDS)
def test_the_speed_of_a_device_is_found_whatever_it_is(flop_per_second: float, bytes_per_second: float) -> None:
    device = SimulatedDevice(flop_per_second, bytes_per_second)
    found = measure(device, PLENTY, device.clock)
    assert found.flop_per_second == pytest.approx(flop_per_second, rel=0.02)
    assert found.bytes_per_second == pytest.approx(bytes_per_second, rel=0.02)


@pytest.mark.parametrize(("flop_per_second", "bytes_per_second"), SPEEDS.values(), ids=SPEEDS)
def test_a_device_of_any_speed_is_measured_in_about_a_second(flop_per_second: float, bytes_per_second: float) -> None:
    device = SimulatedDevice(flop_per_second, bytes_per_second)
    assert measure(device, PLENTY, device.clock).seconds < 1.2


def test_disturbed_calls_do_not_lower_a_ceiling() -> None:
    device = SimulatedDevice(2.5e11, 4e10, disturbed=lambda call: call % 3 != 0)
    found = measure(device, PLENTY, device.clock)
    assert (found.flop_per_second, found.bytes_per_second) == pytest.approx((2.5e11, 4e10), rel=0.02)


def test_the_matrices_of_a_fast_device_are_larger_than_those_of_a_slow_one() -> None:
    sizes = []
    for speeds in (SPEEDS["an old laptop"], SPEEDS["a large GPU"]):
        device = SimulatedDevice(*speeds)
        sizes.append(measure(device, PLENTY, device.clock).product_size)
    assert sizes == [1024, 8192]


def test_each_array_is_four_times_as_large_as_the_caches() -> None:
    device = SimulatedDevice(2.5e11, 4e10)
    assert measure(device, PLENTY, device.clock).array_bytes == 4 * 32 * MIB


@pytest.mark.parametrize("free_bytes", [0.5 * GIB, 2.0 * GIB, 100.0 * GIB])
def test_no_probe_takes_more_than_an_eighth_of_the_free_memory(free_bytes: float) -> None:
    device = SimulatedDevice(6e13, 4.8e12)
    measure(device, Room(free_bytes, cache_bytes=16 * MIB), device.clock)
    assert max(*device.matrix_bytes, *(2 * size for size in device.array_bytes)) <= free_bytes / 8


def test_arrays_that_a_cache_could_hold_are_refused_for_lack_of_memory() -> None:
    device = SimulatedDevice(2.5e11, 4e10)
    with pytest.raises(OutOfMemory, match=r"two arrays of 16 MiB .* expected more than the caches' 32 MiB each"):
        measure(device, Room(free_bytes=256.0 * MIB, cache_bytes=32 * MIB), device.clock)


def test_what_is_refused_takes_no_memory_first() -> None:
    device = SimulatedDevice(2.5e11, 4e10)
    with pytest.raises(OutOfMemory):
        measure(device, Room(free_bytes=0.0, cache_bytes=32 * MIB), device.clock)
    assert device.matrix_bytes == []


def test_unknown_free_memory_is_no_reason_to_measure_nothing() -> None:
    device = SimulatedDevice(6e13, 4.8e12)
    assert measure(device, Room(None, 128 * MIB), device.clock).array_bytes == 512 * MIB


def test_the_room_of_a_cpu_is_what_this_machine_has() -> None:
    found = room("cpu")
    assert found.free_bytes == pytest.approx(host.available_memory_mib() * MIB, rel=0.2)


def test_the_free_memory_of_several_gpus_is_that_of_the_first(nvml_library: Path, tmp_path: Path) -> None:
    trace = tmp_path / "trace.txt"
    trace.write_text(
        "driver 580.65.06\n"
        "gpu 0 GPU-1 40000000000 00000000:02:00.0 NVIDIA H200\n"
        "gpu 1 GPU-2 40000000000 00000000:03:00.0 NVIDIA H200\n"
        "sample 0 0 0 30000000000 - - - - -\n"
        "sample 0 1 0 10000000000 - - - - -\n",
        encoding="utf-8",
    )
    program = (
        "import os\nfrom trainbench.engines.shared.ceilings import room\n"
        "os.environ['CUDA_VISIBLE_DEVICES'] = 'GPU-2,GPU-1'\nprint(room('gpu').free_bytes)"
    )
    assert run_python(program, nvml_library, trace).strip() == "30000000000"


def test_the_free_memory_of_a_gpu_that_nvml_does_not_know_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-00000000-0000-0000-0000-000000000000")
    assert room("gpu").free_bytes is None
