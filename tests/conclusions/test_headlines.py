"""The first sentences of the page say what was found, how sure it is, and nothing that the tables do not hold."""

import random
import re
from collections import Counter
from itertools import product

import pytest

from metrics_builder import make_record
from trainbench.conclusions.headlines import answers
from trainbench.conclusions.tables.frameworks import frameworks_table
from trainbench.conclusions.tables.gpu_scaling import gpu_scaling_table
from trainbench.conclusions.tables.roofline import roofline_table
from trainbench.conclusions.tables.speedups import Reference, outcome_of, rivals, speedups_table
from trainbench.results.cells_table import beside_cells, cells_table
from trainbench.results.measured import measured
from trainbench.results.statistics import Outcome
from trainbench.results.tables import TableOrder, rows_of

HOST, OTHER = "amd-epyc-2t-1a2b3c4d", "intel-xeon-8t-5e6f7a8b"


def runs_of(seconds, *, model="conv", batch_size=512, device="cpu", host=HOST, **settings):
    """A run for each of `seconds` an epoch."""
    return [
        make_record(model, batch_size, device, repeat, train_seconds=[20.0, each, each], host=host, **settings)
        for repeat, each in enumerate(seconds, start=1)
    ]


def concluded(records):
    """The tables of cells and speedups, and the answers that follow from them."""
    order = TableOrder()
    runs = measured(records, order).runs
    cells = cells_table(runs, order)
    speedups = speedups_table(cells, order, Reference())
    tables = {
        "runs": runs,
        "cells": cells,
        "speedups": speedups,
        "frameworks": beside_cells(frameworks_table(cells, roofline_table(runs, order), order), cells),
        "gpu_scaling": beside_cells(gpu_scaling_table(cells, order), cells),
    }
    found = answers(tables, order)
    return cells, speedups, found


def told(records):
    *_, found = concluded(records)
    return found


def headlines(records):
    return list(told(records).headlines)


CPU = runs_of([12.0, 12.1, 12.2])
GPU = runs_of([0.98, 1.0, 1.02], device="gpu")
SLOW_GPU = runs_of([11.0, 11.1, 11.2], model="logistic", device="gpu")
FAST_CPU = runs_of([1.0, 1.01, 1.02], model="logistic")


# --- two devices ---


def test_the_greatest_speedup_leads_with_its_interval_and_says_that_the_other_wins_nowhere():
    gpu = runs_of([2.0, 2.01, 2.02], model="lstm", device="gpu")
    cpu = runs_of([4.0, 4.1, 4.2], model="lstm")
    assert headlines([*CPU, *GPU, *gpu, *cpu]) == [
        "For conv at batch size 512 gpu trains 12.1\u00d7 (11.6\u201312.6) faster than cpu; cpu wins nowhere."
    ]


def test_one_comparison_alone_says_nothing_of_others():
    assert headlines([*CPU, *GPU]) == [
        "For conv at batch size 512 gpu trains 12.1\u00d7 (11.6\u201312.6) faster than cpu."
    ]


def test_where_the_other_device_wins_is_told_with_its_factor():
    (sentence,) = headlines([*CPU, *GPU, *FAST_CPU, *SLOW_GPU])
    assert sentence.endswith("; cpu wins for logistic at 512 by 11.0\u00d7 (10.8\u201311.2).")


def test_a_device_that_wins_nowhere_does_not_lead():
    (sentence,) = headlines([*FAST_CPU, *SLOW_GPU])
    assert sentence == "For logistic at batch size 512 cpu trains 11.0\u00d7 (10.8\u201311.2) faster than gpu."


def test_many_losses_are_counted():
    records = [*CPU, *GPU]
    for batch_size in (16, 32, 64, 128):
        records += runs_of([1.0, 1.01, 1.02], batch_size=batch_size)
        records += runs_of([2.0, 2.01, 2.02], batch_size=batch_size, device="gpu")
    (sentence,) = headlines(records)
    assert "; cpu wins in 4 of 5 comparisons, for one conv at " in sentence


