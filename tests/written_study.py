"""A made-up study with something of everything, whose tables and text are written down in `conclusions/expected/`.

    PYTHONPATH=workflow/scripts:tests .venv/bin/python tests/written_study.py

writes them anew; what that changes is to be looked at line by line.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from metrics_builder import make_record
from trainbench.conclusions.all_tables import Question, Tables
from trainbench.conclusions.comparison import comparison_table
from trainbench.conclusions.comparison_markdown import comparison_markdown
from trainbench.conclusions.headlines import answers
from trainbench.conclusions.table_files import CONCLUDED
from trainbench.conclusions.tables.speedups import Reference
from trainbench.results.measured import measured
from trainbench.results.tables import TableOrder, write_csv

A, B = "amd-8t-aaaaaaaa", "intel-4t-bbbbbbbb"
ORDER = TableOrder(
    models=("lstm", "conv"),
    batch_sizes=(64, 128, 512),
    devices=("cpu-1t", "cpu-2t", "cpu-4t", "cpu", "cpu-torch", "gpu", "gpu-2g", "gpu-bf16"),
    hosts=(A, B),
)
QUESTION = Question(
    order=ORDER,
    reference=Reference("cpu"),
    target_accuracy={"conv": 0.95, "lstm": 0.75},
    prices={"gpu": 3.0, f"{A}/gpu-2g": 6.0, "server-b": 1.5},
    currency="USD",
)


def cell(model: str, batch_size: int, device: str, *seconds: float, **settings: Any) -> Iterator[dict[str, Any]]:
    """A run for each of these steady seconds, after a first epoch that is slower."""
    settings = {"host": A, "usable_threads": 8, "hostname": "server-a"} | settings
    epochs = settings.pop("epochs", 3)
    for repeat, each in enumerate(seconds, start=1):
        accuracies = [0.9 + 0.02 * epoch + 0.01 * repeat for epoch in range(epochs)]
        shown = {"train_seconds": (2 * each, *[each] * (epochs - 1)), "accuracies": accuracies}
        yield make_record(model, batch_size, device, repeat, **(shown | settings))


RECORDS = [
    # From a batch size on the GPU is faster.
    *cell("conv", 64, "cpu", 3.0, 3.1),
    *cell("conv", 64, "gpu", 4.0, 4.1),
    *cell("conv", 128, "cpu", 2.6, 2.7, flags=("other_load",)),
    *cell("conv", 128, "gpu", 2.5, 2.8),
    *cell("conv", 512, "cpu", 2.0, 2.02),
    *cell("conv", 512, "gpu", 0.5, 0.51, flags=("gpu_shared",)),
    # How a CPU scales, and what two GPUs gain.
    *cell("conv", 512, "cpu-1t", 9.0, 9.1, device_used={"threads": {"intra_op": 1}}),
    *cell("conv", 512, "cpu-2t", 4.9, 5.0, device_used={"threads": {"intra_op": 2}}),
    *cell("conv", 512, "cpu-4t", 2.9, 2.95, device_used={"threads": {"intra_op": 4}}),
    *cell("conv", 512, "gpu-2g", 0.3, 0.31, gpus=2),
    # Another framework, another precision.
    *cell("conv", 512, "cpu-torch", 1.5, 1.55, framework="torch"),
    *cell("conv", 512, "gpu-bf16", 0.25, 0.26, precision="bfloat16", accuracies=(0.8, 0.9, 0.94)),
    # Single runs, a single epoch, a cell out of memory, and one that never gets as good as wanted.
    *cell("lstm", 512, "cpu", 8.0, accuracies=(0.5, 0.6, 0.7)),
    *cell("lstm", 512, "gpu", 1.0, epochs=1),
    *cell("lstm", 64, "cpu", 6.0, 6.6, accuracies=(0.7, 0.8, 0.8)),
    *cell("lstm", 64, "gpu", 1.0, 1.0, status="out_of_memory"),
    # Another machine.
    *cell("conv", 512, "cpu", 5.0, 5.1, host=B, hostname="server-b", usable_threads=4),
    *cell("conv", 512, "gpu", 0.8, 0.82, host=B, hostname="server-b", usable_threads=4),
]
STUDY = measured(RECORDS, ORDER)


def tables() -> Tables:
    """Its tables, each made when it is asked for."""
    return Tables(STUDY.runs, STUDY.epochs, STUDY.checks, QUESTION)


def comparison_text() -> str:
    """The whole of comparison.md."""
    made = tables()
    told = answers(made, ORDER, QUESTION.reference.device)
    return comparison_markdown(made, ORDER, told.headlines, told.caveats)


if __name__ == "__main__":
    EXPECTED = Path(__file__).with_name("conclusions") / "expected"
    for name in CONCLUDED:
        write_csv(tables()[name], EXPECTED / f"{name}.csv")
    write_csv(comparison_table(tables(), ORDER), EXPECTED / "comparison.csv")
    (EXPECTED / "comparison.md").write_text(comparison_text(), encoding="utf-8")
