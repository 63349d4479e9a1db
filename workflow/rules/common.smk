import functools
import gc
import inspect
import itertools
import re
import sys
from dataclasses import asdict
from pathlib import Path

import yaml

sys.path.insert(0, str(Path(REPOSITORY, "workflow", "scripts")))

from snakemake.logging import logger
from snakemake.resources import Resources
from snakemake.settings.types import DeploymentMethod

from trainbench import engines
from trainbench.conclusions import table_files
from trainbench.machine import clean_environment, gpu_choice, host, lifetime, nvml, working_folder
from trainbench.plan import config_files, configuration, device_cards, limits, submission
from trainbench.files import fingerprint, full_disk
from trainbench.datasets import idx
from trainbench.terminal import plain_words
from trainbench.rules import so_far, unrecorded
from trainbench.results import sources
from trainbench.errors import InputError
from trainbench.plan.study import Run, cores_of_run

# While Snakemake plans, objects only come: looking through them for garbage takes 2 of 15 s for 10,000 runs.
gc.set_threshold(100_000, 50, 1000)

# The scripts of rules end when this process does.
os.environ[lifetime.SNAKEMAKE_VARIABLE] = str(os.getpid())

RUN = "results/runs/{model}/{batch_size}/{device}/{repeat}"
TIMELINE = "results/figures/timelines/{model}_{batch_size}_{device}_{repeat}"
TABLES = list(table_files.FILES)
FIGURES = [
    *["seconds_per_epoch", "speedup", "scaling", "gpu_scaling", "accuracy_over_epochs", "accuracy_over_time"],
    *["cpu_percent", "roofline"],
]

# Of so many runs at most a timeline is drawn unasked: half a minute, whatever the size of the study.
MOST_TIMELINES = 24
PAGE = "report.html"

DRAWN = ["runs", "epochs", "cells", "speedups", "scaling", "scaling_fits", "gpu_scaling", "roofline"]
COMPARED_TABLES = ["baseline.csv", "baseline.md"]

# The rooms of the package that results depend on: an edit in one of them makes these again, and no others. A run depends
# on its framework's engine besides, and not on the registry, which names all: a new engine alters no other's runs.
RUN_ROOMS = ["run", "machine", "datasets", "networks", "records", "files", "engines/shared"]
TABLE_ROOMS = ["results", "conclusions", "records", "files", "words"]
FIGURE_ROOMS = ["figures", *TABLE_ROOMS]
PAGE_ROOMS = ["page", *FIGURE_ROOMS]


def read_config():
    """The config as it is written in files and after `--config`; ends Snakemake with one sentence on what is wrong.

    Not Snakemake's own `config`, in which YAML 1.1 has turned some of it, but where another workflow hands that over.
    """
    settings = workflow.config_settings
    try:
        if workflow.modifier.skip_configfile:
            return configuration.typed([config_files.Layer(config, None)])
        if workflow.is_main_process:
            for profile in config_files.profiles(sys.argv[1:], os.environ, Path(workflow.workdir_init)):
                config_files.refuse_turned(profile)
        replaced = settings.replace_workflow_config and settings.overwrite_config
        files = [*([] if replaced else CONFIG_FILES), *settings.configfiles]
        layers = [config_files.read(Path(file)) for file in files]
        return configuration.typed([*layers, config_files.of_command_line(settings.config)])
    except InputError as error:
        sys.exit(f"trainbench: {error}")


CONFIG = read_config()

USES_CONDA = DeploymentMethod.CONDA in workflow.deployment_settings.deployment_method

# Whether runs are submitted to other machines, of which nothing is known here; `--jobs` is given then.
SUBMITS = workflow.resource_settings.nodes is not None


def found_machine():
    """What this machine has, or nothing known where runs are submitted to others."""
    resources = workflow.resource_settings
    threads = {"max_threads": resources.max_threads, "set_threads": "train" in resources.overwrite_threads}
    if SUBMITS:
        return limits.Machine(**threads)
    limit = workflow.global_resources.get("gpu")
    return limits.Machine(
        **threads,
        cores=found_cores(host.inventory().usable_threads),
        gpus=gpu_choice.look(nvml.inventory(), os.environ),
        gpu_limit=None if limit is None else limit.value,
        frameworks=installed_frameworks(),
        memory_mib=host.available_memory_mib(),
        disks=working_folder.disks(Path.cwd(), (limits.RUNS_FOLDER, limits.DATA_FOLDER, limits.RECORDS_FOLDER)),
    )