def test_no_difference_is_called_none():
    same = runs_of([11.5, 12.1, 12.6], device="gpu")
    assert headlines([*CPU, *same]) == [
        "Between gpu and cpu no difference is shown for conv at batch size 512: 1.00\u00d7 (0.90\u20131.12)."
    ]


def test_the_other_device_wins_nowhere_only_where_it_is_shown_to_lose_everywhere():
    undecided = [*runs_of([5.0, 5.5, 6.0], model="lstm"), *runs_of([5.1, 5.4, 6.1], model="lstm", device="gpu")]
    (sentence,) = headlines([*CPU, *GPU, *undecided])
    assert sentence.endswith(" faster than cpu; in 1 of 2 comparisons no difference is shown.")


def test_single_runs_beside_a_decided_comparison_are_counted_and_called_nothing():
    (sentence,) = headlines([*CPU, *GPU, *runs_of([1.0], model="lstm"), *runs_of([9.0], model="lstm", device="gpu")])
    assert sentence.endswith(" faster than cpu; 1 of 2 has no interval.")


def test_not_every_interval_contains_1_where_there_are_single_runs():
    same = [*CPU, *runs_of([11.5, 12.1, 12.6], device="gpu")]
    (sentence,) = headlines([*same, *runs_of([1.0], model="lstm"), *runs_of([9.0], model="lstm", device="gpu")])
    assert sentence == "Between gpu and cpu no difference is shown in 1 of 2 comparisons; 1 of 2 has no interval."


def test_single_runs_have_no_interval_and_say_so():
    (sentence,) = headlines([*runs_of([12.0]), *runs_of([1.0], device="gpu")])
    assert sentence == (
        "For conv at batch size 512 gpu trains 12.0\u00d7 faster than cpu. "
        "Single runs: how sure that is takes at least two runs of each cell."
    )


def test_a_sentence_on_flagged_runs_is_marked():
    (sentence,) = headlines([*CPU, *runs_of([0.98, 1.0, 1.02], device="gpu", flags=["other_load"])])
    assert "faster than cpu \u2020" in sentence


# --- one device, none, many ---


def test_one_device_alone_is_told_with_its_speed_and_hardware():
    slower = runs_of([14.0, 14.1, 14.2], batch_size=128)
    assert headlines([*CPU, *slower]) == [
        "conv trains fastest at batch size 512 on cpu (AMD EPYC 9B14, 2 threads): 12.10 s an epoch (11.85\u201312.35)."
    ]


def test_a_batch_size_is_the_fastest_only_where_the_others_are_shown_to_be_slower():
    records = [*runs_of([9.6, 10.1, 10.6]), *runs_of([9.9, 10.3, 10.8], batch_size=256)]
    assert headlines([*records, *runs_of([10.0, 10.5, 11.0], batch_size=128)]) == [
        "conv: 10.09 s an epoch (8.92\u201311.41) at batch size 512 on cpu (AMD EPYC 9B14, 2 threads); "
        "no difference shown from 128 and 256."
    ]


def test_the_least_seconds_of_single_runs_are_no_proof():
    assert headlines([*runs_of([12.0]), *runs_of([14.0], batch_size=128)]) == [
        "conv: 12.00 s an epoch (one run) at batch size 512 on cpu (AMD EPYC 9B14, 2 threads), the least of 2 batch "
        "sizes; how sure that is takes at least two runs of each."
    ]


def test_where_every_run_is_flagged_the_first_line_says_so_and_no_other_does():
    found = told(runs_of([12.0, 12.1], flags=["other_load"]))
    assert found.headlines[0].startswith("\u2020 All 2 completed runs are flagged: something may have disturbed them")
    assert found.caveats == ()


def test_one_run_of_one_cell_has_a_sentence():
    assert headlines(runs_of([12.0])) == [
        "conv trains at batch size 512 on cpu (AMD EPYC 9B14, 2 threads): 12.00 s an epoch (one run)."
    ]


def test_without_a_completed_run_there_is_nothing_to_compare():
    assert headlines(runs_of([1.0], status="out_of_memory")) == [
        "No run has completed, so there is nothing to compare."
    ]


