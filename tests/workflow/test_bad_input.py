"""Whatever is wrong with the input is told in one sentence before anything trains."""

import fcntl
import gzip
import re

import pytest

from metrics_builder import make_record
from results_folder import write_results
from trainbench.machine.working_folder import LOCK_NAME


@pytest.fixture(scope="module")
def checkout(new_checkout):
    return new_checkout()


def refused(run):
    """The one sentence of a refused call."""
    assert run.returncode != 0
    assert "Traceback" not in run.stdout + run.stderr
    sentences = [line for line in run.stderr.splitlines() if line.startswith("trainbench:")]
    assert len(sentences) == 1, run.stderr
    assert "rule train:" not in run.stderr
    return sentences[0]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--config", "batchsizes=[16]"], ["'batchsizes'", "did you mean 'batch_sizes'?"]),
        (["--config", "models=[resnet]"], ["'resnet'", "logistic, conv, lstm"]),
        (["--config", "batch_sizes=[0]"], ["batch_sizes", "is 0", "at least 1"]),
        (["--config", "batch_sizes=[161]"], ["batch_sizes", "161", "at most 160"]),
        (["--config", "repeats=0"], ["'repeats'", "is 0", "at least 1"]),
        (["--config", "model_settings={conv: {epochs: -1}}"], ["model_settings/conv/epochs", "-1"]),
        (["--config", "devices=[gpu]"], ["'devices'", "'gpu'", "needs a GPU", "none is found"]),
        (["--config", "devices=[a/b]"], ["devices", "a/b", "plain name"]),
        (["--config", "devices=[..]"], ["devices", "..", "plain name"]),
        (["--config", "dataset={path: nowhere}"], ["nowhere"]),
        (["--config", f"dataset={{path: {'x' * 300}}}"], ["cannot be read (File name too long)"]),
        (["--config", "device_settings={cpu: {threads: 64}}"], ["threads of 'cpu' in device_settings", "64"]),
        (["--cores", "0"], ["--cores is 0", "at least 1"]),
        (["--max-threads", "1"], ["--max-threads alters how many cores runs reserve"]),
        (["--set-threads", "train=1"], ["--set-threads alters how many cores runs reserve"]),
        (["--set-resources", "train:no_progress_seconds=0.5"], ["'no_progress_seconds'", "is 0", "at least 1"]),
        (["--set-resources", "train:gpu_wait_seconds=long"], ["'gpu_wait_seconds'", "is 'long'", "at least 0"]),
        (
            ["--cores", "2", "results/runs/conv/16/gpu/1/metrics.json"],
            ["a run on the device 'gpu' was asked for", "needs a GPU", "none is found"],
        ),
        (
            ["--cores", "1", "--config", "device_settings={cpu: {threads: 2}}"],
            ["threads of 'cpu' in device_settings", "are 2", "get 1 of 1 usable cores"],
        ),
    ],
)
def test_a_config_that_cannot_be_is_refused_naming_key_value_and_what_is_allowed(checkout, arguments, told):
    sentence = refused(checkout.study(*arguments))
    for part in told:
        assert part in sentence


def test_a_value_that_yaml_1_1_turns_is_refused_with_its_line(checkout):
    file = checkout.folder / "long.yaml"
    file.write_text("batch_sizes: [016]\ndevice_settings:\n  cpu: {resources: {runtime: 8:00:00}}\n", encoding="utf-8")
    sentence = refused(checkout.study("long.yaml", "--dry-run"))
    assert f"{file} line 3: config key 'device_settings/cpu/resources/runtime'" in sentence
    assert '"8:00:00"' in sentence


@pytest.mark.parametrize("arguments", [(), ("--dry-run",)], ids=["", "dry run"])
def test_a_framework_that_is_not_installed_is_refused_with_the_command_that_installs_it(new_checkout, arguments):
    checkout = new_checkout()
    registry = checkout.folder / "workflow/scripts/trainbench/engines/__init__.py"
    registered = registry.read_text(encoding="utf-8")
    assert registered.count('"jax", (') == 1
    registry.write_text(registered.replace('"jax", (', '"no_such_package", ('), encoding="utf-8")
    study = ("--config", "devices=[cpu,mine]", "device_settings={mine: {kind: cpu, framework: jax}}")
    sentence = refused(checkout.study(*arguments, *study))
    assert "'devices' has 'mine', which trains with jax, but that is not installed" in sentence
    assert re.search(r"install it: make setup FRAMEWORKS='tensorflow (torch )?jax'$", sentence)