def found_cores(usable):
    """The cores that runs get of the `usable` ones, None where that is not known."""
    given = workflow.resource_settings.cores
    if workflow.remote_exec:
        return usable  # In a job, --cores is what the call was given that submitted it, and says nothing of this node.
    # A dry run without --cores pretends to have one core: that says nothing about the run that follows.
    if given is None or (workflow.output_settings.dryrun and given == 1):
        return None
    return min(given, usable)


def installed_frameworks():
    """Of each framework, whether it can use a GPU as installed here; None where conda brings what runs need."""
    return None if USES_CONDA else {name: engines.uses_gpus(name) for name in engines.ENGINES}


def data_folder(study):
    """Where the data files are: seen from the working folder or, where there is nothing, from the repository."""
    folder = Path(study.dataset_path)
    in_repository = Path(REPOSITORY, folder)
    # Unlike Path.exists, this says no of what may not be looked at.
    return in_repository if os.path.exists(in_repository) and not os.path.exists(folder) else folder


def tell_left_out(study):
    """Say once which variables of the shell would change the speed of runs, which do not get them."""
    set_by_devices = {name for device in study.selected_devices() for name in device.environment}
    names = [name for name in clean_environment.left_out(os.environ) if name not in set_by_devices]
    if names:
        logger.warning(
            f"Runs start in a clean environment, without {', '.join(names)}. To measure with a variable, give it to a "
            f"device: device_settings='{{{study.devices[0]}: {{environment: {{{names[0]}: ...}}}}}}' "
            "(config/README.md)."
        )


def plan():
    """The study, its data files and the machine; ends Snakemake with one sentence on what is wrong."""
    machine = found_machine()
    try:
        framework = configuration.framework_for_auto(CONFIG)
        build_for_gpus = machine.frameworks is None or machine.frameworks[framework] is not False
        cards = machine.gpus.cards if machine.gpus is not None else ()
        gpu_found = bool(cards) and machine.gpu_limit != 0 and build_for_gpus
        if SUBMITS:
            gpu_found = None
        study = configuration.study_of(CONFIG, gpu_found)
        files = idx.find_files(data_folder(study))
        if workflow.is_main_process:
            limits.refuse_contradictions(study, study.runs(), idx.read_shape(files))
    except InputError as error:
        sys.exit(f"trainbench: {error}")
    if not workflow.is_main_process:
        return study, files, machine
    is_auto = CONFIG["devices"] == configuration.AUTO
    gpu_warning = limits.gpu_warning(study, machine, is_auto=is_auto)
    if gpu_warning is not None:
        logger.warning(gpu_warning)
    if is_auto and cards and not gpu_found:
        logger.warning(
            f"A GPU is found but not measured: --resources gpu=0 rules it out, or {framework} is installed in its build "
            f"for CPUs alone ({engines.how_to_install(framework, for_gpus=True)})."
        )
    if workflow.is_main_process:
        tell_left_out(study)
    if machine.gpus is not None:
        # Without a limit Snakemake would start as many GPU jobs as there are cores.
        for name, count in {"gpu": len(cards), **device_cards.limits_by_kind(cards)}.items():
            workflow.global_resources.setdefault(name, count)
    return study, files, machine


STUDY, DATASET_FILES, MACHINE = plan()
GPUS_SIDE_BY_SIDE = limits.gpus_side_by_side(STUDY, MACHINE)

# Snakemake would hand out as many cores as --cores says, however few there are: runs that reserve all of them would begin
# side by side. Where runs are submitted, --cores would cut what they ask for, and is about this machine alone.
if SUBMITS or MACHINE.cores is not None:
    workflow.register_resource("_cores", MACHINE.cores)

DATA_FOLDER = data_folder(STUDY)
DATASET_FINGERPRINT = fingerprint.of_files(vars(DATASET_FILES).values())