def test_without_the_reference_device_there_are_speeds_and_no_speedups():
    found = headlines([*GPU, *runs_of([3.0, 3.1, 3.2], device="gpu-b")])
    assert found[0] == "No completed run of the reference device: there are no speedups."
    assert found[1].startswith("conv trains fastest on gpu (NVIDIA H200): 0.9999 s an epoch")


def test_of_several_hosts_the_fastest_device_comes_first_and_hosts_are_named():
    other = runs_of([1.98, 2.0, 2.02], device="gpu", host=OTHER)
    first, *_ = headlines([*CPU, *GPU, *other])
    assert first.startswith(f"conv trains fastest on gpu @ {HOST} (NVIDIA H200): 0.9999 s an epoch")
    assert first.endswith(f"faster than gpu @ {OTHER}.")


def test_models_that_one_device_trains_fastest_share_a_sentence():
    other = runs_of([1.98, 2.0, 2.02], device="gpu", host=OTHER)
    lstm = [*runs_of([0.5, 0.51, 0.52], model="lstm", device="gpu"), *runs_of([5.0, 5.1, 5.2], model="lstm")]
    first, second, *_ = headlines([*CPU, *GPU, *other, *lstm])
    assert first.startswith(f"conv and lstm train fastest on gpu @ {HOST} (NVIDIA H200); conv takes 0.9999 s an epoch")
    assert second.endswith("faster than cpu of the same host; cpu wins nowhere.")


def test_a_lead_within_the_noise_is_no_lead():
    near = runs_of([0.97, 1.02, 1.06], device="gpu", host=OTHER)
    first, *_ = headlines([*CPU, *GPU, *near])
    assert first == (
        f"conv: 0.9999 s an epoch (0.9514\u20131.0508) at batch size 512 on gpu @ {HOST} (NVIDIA H200); "
        f"no difference shown from gpu @ {OTHER}."
    )


def test_a_device_as_fast_at_another_batch_size_takes_the_lead_away():
    near = runs_of([0.97, 1.02, 1.06], device="gpu", host=OTHER, batch_size=64)
    first, *_ = headlines([*CPU, *GPU, *near])
    assert first.endswith(f"; no difference shown from gpu @ {OTHER} at 64.")


def test_a_lead_of_single_runs_is_told_as_such():
    first, *_ = headlines([*runs_of([12.0]), *runs_of([1.0], device="gpu"), *runs_of([2.0], device="gpu-b")])
    assert first == (
        "conv: 1.000 s an epoch (one run) at batch size 512 on gpu (NVIDIA H200), 2.00\u00d7 faster than gpu-b; "
        "how sure that is takes at least two runs of each."
    )


def test_more_devices_than_sentences_are_counted():
    records = list(CPU)
    for number in range(6):
        records += runs_of([1.0 + number, 1.01 + number], device=f"gpu-{number}")
    assert headlines(records)[-1] == "3 more devices: see \u201cSpeedups\u201d."


# --- no claim without an interval that carries it ---


def random_study(chance):
    """Two models on two or three devices, cells of two runs that scatter a little or much, or of one."""
    devices = ("cpu", "gpu", "gpu-b")[: chance.choice((2, 2, 3))]
    scatters = (0.99, 0.7, None) if chance.random() < 0.5 else (chance.choice((0.99, 0.99, 0.7)),)
    records = []
    for model, device in product(("conv", "lstm"), devices):
        seconds, scatter = chance.choice((0.3, 1.0, 3.0)), chance.choice(scatters)
        each = [seconds] if scatter is None else [seconds * scatter, seconds / scatter]
        records += runs_of(each, model=model, device=device)
    return records


