"""NVML is asked in processes of their own: pynvml keeps the library it found first."""

import os
import re
import textwrap

import pytest

from nvml_library import compiled_nvml_library, run_python  # noqa: F401  # the first is a fixture
from trainbench.machine import gpu_cards, nvml

TITAN, VOLTA, SPLIT, NAMELESS = (f"GPU-00000000-0000-0000-0000-00000000000{index}" for index in range(4))

# Four cards: one from before Volta (no energy counter), one that knows everything, one that tells next to
# nothing, and one without a name.
CARDS = f"""
driver 580.65.06
cuda 13000
gpu 0 {TITAN} 12806258688 00000000:02:00.0 NVIDIA TITAN X (Pascal)
gpu 1 {VOLTA} 34359738368 00000000:03:00.0 Tesla V100-SXM2-32GB
gpu 2 {SPLIT} - - NVIDIA H200
gpu 3 {NAMELESS} 12806258688 00000000:83:00.0 -
sample 0 0 29 11681136640 71500 - 62 1911 1
sample 0 1 97 1073741824 250000 126500 84 1380 36
"""


@pytest.fixture
def replay(nvml_library, tmp_path):
    """Give a function that runs a program on the four cards, with more lines in their trace."""

    def run(code: str, *more_lines: str) -> str:
        trace = tmp_path / "trace.txt"
        trace.write_text(CARDS + "\n".join(more_lines) + "\n", encoding="utf-8")
        program = f"import time\nfrom trainbench.machine import gpu_cards, nvml\nTITAN, VOLTA = {TITAN!r}, {VOLTA!r}\n"
        return run_python(program + textwrap.dedent(code), nvml_library, trace).strip()

    return run


def without_library(code: str) -> str:
    """Run a program that cannot find any NVML, whatever this machine has."""
    program = "import ctypes, pynvml\ndef missing(name): raise OSError(name)\npynvml.CDLL = missing\n"
    return run_python(program + textwrap.dedent(code), None, None).strip()


def test_a_machine_without_the_library_has_no_cards_and_a_reason():
    printed = without_library("from trainbench.machine import gpu_cards; print(gpu_cards.inventory())")
    assert printed == repr(gpu_cards.Inventory(None, (), "NVML Shared Library Not Found"))


def test_a_machine_without_a_loaded_driver_says_so(nvml_library):
    printed = run_python(
        "from trainbench.machine import gpu_cards; print(gpu_cards.inventory().problem)", nvml_library, trace=None
    )
    assert printed.strip() == "Driver Not Loaded"


def test_a_session_without_the_library_is_refused_with_the_reason():
    printed = without_library(
        """
        from trainbench.machine import nvml
        try:
            with nvml.Session():
                print("entered")
        except nvml.NvmlUnavailable as error:
            print(error)
        """
    )
    assert printed == "NVML Shared Library Not Found"


def test_importing_the_module_does_not_load_the_library():
    printed = run_python("from trainbench.machine import nvml; import pynvml; print(pynvml.nvmlLib)", None, None)
    assert printed.strip() == "None"


def test_the_inventory_lists_four_cards_and_leaves_open_what_nvml_does_not_know(replay):
    cards = (
        gpu_cards.Gpu(0, "NVIDIA TITAN X (Pascal)", TITAN, 12213.0, "00000000:02:00.0"),
        gpu_cards.Gpu(1, "Tesla V100-SXM2-32GB", VOLTA, 32768.0, "00000000:03:00.0"),
        gpu_cards.Gpu(2, "NVIDIA H200", SPLIT, None, None),
        gpu_cards.Gpu(3, None, NAMELESS, 12213.0, "00000000:83:00.0"),
    )
    printed = replay("print(gpu_cards.inventory())")
    assert printed == repr(gpu_cards.Inventory("580.65.06", cards, None))


def test_a_card_lost_before_the_inventory_keeps_its_place_in_the_list(replay):
    assert replay("print(gpu_cards.inventory().gpus[1])", "lost 0 1") == repr(gpu_cards.Gpu(1, None, None, None, None))


