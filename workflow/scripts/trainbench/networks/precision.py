"""Names the precisions in which a network can compute, and how its loss is scaled.

Standard library only: rules import the names whenever Snakemake reads them.
"""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Precision:
    """One way to compute; parameters, the optimiser and the loss are float32 in all of them.

    `compute_type` is what images, activations and the operands of products are, in numpy's names. `product_errors` is
    the range in which the error of a product lies, relative to the exact one (`product_error`): it tells TF32, which
    rounds operands inside the product, from float32. `is_scaled` says whether the loss is scaled up, so that small
    gradients do not vanish.
    """

    compute_type: str
    product_errors: tuple[float, float]
    is_scaled: bool = False
    on_cpus: bool = True

    @property
    def bytes_per_value(self) -> int:
        """Bytes of an image's or an activation's value."""
        return 4 if self.compute_type == "float32" else 2


PRECISIONS: Final = {
    "float32": Precision("float32", (0.0, 1e-5)),
    "tf32": Precision("float32", (1e-5, 1e-3), on_cpus=False),
    "bfloat16": Precision("bfloat16", (1e-4, 1e-2)),
    "float16": Precision("float16", (1e-5, 2e-3), is_scaled=True),
}
"""By name. Operands keep 24, 11, 8 and 11 binary digits, so they are rounded by 2**-24, 2**-11, 2**-8 and 2**-11 at
most, and a product of random matrices errs by about half as much.

Sources: IEEE 754; NVIDIA, "NVIDIA A100 Tensor Core GPU Architecture" (2020), on TF32 and bfloat16.
"""

FIRST_LOSS_SCALE: Final = 2.0**16
LOSS_SCALE_GROWTH: Final = 2.0
LOSS_SCALE_GROWS_AFTER: Final = 2000
"""The loss is multiplied by a scale, and its gradients divided by it again. The scale doubles after as many steps in a
row whose gradients are all finite; a step with others is left out and halves it.

Source: P. Micikevicius and others, "Mixed precision training" (ICLR 2018); the numbers are torch.amp.GradScaler's.
"""