def test_no_headline_on_any_runs_claims_what_no_interval_carries():
    chance, claims = random.Random(11), Counter()
    for _ in range(20):
        cells, speedups, found = concluded(random_study(chance))
        for line in found.headlines:
            claims.update(re.findall("fastest|faster|wins for|nowhere|every interval", line))
            if "how sure that is" in line:
                assert not re.search("fastest|nowhere|every interval", line), line
                continue
            assert not re.search(r"\d\u00d7 faster", line), line
            for low in re.findall(r"\d\u00d7 \(([\d.]+)\u2013[\d.]+\) faster", line):
                assert float(low) > 1, line
            for model in re.findall("conv|lstm", line.partition(" fastest")[0] if "fastest" in line else ""):
                of_model = [cell for cell in rows_of(cells) if cell["model"] == model]
                best, *others = sorted(of_model, key=lambda cell: cell["train_seconds_per_epoch"])
                assert rivals(best, others) == ([], []), line
            if "nowhere" in line or "every interval" in line:
                device = re.search(r"gpu(-b)?", line)[0]
                said = {outcome_of(row) for row in rows_of(speedups) if row["device"] == device}
                assert said <= {Outcome.NO_DIFFERENCE} if "every" in line else len(said) == 1 and said.pop().shown, line
    assert all(claims[word] for word in ("fastest", "faster", "wins for", "nowhere", "every interval")), claims


# --- what limits the answers ---


def test_a_calm_study_has_no_caveat():
    assert told([*CPU, *GPU]).caveats == ()


def test_runs_out_of_memory_are_told_with_their_cells():
    lost = runs_of([1.0, 1.0], batch_size=8192, device="gpu", status="out_of_memory")
    assert "Memory ran out in 2 runs: conv at 8192 on gpu." in told([*CPU, *GPU, *lost]).caveats


def test_flagged_runs_are_counted():
    flagged = runs_of([1.0, 1.1], device="gpu", flags=["other_load"])
    (caveat,) = told([*CPU, *flagged]).caveats
    assert caveat.startswith("\u2020 Checks flagged 2 of 5 completed runs")


def test_cells_of_one_run_are_counted():
    assert told([*CPU, *runs_of([1.0], device="gpu")]).caveats == (
        "1 of 2 cells rest on one run and have no interval.",
    )


def test_different_cards_in_one_cell_are_told():
    mixed = runs_of([1.0, 1.1], device="gpu")
    mixed[1]["device_used"]["name"] = "NVIDIA L4"
    assert any("different hardware: conv at 512 on gpu" in caveat for caveat in told([*CPU, *mixed]).caveats)


# --- frameworks, precisions, several GPUs ---


def test_devices_that_differ_in_framework_alone_are_called_by_it():
    torch = runs_of([6.0, 6.1, 6.2], device="cpu-b", framework="torch")
    assert headlines([*CPU, *torch]) == [
        "For conv at batch size 512 PyTorch trains 1.98\u00d7 (1.92\u20132.05) faster than TensorFlow on this CPU."
    ]


def test_where_the_other_framework_wins_is_told():
    torch = runs_of([6.0, 6.1, 6.2], device="cpu-b", framework="torch")
    lstm = [*runs_of([1.0, 1.01], model="lstm"), *runs_of([2.0, 2.02], model="lstm", device="cpu-b", framework="torch")]
    (sentence,) = headlines([*CPU, *torch, *lstm])
    assert sentence.startswith("For conv at batch size 512 PyTorch trains ")
    assert "faster than TensorFlow on this CPU; TensorFlow wins for lstm at 512 by 2.00\u00d7" in sentence


def test_a_slower_framework_does_not_lead():
    (sentence,) = headlines([*CPU, *runs_of([24.0, 24.1, 24.2], device="cpu-jax", framework="jax")])
    assert sentence.startswith("For conv at batch size 512 TensorFlow trains ")
    assert sentence.endswith(" faster than JAX on this CPU.")


def test_devices_that_differ_in_precision_alone_are_called_by_it_with_both_accuracies():
    half = runs_of([6.0, 6.1, 6.2], device="cpu-b", precision="bfloat16", accuracies=[0.5, 0.9, 0.975])
    full = runs_of([12.0, 12.1, 12.2], accuracies=[0.5, 0.9, 0.98])
    assert headlines([*full, *half]) == [
        "For conv at batch size 512 bfloat16 trains 1.98\u00d7 (1.92\u20132.05) faster than float32 with TensorFlow on "
        "this CPU, with a final accuracy of 97.50 % against 98.00 %."
    ]