# Other data, other checksums or other code to prepare them make another file. No rule makes it and none has it as an
# input: whichever run finds it missing prepares it. As an input it would run everything again whenever it is made again
# (because somebody deleted it) or, being larger than what Snakemake computes checksums of, merely touched. As an input
# marked `ancient` it would hide missing runs: Snakemake does not look at jobs behind an ancient file about to be made.
PREPARED = "results/dataset/{}.safetensors".format(
    fingerprint.of_texts(
        DATASET_FINGERPRINT,
        fingerprint.of_files(DATA_FOLDER.glob(idx.SUMS_NAME)),
        fingerprint.of_rooms(["datasets"]),
    )
)

TRAINING_FINGERPRINTS = {
    framework: fingerprint.of_rooms([*RUN_ROOMS, f"engines/{framework}"], "train.py")
    for framework in {device.framework for device in STUDY.device_settings.values()}
}


def go_on():
    """Clear away what a call that was killed left of Snakemake's, and keep the results that it left.

    Returns what holds the working folder as long as it stays open, or None.
    """
    if not workflow.is_main_process:
        return None
    snakemake_folder = Path(".snakemake")
    held = None
    # Snakemake writes there whatever it is called for, also where there is nothing to do.
    demand_writable([".snakemake"])
    try:
        if not workflow.output_settings.dryrun:
            held = working_folder.hold(snakemake_folder)
        if held is not None:
            results = Path("results")
            unrecorded.set_aside(STUDY, results, snakemake_folder, DATASET_FINGERPRINT, TRAINING_FINGERPRINTS)
    except OSError as error:
        # Results that cannot be written stay as they are; that is told where something is to be made.
        if not working_folder.is_refusal(error):
            tell_full_disk(error)
    return held


def demand_writable(folders):
    """End Snakemake with one sentence where one of these folders, seen from the working folder, cannot take files."""
    try:
        problem = working_folder.unwritable(Path.cwd(), folders)
    except OSError as error:
        tell_full_disk(error)
    if problem is not None:
        sys.exit(f"trainbench: {problem}")


def tell_full_disk(error):
    """End Snakemake with one sentence on a full disk; any other error is raised again."""
    if not full_disk.is_cause(error):
        raise error
    sys.exit(f"trainbench: {full_disk.sentence(Path.cwd(), error)}")


WORKING_FOLDER_HELD = go_on()


# Snakemake has left it by the time of its last lines.
WORKING_FOLDER = Path.cwd()


def is_under_way():
    """Whether another Snakemake is at work in this folder."""
    return WORKING_FOLDER_HELD is None and working_folder.is_held(WORKING_FOLDER / ".snakemake")


PLAIN_WORDS = plain_words.PlainWords(WORKING_FOLDER, is_under_way)
if workflow.is_main_process:
    logger.addFilter(PLAIN_WORDS)


def out_of_memory_again(wildcards):
    """The metrics files of runs that were out of memory, which Snakemake is told to make again.

    Other failures leave no metrics file, so any call carries them out again.
    """
    return make_again([str(path) for path in so_far.out_of_memory(STUDY, Path("results"))])


@functools.cache
def recorded_outputs():
    """What Snakemake has a record of, found out once: a study may have thousands of runs."""
    return unrecorded.recorded(Path(".snakemake"))


@functools.cache
def outdated_runs():
    """The metrics files without a record that were measured with other settings or code."""
    fingerprints = DATASET_FINGERPRINT, TRAINING_FINGERPRINTS
    return unrecorded.outdated_runs(STUDY, Path("results"), recorded_outputs(), *fingerprints)


def outdated_without_record(*made):
    """An input function that adds none: it has outdated results made again that Snakemake has no record of.

    A run says what it was measured with, so it may be up to date all the same; the files `made` do not.
    """

    def adding_none(wildcards):
        if workflow.is_main_process and recorded_outputs() is not None:
            make_again(outdated_runs())
            make_again(unrecorded.without_record(made, recorded_outputs()))
        return []

    return adding_none


def make_again(paths):
    """Tell Snakemake to make these files again, and return them.

    To be called while jobs are looked for, as input functions are: Snakemake decides afterwards what it carries out.
    """
    workflow.dag.forcefiles.update(paths)
    return paths


def check_data():
    """Read all data files before the first run does; ends Snakemake with one sentence on what is wrong with them."""
    try:
        idx.read_contents(DATA_FOLDER)
    except InputError as error:
        sys.exit(f"trainbench: {error}")


