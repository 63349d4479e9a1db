"""Names the files of all tables. Standard library only: rules import this module whenever Snakemake reads them."""

from pathlib import Path
from typing import Final

FROM_RECORDS: Final = ("runs", "epochs", "checks", "cells", "hosts", "settings")
CONCLUDED: Final = tuple(
    sorted(path.stem for path in Path(__file__).with_name("tables").glob("*.py") if path.stem != "__init__")
)
COMPARISON: Final = "comparison.md"
FILES: Final = (*(f"{name}.csv" for name in (*FROM_RECORDS, *CONCLUDED, "comparison")), COMPARISON)