def test_a_precision_without_a_difference_in_speed_has_both_accuracies_too():
    half = runs_of([11.5, 12.1, 12.6], device="cpu-b", precision="bfloat16", accuracies=[0.5, 0.9, 0.975])
    (sentence,) = headlines([*runs_of([12.0, 12.1, 12.2], accuracies=[0.5, 0.9, 0.98]), *half])
    assert sentence.startswith("Between bfloat16 and float32 with TensorFlow on this CPU no difference is shown")
    assert sentence.endswith(", with a final accuracy of 97.50 % against 98.00 %.")


def test_a_precision_is_told_of_a_framework_that_is_not_the_reference_too():
    torch = runs_of([6.0, 6.1, 6.2], device="cpu-b", framework="torch")
    half = runs_of([3.0, 3.1, 3.2], device="cpu-c", framework="torch", precision="bfloat16")
    assert any(" faster than float32 with PyTorch on this CPU" in found for found in headlines([*CPU, *torch, *half]))


def test_devices_that_differ_in_framework_and_precision_are_called_by_their_names():
    torch = runs_of([6.0, 6.1, 6.2], device="cpu-b", framework="torch")
    half = runs_of([3.0, 3.1, 3.2], device="cpu-c", framework="torch", precision="bfloat16")
    assert any(" cpu-c trains 3.9" in found for found in headlines([*CPU, *torch, *half]))


def test_frameworks_on_several_gpus_and_hosts_are_told_where():
    jax, torch = (
        runs_of(seconds, device=name, framework=name, kind="gpu", gpus=4)
        for name, seconds in (("jax", [2.0, 2.01]), ("torch", [1.0, 1.01]))
    )
    assert " faster than JAX on these 4 GPUs." in " ".join(headlines([*jax, *torch]))
    elsewhere = [
        *runs_of([2.0, 2.01], device="cpu", host=OTHER),
        *runs_of([1.0, 1.01], device="torch-cpu", framework="torch", host=OTHER),
    ]
    found = " ".join(headlines([*jax, *torch, *elsewhere]))
    assert f" faster than JAX on the 4 GPUs of {HOST}." in found
    assert f" faster than TensorFlow on the CPU of {OTHER}." in found


def test_frameworks_at_several_numbers_of_threads_are_told_with_how_many():
    records = []
    for threads in (2, 8):
        records += runs_of([2.0, 2.01], device=f"cpu-{threads}t", usable_threads=threads)
        records += runs_of([1.0, 1.01], device=f"torch-{threads}t", framework="torch", usable_threads=threads)
    found = " ".join(headlines(records))
    assert all(f" faster than TensorFlow on this CPU with {threads} threads." in found for threads in (2, 8))


def test_what_several_gpus_gain_is_told_with_their_efficiency():
    gpus = [
        runs_of([seconds * 0.998, seconds, seconds / 0.998], device=f"gpu-{count}g", gpus=count)
        for count, seconds in ((1, 8.0), (4, 2.5))
    ]
    found = headlines([*gpus[0], *gpus[1]])
    assert (
        "For conv at batch size 512, 4 GPUs (NVIDIA H200) train 3.20\u00d7 (3.19\u20133.21) as fast as 1: "
        "an efficiency of 80.0 % (79.6\u201380.4)." in found
    )


def test_what_several_gpus_gain_in_single_runs_is_told_as_such():
    found = headlines([*runs_of([8.0], device="gpu-1g", gpus=1), *runs_of([2.5], device="gpu-4g", gpus=4)])
    assert any("an efficiency of 80.0 %; how sure that is takes at least two runs of each." in line for line in found)


def test_a_gain_of_several_gpus_that_no_interval_carries_is_none():
    found = headlines([*runs_of([8.0, 9.0], device="gpu-1g", gpus=1), *runs_of([7.9, 8.8], device="gpu-4g", gpus=4)])
    assert any(" as fast as 1: " in line and line.endswith("; no difference is shown.") for line in found)


def test_cells_that_mix_frameworks_are_told():
    mixed = [*runs_of([1.0], device="gpu"), *runs_of([1.1], device="gpu", framework="torch")]
    mixed[1]["repeat"] = 2
    assert any(
        "trained with different frameworks: conv at 512 on gpu" in caveat for caveat in told([*CPU, *mixed]).caveats
    )


# --- whole answers, to the letter ---

