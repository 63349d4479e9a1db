"""What a study has is named before it is made; what it no longer has is left over."""

from pathlib import Path

import pytest

from call_builder import CONFIG
from study_builder import make_study
from trainbench.figures import of_study
from trainbench.plan.study import Device, ModelSettings, Run
from trainbench.rules import products

DEVICES = {
    "cpu": Device("cpu", "cpu", "all", gpus=0),
    "cpu-1t": Device("cpu-1t", "cpu", 1, gpus=0),
    "gpu": Device("gpu", "gpu", "all", gpus=1),
    "gpu-2g": Device("gpu-2g", "gpu", "all", gpus=2),
}


def study_of(*devices, batch_sizes=(16,), models=("conv",)):
    settings = {name: ModelSettings(3, {}) for name in models}
    return make_study(settings, batch_sizes, devices=devices, device_settings=DEVICES)


def drawn(study, config=CONFIG):
    return {Path(path).stem for path in products.figures(study, config)}


@pytest.mark.parametrize(
    ("devices", "left_out"),
    [
        (("cpu",), {"speedup", "scaling", "gpu_scaling"}),
        (("cpu", "gpu"), {"scaling", "gpu_scaling"}),
        (("cpu", "cpu-1t"), {"gpu_scaling"}),
        (("gpu", "gpu-2g"), {"scaling"}),
    ],
)
def test_figures_that_take_several_devices_are_left_out_where_there_are_none(devices, left_out):
    assert set(of_study.NAMES) - drawn(study_of(*devices)) == left_out


def test_with_sources_every_figure_is_drawn():
    assert drawn(study_of("cpu"), {**CONFIG, "sources": ["elsewhere"]}) == set(of_study.NAMES)


def test_figures_that_a_study_no_longer_has_are_left_over():
    left = products.leftovers(study_of("cpu", "gpu"), {**CONFIG, "baseline": "before"}, "results/so_far")
    names = ("gpu_scaling", "scaling")
    assert left == [f"results/so_far/figures/{name}.{end}" for name in names for end in ("png", "svg")]


def test_a_comparison_is_left_over_where_there_is_no_baseline():
    left = products.leftovers(study_of("cpu", "gpu"), CONFIG, "results")
    assert left[-2:] == ["results/tables/baseline.csv", "results/tables/baseline.md"]


def test_of_many_cells_those_of_the_first_batch_sizes_have_timelines():
    runs = products.timeline_runs(study_of("cpu", "gpu", batch_sizes=range(16, 32), models=("conv", "lstm")))
    assert len(runs) == 24
    assert runs[:5] == [
        *(Run(model, 16, device, 1) for model in ("conv", "lstm") for device in ("cpu", "gpu")),
        Run("conv", 17, "cpu", 1),
    ]


def test_timelines_of_other_runs_are_left_over(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = Path("results/figures/timelines")
    folder.mkdir(parents=True)
    for name in ("conv_16_cpu_1.svg", "conv_16_cpu_2.svg", "conv_16_cpu_2.png", "conv_16_cpu_2.txt"):
        (folder / name).touch()
    found = products.leftover_timelines(study_of("cpu"))
    assert found == [f"{folder}/conv_16_cpu_2.png", f"{folder}/conv_16_cpu_2.svg"]


def test_what_there_is_so_far_has_no_timelines():
    made = products.everything(study_of("cpu"), CONFIG, products.SO_FAR)
    assert not [path for path in made if "timelines" in path]
    assert made[-1] == "results/so_far/report.html"


def test_tables_with_a_caption_are_shown_in_snakemakes_report(tmp_path):
    (tmp_path / "workflow/report").mkdir(parents=True)
    (tmp_path / "workflow/report/core_equivalents.rst").touch()
    marks = products.marks_of_table(tmp_path, "core_equivalents_csv")
    assert marks["caption"] == "../report/core_equivalents.rst"
    assert marks["labels"] == {"table": "core equivalents"}
    assert products.marks_of_table(tmp_path, "runs_csv") == {}
