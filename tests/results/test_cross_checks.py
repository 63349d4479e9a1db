"""What sets a run apart from the others of its host or cell is found; what may differ between them is not."""

import pytest

from metrics_builder import as_older_versions_timed, make_record
from trainbench.records.finding import Finding
from trainbench.results.cross_checks import across_runs, compared_part


def names_by_repeat(records):
    found = across_runs(records)
    return {record["repeat"]: [finding.name for finding in found[record["run_id"]]] for record in records}


def runs_of_canaries(*seconds, **settings):
    return [make_record(repeat=repeat, canary_seconds=value, **settings) for repeat, value in enumerate(seconds, 1)]


def findings_of_first(*records):
    return across_runs(records)[records[0]["run_id"]]


def test_runs_that_are_alike_have_no_findings():
    assert names_by_repeat([make_record(repeat=repeat) for repeat in range(1, 6)]) == {
        repeat: [] for repeat in range(1, 6)
    }


@pytest.mark.parametrize("seconds", [0.16, 0.24])
def test_a_run_before_which_the_machine_was_slower_or_faster_than_usual_is_found(seconds):
    found = names_by_repeat(runs_of_canaries(0.2, 0.2, 0.2, seconds))
    assert found == {1: [], 2: [], 3: [], 4: ["speed_differs"]}


def test_a_small_difference_of_the_machines_speed_is_none():
    assert names_by_repeat(runs_of_canaries(0.2, 0.2, 0.2, 0.225))[4] == []


def test_three_runs_do_not_say_what_is_usual():
    assert names_by_repeat(runs_of_canaries(0.2, 0.2, 0.4))[3] == []


def test_runs_on_other_numbers_of_cores_are_not_compared_for_speed():
    many = runs_of_canaries(0.4, 0.4, usable_threads=8)
    found = across_runs([*runs_of_canaries(0.2, 0.2, 0.2, 0.2, batch_size=128), *many])
    assert "speed_differs" not in {finding.name for run in many for finding in found[run["run_id"]]}


def test_runs_of_older_versions_are_compared_with_their_like_alone():
    timed = runs_of_canaries(0.2, 0.2, 0.2, 0.3, batch_size=128)
    old = [as_older_versions_timed(run, run["canary"]["before"]["together_seconds"]) for run in timed]
    found = across_runs([*old, *runs_of_canaries(0.1, 0.1, 0.1, 0.1)])
    assert [run["repeat"] for run in old if found[run["run_id"]]] == [4]
    assert [names for names in found.values() if names] == [found[old[3]["run_id"]]]


def test_a_run_before_which_nothing_was_timed_is_not_compared():
    untimed = make_record(repeat=9, canary={"before": None})
    assert names_by_repeat([*runs_of_canaries(0.2, 0.2, 0.2, 0.2), untimed])[9] == []


def test_a_host_is_not_compared_with_another():
    slow = runs_of_canaries(0.4, 0.4, host="slow")
    found = across_runs([*runs_of_canaries(0.2, 0.2, 0.2, 0.2, host="fast"), *slow])
    assert [found[run["run_id"]] for run in slow] == [[], []]


def test_the_machines_speed_is_compared_across_cells():
    cells = [make_record("conv", size, canary_seconds=0.2) for size in (128, 256, 512)]
    assert names_by_repeat([*cells, make_record("lstm", repeat=2, canary_seconds=0.3)])[2] == ["speed_differs"]


@pytest.mark.parametrize(
    ("override", "named"),
    [
        ({"software": {"python": "3.12.1"}}, "python is 3.12.1 here, 3.11.7 in others"),
        ({"software": {"versions": {"tensorflow": "2.20.0"}}}, "tensorflow is 2.20.0 here, 2.21.0 in others"),
        ({"software": {"flags": {"tf32": True}}}, "tf32 is on here, off in others"),
        (
            {"software": {"flags": {"environment": {"TF_ENABLE_ONEDNN_OPTS": "0"}}}},
            "TF_ENABLE_ONEDNN_OPTS is 0 here, not set in others",
        ),
        ({"gpu_driver_version": "580.1"}, "GPU driver is 580.1 here, 570.86 in others"),
    ],
)
def test_runs_of_a_cell_with_different_software_are_found_and_it_is_named(override, named):
    findings = findings_of_first(make_record(device="gpu", **override), make_record(device="gpu", repeat=2))
    assert [(finding.name, finding.finding.endswith(f": {named}")) for finding in findings] == [
        ("versions_differ", True)
    ]


def with_variables(repeat, **own):
    flags = {"environment": {"OMP_NUM_THREADS": "2", **own}}
    return make_record(repeat=repeat, settings={"device": {"environment": own}}, software={"flags": flags})


