"""Whatever the training process answered, the metrics file has the shape that its schema asks for."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from finished_run import CARD, CARDS, COMPLETED, OUT_OF_MEMORY, TIMES, completed_on, observed, settings
from samples_file import write_samples
from trainbench.machine import clean_environment, gpu_cards, host
from trainbench.records import record
from trainbench.run import outcome

Observe = Callable[..., outcome.Observed]


@pytest.fixture
def observe(tmp_path: Path) -> Observe:
    """Give a function that makes up what a launcher on this machine saw of a run on a CPU, a GPU or both GPUs."""

    def make(kind: str = "cpu", gpus: int = 1, **changes: Any) -> outcome.Observed:
        on_gpu = kind == "gpu"
        cards = CARDS[:gpus] if on_gpu else []
        many = len(TIMES)
        of_cards = {
            f"gpu{number}_{column}": [value] * many
            for number, card in enumerate(cards)
            for column, value in (
                ("uuid", card.uuid),
                ("utilization_percent", 90 - number),
                ("power_watts", 300 + 100 * number),
                ("throttle_reasons", "software_power_cap"),
                ("other_processes", 0),
            )
        }
        samples = write_samples(
            tmp_path / "samples.csv",
            TIMES.tolist(),
            len(cards),
            cpu_percent=[None, *[150] * (many - 1)],
            other_cpu_percent=[None, *[-1] * (many - 1)],
            resident_memory_mib=[1000] * many,
            process_threads=[12] * many,
            **of_cards,
        )
        return observed(**{"samples": samples, "gpu_uuids": tuple(card.uuid for card in cards), **changes})

    return make


@pytest.mark.parametrize("kind", ["cpu", "gpu"])
@pytest.mark.parametrize("answer", [COMPLETED, OUT_OF_MEMORY], ids=["completed", "out_of_memory"])
def test_what_a_run_leaves_behind_can_be_written_and_read_again(
    kind: str, answer: dict[str, Any], observe: Observe, tmp_path: Path
) -> None:
    answer = completed_on(kind) if answer is COMPLETED else answer
    metrics = outcome.metrics(answer, observe(kind))
    record.write(metrics, tmp_path / "metrics.json")
    assert record.read(tmp_path / "metrics.json")["status"] == answer["status"]


def test_arithmetic_and_ceilings_stand_in_the_file_as_the_training_process_found_them(observe: Observe) -> None:
    metrics = outcome.metrics(COMPLETED, observe())
    assert (metrics["arithmetic"], metrics["ceilings"]) == (COMPLETED["arithmetic"], COMPLETED["ceilings"])


def test_a_run_without_ceilings_can_be_written(observe: Observe, tmp_path: Path) -> None:
    metrics = outcome.metrics({**COMPLETED, "ceilings": None}, observe())
    record.write(metrics, tmp_path / "metrics.json")
    assert metrics["ceilings"] is None


def test_a_run_of_one_epoch_that_nothing_watched_can_be_written(observe: Observe, tmp_path: Path) -> None:
    answer = {**COMPLETED, "epochs": COMPLETED["epochs"][:1]}
    metrics = outcome.metrics(answer, observe(samples=None))
    record.write(metrics, tmp_path / "metrics.json")
    assert (metrics["usage"], metrics["checks"]) == (None, [])


def test_a_run_of_one_epoch_has_no_steady_ones(observe: Observe, tmp_path: Path) -> None:
    answer = {**COMPLETED, "epochs": COMPLETED["epochs"][:1]}
    metrics = outcome.metrics(answer, observe())
    record.write(metrics, tmp_path / "metrics.json")
    assert metrics["usage"]["steady"] is None


def test_a_run_whose_monitor_saw_nothing_can_be_written(observe: Observe, tmp_path: Path) -> None:
    samples = write_samples(tmp_path / "empty.csv", (), 1)
    metrics = outcome.metrics(completed_on("gpu"), observe("gpu", samples=samples))
    record.write(metrics, tmp_path / "metrics.json")
    assert metrics["usage"]["span"]["samples"] == 0


def test_odd_names_and_long_words_of_others_do_not_lose_a_run(observe: Observe, tmp_path: Path) -> None:
    seen = observe()
    named = replace(seen.machine, hostname="rack/7\n", cpu=replace(seen.machine.cpu, model="<CPU>\x1b[2J"))
    answer = {**OUT_OF_MEMORY, "message": "no memory in <node>\n" * 1000}
    record.write(outcome.metrics(answer, replace(seen, machine=named)), tmp_path / "metrics.json")
    assert record.read(tmp_path / "metrics.json")["host"]["hostname"] == "rack-7 "


def test_a_run_out_of_memory_knows_nothing_that_it_did_not_measure(observe: Observe) -> None:
    metrics = outcome.metrics(OUT_OF_MEMORY, observe())
    names = ("dataset", "device_used", "clock", "usage", "samples_trained", "peak_memory_mib", "arithmetic", "ceilings")
    assert [metrics[name] for name in names] == [None] * 8


def test_a_run_out_of_memory_says_why_and_which_cell_it_was(observe: Observe) -> None:
    metrics = outcome.metrics(OUT_OF_MEMORY, observe("gpu"))
    names = ("message", "model", "batch_size", "device", "repeat", "seed", "epochs")
    assert [metrics[name] for name in names] == [OUT_OF_MEMORY["message"], "conv", 512, "my-gpu", 2, 123, []]


def test_the_windows_are_start_up_first_epoch_all_other_epochs_and_the_span(observe: Observe) -> None:
    usage = outcome.metrics(COMPLETED, observe())["usage"]
    seconds = {name: summary["seconds"] for name, summary in usage.items()}
    assert seconds == pytest.approx({"startup": 5.0, "first_epoch": 7.0, "steady": 12.0, "span": 20.5})


def test_cpu_percent_of_epochs_is_what_the_training_process_counted(observe: Observe) -> None:
    usage = outcome.metrics(COMPLETED, observe())["usage"]
    percents = {name: summary["cpu_percent"] for name, summary in usage.items()}
    assert percents == pytest.approx({"startup": 150, "first_epoch": 200, "steady": 125, "span": 150})


@pytest.mark.parametrize(("kind", "name"), [("cpu", host.inventory().cpu.model), ("gpu", CARD.name)])
def test_the_device_used_is_the_hardware(kind: str, name: str | None, observe: Observe) -> None:
    assert outcome.metrics(completed_on(kind), observe(kind))["device_used"]["name"] == name


def test_a_run_on_a_slice_of_a_card_can_be_written_and_names_card_and_profile(observe: Observe, tmp_path: Path) -> None:
    part = gpu_cards.Slice("NVIDIA H200 MIG 1g.18gb", "MIG-GPU-2/9/0", 16_000.0, 9, 0)
    seen = observe("gpu", gpu_uuids=("MIG-GPU-2/9/0",))
    machine = replace(seen.machine, gpus=(CARD, replace(CARDS[1], slices=(part,))))
    answer = completed_on("gpu")
    settings = {**seen.settings, "device": {**seen.settings["device"], "card": "MIG 1g"}}
    record.write(outcome.metrics(answer, replace(seen, machine=machine, settings=settings)), tmp_path / "metrics.json")
    assert record.read(tmp_path / "metrics.json")["device_used"]["name"] == "NVIDIA H200 MIG 1g.18gb"


def test_a_run_on_two_gpus_can_be_written_and_names_both(observe: Observe, tmp_path: Path) -> None:
    record.write(outcome.metrics(completed_on("gpu", 2), observe("gpu", 2)), tmp_path / "metrics.json")
    used = record.read(tmp_path / "metrics.json")["device_used"]
    assert used["gpu_uuids"] == ["GPU-1", "GPU-2"]
    assert used["parameters_on"] == used["computation_on"] == ["/device:GPU:0", "/device:GPU:1"]


def test_what_two_gpus_did_is_summed_up_card_by_card(observe: Observe) -> None:
    steady = outcome.metrics(completed_on("gpu", 2), observe("gpu", 2))["usage"]["steady"]
    found = [(card["uuid"], card["utilization_percent"], card["energy_joules"]) for card in steady["gpus"]]
    # 300 and 400 W over the 12 s of the steady epochs.
    assert found == [
        ("GPU-1", pytest.approx(90), pytest.approx(3600)),
        ("GPU-2", pytest.approx(89), pytest.approx(4800)),
    ]


def test_how_the_loss_was_scaled_stands_in_the_file(observe: Observe, tmp_path: Path) -> None:
    scaling = {"scale": 32768.0, "skipped_steps": 1}
    answer = {**COMPLETED, "loss_scaling": scaling, "proof": {**COMPLETED["proof"], "product_types": ["float16"]}}
    record.write(outcome.metrics(answer, observe()), tmp_path / "metrics.json")
    assert record.read(tmp_path / "metrics.json")["loss_scaling"] == scaling


def with_variables(**variables: str) -> dict[str, Any]:
    asked = settings("cpu", 0)
    return {**asked, "device": {**asked["device"], "environment": variables}}


def test_variables_of_the_device_stand_in_the_file_beside_those_of_trainbench(observe: Observe, tmp_path: Path) -> None:
    observed = observe(
        settings=with_variables(LD_PRELOAD="libjemalloc.so.2"),
        environment={"OMP_NUM_THREADS": "2", "HOME": "/home/someone", "LD_PRELOAD": "libjemalloc.so.2"},
    )
    record.write(outcome.metrics(COMPLETED, observed), tmp_path / "metrics.json")
    found = record.read(tmp_path / "metrics.json")
    assert found["software"]["flags"]["environment"] == {"OMP_NUM_THREADS": "2", "LD_PRELOAD": "libjemalloc.so.2"}
    assert found["settings"]["device"]["environment"] == {"LD_PRELOAD": "libjemalloc.so.2"}


def test_a_search_path_of_the_device_stands_in_the_file_without_the_folder_of_this_checkout(
    observe: Observe, tmp_path: Path
) -> None:
    own = {"PYTHONPATH": "/site/lib"}
    observed = observe(settings=with_variables(**own), environment=clean_environment.of_process({}, 2, (), own))
    record.write(outcome.metrics(COMPLETED, observed), tmp_path / "metrics.json")
    flags = record.read(tmp_path / "metrics.json")["software"]["flags"]
    assert flags["environment"]["PYTHONPATH"] == "/site/lib"


def test_paths_that_were_passed_on_do_not_stand_in_the_file(observe: Observe) -> None:
    passed = {"OMP_NUM_THREADS": "2", "LD_LIBRARY_PATH": "/home/someone/lib"}
    flags = outcome.metrics(COMPLETED, observe(environment=passed))["software"]["flags"]
    assert flags["environment"] == {"OMP_NUM_THREADS": "2"}


def test_findings_stand_in_the_file(observe: Observe) -> None:
    found = outcome.metrics(completed_on("gpu"), observe("gpu", shared_cores=(1,), cores=(0, 1)))["checks"]
    assert {"cores_shared", "gpu_throttled", "gpu_energy"} <= {finding["name"] for finding in found}


def test_every_run_has_an_id_of_its_own(observe: Observe) -> None:
    assert outcome.metrics(COMPLETED, observe())["run_id"] != outcome.metrics(COMPLETED, observe())["run_id"]


def resumed(after: int) -> dict[str, Any]:
    """Three epochs, of which the first `after` were trained by a process on another clock."""
    epochs = [
        {**epoch, "train_window_monotonic_seconds": [5e6, 5e6 + 7], "eval_window_monotonic_seconds": [5e6 + 7, 5e6 + 8]}
        if epoch["epoch"] <= after
        else epoch
        for epoch in COMPLETED["epochs"]
    ]
    return {**COMPLETED, "epochs": epochs, "resumed_after_epochs": [after]}


def test_usage_of_a_resumed_run_rests_on_the_epochs_of_its_last_process(observe: Observe, tmp_path: Path) -> None:
    metrics = outcome.metrics(resumed(1), observe())
    record.write(metrics, tmp_path / "metrics.json")
    seconds = {name: summary["seconds"] for name, summary in metrics["usage"].items()}
    assert seconds == pytest.approx({"startup": 12.5, "first_epoch": 6.0, "steady": 6.0, "span": 13.0})


def test_a_resumed_run_is_marked_and_says_what_its_figures_rest_on(observe: Observe) -> None:
    metrics = outcome.metrics(resumed(1), observe())
    assert metrics["resumed_after_epochs"] == [1]
    finding = next(finding for finding in metrics["checks"] if finding["name"] == "resumed")
    assert finding["level"] == "warning"
    assert "resumed after epoch 1:" in finding["finding"]
    assert "last 2 epochs alone" in finding["finding"]


def test_a_run_resumed_after_its_last_epoch_has_no_usage_but_can_be_written(observe: Observe, tmp_path: Path) -> None:
    metrics = outcome.metrics(resumed(3), observe())
    record.write(metrics, tmp_path / "metrics.json")
    assert (metrics["usage"], [finding["name"] for finding in metrics["checks"]]) == (None, ["resumed"])


def test_a_run_that_was_never_interrupted_says_so(observe: Observe) -> None:
    metrics = outcome.metrics(COMPLETED, observe())
    assert metrics["resumed_after_epochs"] == []
    assert "resumed" not in {finding["name"] for finding in metrics["checks"]}


def test_a_run_out_of_memory_keeps_the_epochs_that_it_finished(observe: Observe, tmp_path: Path) -> None:
    unknown = ("peak_memory_mib", "ceilings")
    answer = {name: value for name, value in COMPLETED.items() if name not in unknown} | OUT_OF_MEMORY
    metrics = outcome.metrics(answer, observe())
    record.write(metrics, tmp_path / "metrics.json")
    assert (metrics["status"], len(metrics["epochs"]), metrics["clock"]["train_seconds"]) == ("out_of_memory", 3, 19.0)
    assert metrics["usage"]["steady"]["seconds"] == pytest.approx(12.0)


def test_the_fingerprint_of_the_code_stands_in_the_file(observe: Observe) -> None:
    assert outcome.metrics(COMPLETED, observe())["software"]["code_sha256"] == "ef" * 32
