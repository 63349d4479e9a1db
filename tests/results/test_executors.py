"""Devices of hosts are called by what tells them apart."""

from metrics_builder import make_record
from trainbench.results.cells_table import cells_table
from trainbench.results.executors import Executor, executors_of, labels_of
from trainbench.results.measured import measured
from trainbench.results.tables import TableOrder


def executors(*records, order=None):
    return executors_of(cells_table(measured(records).runs), order or TableOrder())


def test_devices_of_one_host_are_called_by_their_names():
    records = [make_record(device=device, host="h") for device in ("gpu", "cpu")]
    assert executors(*records) == (Executor("cpu", "h", "cpu", ""), Executor("gpu", "h", "gpu", ""))


def test_devices_of_several_hosts_are_called_by_their_hosts_too_in_the_order_of_devices_then_hosts():
    records = [make_record(device=device, host=host) for host in ("a", "b") for device in ("cpu", "gpu")]
    found = executors(*records, order=TableOrder(devices=("gpu",), hosts=("b",)))
    assert [(one.key, one.label) for one in found] == [
        (("gpu", "b"), "gpu @ b"),
        (("gpu", "a"), "gpu @ a"),
        (("cpu", "b"), "cpu @ b"),
        (("cpu", "a"), "cpu @ a"),
    ]


def test_what_devices_compute_with_is_told_where_it_is_not_the_same_for_all():
    records = [make_record(device="a"), make_record(device="b", framework="torch", precision="bfloat16")]
    assert [one.detail for one in executors(*records)] == ["TensorFlow, float32", "PyTorch, bfloat16"]


def test_only_what_differs_is_told():
    records = [make_record(device="a"), make_record(device="b", framework="jax")]
    assert [one.detail for one in executors(*records)] == ["TensorFlow", "JAX"]


def test_labels_are_found_by_device_and_host():
    assert labels_of([Executor("cpu", "h", "the CPU")]) == {("cpu", "h"): "the CPU"}