def test_a_reading_gives_every_value_in_the_unit_of_its_name(replay):
    printed = replay("with nvml.Session() as cards: print(cards.read(VOLTA))", f"process 1 4242 {2**30}")
    assert printed == repr(
        nvml.Reading(
            utilization_percent=97.0,
            memory_used_mib=1024.0,
            power_watts=250.0,
            energy_joules=126.5,
            temperature_celsius=84.0,
            sm_clock_mhz=1380.0,
            throttle_reasons=("software_power_cap", "software_thermal_slowdown"),
            process_ids=(4242,),
            process_memory_mib=None,
        )
    )


def test_a_card_without_an_energy_counter_has_no_energy_but_the_other_values(replay):
    printed = replay(
        """
        with nvml.Session() as cards:
            reading = cards.read(TITAN)
        print(reading.energy_joules, reading.power_watts)
        """
    )
    assert printed == "None 71.5"


@pytest.mark.parametrize("beside", [0x002, 0x004, 0x010, 0x100])
def test_what_is_said_of_the_clocks_of_an_idle_card_is_no_throttling(beside):
    assert nvml.throttle_reasons(nvml.IDLE | beside) == ()


def test_an_idle_card_is_not_throttled(replay):
    assert replay("with nvml.Session() as cards: print(cards.read(TITAN).throttle_reasons)") == "()"


def test_a_card_that_supports_nothing_is_read_as_unknown_not_as_lost(replay):
    printed = replay(f"with nvml.Session() as cards: print(cards.read({SPLIT!r}))", "sample 0 2 - - - - - - -")
    assert printed == repr(nvml.Reading(None, None, None, None, None, None, None, (), None))


def test_readings_follow_the_card_over_time(replay):
    printed = replay(
        """
        with nvml.Session() as cards:
            before = cards.read(VOLTA).utilization_percent
            time.sleep(0.3)
            print(before, cards.read(VOLTA).utilization_percent)
        """,
        f"sample 200 1 5 {2**30} 60000 127000 60 1380 0",
    )
    assert printed == "97.0 5.0"


@pytest.mark.parametrize("how", ["", "unknown"])
def test_a_card_that_vanishes_between_two_readings_is_lost(replay, how):
    printed = replay(
        """
        with nvml.Session() as cards:
            cards.read(VOLTA)
            time.sleep(0.3)
            try:
                cards.read(VOLTA)
            except nvml.GpuLost as error:
                print(error)
        """,
        f"lost 200 1 {how}",
    )
    assert printed.startswith(f"GPU {VOLTA} ")


def test_losing_one_card_leaves_the_others_readable(replay):
    printed = replay(
        """
        with nvml.Session() as cards:
            try:
                cards.read(VOLTA)
            except nvml.GpuLost:
                print(cards.read(TITAN).utilization_percent)
        """,
        "lost 0 1",
    )
    assert printed == "29.0"


def test_a_uuid_that_no_card_has_is_lost(replay):
    printed = replay(
        """
        with nvml.Session() as cards:
            try:
                cards.read("GPU-elsewhere")
            except nvml.GpuLost as error:
                print(error)
        """
    )
    assert printed == "GPU GPU-elsewhere cannot be found (NVML: Not Found)"


def test_memory_is_added_up_over_the_processes_asked_about(replay):
    printed = replay(
        "with nvml.Session() as cards: print(cards.read(TITAN, {4242, 4243, 9}).process_memory_mib)",
        f"process 0 4242 {100 * 2**20}",
        f"process 0 4243 {20 * 2**20}",
        f"process 0 4244 {3 * 2**20}",
    )
    assert printed == "120.0"


def test_memory_of_a_process_of_unknown_size_is_unknown(replay):
    printed = replay(
        "with nvml.Session() as cards: print(cards.read(TITAN, {4242, 4243}).process_memory_mib)",
        "process 0 4242 -",
        f"process 0 4243 {20 * 2**20}",
    )
    assert printed == "None"


