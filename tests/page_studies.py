"""Builds the studies that pages are made of in tests: four hosts as they could be, and names as they should not be."""

from metrics_builder import make_record
from trainbench.analysis import Question
from trainbench.tables import TableOrder

HOSTS = {
    "amd-epyc-2t-1a2b3c4d": {"cards": "NVIDIA H200", "factor": 1.0, "threads": 2},
    "intel-xeon-64t-5e6f7a8b": {"cards": "NVIDIA L4", "factor": 4.1, "threads": 64},
    "amd-ryzen-32t-9c0d1e2f": {"cards": "NVIDIA GeForce RTX 4090", "factor": 1.7, "threads": 32},
    "arm-neoverse-80t-3a4b5c6d": {"cards": None, "factor": 1.0, "threads": 80},
}
MODELS = {"logistic": 0.05, "conv": 12.0, "lstm": 2.0}
SIZES = (128, 512, 2048)

HOSTILE_MODEL = "<script>window.hacked=1</script>\"'&amp;"
HOSTILE_DEVICE = '"><img src=x onerror=window.hacked=1>\u202e\U0001f4a5 \u8a13\u7df4'
HOSTILE_ADVICE = "</script><svg onload=window.hacked=1>{{ 7 * 7 }}${7*7} javascript:alert(1)"
LONG_NAME = "very-long-name-" * 12


def four_hosts():
    """Four machines, three of them with a card, one of which ran out of memory; some runs flagged."""
    records = []
    for host, made_of in HOSTS.items():
        for model, seconds in MODELS.items():
            for size in SIZES:
                for device in ("cpu", "gpu") if made_of["cards"] else ("cpu",):
                    each = seconds * (
                        0.08 * made_of["factor"] * (128 / size) ** 0.5 + 0.01
                        if device == "gpu"
                        else (16 / made_of["threads"]) ** 0.5 * (128 / size) ** 0.2
                    )
                    out = device == "gpu" and size == 2048 and "l4" in made_of["cards"].lower() and model == "conv"
                    for repeat in (1, 2, 3):
                        record = make_record(
                            model,
                            size,
                            device,
                            repeat,
                            train_seconds=[each * 1.4, *(each * (1 + 0.02 * repeat + 0.01 * n) for n in range(3))],
                            host=host,
                            hostname=f"node-{list(HOSTS).index(host)}",
                            usable_threads=made_of["threads"],
                            status="out_of_memory" if out else "completed",
                            flags=["other_load"] if repeat == 3 and size == 128 else [],
                        )
                        if device == "gpu" and not out:
                            record["device_used"]["name"] = made_of["cards"]
                        for card in record["host"]["gpus"]:
                            card["name"] = made_of["cards"]
                        records.append(record)
    return records


QUESTION = Question(
    order=TableOrder(models=tuple(MODELS), batch_sizes=SIZES, devices=("cpu", "gpu"), hosts=tuple(HOSTS)),
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


HOSTILE_NAMES = {
    "evil-model": HOSTILE_MODEL,
    "evil-device": HOSTILE_DEVICE,
    "see to other_load": HOSTILE_ADVICE,
    "long-model": LONG_NAME,
    "server7": HOSTILE_MODEL,
}
