"""What an engine computes in is found from its products, whatever it says."""

from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import pytest

from trainbench.engines.shared import proof
from trainbench.engines.shared.engine import Engine
from trainbench.engines.shared.interface import Refused
from trainbench.networks.precision import PRECISIONS

DIGITS = {"float32": 24, "tf32": 11, "bfloat16": 8, "float16": 11}
"""Binary digits that the operands of a product keep."""


def rounded(values: np.ndarray, digits: int) -> np.ndarray:
    """Give the values with so many binary digits each."""
    mantissas, exponents = np.frexp(values.astype(np.float64))
    return np.ldexp(np.round(np.ldexp(mantissas, digits)), exponents - digits)


@dataclass(frozen=True)
class Multiplier:
    """As much of an engine as is asked: it says that it multiplies `types`, and rounds operands to so many digits."""

    types: frozenset[str]
    digits: int
    result_digits: int = 24

    def product_types(self) -> frozenset[str]:
        return self.types

    def multiply(self, left: np.ndarray, right: np.ndarray) -> np.ndarray:
        return rounded(rounded(left, self.digits) @ rounded(right, self.digits), self.result_digits)


def engine(*types: str, digits: int, result_digits: int = 24) -> Engine:
    return cast("Engine", Multiplier(frozenset(types), digits, result_digits))


def in_precision(name: str) -> Engine:
    return engine(PRECISIONS[name].compute_type, digits=DIGITS[name])


@pytest.mark.parametrize("name", list(PRECISIONS))
def test_an_engine_that_computes_as_asked_is_accepted(name: str) -> None:
    found = proof.prove(in_precision(name), name)
    assert found["product_types"] == [PRECISIONS[name].compute_type]


@pytest.mark.parametrize("name", ["bfloat16", "float16"])
def test_results_that_are_rounded_as_well_are_accepted(name: str) -> None:
    rounding_results = engine(PRECISIONS[name].compute_type, digits=DIGITS[name], result_digits=DIGITS[name])
    assert proof.prove(rounding_results, name)["product_types"] == [name]


def test_the_error_of_exact_products_is_none() -> None:
    assert proof.product_error(engine("float32", digits=53, result_digits=53)) == 0


@pytest.mark.parametrize(
    ("asked", "computes"),
    [(asked, computes) for asked in PRECISIONS for computes in PRECISIONS if asked != computes],
)
def test_an_engine_that_computes_in_another_precision_is_refused(asked: str, computes: str) -> None:
    with pytest.raises(Refused, match=f"^{asked} was asked for, but products multiply "):
        proof.prove(in_precision(computes), asked)


@pytest.mark.parametrize(("asked", "digits"), [("float32", 11), ("float32", 8), ("tf32", 24), ("bfloat16", 24)])
def test_an_engine_that_claims_a_type_but_multiplies_in_another_precision_is_refused(asked: str, digits: int) -> None:
    claims = engine(PRECISIONS[asked].compute_type, digits=digits)
    with pytest.raises(Refused, match=r"and err by .*, expected .* to .*leave that out or choose another"):
        proof.prove(claims, asked)


@pytest.mark.parametrize("types", [("float16", "float32"), ("bfloat16", "float16"), ()])
def test_an_engine_of_which_some_products_are_of_another_type_is_refused(types: tuple[str, ...]) -> None:
    found = ", ".join(sorted(types)) or "nothing"
    with pytest.raises(Refused, match=f"products multiply {found} and err by"):
        proof.prove(engine(*types, digits=11), "float16")


def test_what_is_proven_can_be_written_as_json() -> None:
    found: dict[str, Any] = proof.prove(in_precision("float32"), "float32")
    assert type(found["product_error"]) is float
