"""Every device has one look, different from all others."""

import itertools

import pytest

from trainbench.figures.looks import device_colors, device_looks, looks_of_hosts


def test_a_device_keeps_its_colour_whatever_stands_behind_it():
    assert device_colors(["cpu", "gpu"]).items() <= device_colors(["cpu", "gpu", "gpu-bf16"]).items()


def test_sixty_four_devices_all_look_different():
    looks = device_looks([f"gpu-{index}" for index in range(64)])
    assert len({(look.color, look.marker) for look in looks.values()}) == 64


def looks_at(devices, hosts):
    return looks_of_hosts(list(itertools.product([f"d{device}" for device in range(devices)], hosts)))


def test_a_device_has_one_colour_on_all_hosts():
    looks = looks_at(3, ["a", "b"])
    assert {looks[device, "a"].color == looks[device, "b"].color for device in ("d0", "d1", "d2")} == {True}


def test_a_device_has_the_same_colour_whether_there_are_other_hosts_or_not():
    assert looks_at(3, ["a"])["d1", "a"].color == looks_at(3, ["a", "b"])["d1", "a"].color


@pytest.mark.parametrize(("devices", "hosts"), [(8, 8), (16, 4), (3, 2)])
def test_devices_of_several_hosts_all_look_different(devices, hosts):
    looks = looks_at(devices, [f"h{host}" for host in range(hosts)])
    assert len({(look.color, look.marker) for look in looks.values()}) == devices * hosts


def test_neighbouring_devices_differ_without_colour_too():
    looks = list(device_looks([f"gpu-{index}" for index in range(8)]).values())
    assert len({look.marker for look in looks}) == 8
