"""What of the caller's environment a run starts with: docs/measuring.md has the same list as the code."""

import re
from pathlib import Path

import pytest

from documentation import Page, names, rows
from trainbench.machine import clean_environment

PAGE = Page.read(Path(__file__).parents[2] / "docs" / "measuring.md")
(SECTION,) = (section for section in PAGE.sections if section.heading == "Environment")


def test_what_passes_is_what_the_page_says() -> None:
    told = [name for row in rows(SECTION.text) for name in names(row["passed on"])]
    assert sorted(told) == sorted(clean_environment.PASSED)


def test_what_trainbench_sets_is_what_the_page_says() -> None:
    (sentence,) = re.findall(r"trainbench itself sets .*?\.", SECTION.text, re.DOTALL)
    assert set(names(" ".join(sentence.split()))) == set(clean_environment.of_process({}, 2, ())) - {"PYTHONPATH"}


def test_what_a_run_is_given_by_trainbench_no_device_can_set() -> None:
    changeable = {"PYTHONPATH", "TF_CPP_MIN_LOG_LEVEL"}
    assert set(clean_environment.of_process({}, 2, ())) - changeable <= clean_environment.SET_BY_TRAINBENCH.keys()


def test_what_does_not_pass_is_left_out() -> None:
    assert clean_environment.of_run({"HOME": "/root", "DNNL_VERBOSE": "1", "LD_PRELOAD": "x.so"}, {}) == {
        "HOME": "/root"
    }


def test_a_variable_of_the_device_takes_the_place_of_one_that_passes() -> None:
    assert clean_environment.of_run({"LD_LIBRARY_PATH": "/a"}, {"LD_LIBRARY_PATH": "/b"}) == {"LD_LIBRARY_PATH": "/b"}


def test_a_device_adds_to_the_search_path_and_cannot_hide_trainbench() -> None:
    made = clean_environment.of_process({"PYTHONPATH": "/a"}, 1, (), {"PYTHONPATH": "/b:/c"})
    package, *rest = made["PYTHONPATH"].split(":")
    assert (Path(package, "trainbench", "run", "training.py").exists(), rest) == (True, ["/b", "/c"])


@pytest.mark.parametrize(
    "name",
    [
        *["MALLOC_MMAP_THRESHOLD_", "DNNL_VERBOSE", "MKL_VERBOSE", "TORCH_LOGS", "TF_CPP_MAX_VLOG_LEVEL"],
        *["TF_XLA_FLAGS", "JAX_ENABLE_X64", "OMP_WAIT_POLICY", "LD_PRELOAD", "GLIBC_TUNABLES", "NVIDIA_TF32_OVERRIDE"],
        *["ONEDNN_DEFAULT_FPMATH_MODE", "NCCL_P2P_DISABLE", "PYTORCH_ALLOC_CONF", "CUDA_LAUNCH_BLOCKING"],
    ],
)
def test_a_variable_that_changes_the_speed_is_told_when_it_is_left_out(name: str) -> None:
    assert clean_environment.left_out(["PATH", name]) == [name]


@pytest.mark.parametrize(
    "name",
    [
        "EDITOR",
        "SLURM_JOB_ID",
        "CUDA_VERSION",
        "CUDA_HOME",
        "CUDNN_ROOT",
        "TF_VAR_region",
        "OMP_NUM_THREADS",
        "LD_LIBRARY_PATH",
    ],
)
def test_a_variable_that_passes_or_changes_nothing_is_not_told(name: str) -> None:
    assert clean_environment.left_out([name]) == []
