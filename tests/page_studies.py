"""Builds the studies that pages are made of in tests: four hosts as they could be, and names as they should not be."""

import random
from dataclasses import dataclass
from itertools import product

from metrics_builder import make_record
from trainbench.conclusions.all_tables import Question
from trainbench.results.tables import TableOrder


@dataclass(frozen=True)
class Machine:
    """A host: its processor's threads, the numbers of them that are measured, and its card with how slow that is."""

    processor: str
    threads: int
    measured: tuple[int, ...]
    card: str | None = None
    card_factor: float = 1.0


HOSTS = {
    "amd-epyc-2t-1a2b3c4d": Machine("AMD EPYC 9B14", 2, (2,), "NVIDIA H200", 1.0),
    "intel-xeon-64t-5e6f7a8b": Machine("Intel Xeon Platinum 8375C", 64, (64,), "NVIDIA L4", 4.1),
    "amd-ryzen-32t-9c0d1e2f": Machine("AMD Ryzen 9 7950X", 32, (4, 8, 16, 32), "NVIDIA GeForce RTX 4090", 1.7),
    "arm-neoverse-80t-3a4b5c6d": Machine("Neoverse-N1", 80, (80,)),
}
MODELS = {"logistic": 0.05, "conv": 12.0, "lstm": 2.0}
SIZES = (128, 512, 2048)
DEVICES = ("cpu-4t", "cpu-8t", "cpu-16t", "cpu", "gpu")

HOSTILE_MODEL = "<script>window.hacked=1</script>\"'&amp;"
HOSTILE_DEVICE = '"><img src=x onerror=window.hacked=1>\u202e\U0001f4a5 \u8a13\u7df4'
HOSTILE_ADVICE = "</script><svg onload=window.hacked=1>{{ 7 * 7 }}${7*7} javascript:alert(1)"
LONG_NAME = "very-long-name-" * 12


def four_hosts():
    """Four machines, three with a card, one of which ran out of memory, and one at several numbers of threads."""
    noise = random.Random(2017)
    records = []
    for host, machine in HOSTS.items():
        devices = {"cpu" if count == machine.threads else f"cpu-{count}t": count for count in machine.measured}
        devices |= {"gpu": machine.threads} if machine.card else {}
        for (model, seconds), size, device, repeat in product(MODELS.items(), SIZES, devices, (1, 2, 3)):
            threads = devices[device]
            if device == "gpu":
                each = seconds * (0.08 * machine.card_factor * (128 / size) ** 0.5 + 0.01)
            else:
                each = seconds * (1 + 0.06 * threads) / threads * (128 / size) ** 0.2 * 8
            each *= noise.lognormvariate(0.0, 0.03)
            out = (machine.card, model, size, device) == ("NVIDIA L4", "conv", 2048, "gpu")
            record = make_record(
                model,
                size,
                device,
                repeat,
                train_seconds=[each * 1.4, *(each * noise.lognormvariate(0.0, 0.01) for _ in range(3))],
                accuracies=[0.62, 0.78, 0.86, 0.9 + noise.uniform(-0.01, 0.01)],
                host=host,
                hostname=f"node-{list(HOSTS).index(host)}",
                usable_threads=machine.threads,
                cpu_percent=95.0 * threads if device != "gpu" else 104.0,
                status="out_of_memory" if out else "completed",
                flags=["other_load"] if repeat == 3 and size == 128 else [],
            )
            record["host"]["cpu"]["model"] = machine.processor
            for card in record["host"]["gpus"]:
                card["name"] = machine.card
            if not out:
                record["device_used"]["name"] = machine.card if device == "gpu" else machine.processor
                record["device_used"]["threads"]["intra_op"] = threads
            records.append(record)
    return records


QUESTION = Question(
    order=TableOrder(models=tuple(MODELS), batch_sizes=SIZES, devices=DEVICES, hosts=tuple(HOSTS)),
    target_accuracy=dict.fromkeys(MODELS, 0.8),
    prices={"gpu": 2.5, "cpu": 0.4},
)


def hostile_records():
    """Two models on two devices, to be renamed by `HOSTILE_NAMES` once they are tables."""
    return [
        make_record(model, 512, device, repeat, train_seconds=[2.0, 1.0 + repeat / 50], flags=["other_load"])
        for model in ("evil-model", "long-model")
        for device in ("cpu", "evil-device")
        for repeat in (1, 2)
    ]


FRAMEWORKS = {"tensorflow": 1.0, "jax": 1.6, "torch": 0.8}
PRECISIONS = {"float32": 1.0, "bfloat16": 0.6}
CARDS = (1, 2, 4, 8)


def three_frameworks():
    """A machine with three frameworks in two precisions on its CPU, one of them out of memory, and 1 to 8 GPUs."""
    noise = random.Random(2017)
    devices = {
        "cpu" + ("" if framework == "tensorflow" else f"-{framework}") + ("" if precision == "float32" else "-bf16"): (
            {"kind": "cpu", "framework": framework, "precision": precision},
            slower * faster,
        )
        for (framework, slower), (precision, faster) in product(FRAMEWORKS.items(), PRECISIONS.items())
    }
    devices |= {
        f"gpu-{cards}g": (
            {"kind": "gpu", "framework": "jax", "precision": "bfloat16", "gpus": cards},
            0.05 * (1 / cards + 0.04 * cards),
        )
        for cards in CARDS
    }
    records = []
    for (model, seconds), size, (device, (settings, factor)), repeat in product(
        MODELS.items(), SIZES[:2], devices.items(), (1, 2, 3)
    ):
        each = seconds * factor * (128 / size) ** 0.3 * noise.lognormvariate(0.0, 0.02)
        final = 0.98 - 0.004 * (settings["precision"] != "float32") + noise.uniform(-0.001, 0.001)
        records.append(
            make_record(
                model,
                size,
                device,
                repeat,
                train_seconds=[each * 1.4, *(each * noise.lognormvariate(0.0, 0.01) for _ in range(3))],
                accuracies=[0.62, 0.86, 0.95, final],
                usable_threads=16,
                status="out_of_memory" if (model, size, device) == ("conv", 512, "cpu-jax-bf16") else "completed",
                flags=["other_load"] if (size, device, repeat) == (128, "gpu-2g", 3) else [],
                **settings,
            )
        )
    return records, TableOrder(models=tuple(MODELS), batch_sizes=SIZES[:2], devices=tuple(devices))


HOSTILE_NAMES = {
    "evil-model": HOSTILE_MODEL,
    "evil-device": HOSTILE_DEVICE,
    "see to other_load": HOSTILE_ADVICE,
    "long-model": LONG_NAME,
    "server7": HOSTILE_MODEL,
}