def damage_cut(content):
    return content[:-7]


def damage_magic(content):
    return b"\x00\x00\x08\x09" + content[4:]


@pytest.mark.parametrize(
    ("name", "damage", "told"),
    [
        ("train-images-idx3-ubyte", damage_cut, "train-images-idx3-ubyte"),
        ("t10k-images-idx3-ubyte", damage_magic, "t10k-images-idx3-ubyte"),
        ("train-labels-idx1-ubyte", lambda content: content[:4] + b"\x00\x00\x00\xc7" + content[8:-1], "199"),
    ],
)
def test_broken_data_files_are_refused_by_name(new_checkout, name, damage, told):
    checkout = new_checkout()
    path = checkout.folder / "data" / name
    path.write_bytes(damage(path.read_bytes()))
    assert told in refused(checkout.study())


def test_a_broken_archive_is_refused_before_anything_trains(new_checkout):
    checkout = new_checkout()
    path = checkout.folder / "data/train-images-idx3-ubyte"
    path.with_name(f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes())[:-40])
    path.unlink()
    assert "train-images-idx3-ubyte.gz" in refused(checkout.study())


def test_contents_that_do_not_match_their_checksums_are_refused(new_checkout):
    checkout = new_checkout()
    names = ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1")
    sums = "".join(f"{'0' * 64}  {name}-ubyte\n" for name in names)
    (checkout.folder / "data/SHA256SUMS").write_text(sums)
    sentence = refused(checkout.study())
    assert "SHA256SUMS" in sentence
    assert "0" * 64 in sentence


@pytest.mark.parametrize("arguments", [(), ("--dry-run",)], ids=["", "dry run"])
def test_results_that_cannot_be_written_are_told_before_anything_runs(new_checkout, arguments):
    checkout = new_checkout()
    (checkout.folder / "results").symlink_to("/proc")  # nobody, root included, can make a file there
    sentence = refused(checkout.study(*arguments))
    assert f"results/ in {checkout.folder} cannot be written" in sentence


def test_the_last_line_says_which_metrics_file_is_broken(new_checkout):
    checkout = new_checkout()
    (broken,) = write_results(checkout.folder / "results", [make_record("conv", 16, "cpu", 1)])
    broken.with_name("samples.csv").touch()
    one_run = ("models=[conv]", "batch_sizes=[16]")
    checkout.adopt([broken], *one_run)
    broken.write_text("{", encoding="utf-8")
    run = checkout.study("--until", "tables", "--config", *one_run)
    assert run.returncode != 0
    assert "rule train:" not in run.stderr
    last = run.stderr.splitlines()[-1]
    assert last.startswith("trainbench: ")
    assert "results/runs/conv/16/cpu/1/metrics.json" in last


@pytest.fixture
def under_way(new_checkout):
    """A checkout in which a study is at work, as far as others can see."""
    checkout = new_checkout()
    snakemake = checkout.folder / ".snakemake"
    (snakemake / "locks").mkdir(parents=True)
    (snakemake / "locks/0.output.lock").write_text("results/tables/runs.csv\n", encoding="utf-8")
    with (snakemake / LOCK_NAME).open("w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield checkout


def test_a_second_study_in_a_folder_is_told_of_the_first(under_way):
    run = under_way.study()
    assert "a study is under way in" in refused(run)
    assert "unlock" not in run.stderr


def test_a_plan_says_that_a_study_is_under_way(under_way):
    run = under_way.study("--dry-run", "--quiet")
    assert run.returncode == 0, run.stderr
    assert "A study is under way in this folder." in run.stdout + run.stderr
    assert "cannot be locked" not in run.stdout + run.stderr
