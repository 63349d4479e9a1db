import shutil
import sys
from pathlib import Path

sys.path.insert(0, str(Path(workflow.basedir, "workflow", "scripts")))

from trainbench import configuration, fingerprint, gpu_lease, host, idx, limits, nvml
from trainbench.errors import InputError
from trainbench.study import Run, cores_of_run

RUN = "results/runs/{model}/{batch_size}/{device}/{repeat}"
TABLES = {
    name.replace(".", "_"): f"results/tables/{name}"
    for name in ["runs.csv", "epochs.csv", "cells.csv", "comparison.csv", "comparison.md"]
}
FIGURES = ["seconds_per_epoch", "speedup", "accuracy_over_epochs", "accuracy_over_time", "cpu_percent"]

# The modules that a rule's result depends on: an edit of one of them runs that rule again, and no other.
# tests/unit/test_fingerprint.py holds these lists against what the modules really import.
DATASET_CODE = ["dataset.py", "errors.py", "idx.py"]
TRAINING_CODE = [
    *["dataset.py", "engines/__init__.py", "engines/tensorflow.py", "errors.py", "gpu_lease.py", "host.py"],
    *["idx.py", "launch.py", "models.py", "monitor.py", "nvml.py", "parameters.py", "record.py", "study.py"],
    *["training.py", "../../schemas/metrics.schema.json"],
]
TABLES_CODE = ["errors.py", "record.py", "statistics.py", "tables.py"]
FIGURES_CODE = ["errors.py", "figures.mplstyle", "figures.py", "record.py", "statistics.py", "tables.py"]


def machine(gpus):
    """What this machine has, or nothing known where jobs are submitted to others (`--jobs` is given then)."""
    resources = workflow.resource_settings
    if resources.nodes is not None:
        return limits.Machine(None, None, None, None, None, None)
    limit = workflow.global_resources.get("gpu")
    # A dry run without --cores pretends to have one core: that says nothing about the run that follows.
    cores_known = resources.cores is not None and not workflow.output_settings.dryrun
    return limits.Machine(
        cores=min(resources.cores, host.inventory().usable_threads) if cores_known else None,
        gpus=len(gpus),
        gpu_problem=nvml.inventory().problem,
        gpu_limit=None if limit is None else limit.value,
        memory_mib=host.available_memory_mib(),
        free_disk_mib=shutil.disk_usage(".").free / 2**20,
    )


def gpus_to_use():
    """The cards that runs may use: none with `--resources gpu=0`, whatever the machine has."""
    limit = workflow.global_resources.get("gpu")
    if limit is not None and limit.value == 0:
        return ()
    return gpu_lease.pool(nvml.inventory(), os.environ)


def plan():
    """The study, its data files and the GPUs it may use; ends Snakemake with one sentence on what is wrong."""
    try:
        gpus = gpus_to_use()
        study = configuration.study_of(config, gpu_found=bool(gpus))
        files = idx.find_files(Path(study.dataset_path))
        if workflow.is_main_process:
            limits.refuse_impossible(study, idx.read_shape(files), machine(gpus))
            if workflow.resource_settings.nodes is None:
                # Without a limit Snakemake would start as many GPU jobs as there are cores.
                workflow.global_resources.setdefault("gpu", len(gpus))
        return study, files, gpus
    except InputError as error:
        sys.exit(f"trainbench: {error}")


STUDY, DATASET_FILES, GPUS = plan()
DATASET_FINGERPRINT = fingerprint.of_files(vars(DATASET_FILES).values())

# Other data or other code to prepare them make another file. (Marking the file as `ancient` instead would hide
# missing runs: Snakemake does not look at jobs behind an ancient file that is about to be made again.)
DATASET = "results/dataset/{}.safetensors".format(
    fingerprint.of_texts(DATASET_FINGERPRINT, fingerprint.of_code(DATASET_CODE))
)


def run_settings(wildcards):
    """Everything in the config that alters a run's result."""
    run = Run(wildcards.model, int(wildcards.batch_size), wildcards.device, int(wildcards.repeat))
    return STUDY.settings(run, DATASET_FINGERPRINT)


def run_cores(wildcards):
    """Cores that a run reserves."""
    cores = workflow.resource_settings.cores or 1
    return cores_of_run(STUDY.device(wildcards.device), STUDY.isolation, cores, len(GPUS))


def run_gpus(wildcards):
    """GPUs that a run reserves."""
    return STUDY.device(wildcards.device).gpus


def run_environment(wildcards):
    """The conda environment of a run, where conda is used: the one of its device's kind."""
    build = "cuda" if run_gpus(wildcards) else "cpu"
    return str(Path(workflow.basedir, "envs", f"train-{build}.yaml"))


def table_order():
    """The order of models, batch sizes and devices in tables and figures: that of the config."""
    return {
        "models": list(STUDY.models),
        "batch_sizes": list(STUDY.batch_sizes),
        "devices": list(STUDY.devices),
    }


def all_metrics():
    """The metrics files of the study."""
    return [f"results/{run.folder}/metrics.json" for run in STUDY.runs()]


def all_figures():
    """The figures of the study; a speedup takes two devices."""
    names = [name for name in FIGURES if name != "speedup" or len(STUDY.devices) > 1]
    return [f"results/figures/{name}.{extension}" for name in names for extension in ("svg", "png")]


wildcard_constraints:
    model=r"[A-Za-z0-9][A-Za-z0-9._-]*",
    batch_size=r"[1-9]\d*",
    device=r"[A-Za-z0-9][A-Za-z0-9._-]*",
    repeat=r"[1-9]\d*",
    figure=r"[a-z_]+",


onsuccess:
    comparison = Path(TABLES["comparison_md"])
    if comparison.exists():
        print(comparison.read_text(encoding="utf-8"))
        print("Tables: results/tables/   Figures: results/figures/   Every run: results/runs/", flush=True)
