"""Only what is to be trained is held against the machine: a finished study can be looked at on any."""

import shutil
import subprocess
from contextlib import contextmanager

import pytest

# Devices for a card and 4096 cores, beside the one that the study is finished on.
MORE_DEVICES = ("devices=[cpu, cpu-4096t, gpu]", "device_settings={cpu-4096t: {kind: cpu, threads: 4096}}")
# The device that the study is finished on, as on a machine of 4096 cores.
LARGER_DEVICE = ("device_settings={cpu: {threads: 4096}}",)


@pytest.fixture(scope="module")
def copied(finished, tmp_path_factory):
    """A copy of the finished study, with tables of what is there by now, made for more devices than the machine has."""
    folder = tmp_path_factory.mktemp("copied") / "study"
    shutil.copytree(finished.folder, folder, symlinks=True)
    checkout = type(finished)(folder)
    made = checkout.study("--cores", "1", "so_far", "--config", *MORE_DEVICES)
    assert made.returncode == 0, made.stderr
    return checkout


@contextmanager
def mounted(folder, *options):
    done = subprocess.run(["mount", *options, folder], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"takes the right to mount: {done.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def test_tables_of_what_is_there_by_now_are_made_whatever_else_the_study_asks_for(copied):
    assert (copied.folder / "results/so_far/tables/cells.csv").exists()


@pytest.mark.parametrize(
    ("arguments", "config"),
    [
        (("--unlock",), MORE_DEVICES),
        (("--list-changes", "params"), MORE_DEVICES),
        (("--report", "seen.html"), LARGER_DEVICE),
        (("--cores", "1", "results/runs/logistic/16/cpu/1/metrics.json"), MORE_DEVICES),
    ],
)
def test_who_only_looks_at_results_needs_no_machine_that_could_make_them(copied, arguments, config):
    run = copied.study(*arguments, "--config", *config)
    assert run.returncode == 0, run.stderr


def test_a_study_with_nothing_to_do_needs_no_core(copied):
    run = copied.study("--cores", "0")
    assert run.returncode == 0, run.stderr


@pytest.fixture
def read_only(copied):
    results = copied.folder / "results"
    with mounted(results, "--bind", results):
        subprocess.run(["mount", "-o", "remount,bind,ro", results], check=True)
        yield copied


@pytest.mark.parametrize(
    "arguments",
    [(), ("--dry-run",), ("--list-changes", "params"), ("--report", "report.html")],
    ids=["", "dry run", "changes", "report"],
)
def test_results_that_are_read_only_will_do_where_nothing_is_to_be_made(read_only, arguments):
    run = read_only.study(*arguments)
    assert run.returncode == 0, run.stderr


def test_results_that_are_read_only_are_told_where_something_is_to_be_made(read_only):
    run = read_only.study("--forcerun", "tables")
    assert run.returncode != 0
    (sentence,) = [line for line in run.stderr.splitlines() if line.startswith("trainbench:")]
    assert f"in {read_only.folder} cannot be written (read-only file system)" in sentence


def test_that_the_data_set_cannot_be_prepared_is_told_before_anything_begins(new_checkout):
    checkout = new_checkout()
    folder = checkout.folder / "results/dataset"
    folder.mkdir(parents=True)
    with mounted(folder, "--bind", folder):
        subprocess.run(["mount", "-o", "remount,bind,ro", folder], check=True)
        run = checkout.study("--dry-run")
    assert run.returncode != 0
    (sentence,) = told(run)
    assert sentence.startswith(f"trainbench: results/dataset/ in {checkout.folder} cannot be written (read-only file")


@pytest.fixture
def small_disk(tmp_path):
    folder = tmp_path / "small"
    folder.mkdir()
    with mounted(folder, "-t", "tmpfs", "-o", "size=2m", "tmpfs"):
        yield folder


def told(run):
    return [line for line in run.stderr.splitlines() if line.startswith("trainbench:")]


def test_a_working_folder_on_a_full_disk_will_do_where_results_is_a_link_to_a_roomy_one(
    new_checkout, small_disk, tmp_path
):
    (tmp_path / "roomy").mkdir()
    (small_disk / "results").symlink_to(tmp_path / "roomy")
    run = new_checkout().study("--dry-run", "--directory", str(small_disk))
    assert (run.returncode, told(run)) == (0, [])


def test_results_on_a_full_disk_are_refused_wherever_the_working_folder_is(new_checkout, small_disk):
    checkout = new_checkout()
    (checkout.folder / "results").mkdir()
    (checkout.folder / "results/runs").symlink_to(small_disk)
    run = checkout.study("--dry-run")
    assert run.returncode != 0
    (sentence,) = told(run)
    assert sentence.startswith("trainbench: not enough disk space for results/runs/: 6 runs need about 6 MiB, found")
