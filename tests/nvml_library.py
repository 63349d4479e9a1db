"""Builds the NVML library that replays a trace, and runs Python with it.

A test module imports `compiled_nvml_library` and asks for the fixture by its name, `nvml_library`.
"""

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
SOURCE = Path(__file__).parent / "nvml_replay" / "nvml_replay.c"


def header_directory() -> Path | None:
    """Find NVIDIA's nvml.h among the installed packages (nvidia-nvml-dev brings it)."""
    package = importlib.util.find_spec("nvidia")
    locations = (package.submodule_search_locations or ()) if package else ()
    headers = (path for location in locations for path in Path(location).glob("*/include/nvml.h"))
    return next((path.parent for path in headers), None)


@pytest.fixture(scope="session", name="nvml_library")
def compiled_nvml_library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Compile the library once; the directory it lies in belongs into LD_LIBRARY_PATH."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    headers = header_directory()
    if compiler is None:
        pytest.skip("replaying a card needs a C compiler (cc or gcc)")
    if headers is None:
        pytest.skip("replaying a card needs NVIDIA's nvml.h (package nvidia-nvml-dev)")
    directory = tmp_path_factory.mktemp("nvml")
    subprocess.run(
        [
            *(compiler, "-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-Wno-deprecated-declarations"),
            *("-I", headers, "-Wl,-soname,libnvidia-ml.so.1"),
            *("-o", directory / "libnvidia-ml.so.1", SOURCE),
        ],
        check=True,
    )
    return directory


def replay_environment(library: Path | None, trace: Path | None) -> dict[str, str]:
    """Make the environment of a process that finds this library and this trace."""
    environment = {key: value for key, value in os.environ.items() if key != "NVML_REPLAY"}

    def put_first(variable: str, directory: Path) -> None:
        environment[variable] = os.pathsep.join(filter(None, [str(directory), environment.get(variable)]))

    put_first("PYTHONPATH", REPOSITORY / "workflow" / "scripts")
    if library is not None:
        put_first("LD_LIBRARY_PATH", library)
    if trace is not None:
        environment["NVML_REPLAY"] = str(trace)
    return environment


def run_python(code: str, library: Path | None, trace: Path | None) -> str:
    """Run a program in a process of its own, since pynvml keeps the library it found; return its output."""
    completed = subprocess.run(
        [sys.executable, "-c", code],
        env=replay_environment(library, trace),
        capture_output=True,
        text=True,
        check=False,
    )
    assert completed.returncode == 0, completed.stderr
    return completed.stdout
