"""Names the engines: each turns a network's specification into one framework's code.

In: a specification and images. Out: trained epochs, and proof of where and in which precision. Must never know: the
study, the monitor or Snakemake.

Standard library only: rules import the names whenever Snakemake reads them.
"""

import importlib
import importlib.metadata
import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from trainbench.engines.shared.engine import Engine
    from trainbench.engines.shared.interface import Execution


@dataclass(frozen=True)
class Registered:
    """A framework's engine: its module here, the package that the framework is imported as, and its builds for GPUs.

    A framework that is installed can use GPUs where one of the distributions `gpu_builds` is installed as well.
    """

    module: str
    package: str
    gpu_builds: tuple[str, ...]


ENGINES: Final[Mapping[str, Registered]] = {
    "tensorflow": Registered("trainbench.engines.tensorflow.engine", "tensorflow", ("tensorflow",)),
    "jax": Registered("trainbench.engines.jax.engine", "jax", ("jax-cuda13-plugin", "jax-cuda12-plugin")),
    "torch": Registered("trainbench.engines.torch.engine", "torch", ("nvidia-cublas", "nvidia-cublas-cu12")),
}


def is_installed(framework: str) -> bool:
    """Whether the framework can be imported; it is not."""
    return importlib.util.find_spec(ENGINES[framework].package) is not None


def uses_gpus(framework: str) -> bool | None:
    """Whether the framework as installed here can use a GPU, None where it is not installed."""
    if not is_installed(framework):
        return None
    builds = ENGINES[framework].gpu_builds
    return any(found for build in builds for found in importlib.metadata.distributions(name=build))


def how_to_install(framework: str, *, for_gpus: bool = False) -> str:
    """The command that adds the framework, or its build for GPUs, to what is installed."""
    installed = [name for name in ENGINES if name != framework and is_installed(name)]
    build = "BUILD=cuda " if for_gpus else ""
    return f"make setup {build}FRAMEWORKS='{' '.join([*installed, framework])}'"


def start(framework: str, execution: "Execution") -> "Engine":
    """Import `framework` and bring it up on its devices.

    Raises:
        Refused: the framework is not installed, does not see such devices, or has no such precision on them.
    """
    from trainbench.engines.shared.interface import Refused

    if not is_installed(framework):
        raise Refused(f"{framework} is asked for but not installed here; install it: {how_to_install(framework)}")
    module: Any = importlib.import_module(ENGINES[framework].module)
    engine: Engine = module.start(execution)
    return engine