@pytest.mark.parametrize(
    ("other", "named"), [(make_record(repeat=2), "none"), (with_variables(2, LD_PRELOAD="b.so"), "LD_PRELOAD=b.so")]
)
def test_runs_of_a_cell_whose_devices_set_different_variables_have_different_settings(other, named):
    findings = findings_of_first(with_variables(1, LD_PRELOAD="a.so"), other)
    assert [(finding.name, finding.finding.partition(": ")[2]) for finding in findings] == [
        ("settings_differ", f"device.environment is LD_PRELOAD=a.so here, {named} in others")
    ]


def test_everything_that_differs_is_named():
    other = make_record(repeat=2, software={"python": "3.12.1", "versions": {"tensorflow": "2.20.0"}})
    assert "; " in findings_of_first(make_record(), other)[0].finding


def test_every_run_of_a_cell_with_different_software_is_found():
    records = [make_record(repeat=1), make_record(repeat=2), make_record(repeat=3, software={"python": "3.12.1"})]
    assert names_by_repeat(records) == {repeat: ["versions_differ"] for repeat in (1, 2, 3)}


def test_a_driver_does_not_matter_to_a_cpu_run():
    other = make_record(repeat=2, gpu_driver_version="580.1")
    assert findings_of_first(make_record(gpu_driver_version="570.86"), other) == []


def test_runs_on_different_cards_of_a_host_have_the_same_software():
    records = [
        make_record(repeat=index, software={"flags": {"environment": {"CUDA_VISIBLE_DEVICES": f"GPU-{index}"}}})
        for index in (1, 2)
    ]
    assert names_by_repeat(records) == {1: [], 2: []}


def test_an_unknown_version_is_not_another_one():
    unknown = make_record(repeat=2, software={"versions": {"tensorflow": None}, "flags": {"tf32": None}})
    assert findings_of_first(make_record(), unknown) == []


def test_the_run_of_a_folder_that_alone_has_another_version_is_found():
    cells = [make_record(batch_size=size) for size in (128, 256)]
    other = make_record(batch_size=512, software={"versions": {"tensorflow": "2.20.0"}})
    found = across_runs([*cells, other])
    assert [found[cell["run_id"]] for cell in cells] == [[], []]
    (finding,) = found[other["run_id"]]
    assert (finding.name, finding.finding.endswith(": tensorflow is 2.20.0 here, 2.21.0 in others")) == (
        "versions_differ",
        True,
    )


def test_where_no_version_is_the_usual_one_of_a_folder_all_its_runs_are_found():
    records = [make_record(batch_size=128), make_record(batch_size=256, software={"python": "3.12.1"})]
    found = across_runs(records)
    assert [[finding.name for finding in found[record["run_id"]]] for record in records] == [["versions_differ"]] * 2


def test_runs_of_different_folders_and_cells_may_have_different_versions():
    records = [
        make_record(batch_size=128) | {"runs_folder": "/a"},
        make_record(batch_size=256, software={"python": "3.12.1"}) | {"runs_folder": "/b"},
    ]
    assert not any(across_runs(records).values())


def test_different_cells_may_have_different_flags():
    assert findings_of_first(make_record(), make_record(batch_size=128, software={"flags": {"tf32": True}})) == []


def test_runs_of_a_cell_with_different_thread_counts_are_found_and_they_are_named():
    findings = findings_of_first(make_record(usable_threads=2), make_record(repeat=2, usable_threads=8))
    assert [(finding.name, finding.finding) for finding in findings] == [
        ("threads_differ", "the run trained with 2 threads, others of its cell with 8")
    ]


def test_a_run_out_of_memory_has_no_threads_to_compare():
    failed = make_record(repeat=2, status="out_of_memory", usable_threads=8)
    assert names_by_repeat([make_record(), failed]) == {1: [], 2: []}


def test_runs_of_a_cell_on_different_kinds_of_card_are_found_and_they_are_named():
    cards = [
        make_record(repeat=repeat, device_used={"name": name}) for repeat, name in ((1, "NVIDIA H200"), (2, "TITAN X"))
    ]
    assert [(finding.name, finding.finding) for finding in findings_of_first(*cards)] == [
        ("hardware_differs", "the run trained on NVIDIA H200, others of its cell on TITAN X")
    ]


def test_runs_of_a_cell_with_different_settings_are_found_and_both_values_are_named():
    other = make_record(repeat=2, settings={"epochs": 7})
    (finding,) = across_runs([make_record(repeat=1), other])[other["run_id"]]
    assert (finding.name, "epochs is 7 here, 2 in others" in finding.finding) == ("settings_differ", True)


def test_seeds_and_repeats_are_no_different_settings():
    records = [make_record(repeat=1), make_record(repeat=2, settings={"study_seed": 5})]
    assert not any(across_runs(records).values())


# --- several frameworks ---


def test_another_framework_in_a_folder_is_no_other_version():
    own = {"python": "3.12.1", "versions": {"numpy": "1.26.0"}}
    records = [make_record(repeat=repeat) for repeat in (1, 2)]
    records += [make_record(device="cpu-jax", repeat=repeat, framework="jax", software=own) for repeat in (1, 2)]
    assert not any(across_runs(records).values())


