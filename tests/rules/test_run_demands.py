"""A run reserves what its device asks for, here or of a scheduler, and has its turn."""

import pytest

from call_builder import make_call
from study_builder import make_study
from trainbench.machine.gpu_choice import Card, Visible
from trainbench.plan.limits import Machine
from trainbench.plan.study import Device, ModelSettings, Run
from trainbench.rules import run_demands

H100, L4 = Card("GPU-1", "NVIDIA H100", 80e3), Card("GPU-2", "NVIDIA L4", 24e3)
STUDY = make_study(
    {"conv": ModelSettings(3, {})},
    (16, 32),
    devices=("cpu-2t", "gpu"),
    repeats=2,
    isolation="none",
    device_settings={"cpu-2t": Device("cpu-2t", "cpu", 2, gpus=0), "gpu": Device("gpu", "gpu", "all", gpus=1)},
)
ON_CPU, ON_GPU = Run("conv", 16, "cpu-2t", 1), Run("conv", 16, "gpu", 1)


@pytest.mark.parametrize(
    ("cards", "cores"), [([H100], 8), ([H100, H100], 8), ([H100, Card("GPU-3", H100.name, 80e3)], 4)]
)
def test_runs_on_gpus_share_the_cores(cards, cores):
    machine = Machine(cores=8, gpus=Visible(tuple(cards)))
    assert run_demands.cores(make_call(STUDY, machine), ON_GPU) == cores


def test_where_the_cores_are_not_known_those_of_the_option_are_shared():
    assert run_demands.cores(make_call(STUDY, cores=4), ON_GPU) == 4


def test_a_submitted_run_asks_for_its_threads():
    assert run_demands.cores(make_call(STUDY, submits=True), ON_CPU) == 2


def test_a_run_in_a_job_has_the_cores_that_the_job_was_given(monkeypatch):
    monkeypatch.setenv("SLURM_CPUS_ON_NODE", "3")
    assert run_demands.cores(make_call(STUDY, Machine(cores=8), in_job=True), ON_GPU) == 3


def test_of_several_kinds_of_cards_a_run_reserves_its_own():
    reserved = run_demands.gpus_by_kind(call := make_call(STUDY, Machine(cores=8, gpus=Visible((H100, L4)))))
    assert {kind: of_run(call, ON_GPU) for kind, of_run in reserved.items()} == {"gpu_kind_1": 1, "gpu_kind_2": 0}
    assert {of_run(call, ON_CPU) for of_run in reserved.values()} == {0}


def test_of_one_kind_of_cards_nothing_is_reserved_but_their_number():
    assert run_demands.gpus_by_kind(make_call(STUDY, Machine(gpus=Visible((H100,))))) == {}


def test_a_run_whose_turn_comes_earlier_has_a_higher_priority():
    call = make_call(STUDY)
    priorities = [run_demands.priority(call, run) for run in STUDY.turns()]
    assert priorities == [8, 7, 6, 5, 4, 3, 2, 1]


def test_a_run_that_the_study_does_not_ask_for_comes_last():
    assert run_demands.priority(make_call(STUDY), Run("conv", 16, "cpu-2t", 3)) == 0


def test_resources_are_asked_for_where_runs_are_submitted_alone():
    assert run_demands.names_asked_of_scheduler(make_call(STUDY)) == []
    assert "whole_node" in run_demands.names_asked_of_scheduler(make_call(STUDY, submits=True))


@pytest.mark.parametrize(("run", "name"), [(ON_CPU, "train-tensorflow-cpu"), (ON_GPU, "train-tensorflow-cuda")])
def test_the_environment_of_a_run_is_that_of_its_framework_and_kind(run, name):
    assert run_demands.environment(make_call(STUDY), run) == f"/repository/envs/{name}.yaml"