def runs_of(jobs):
    """The runs among these jobs; in a workflow that takes this one in, rules have other names."""
    return [
        Run(job.wildcards.model, int(job.wildcards.batch_size), job.wildcards.device, int(job.wildcards.repeat))
        for job in jobs
        if job.rule is rules.train.rule
    ]


def written_folders(jobs):
    """The folders that these jobs write to, as far as they are the same for thousands of runs."""
    paths = (Path(file) for job in jobs for file in (*job.output, *job.log))
    return {"/".join(path.parent.parts[:2]) for path in paths if not path.is_absolute()}


def hold_against_machine(jobs):
    """Hold what is to be carried out, and no more, against this machine; ends Snakemake with one sentence."""
    if not jobs:
        return
    demand_writable(sorted(written_folders(jobs)))
    runs = [] if workflow.touch else runs_of(jobs)
    prepared = Path(PREPARED).exists()
    try:
        limits.refuse_no_core(MACHINE)
        limits.refuse_impossible(STUDY, runs, idx.read_shape(DATASET_FILES), MACHINE, prepared=prepared)
    except InputError as error:
        sys.exit(f"trainbench: {error}")
    if runs and not prepared:
        check_data()


def before_anything_begins(build_dag):
    """Have the plan looked at as soon as Snakemake has made it, by `build_dag`, and before it carries out any of it.

    There is no hook of Snakemake's for that: onstart is not called in dry runs, in jobs and where another workflow takes
    this one in. Where it only looks at a plan, as with --list-changes or --report, it carries out nothing.
    """

    def build_and_look():
        build_dag()
        if workflow.execution_settings is None:
            return
        jobs = list(workflow.dag.needrun_jobs(exclude_finished=False))
        if workflow.is_main_process:
            hold_against_machine(jobs)
        elif workflow.remote_exec and not SUBMITS and (runs := runs_of(jobs)):
            # A job of several runs has them take turns on the cores that it was given, which may be fewer than the node's.
            workflow.register_resource("_cores", max(run_cores(run) for run in runs))

    return build_and_look


workflow._build_dag = before_anything_begins(workflow._build_dag)


@functools.cache
def found_results(folders, key):
    """What lies in other results folders."""
    return sources.find(folders, key)


def conclusions():
    """What is read beside this study's runs; ends Snakemake with one sentence on what is wrong with it."""
    try:
        wanted = configuration.conclusions_of(CONFIG)
        if workflow.is_main_process:
            # Contents are for the rules that read them; that a folder is not there is told before anything trains.
            found = found_results(wanted.sources, "sources")
            if not wanted.skip_bad_sources:
                sources.demand_all_usable(found.refused)
            if wanted.baseline is not None:
                sources.demand_runs(found_results((wanted.baseline,), "baseline"), wanted.baseline)
    except InputError as error:
        sys.exit(f"trainbench: {error}")
    return wanted


CONCLUSIONS = conclusions()


def read_sources(wildcards):
    """The sources, and a fingerprint of what lies in them: no inputs, because Snakemake is not to make them."""
    return {
        "folders": CONCLUSIONS.sources,
        "skip_bad": CONCLUSIONS.skip_bad_sources,
        "files": sources.fingerprint_of(found_results(CONCLUSIONS.sources, "sources")),
    }


def read_baseline(wildcards):
    """The baseline, and a fingerprint of what lies in it."""
    folder = CONCLUSIONS.baseline
    return {"folder": folder, "files": sources.fingerprint_of(found_results((folder,), "baseline"))}


def each_run(function):
    """Mark a function that Snakemake calls for each run: it asks for its parameters every time, here found out once."""
    function.__signature__ = inspect.signature(function)
    return function


@each_run
def run_settings(wildcards):
    """Everything in the config that alters a run's result."""
    run = Run(wildcards.model, int(wildcards.batch_size), wildcards.device, int(wildcards.repeat))
    return STUDY.settings(run, DATASET_FINGERPRINT)


@each_run
def run_data(wildcards, output):
    """Where a run finds its data: Snakemake does not track a function that takes the output, so a move runs nothing."""
    return {"prepared": PREPARED, "folder": str(DATA_FOLDER)}