@pytest.mark.parametrize(("card", "free_bytes"), [("TITAN", 12_806_258_688 - 11_681_136_640), ("SPLIT", None)])
def test_free_memory_is_what_nobody_has_taken_or_unknown(replay, card, free_bytes):
    printed = replay(f"SPLIT = {SPLIT!r}\nwith nvml.Session() as cards: print(cards.free_memory_bytes({card}))")
    assert printed == str(free_bytes)


def test_a_reading_without_processes_leaves_them_unknown_and_reads_the_rest(replay):
    printed = replay(
        """
        with nvml.Session() as cards:
            reading = cards.read(TITAN, {4242}, with_processes=False)
        print(reading.process_ids, reading.process_memory_mib, reading.utilization_percent)
        """,
        f"process 0 4242 {100 * 2**20}",
    )
    assert printed == "None None 29.0"


@pytest.mark.parametrize(
    ("mask", "cores"),
    [
        ("3", {0, 1}),
        ("50", {4, 6}),
        ("80000000000000018000000000000001", {0, 63, 64, 127}),
        ("-", None),
        ("0", None),
    ],
    ids=["first_two", "second_digit", "two_words", "not_supported", "no_core"],
)
def test_the_cores_near_a_card_are_the_bits_of_its_mask(replay, mask, cores):
    program = """
        import os
        os.cpu_count = lambda: 128
        with nvml.Session() as cards:
            near = cards.near_cores(VOLTA)
        print(near and sorted(near))
        """
    assert replay(program, f"near 1 {mask}") == str(cores and sorted(cores))


def test_cores_are_not_near_a_lost_card(replay):
    printed = replay(
        """
        with nvml.Session() as cards:
            try:
                print(cards.near_cores(VOLTA))
            except nvml.GpuLost as error:
                print(error)
        """,
        "near 1 3",
        "lost 0 1",
    )
    assert printed.startswith(f"GPU {VOLTA} ")


@pytest.mark.parametrize(
    ("listed", "answer"),
    [
        (["process 0 self 1048576"], "True"),
        (["client 0 self 1048576", f"process 0 {os.getpid()} 1048576"], "True"),
        (["process 1 self 1048576"], "False"),
        (["process 1 self 1048576", f"process 0 {os.getpid()} 1048576"], "False"),
        ([f"process 0 {os.getpid()} 1048576"], "None"),
        ([], "None"),
        (["process 0 4194999 1048576", "process 1 4294967295 1048576"], "None"),
        (["lost 0 1", "process 0 self 1048576"], "True"),
    ],
    ids=[
        *("ours", "ours through MPS", "ours on another card", "ours on another card and another process here"),
        *("another process alone, as in the place of a client of MPS", "none", "none that exists here"),
        "ours beside a lost card",
    ],
)
def test_a_process_is_elsewhere_only_where_nvml_lists_it_elsewhere(replay, listed, answer):
    program = "import os\nwith nvml.Session() as cards: print(cards.lists_processes([TITAN], {os.getpid()}))"
    assert replay(program, *listed) == answer


def test_the_server_of_mps_is_no_process_that_computes_and_its_clients_are(replay):
    """The server is a process of that name; the kernel keeps the first 15 characters."""
    program = """
        import ctypes, os
        ctypes.CDLL(None).prctl(15, b"nvidia-cuda-mps-server", 0, 0, 0)
        with nvml.Session() as cards: print(cards.read(TITAN).process_ids)
        """
    assert replay(program, "process 0 self 1048576", "client 0 4242 1048576") == "(4242,)"


# --- slices of cards in MIG mode ---

SLICES = """
mig 1
mig 2
slice 4 1 1 0 MIG-aaaa 10737418240 Tesla V100-SXM2-32GB MIG 1g.10gb
slice 5 1 5 0 MIG-bbbb - -
sample 0 4 - 536870912 - - - - -
process 4 self 104857600
client 5 4242 -
"""


