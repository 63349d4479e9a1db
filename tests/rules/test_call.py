"""A call of Snakemake is its options, and what the config asks for on this machine."""

from dataclasses import replace
from pathlib import Path

import pytest

from call_builder import make_call
from idx_writer import write_idx_directory
from trainbench.errors import InputError
from trainbench.machine.gpu_choice import Card, Visible
from trainbench.plan.config_files import of_command_line
from trainbench.plan.limits import Machine
from trainbench.plan.typed_config import typed
from trainbench.rules import call
from trainbench.rules.call import Options, ending_snakemake, given_cores

CONFIG = Path(__file__).parents[2] / "config" / "config.yaml"


@pytest.mark.parametrize(
    ("options", "cores"),
    [
        (Options(cores=2), 2),
        (Options(cores=32), 8),
        (Options(), None),
        (Options(cores=1), 1),
        (Options(cores=1, is_dry_run=True), None),
        (Options(cores=2, is_dry_run=True), 2),
        (Options(cores=1, in_job=True), 8),
    ],
    ids=["fewer", "more", "none", "one", "a dry run's one", "a dry run's two", "of the call that submitted"],
)
def test_runs_get_the_cores_of_the_option_that_the_machine_has(options, cores):
    assert given_cores(options, 8) == cores


def test_a_users_mistake_ends_snakemake_with_one_sentence():
    with pytest.raises(SystemExit, match="trainbench: correct it"), ending_snakemake():
        raise InputError("correct it")


def test_a_full_disk_ends_snakemake_with_one_sentence():
    with pytest.raises(SystemExit, match="no space left"), ending_snakemake():
        raise OSError(28, "No space left on device")


def test_any_other_error_is_seen_as_it_is():
    with pytest.raises(PermissionError), ending_snakemake():
        raise PermissionError(13, "Permission denied")


CARDS = (Card("GPU-1", "NVIDIA H100", 80e3), Card("GPU-2", "NVIDIA H100", 80e3), Card("GPU-3", "NVIDIA L4", 24e3))


def test_cards_of_several_kinds_are_handed_out_together_and_of_each_kind():
    machine = Machine(gpus=Visible(CARDS))
    assert make_call(machine=machine).cards_to_hand_out == {"gpu": 3, "gpu_kind_1": 2, "gpu_kind_2": 1}


def test_no_card_is_handed_out_where_runs_are_submitted():
    assert make_call(submits=True).cards_to_hand_out == {}


# --- reading ---


@pytest.fixture
def read(tmp_path, monkeypatch):
    """Reads a call in a folder with data, on a machine with these cards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    write_idx_directory(tmp_path / "data", train_samples=6000, test_samples=60, height=9, width=14, classes=4)

    def read(cards=(), installed=True, config=None, **options):
        monkeypatch.setattr(call.gpu_choice, "look", lambda *_: Visible(tuple(cards)))
        monkeypatch.setattr(call.engines, "uses_gpus", lambda _: installed)
        layers = [call.config_files.read(CONFIG), of_command_line({"dataset": {"path": "data"}, **(config or {})}, [])]
        return call.read(Options(**options), typed(layers), tmp_path)

    return read


AUTO = {"devices": "auto"}


def test_with_auto_a_gpu_that_is_found_is_measured(read):
    assert read(CARDS, config=AUTO).study.devices == ("cpu", "gpu")


def test_with_auto_no_gpu_is_measured_that_the_option_rules_out_and_that_is_told(read):
    found = read(CARDS, config=AUTO, gpus=0)
    assert found.study.devices == ("cpu",)
    assert any("A GPU is found but not measured" in warning for warning in found.warnings)


def test_with_auto_no_gpu_is_measured_that_the_installed_build_cannot_use(read):
    found = read(CARDS, installed=False, config=AUTO)
    assert found.study.devices == ("cpu",)
    assert any("build for CPUs alone" in warning for warning in found.warnings)


def test_auto_is_refused_where_runs_are_submitted(read):
    with pytest.raises(InputError, match="runs are submitted to other machines"):
        read(config=AUTO, submits=True)


VARIABLES = {"TF_ENABLE_ONEDNN_OPTS": "0", "TF_XLA_FLAGS": "--none"}


def test_variables_that_runs_do_not_get_are_told_but_for_those_of_their_devices():
    cpu = make_call().study.device("cpu")
    told = call.left_out([replace(cpu, environment={"TF_XLA_FLAGS": "--some"})], VARIABLES)
    assert "without TF_ENABLE_ONEDNN_OPTS." in told


@pytest.mark.parametrize("environment", [VARIABLES, {"HOME": "/root"}], ids=["no run", "no such variable"])
def test_where_no_run_does_without_a_variable_nothing_is_told(environment):
    devices = [make_call().study.device("cpu")] if "HOME" in environment else []
    assert call.left_out(devices, environment) is None


def test_a_job_is_told_nothing_that_the_call_was_told(read):
    assert read(CARDS, config=AUTO, installed=False, is_main=False).warnings == ()


def test_data_are_looked_for_in_the_working_folder_and_then_in_the_repository(read, tmp_path, monkeypatch):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    config = {"devices": ["cpu"]}
    assert read(config=config).data_folder == tmp_path / "data"
    write_idx_directory(elsewhere / "data", train_samples=6000, test_samples=60, height=9, width=14, classes=4)
    assert read(config=config).data_folder == Path("data")


def test_other_data_are_prepared_under_another_name(read, tmp_path):
    before = read(config={"devices": ["cpu"]}).prepared
    (tmp_path / "data/SHA256SUMS").write_text("")
    assert read(config={"devices": ["cpu"]}).prepared != before