@each_run
def run_cores(wildcards):
    """Cores that a run reserves, asks a scheduler for, or was given by it."""
    device = STUDY.device(wildcards.device)
    if SUBMITS:
        return submission.cores(device, STUDY.isolation)
    cores = MACHINE.cores or workflow.resource_settings.cores or 1
    if workflow.remote_exec:
        return submission.cores_on_node(device, STUDY.isolation, cores, os.environ)
    return cores_of_run(device, STUDY.isolation, cores, GPUS_SIDE_BY_SIDE)


TURNS = {run.folder: turn for turn, run in enumerate(reversed(STUDY.turns()), start=1)}


@each_run
def run_priority(wildcards):
    """The later its turn, the lower its priority; runs that the study does not ask for come last."""
    return TURNS.get(Run(wildcards.model, wildcards.batch_size, wildcards.device, wildcards.repeat).folder, 0)


@each_run
def run_gpus(wildcards):
    """GPUs that a run reserves."""
    return STUDY.device(wildcards.device).gpus


def card_resources():
    """The GPUs that a run reserves of each kind, by the name of the resource; nothing where all are of one kind."""
    cards = MACHINE.gpus.cards if MACHINE.gpus is not None else ()
    reserved = {name: device_cards.reserved(device, cards) for name, device in STUDY.device_settings.items()}
    return {kind: card_resource(kind, reserved) for kind in device_cards.limits_by_kind(cards)}


def card_resource(kind, reserved):
    """The GPUs of this kind that a run reserves, of those that each device reserves."""
    return each_run(lambda wildcards: reserved[wildcards.device][kind] if wildcards.device in reserved else 0)


def asked_resources():
    """What runs ask of a scheduler, by the name of the resource; nothing where none are submitted."""
    if not SUBMITS:
        return {}
    devices = STUDY.device_settings.values()
    names = {name for device in devices for name in submission.resources(device, STUDY.isolation)}
    return {name: asked_resource(name) for name in sorted(names)}


def asked_resource(name):
    """What a run asks for under this name: its device's, or else what `default-resources` say."""
    default = Resources.from_mapping(workflow.resource_settings.default_resources or {}).get(name)

    def asked(wildcards, input, attempt, threads, rulename, async_run):
        own = submission.resources(STUDY.device(wildcards.device), STUDY.isolation)
        if name in own or default is None:
            return own.get(name)
        given = {"input": input, "attempt": attempt, "threads": threads}
        return default.evaluate(wildcards, **given, rulename=rulename, async_run=async_run).value

    return asked


def train_environment(framework, build):
    """The environment file of a framework's build."""
    return str(Path(REPOSITORY, "envs", f"train-{framework}-{build}.yaml"))


@each_run
def run_environment(wildcards):
    """The conda environment of a run: that of its device's framework and kind."""
    device = STUDY.device(wildcards.device)
    return train_environment(device.framework, "cuda" if device.gpus else "cpu")


@each_run
def run_code(wildcards):
    """The fingerprint of the code that a run depends on."""
    return TRAINING_FINGERPRINTS[STUDY.device(wildcards.device).framework]


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


@functools.cache
def states():
    """Which runs have results by now."""
    return so_far.states(STUDY, Path("results"), DATASET_FINGERPRINT)


def existing_metrics(wildcards):
    """The metrics files that are there, with their contents: no inputs, because Snakemake is not to make them."""
    paths = [f"results/{run.folder}/metrics.json" for run, state in states().items() if state == "there"]
    return {path: fingerprint.of_files([Path(path)]) for path in paths}


def absent_runs(wildcards):
    """The runs that have no results, or none with the settings of the study."""
    return [
        {**asdict(run), "device_kind": STUDY.device(run.device).kind, "status": state}
        for run, state in states().items()
        if state != "there"
    ]


def all_figures(folder="results"):
    """The figures of the study; a speedup takes two devices, a curve over threads or GPUs several numbers of them."""
    cpus = [device.threads for device in STUDY.selected_devices() if device.kind == "cpu"]
    gpus = [device.gpus for device in STUDY.selected_devices() if device.kind == "gpu"]
    left_out = {
        "speedup": len(STUDY.devices) < 2 and not CONCLUSIONS.sources,
        "scaling": len(set(cpus)) < 2 and not CONCLUSIONS.sources,
        "gpu_scaling": len(set(gpus)) < 2 and not CONCLUSIONS.sources,
    }
    names = [name for name in FIGURES if not left_out.get(name, False)]
    return [f"{folder}/figures/{name}.{extension}" for name in names for extension in ("svg", "png")]


