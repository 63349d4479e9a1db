"""A framework's errors, as a run is told of them."""

import pytest

from trainbench.engines.shared import interface
from trainbench.engines.shared.framework import Framework

FRAMEWORK = Framework(
    "Toy",
    "1.0",
    out_of_memory=lambda error: "all full" if "full" in str(error) else None,
    missing_operation=lambda error: "no product" if "missing" in str(error) else None,
)


def run(precision: str) -> interface.Execution:
    return interface.Execution("cpu", threads=1, batch_size=4, precision=precision)


def test_too_little_memory_is_named() -> None:
    with pytest.raises(interface.OutOfMemory, match=r"^all full$"), FRAMEWORK.naming_out_of_memory():
        raise ValueError("full")


def test_another_error_is_not_taken_for_too_little_memory() -> None:
    with pytest.raises(ValueError, match="empty"), FRAMEWORK.naming_out_of_memory():
        raise ValueError("empty")


def test_an_operation_that_a_type_does_not_have_is_a_sentence() -> None:
    words = "^Toy 1.0 cannot train this model in float16 on a CPU: no product; choose another precision or framework$"
    with pytest.raises(interface.Refused, match=words), FRAMEWORK.naming_missing_operations(run("float16")):
        raise ValueError("missing")


@pytest.mark.parametrize(("precision", "words"), [("float32", "missing"), ("float16", "another")])
def test_another_error_is_not_taken_for_a_precision_that_is_not_there(precision: str, words: str) -> None:
    with pytest.raises(ValueError, match=words), FRAMEWORK.naming_missing_operations(run(precision)):
        raise ValueError(words)


@pytest.mark.parametrize(
    ("wanted", "seen", "is_built_with_cuda", "words"),
    [
        (
            1,
            0,
            False,
            "a GPU was asked for, but Toy 1.0 sees none: this Toy is built without CUDA (remedy: make setup ",
        ),
        (1, 0, True, "a GPU was asked for, but Toy 1.0 sees none: it lies elsewhere"),
        (2, 0, True, "2 GPUs were asked for, but Toy 1.0 sees none: it lies elsewhere"),
        (2, 1, True, "2 GPUs were asked for, but Toy 1.0 sees 1: read the warnings in this log"),
    ],
)
def test_fewer_gpus_than_wanted_are_refused(wanted: int, seen: int, is_built_with_cuda: bool, words: str) -> None:
    with pytest.raises(interface.Refused) as raised:
        FRAMEWORK.demand_gpus(wanted, seen, is_built_with_cuda=is_built_with_cuda, otherwise="it lies elsewhere")
    assert str(raised.value).startswith(words)


def test_as_many_gpus_as_wanted_are_enough() -> None:
    FRAMEWORK.demand_gpus(2, 2, is_built_with_cuda=False, otherwise="")
