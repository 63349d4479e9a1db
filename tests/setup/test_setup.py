"""`make setup` installs what it is asked for, and without being asked what is installed; nothing is installed here."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from nvml_library import compiled_nvml_library  # noqa: F401 - a fixture

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder in which nothing is set up."""
    shutil.copy2(REPOSITORY / "Makefile", tmp_path)
    (tmp_path / "requirements").symlink_to(REPOSITORY / "requirements")
    return tmp_path


def make(folder: Path, *arguments: str, **variables: str) -> "subprocess.CompletedProcess[str]":
    """Have make say what it would do."""
    # Of what made these tests run, nothing may be left: the variables of a make above, and its FRAMEWORKS.
    environment = {name: os.environ[name] for name in ("PATH", "HOME")} | variables
    command = ["make", "--dry-run", *arguments]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def installed(folder: Path, *arguments: str, **variables: str) -> list[str]:
    """The lock files that would be installed together, in order."""
    run = make(folder, "setup", *arguments, **variables)
    assert run.returncode == 0, run.stderr
    (line,) = [line for line in run.stdout.splitlines() if "uv pip sync" in line]
    return [Path(word).stem for word in line.split() if word.startswith("requirements/")]


def set_up(folder: Path, name: str) -> None:
    (folder / ".venv").mkdir()
    (folder / ".venv" / name).touch()


@pytest.mark.parametrize(
    ("arguments", "locks"),
    [
        pytest.param(["BUILD=cpu"], ["cpu", "dev"], id="at first TensorFlow alone"),
        pytest.param(["BUILD=cuda"], ["cuda", "dev"], id="its build for GPUs"),
        pytest.param(["BUILD=cpu", "FRAMEWORKS="], ["cpu", "dev"], id="an empty list is none"),
        pytest.param(
            ["BUILD=cpu", "FRAMEWORKS=torch tensorflow jax"],
            ["cpu", "jax-cpu", "torch-cpu", "dev"],
            id="all, in whatever order",
        ),
        pytest.param(["BUILD=cpu", "FRAMEWORKS=torch"], ["cpu", "torch-cpu", "dev"], id="TensorFlow unasked"),
        pytest.param(
            ["BUILD=cuda", "FRAMEWORKS=jax torch"],
            ["cpu", "jax-cuda", "torch-cuda", "dev"],
            id="others on GPUs, and TensorFlow for CPUs alone",
        ),
        pytest.param(
            ["BUILD=cuda", "FRAMEWORKS=tensorflow jax"], ["cuda", "jax-cuda", "dev"], id="TensorFlow on GPUs as well"
        ),
    ],
)
def test_the_frameworks_that_are_asked_for_are_installed(folder: Path, arguments: list[str], locks: list[str]) -> None:
    assert installed(folder, *arguments) == locks


@pytest.mark.parametrize(
    ("trace", "build"),
    [
        pytest.param("driver 580.65.06\ngpu 0 GPU-1 - - NVIDIA H200\n", "cuda", id="a card"),
        pytest.param("broken 18\n", "cuda", id="a driver whose library is of another version"),
        pytest.param(None, "cpu", id="the library alone, no driver"),
    ],
)
def test_the_first_build_is_for_gpus_where_nvml_knows_of_a_driver(
    folder: Path, nvml_library: Path, trace: str | None, build: str
) -> None:
    """Whatever /proc has: WSL has no /proc/driver/nvidia, a container without a card has its host's."""
    variables = {"LD_LIBRARY_PATH": str(nvml_library)}
    if trace is not None:
        (folder / "trace.txt").write_text(trace, encoding="utf-8")
        variables["NVML_REPLAY"] = str(folder / "trace.txt")
    assert installed(folder, **variables) == [build, "dev"]


def test_the_first_build_is_for_cpus_where_nothing_can_ask_for_a_card(folder: Path) -> None:
    assert installed(folder, "PYTHON=false") == ["cpu", "dev"]


@pytest.mark.parametrize(
    ("name", "arguments", "locks"),
    [
        pytest.param("ready-cuda-jax", ["FRAMEWORKS=torch"], ["cpu", "torch-cuda", "dev"], id="others, same build"),
        pytest.param("ready-cpu-tensorflow-jax", ["BUILD=cuda"], ["cuda", "jax-cuda", "dev"], id="another build"),
        pytest.param("ready-cpu", [], ["cpu", "dev"], id="set up before there were several frameworks"),
    ],
)
def test_what_is_not_asked_for_stays_as_it_is_installed(
    folder: Path, name: str, arguments: list[str], locks: list[str]
) -> None:
    set_up(folder, name)
    assert installed(folder, *arguments) == locks


@pytest.mark.parametrize("name", ["ready-cpu-tensorflow", "ready-cpu-tensorflow-jax-torch", "ready-cuda-jax-torch"])
@pytest.mark.parametrize("target", ["run", "test"])
def test_nothing_is_installed_again_where_everything_is_there(folder: Path, name: str, target: str) -> None:
    set_up(folder, name)
    run = make(folder, target)
    assert run.returncode == 0, run.stderr
    assert "-m venv" not in run.stdout


def test_a_framework_that_is_not_known_is_one_clear_error(folder: Path) -> None:
    run = make(folder, "setup", "FRAMEWORKS=jax pytorch")
    assert run.returncode != 0
    assert run.stdout == ""
    (line,) = run.stderr.splitlines()
    assert "'pytorch', which is not known; allowed, with a space between two: tensorflow jax torch" in line


def test_pytorch_for_cpus_is_had_in_the_version_of_the_lock_file_before_anything_else(folder: Path) -> None:
    lines = make(folder, "setup", "BUILD=cpu", "FRAMEWORKS=torch").stdout.splitlines()
    lock = (REPOSITORY / "requirements/torch-cuda.txt").read_text(encoding="utf-8")
    (pin,) = [line for line in lock.splitlines() if line.startswith("torch==")]
    fetched, synced = (next(n for n, line in enumerate(lines) if part in line) for part in (" download ", " sync "))
    assert fetched < synced
    assert f"'{pin.split()[0]}+cpu'" in lines[fetched]


@pytest.mark.parametrize(
    ("arguments", "kept"),
    [
        pytest.param(["BUILD=cuda", "FRAMEWORKS=tensorflow torch"], True, id="CUDA 12 and 13"),
        pytest.param(["BUILD=cuda", "FRAMEWORKS=jax torch"], False, id="CUDA 13"),
        pytest.param(["BUILD=cuda"], False, id="CUDA 12"),
        pytest.param(["BUILD=cpu", "FRAMEWORKS=tensorflow torch"], False, id="none"),
    ],
)
def test_of_two_cudas_the_files_of_one_name_are_those_of_the_newer(
    folder: Path, arguments: list[str], kept: bool
) -> None:
    shown = make(folder, "setup", *arguments).stdout
    assert bool(re.search(r"uninstall .*nvidia-cudnn-cu13 nvidia-nccl-cu13 && .* install ", shown)) == kept