def leftovers(wildcards, output):
    """What an earlier study left and this one does not ask for: it would show what the tables no longer have.

    Snakemake does not track a function that takes the output: these files go when tables are made for another reason.
    """
    folder = Path(output[0]).parents[1]
    figures = {f"{folder}/figures/{name}.{extension}" for name in FIGURES for extension in ("svg", "png")}
    compared = [] if CONCLUSIONS.baseline is not None else [f"{folder}/tables/{name}" for name in COMPARED_TABLES]
    return sorted(figures - set(all_figures(folder))) + compared


def timeline_path(run):
    """Where the timeline of a run is drawn, without the ending."""
    return TIMELINE.format(**asdict(run))


@functools.cache
def timeline_runs():
    """The runs whose timelines are drawn unasked: the first of each cell, and where cells are many, of each batch size
    in turn for all models and devices."""
    cells = (
        Run(model, batch_size, device, 1)
        for batch_size in STUDY.batch_sizes
        for model in STUDY.models
        for device in STUDY.devices
    )
    return tuple(itertools.islice(cells, MOST_TIMELINES))


def all_timelines():
    """The timelines that are drawn unasked."""
    return [f"{timeline_path(run)}.{extension}" for run in timeline_runs() for extension in ("svg", "png")]


def leftover_timelines(wildcards, output):
    """The timelines of other runs: nothing keeps them up to date. They go when the others are drawn."""
    found = {str(path) for path in Path(TIMELINE).parent.glob("*_*_*_*.*") if path.suffix in {".svg", ".png"}}
    return sorted(found.difference(all_timelines()))


def all_tables(folder="results"):
    """The tables of the study, by name."""
    return {name.replace(".", "_"): f"{folder}/tables/{name}" for name in TABLES}


# Of these the report of Snakemake has a caption, workflow/report/<name>.rst; the others are as large as the study.
REPORTED_TABLES = [
    *["comparison", "speedups", "frameworks", "cells", "accuracy_times", "costs", "core_equivalents", "gpu_scaling"],
    *["roofline", "hosts", "checks", "settings"],
]


def reported_tables():
    """The tables of the study by name, marked for the report of Snakemake where it shows them."""
    tables = all_tables()
    for table in REPORTED_TABLES:
        marks = {
            "caption": f"../report/{table}.rst",
            "category": "Tables",
            "labels": {"table": table.replace("_", " ")},
        }
        tables[f"{table}_csv"] = report(tables[f"{table}_csv"], **marks)
    return tables


def figure_tables(folder="results"):
    """The tables that figures are drawn from, by name."""
    return {name: path for name, path in all_tables(folder).items() if name.removesuffix("_csv") in DRAWN}


def products(folder="results"):
    """All that is made of a study's metrics files, or of those that are there so far."""
    timelines = all_timelines() if folder == "results" else []
    return [*all_tables(folder).values(), *all_figures(folder), *timelines, f"{folder}/{PAGE}"]


def question():
    """What the tables are to answer beside the order in which they show things."""
    return {
        "reference": {"device": CONCLUSIONS.reference_device, "host": CONCLUSIONS.reference_host},
        "target_accuracy": CONCLUSIONS.target_accuracy,
        "prices": CONCLUSIONS.prices,
        "currency": CONCLUSIONS.currency,
    }


def repetition(wildcards, output):
    """What it takes to repeat the study, as the page shows it.

    Snakemake does not track a function that takes the output: what alters a number alters a table as well.
    """
    left_out = ("baseline", "compare")
    settings = {key: value for key, value in CONFIG.items() if key not in left_out}
    return {
        "configuration": yaml.safe_dump(settings | {"devices": list(STUDY.devices)}, sort_keys=False),
        "code_sha256": sorted({TRAINING_FINGERPRINTS[device.framework] for device in STUDY.selected_devices()}),
        "repository": REPOSITORY,
    }


def one_of(names):
    """The pattern of these names and no others."""
    return "|".join(map(re.escape, names))


wildcard_constraints:
    model=r"[A-Za-z0-9][A-Za-z0-9._-]*",
    batch_size=r"[1-9]\d*",
    device=r"[A-Za-z0-9][A-Za-z0-9._-]*",
    repeat=r"[1-9]\d*",
    figure=one_of(FIGURES),