X, DASH = "\u00d7", "\u2013"
SAYS_WHAT = "\u201cFlagged runs\u201d says what, and what to do."
NO_REFERENCE = "No completed run of the reference device: there are no speedups."


def flagged(count, of):
    return f"\u2020 Checks flagged {count} of {of} completed runs: something may have disturbed them. {SAYS_WHAT}"


def shown(headline):
    """A headline with the signs of numbers: x for times, - between the ends of an interval."""
    return re.sub(r"(?<=\d)x\b", X, re.sub(r"(?<=\d)-(?=\d+\.?\d*\))", DASH, headline))


def losing_at(*batch_sizes, flags=()):
    """Runs of a CPU that is twice as fast as the GPU."""
    return [
        run
        for size in batch_sizes
        for device, seconds, of_device in (("cpu", [1.0, 1.01, 1.02], ()), ("gpu", [2.0, 2.01, 2.02], flags))
        for run in runs_of(seconds, batch_size=size, device=device, flags=of_device)
    ]


def three_gpus(models, seconds):
    """Runs of three GPUs, each with the seconds of its number and its model's."""
    return [
        run
        for of_model, model in enumerate(models)
        for number, device in enumerate(("gpu", "gpu-b", "gpu-c"))
        for run in runs_of(seconds(number, of_model), model=model, device=device)
    ]


def gpu_series(seconds_by_count, hosts, frameworks):
    return [
        run
        for count, seconds in seconds_by_count.items()
        for host in hosts
        for framework in frameworks
        for run in runs_of(
            [seconds * 0.99, seconds / 0.99],
            device=f"{framework}-{count}g",
            kind="gpu",
            gpus=count,
            host=host,
            framework=framework,
            flags=["gpu_shared"] if (count, framework) == (4, "torch") else (),
        )
    ]


