"""The inventory has a row a host, whatever the runs on it saw of its cards."""

from metrics_builder import make_record
from trainbench.results.hosts_table import HOST_COLUMNS, Inventory
from trainbench.results.tables import TableOrder


def inventory_of(*records):
    inventory = Inventory()
    for record in records:
        inventory.add(record)
    return inventory.table(TableOrder())


def test_every_host_has_a_row_that_counts_its_runs():
    table = inventory_of(make_record(host="a"), make_record(host="b"), make_record(host="a", repeat=2))
    assert table[["host", "runs"]].values.tolist() == [["a", 2], ["b", 1]]


def test_the_cpu_is_described_as_lscpu_does():
    row = inventory_of(make_record()).iloc[0]
    assert (row["cpu_model"], row["sockets"], row["cores"], row["caches"]) == ("AMD EPYC 9B14", 1, 2, "L1d 2 x 48 KiB")


def test_all_cards_that_any_run_saw_count_once():
    runs = [make_record(device="gpu"), make_record(device="gpu", repeat=2), make_record()]
    assert inventory_of(*runs).iloc[0]["gpus"] == "NVIDIA H200"


def test_equal_cards_are_counted():
    assert inventory_of(make_record(device="gpu", gpus=4)).iloc[0]["gpus"] == "4 x NVIDIA H200"


def test_what_changed_between_runs_stands_side_by_side():
    runs = [
        make_record(repeat=number, host_id="a", gpu_driver_version=version) for number, version in ((1, "1"), (2, "2"))
    ]
    assert inventory_of(*runs).iloc[0]["gpu_driver_version"] == "1, 2"


def test_no_hosts_are_a_table_of_columns():
    assert list(inventory_of().columns) == list(HOST_COLUMNS)


def test_software_names_all_frameworks():
    runs = [make_record(device=name, framework=name) for name in ("torch", "tensorflow", "jax")]
    assert inventory_of(*runs).iloc[0]["software"] == "jax 0.10.2, tensorflow 2.21.0, torch 2.13.0, Python 3.11.7"
