"""Trains the three models as in 2017 and sets their accuracies beside the published ones.

    .venv/bin/python benchmarks/fidelity_2017.py

Logistic regression trains for 100 epochs at batch sizes 128, 256 and 512 and has to end within 0.2 points of the
published accuracy. conv and lstm train with several seeds for the epochs that were published at batch size 512. There
the accuracies of 2017 are those of 256 random test images: a published one agrees when it lies between the lowest of
ours less, and the highest plus, the 95 % sampling error of 256 images. Takes about seven minutes on two cores; exit
code 1 when more than one in twenty published accuracies disagrees, which is what that 95 % allows.
"""

import argparse
import csv
import json
import math
import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import yaml

REPOSITORY: Final = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY / "workflow" / "scripts"))

from trainbench import configuration, dataset, fingerprint, idx, launch, record  # noqa: E402
from trainbench.study import Run, Study  # noqa: E402

PUBLISHED_EPOCHS: Final = REPOSITORY / "resources" / "published" / "published_2017_epochs.csv"
LOGISTIC_TOLERANCE: Final = 0.002
EVALUATION_IMAGES_2017: Final = 256
NORMAL_95: Final = 1.96
DISAGREEMENTS_ALLOWED: Final = 0.05
TRACE_EPOCHS: Final = 10
SEEDS: Final = {"conv": 2, "lstm": 5}


def band(accuracies: Sequence[float]) -> tuple[float, float]:
    """What 256 random images may show (95 %) of models whose accuracies on all images are `accuracies`."""
    low, high = min(accuracies), max(accuracies)
    return low - _sampling_error(low), high + _sampling_error(high)


def _sampling_error(accuracy: float) -> float:
    """Half width of the 95 % range of a share seen in 256 images (normal approximation of the binomial)."""
    return NORMAL_95 * math.sqrt(accuracy * (1 - accuracy) / EVALUATION_IMAGES_2017)


def read_published(path: Path = PUBLISHED_EPOCHS) -> Mapping[tuple[str, int], Mapping[int, Sequence[float]]]:
    """Published accuracies of all devices by model and batch size, then by epoch (counted from 1)."""
    found: dict[tuple[str, int], dict[int, list[float]]] = {}
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            epochs = found.setdefault((row["model"], int(row["batch_size"])), {})
            epochs.setdefault(int(row["epoch"]) + 1, []).append(float(row["accuracy"]))
    return found


def train(model: str, batch_size: int, epochs: int, repeat: int = 1) -> list[float]:
    """Train one cell of the default study for `epochs` on the CPU; its accuracy after each epoch."""
    config = yaml.safe_load((REPOSITORY / "config" / "config.yaml").read_text(encoding="utf-8"))
    config["model_settings"][model]["epochs"] = epochs
    study: Study = configuration.study_of(config, gpu_found=False)
    source = REPOSITORY / study.dataset_path
    files_sha256 = fingerprint.of_files(vars(idx.find_files(source)).values())
    with tempfile.TemporaryDirectory(prefix="trainbench-fidelity-") as folder:
        prepared = Path(folder, "dataset.safetensors")
        dataset.prepare(source, prepared)
        task = launch.Task(
            settings=json.loads(json.dumps(study.settings(Run(model, batch_size, "cpu", repeat), files_sha256))),
            dataset=prepared,
            cores=os.cpu_count() or 1,
            gpus=0,
            metrics=Path(folder, "metrics.json"),
            samples=Path(folder, "samples.csv"),
            log=Path(folder, "train.log"),
        )
        launch.run(task, announce=lambda line: print(f"  {line}", file=sys.stderr))
        return [epoch["accuracy"] for epoch in record.read(task.metrics)["epochs"]]


def logistic_ends_as_published(batch_size: int) -> tuple[float, float, bool]:
    """Accuracy after 100 epochs, the published one of the GPU, and whether they agree."""
    ((epochs, (reference, *_)),) = read_published()["logistic", batch_size].items()
    ours = train("logistic", batch_size, epochs)[-1]
    return ours, reference, abs(ours - reference) <= LOGISTIC_TOLERANCE


def main() -> int:
    """Train, compare, print."""
    argparse.ArgumentParser(description="Set the accuracies of the three models beside those of 2017.").parse_args()
    verdicts = []
    print("| model | batch size | epoch | ours (%) | published (%) | agrees |\n|---|---|---|---|---|---|", flush=True)
    for batch_size in (128, 256, 512):
        ours, published, agrees = logistic_ends_as_published(batch_size)
        verdicts.append(agrees)
        print(
            f"| logistic | {batch_size} | 100 | {100 * ours:.2f} | {100 * published:.2f} | {_yes(agrees)} |", flush=True
        )
    for model, seeds in SEEDS.items():
        # After its first ten epochs at the latest 2017 shows no more of a trace, only where it ended.
        trace = {epoch: values for epoch, values in read_published()[model, 512].items() if epoch <= TRACE_EPOCHS}
        runs = [train(model, 512, max(trace), repeat) for repeat in range(1, seeds + 1)]
        for epoch, published_values in sorted(trace.items()):
            ours_values = [run[epoch - 1] for run in runs]
            low, high = band(ours_values)
            for published in published_values:
                agrees = low <= published <= high
                verdicts.append(agrees)
                ours_text = f"{100 * min(ours_values):.2f} to {100 * max(ours_values):.2f}"
                print(f"| {model} | 512 | {epoch} | {ours_text} | {100 * published:.2f} | {_yes(agrees)} |", flush=True)
    disagreements = verdicts.count(False)
    print(f"\n{disagreements} of {len(verdicts)} published accuracies disagree")
    return int(disagreements > DISAGREEMENTS_ALLOWED * len(verdicts))


def _yes(agrees: bool) -> str:
    return "yes" if agrees else "no"


if __name__ == "__main__":
    sys.exit(main())
