"""Says a framework's own errors in the words of a run."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from trainbench.engines.shared.interface import Execution, OutOfMemory, Refused
from trainbench.networks.precision import PRECISIONS


@dataclass(frozen=True)
class Framework:
    """A framework as sentences name it, and how its errors are read.

    `out_of_memory` gives what an error says of too little memory, None if it is another; `missing_operation` the same
    of an operation that is not there for a type.
    """

    name: str
    version: str
    out_of_memory: Callable[[Exception], str | None] = lambda _: None
    missing_operation: Callable[[Exception], str | None] = lambda _: None

    @contextmanager
    def naming_out_of_memory(self) -> Iterator[None]:
        """Turn the framework's error for too little memory into `OutOfMemory`."""
        try:
            yield
        except Exception as error:
            said = self.out_of_memory(error)
            if said is None:
                raise
            raise OutOfMemory(said) from error

    @contextmanager
    def naming_missing_operations(self, execution: Execution) -> Iterator[None]:
        """Turn the framework's errors for operations that it does not have in a type into `Refused`."""
        try:
            yield
        except Exception as error:
            compute_type, missing = PRECISIONS[execution.precision].compute_type, self.missing_operation(error)
            if compute_type == "float32" or missing is None:
                raise
            raise Refused(
                f"{self.name} {self.version} cannot train this model in {compute_type} on a {execution.kind.upper()}: "
                f"{missing}; choose another precision or framework"
            ) from error

    def demand_gpus(self, wanted: int, seen: int, *, is_built_with_cuda: bool, otherwise: str) -> None:
        """Refuse a run that wants more GPUs than the framework sees.

        Raises:
            Refused: fewer are seen; if none, for want of CUDA in the build or `otherwise`.
        """
        if seen >= wanted:
            return
        asked = f"{'a GPU was' if wanted == 1 else f'{wanted} GPUs were'} asked for, but {self.name} {self.version}"
        if seen:
            raise Refused(f"{asked} sees {seen}: read the warnings in this log")
        built_without = f"this {self.name} is built without CUDA (remedy: make setup BUILD=cuda)"
        raise Refused(f"{asked} sees none: {otherwise if is_built_with_cuda else built_without}")
