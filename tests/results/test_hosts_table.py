"""The inventory has a row a host, whatever the runs on it saw of its cards."""

from metrics_builder import make_record
from trainbench.results.hosts_table import HOST_COLUMNS, Inventory
from trainbench.results.tables import TableOrder, rows_of


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


def test_a_host_is_described_with_all_that_is_known_of_it():
    host = {
        "cpu": {
            "max_mhz": 3700.5,
            "numa_nodes": 4,
            "caches": [
                {"level": 1, "type": "Data", "size_kib": 48, "instances": 2},
                {"level": 1, "type": "Instruction", "size_kib": 32.5, "instances": None},
                {"level": 3, "type": "Unified", "size_kib": None, "instances": 1},
            ],
        },
        "cgroup_cpu_quota_cores": 1.5,
    }
    record = make_record(device="gpu", gpus=2, framework="torch", host="a")
    other_name = make_record(device="gpu", gpus=2, repeat=2, host="a", hostname="server8")
    for each in (record, other_name):
        each["host"] = each["host"] | host | {"cpu": each["host"]["cpu"] | host["cpu"]}
    (row,) = rows_of(inventory_of(record, other_name))
    assert row == {
        "host": "a",
        "hostnames": "server7, server8",
        "cpu_model": "a",
        "sockets": 1,
        "cores": 2,
        "threads": 2,
        "usable_threads": "2",
        "numa_nodes": 4,
        "cpu_max_mhz": 3700.5,
        "caches": "L1d 2 x 48 KiB, L1i 32.5 KiB, L3 1 x unknown size",
        "memory_mib": 24036.5,
        "cpu_quota_cores": "1.5",
        "gpus": "2 x NVIDIA H200",
        "gpu_memory_mib": "2 x 143771",
        "gpu_driver_version": "570.86",
        "system": "Linux-6.1.0-x86_64",
        "kernel": "6.1.0-18-amd64",
        "software": "tensorflow 2.21.0, torch 2.13.0, Python 3.11.7",
        "runs": 2,
    }


def with_cards(repeat, hostname, *cards):
    record = make_record(device="gpu", repeat=repeat, hostname=hostname)
    (card,) = record["host"]["gpus"]
    record["host"]["gpus"] = [card | given for given in cards]
    return record


def test_cards_are_those_of_the_machine_with_most_of_them():
    records = [
        with_cards(1, "z", {"uuid": "1"}, {"uuid": "2", "name": "TITAN X", "memory_mib": None}),
        with_cards(2, "z", {"uuid": None, "index": 5, "name": None, "memory_mib": 12.4}),
        with_cards(3, "z", {"uuid": None, "index": 6, "name": None, "memory_mib": 12.4}),
        with_cards(4, "zz", {"uuid": "9"}, {"uuid": "8"}, {"uuid": "7"}),
    ]
    (row,) = rows_of(inventory_of(*records))
    assert (row["gpus"], row["gpu_memory_mib"]) == ("NVIDIA H200, TITAN X, 2 x unnamed GPU", "143771, 2 x 12")


def test_a_framework_without_a_version_is_no_software():
    record = make_record(software={"versions": {"tensorflow": None}})
    assert inventory_of(record).iloc[0]["software"] == "Python 3.11.7"


def test_a_published_host_has_what_was_published_of_it_and_hosts_come_in_the_order_that_is_wanted():
    inventory = Inventory()
    inventory.add(make_record(host="a"))
    inventory.add_published({"host": "published", "runs": 3})
    found = rows_of(inventory.table(TableOrder(hosts=("published", "a"))))
    assert [row["host"] for row in found] == ["published", "a"]
    assert {name: value for name, value in found[0].items() if value is not None} == {"host": "published", "runs": 3}