def test_the_inventory_lists_the_slices_of_a_card_in_mig_mode(replay):
    printed = replay("print([gpu.slices for gpu in gpu_cards.inventory().gpus])", SLICES)
    slices = (
        gpu_cards.Slice("Tesla V100-SXM2-32GB MIG 1g.10gb", "MIG-aaaa", 10240.0, 1, 0),
        gpu_cards.Slice(None, "MIG-bbbb", None, 5, 0),
    )
    assert printed == repr([None, slices, (), None])


def test_of_a_slice_memory_and_processes_are_its_own_and_what_only_the_card_has_is_no_slice_s(replay):
    printed = replay("import os\nwith nvml.Session() as cards: print(cards.read('MIG-aaaa', {os.getpid()}))", SLICES)
    reading = nvml.Reading(
        utilization_percent=None,
        memory_used_mib=512.0,
        power_watts=None,
        energy_joules=None,
        temperature_celsius=84.0,
        sm_clock_mhz=1380.0,
        throttle_reasons=("software_power_cap", "software_thermal_slowdown"),
        process_ids=(0,),
        process_memory_mib=100.0,
    )
    assert re.sub(r"process_ids=\(\d+,\)", "process_ids=(0,)", printed) == repr(reading)


def test_the_cores_near_a_slice_are_those_near_its_card(replay):
    program = "with nvml.Session() as cards: print(sorted(cards.near_cores('MIG-bbbb')))"
    assert replay(program, SLICES, "near 1 3") == "[0, 1]"


def test_a_process_on_a_slice_is_on_that_one_alone(replay):
    program = """
        import os
        with nvml.Session() as cards:
            print([cards.lists_processes([uuid], {os.getpid()}) for uuid in ("MIG-aaaa", "MIG-bbbb")])
        """
    assert replay(program, SLICES) == "[True, False]"


# --- cards that cannot be asked ---


@pytest.mark.parametrize(
    ("lines", "reasons"),
    [
        (["lost 0 1"], ["GPU 1 cannot be asked about (NVML: GPU is lost)"]),
        (["lost 0 1 unknown"], ["GPU 1 cannot be asked about (NVML: Unknown Error)"]),
        (["denied 1"], []),
        ([], []),
    ],
    ids=["lost", "unknown error", "not for this user", "none"],
)
def test_of_a_card_that_is_counted_and_cannot_be_asked_the_reason_is_told(replay, lines, reasons):
    assert replay("print(list(gpu_cards.inventory().unreadable))", *lines) == repr(reasons)


@pytest.mark.parametrize(
    ("code", "is_broken"), [(18, True), (999, True), (9, False)], ids=["versions differ", "unknown error", "not loaded"]
)
def test_a_driver_that_is_there_and_cannot_be_asked_is_broken(replay, code, is_broken):
    """On a machine without a card, as most that run tests are."""
    program = "gpu_cards._is_on_bus = lambda root: False\nprint(gpu_cards.inventory().is_broken)"
    assert replay(program, f"broken {code}") == str(is_broken)


@pytest.mark.parametrize(
    ("vendor", "kind", "is_there"),
    [
        ("0x10de", "0x030000", True),
        ("0x10de", "0x030200", True),
        ("0x10de", "0x040300", False),
        ("0x8086", "0x030000", False),
    ],
    ids=["a card with a display", "a card without", "the sound of a card", "another vendor's"],
)
def test_a_card_on_the_bus_is_one_of_nvidia_that_computes(tmp_path, vendor, kind, is_there):
    device = tmp_path / "sys/bus/pci/devices/0000:01:00.0"
    device.mkdir(parents=True)
    (device / "vendor").write_text(f"{vendor}\n")
    (device / "class").write_text(f"{kind}\n")
    assert gpu_cards._is_on_bus(tmp_path) is is_there


def test_reasons_without_a_name_are_reported_by_number():
    assert nvml.throttle_reasons(0x804) == ("software_power_cap", "other_0x800")