ON_CPU = "on cpu (AMD EPYC 9B14, 2 threads)"
ANSWERS = {
    "three losses are named": (
        [*CPU, *GPU, *losing_at(16, 32, 64)],
        [
            "For conv at batch size 512 gpu trains 12.1x (11.6-12.6) faster than cpu; cpu wins for conv at 16 by 1.99x "
            "(1.95-2.03), conv at 32 by 1.99x (1.95-2.03) and conv at 64 by 1.99x (1.95-2.03)."
        ],
        [],
    ),
    "four are counted, the greatest is named with its mark": (
        [
            *[*CPU, *GPU, *losing_at(16, 32, 128)],
            *runs_of([1.0, 1.01, 1.02], batch_size=64),
            *runs_of([4.0, 4.01, 4.02], batch_size=64, device="gpu", flags=["gpu_shared"]),
        ],
        [
            "For conv at batch size 512 gpu trains 12.1x (11.6-12.6) faster than cpu; cpu wins in 4 of 5 comparisons, "
            "for one conv at 64 by 3.97x (3.88-4.06) \u2020."
        ],
        [flagged(3, 30)],
    ),
    "no difference in any of several comparisons": (
        [
            *CPU,
            *runs_of([11.5, 12.1, 12.6], device="gpu"),
            *runs_of([5.0, 5.5, 6.0], model="lstm"),
            *runs_of([5.1, 5.4, 6.1], model="lstm", device="gpu", flags=["gpu_shared"]),
        ],
        ["Between gpu and cpu no difference is shown in any of 2 comparisons: every interval contains 1 \u2020."],
        [flagged(3, 12)],
    ),
    "single runs that are equal": (
        [*runs_of([12.0]), *runs_of([12.0], device="gpu")],
        [
            "Between gpu and cpu no difference is shown for conv at batch size 512: 1.00x. Single runs: how sure that "
            "is takes at least two runs of each cell."
        ],
        ["All cells rest on one run and have no interval."],
    ),
    "single runs, one equal and one slower": (
        [
            *[*runs_of([12.0]), *runs_of([12.0], device="gpu")],
            *[*runs_of([12.0], model="lstm"), *runs_of([24.0], model="lstm", device="gpu")],
        ],
        [
            "For lstm at batch size 512 cpu trains 2.00x faster than gpu; in 1 of 2 comparisons no difference is "
            "shown. Single runs: how sure that is takes at least two runs of each cell."
        ],
        ["All cells rest on one run and have no interval."],
    ),
    "a flagged device that is slower": (
        [*FAST_CPU, *runs_of([11.0, 11.1, 11.2], model="logistic", device="gpu", flags=["other_load"])],
        ["For logistic at batch size 512 cpu trains 11.0x (10.8-11.2) faster than gpu \u2020."],
        [flagged(3, 6)],
    ),
    "the only run is flagged": (
        runs_of([12.0], flags=["other_load"]),
        [
            "\u2020 The only completed run is flagged: something may have disturbed it, and with it every number here. "
            + SAYS_WHAT,
            f"conv trains at batch size 512 {ON_CPU}: 12.00 s an epoch (one run) \u2020.",
        ],
        ["All cells rest on one run and have no interval."],
    ),
    "both runs are flagged": (
        runs_of([12.0, 12.1], flags=["other_load"]),
        [
            "\u2020 All 2 completed runs are flagged: something may have disturbed them, and with them every number "
            "here. " + SAYS_WHAT,
            f"conv trains at batch size 512 {ON_CPU}: 12.05 s an epoch (11.43-12.70) \u2020.",
        ],
        [],
    ),
    "six models on one device": (
        [run for model in "abcdef" for run in runs_of([1.0, 1.01], model=model)],
        [
            *(f"{model} trains at batch size 512 {ON_CPU}: 1.005 s an epoch (0.943-1.071)." for model in "abcd"),
            "2 more models: see \u201cEvery cell\u201d.",
        ],
        [],
    ),
    "six models that one of three devices trains fastest": (
        three_gpus("abcdef", lambda number, model: [1.0 + number + model % 3, 1.01 + number + model % 3]),
        [
            "6 models train fastest on gpu (NVIDIA H200); c takes 3.005 s an epoch (2.942-3.069) at batch size 512, "
            "1.33x (1.32-1.35) faster than gpu-b.",
            NO_REFERENCE,
        ],
        [],
    ),
    "each of three devices trains two models fastest": (
        three_gpus("abcdef", lambda number, model: [1.0 + (number + model) % 3, 1.01 + (number + model) % 3]),
        [
            *(
                f"{models} train fastest on {best} (NVIDIA H200); {models[0]} takes 1.005 s an epoch (0.943-1.071) at "
                f"batch size 512, 2.00x (1.93-2.06) faster than {second}."
                for models, best, second in (
                    ("a and d", "gpu", "gpu-b"),
                    ("b and e", "gpu-c", "gpu"),
                    ("c and f", "gpu-b", "gpu-c"),
                )
            ),
            NO_REFERENCE,
        ],
        [],
    ),
    "six models of which no device is the fastest": (
        three_gpus("abcdef", lambda number, _: [1.0 + 0.1 * number, 1.5 + 0.1 * number]),
        [
            *(
                f"{model}: 1.22 s an epoch (0.0932-16.1) at batch size 512 on gpu (NVIDIA H200); no difference shown "
                "from gpu-b and gpu-c."
                for model in "abcd"
            ),
            "2 more answers: see \u201cWhich device for which model\u201d.",
            NO_REFERENCE,
        ],
        [],
    ),
    "rivals with and without an interval": (
        [
            *[*CPU, *GPU, *runs_of([3.0], device="gpu-c")],
            *runs_of([0.97, 1.02, 1.06], device="gpu-b", batch_size=64),
        ],
        [
            "conv: 0.9999 s an epoch (0.9514-1.0508) at batch size 512 on gpu (NVIDIA H200); no difference shown from "
            "gpu-b at 64; no interval beside gpu-c.",
            "For conv at batch size 512 gpu trains 12.1x (11.6-12.6) faster than cpu.",
            "For conv at batch size 512 gpu-c trains 4.03x faster than cpu. Single runs: how sure that is takes at "
            "least two runs of each cell.",
        ],
        ["1 of 4 cells rest on one run and have no interval."],
    ),
    "many cells out of memory on another host": (
        [
            *CPU,
            *(
                run
                for size in range(1, 9)
                for run in runs_of([1.0], batch_size=size, device="gpu", status="out_of_memory", host=OTHER)
            ),
        ],
        [f"conv trains at batch size 512 on cpu @ {HOST} (AMD EPYC 9B14, 2 threads): 12.10 s an epoch (11.85-12.35)."],
        [
            f"Memory ran out in 8 runs: conv at 1 on gpu @ {OTHER}, conv at 2 on gpu @ {OTHER}, conv at 3 on gpu @ "
            f"{OTHER} and 5 more cells."
        ],
    ),
    "three precisions": (
        [
            *runs_of([12.0, 12.1], accuracies=[0.5, 0.9, 0.98]),
            *runs_of([6.0, 6.1], device="b", precision="bfloat16", accuracies=[0.5, 0.9, 0.975]),
            *runs_of([24.0, 24.2], device="c", precision="float16", flags=["other_load"], accuracies=[0.5, 0.9, 0.97]),
        ],
        [
            "conv trains fastest on b (AMD EPYC 9B14, 2 threads, bfloat16): 6.050 s an epoch (5.447-6.720) at batch "
            "size 512, 1.99x (1.88-2.11) faster than cpu.",
            "For conv at batch size 512 bfloat16 trains 1.99x (1.88-2.11) faster than float32 with TensorFlow on this "
            "CPU, with a final accuracy of 97.50 % against 98.00 %.",
            "For conv at batch size 512 float32 trains 2.00x (1.95-2.05) faster than float16 with TensorFlow on this "
            "CPU \u2020, with a final accuracy of 98.00 % against 97.00 %.",
        ],
        [flagged(2, 6)],
    ),
    "three frameworks": (
        [
            *runs_of([12.0, 12.1]),
            *runs_of([6.0, 6.1], device="t", framework="torch"),
            *runs_of([24.0, 24.1], device="j", framework="jax"),
        ],
        [
            "conv trains fastest on t (AMD EPYC 9B14, 2 threads, PyTorch): 6.050 s an epoch (5.447-6.720) at batch "
            "size 512, 1.99x (1.88-2.11) faster than cpu.",
            "For conv at batch size 512 PyTorch trains 1.99x (1.88-2.11) faster than TensorFlow on this CPU.",
            "For conv at batch size 512 TensorFlow trains 2.00x (1.94-2.05) faster than JAX on this CPU.",
        ],
        [],
    ),
    "several GPUs of two hosts with two frameworks": (
        gpu_series({1: 8.0, 2: 4.2, 4: 2.5}, (HOST, OTHER), ("tensorflow", "torch")),
        [
            f"conv: 2.500 s an epoch (2.200-2.841) at batch size 512 on tensorflow-4g @ {HOST} (4 x NVIDIA H200, "
            f"TensorFlow); no difference shown from tensorflow-4g @ {OTHER}, torch-4g @ {HOST} and torch-4g @ {OTHER}.",
            *(
                f"Between PyTorch and TensorFlow on the {gpus} of {host} no difference is shown for conv at batch size "
                "512: 1.00x (0.94-1.06)."
                for gpus, host in (("GPU", HOST), ("GPU", OTHER), ("2 GPUs", HOST))
            ),
            "3 more comparisons: see \u201cFrameworks and precisions side by side\u201d.",
            *(
                f"For conv at batch size 512, 4 GPUs (NVIDIA H200) of {host} train 3.20x (3.01-3.40) as fast as 1 with "
                f"{framework} in float32: an efficiency of 80.0 % (75.3-85.0){mark}."
                for host, framework, mark in (
                    (HOST, "TensorFlow", ""),
                    (HOST, "PyTorch", " \u2020"),
                    (OTHER, "TensorFlow", ""),
                )
            ),
            "1 more comparison: see \u201cSeveral GPUs in one run\u201d.",
            NO_REFERENCE,
        ],
        [flagged(4, 24)],
    ),
}


@pytest.mark.parametrize(("records", "headlines", "caveats"), ANSWERS.values(), ids=ANSWERS)
def test_a_study_is_answered_to_the_letter(records, headlines, caveats):
    found = told(records)
    assert list(found.headlines) == [shown(headline) for headline in headlines]
    assert list(found.caveats) == caveats
