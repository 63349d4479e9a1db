"""Devices of one study that differ in precision, through Snakemake."""

import json

import pytest

DEVICES = "device_settings={half: {kind: cpu, precision: float16}, brain: {kind: cpu, precision: bfloat16}}"


def test_each_run_computes_in_the_precision_of_its_device_and_says_what_it_found(new_checkout):
    checkout = new_checkout()
    config = ["models=[logistic]", "batch_sizes=[16]", "devices=[cpu, half, brain]", DEVICES]
    run = checkout.study("--until", "train", "--config", *config)
    assert run.returncode == 0, run.stderr
    found = {}
    for path in checkout.folder.glob("results/runs/**/metrics.json"):
        metrics = json.loads(path.read_text())
        found[metrics["device"]] = (metrics["device_used"]["product_types"], metrics["loss_scaling"] is None)
    assert found == {"cpu": (["float32"], True), "half": (["float16"], False), "brain": (["bfloat16"], True)}


@pytest.mark.parametrize(
    ("device", "parts"),
    [
        ("{kind: cpu, precision: tf32}", ["'device_settings/mine/precision' is tf32", "NVIDIA's GPUs alone"]),
        ("{kind: cpu, precision: float64}", ["'device_settings/mine/precision'", '"float64"', "one of float32, tf32"]),
        ("{kind: cpu, gpus: 2}", ["'device_settings/mine/gpus' is given, but its kind is cpu"]),
        ("{kind: cpu, framework: tensorflw}", ["'tensorflw'", "did you mean 'tensorflow'?"]),
    ],
)
def test_a_device_that_cannot_be_is_refused_before_anything_runs(new_checkout, device, parts):
    run = new_checkout().study("--dry-run", "--config", "devices=[mine]", f"device_settings={{mine: {device}}}")
    assert run.returncode != 0
    (told,) = [line for line in run.stderr.splitlines() if line.startswith("trainbench:")]
    assert [part for part in parts if part not in told] == []