def test_the_run_of_a_framework_that_alone_has_another_version_is_found():
    records = [make_record(batch_size=size, framework="jax") for size in (128, 256, 512)]
    other = make_record(batch_size=1024, framework="jax", software={"versions": {"jax": "0.9.0"}})
    tensorflow = [make_record(batch_size=size, device="cpu-tf") for size in (128, 256, 512, 1024)]
    found = across_runs([*tensorflow, *records, other])
    assert [run_id for run_id, findings in found.items() if findings] == [other["run_id"]]
    assert found[other["run_id"]][0].finding.endswith(": jax is 0.9.0 here, 0.10.2 in others")


def test_one_name_for_two_frameworks_is_two_settings_and_not_two_versions():
    records = [make_record(repeat=1), make_record(repeat=2, framework="torch", software={"python": "3.12.1"})]
    assert names_by_repeat(records) == {1: ["settings_differ"], 2: ["settings_differ"]}


# --- to the letter ---

OTHER_SOFTWARE = "delete the results of the runs whose software is not the wanted one and run snakemake again"


@pytest.mark.parametrize(
    ("records", "finding"),
    [
        (
            runs_of_canaries(0.4, 0.2, 0.2, 0.2),
            Finding(
                "speed_differs",
                "warning",
                "a fixed computation on all 2 cores at once took 0.400 s before the run, 0.200 s in the median of the "
                "host's 4 runs (+100 %)",
                "look for other load, heat or a changed power setting, and measure this run again",
            ),
        ),
        (
            [make_record(repeat=repeat, software={"python": python}) for repeat, python in enumerate(("3.12", "3.13"))]
            + [make_record(repeat=2, software={"python": "3.11"})],
            Finding(
                "versions_differ",
                "warning",
                "the cell's runs were measured with different software: python is 3.12 here, 3.11 or 3.13 in others",
                OTHER_SOFTWARE,
            ),
        ),
        (
            [
                make_record(batch_size=1, software={"python": "3.12.1", "versions": {"numpy": "1"}}),
                *(make_record(batch_size=size) for size in (2, 3)),
            ],
            Finding(
                "versions_differ",
                "warning",
                "runs of these results were measured with different software: python is 3.12.1 here, 3.11.7 in "
                "others; numpy is 1 here, 2.4.6 in others",
                OTHER_SOFTWARE,
            ),
        ),
        (
            [make_record(settings={"epochs": 7}), make_record(repeat=2)],
            Finding(
                "settings_differ",
                "warning",
                "the cell's runs were measured with different settings: epochs is 7 here, 2 in others",
                "take the source whose settings are not the wanted ones out of sources, or measure it with these",
            ),
        ),
        (
            [make_record(repeat=repeat, usable_threads=threads) for repeat, threads in enumerate((2, 8, 4))],
            Finding(
                "threads_differ",
                "warning",
                "the run trained with 2 threads, others of its cell with 4 or 8",
                "set the device's threads to a number, or give every run the same --cores, and measure the cell again",
            ),
        ),
        (
            [make_record(repeat=repeat, device_used={"name": name}) for repeat, name in enumerate("ABC")],
            Finding(
                "hardware_differs",
                "warning",
                "the run trained on A, others of its cell on B or C",
                "name the card in device_settings and measure the cell again, or take the source with the other card "
                "out",
            ),
        ),
    ],
    ids=["speed", "versions in a cell", "versions in a folder", "settings", "threads", "hardware"],
)
def test_what_sets_a_run_apart_is_said_with_what_to_do(records, finding):
    assert findings_of_first(*records) == [finding]


@pytest.mark.parametrize(
    ("seconds", "found"), [(0.2299, []), (0.1701, []), (0.2301, ["speed_differs"]), (0.1699, ["speed_differs"])]
)
def test_the_machines_speed_may_differ_by_15_percent(seconds, found):
    assert names_by_repeat(runs_of_canaries(0.2, 0.2, 0.2, seconds))[4] == found


def test_findings_come_in_the_order_of_the_checks():
    first = make_record(
        repeat=1,
        canary_seconds=0.4,
        usable_threads=8,
        canary={"cores": 2},
        settings={"epochs": 7},
        software={"python": "3.12"},
        device_used={"name": "B"},
    )
    found = findings_of_first(first, *(make_record(repeat=repeat) for repeat in (2, 3, 4)))
    assert [finding.name for finding in found] == [
        "speed_differs",
        "settings_differ",
        "versions_differ",
        "threads_differ",
        "hardware_differs",
    ]


def test_the_part_that_is_compared_is_enough_to_find_the_same():
    records = [make_record(repeat=1, settings={"epochs": 7}, software={"python": "3.12"}), make_record(repeat=2)]
    failed = make_record(repeat=3, status="out_of_memory")
    runs = [*(run | {"runs_folder": "/a"} for run in records), failed]
    assert across_runs(map(compared_part, runs)) == across_runs(runs)
