import gc
import inspect
import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(REPOSITORY, "workflow", "scripts")))

from snakemake.logging import logger
from snakemake.resources import Resources

from trainbench.figures import of_study
from trainbench.machine import lifetime, working_folder
from trainbench.plan import submission
from trainbench.plan.study import Run
from trainbench.rules import (
    RESULTS,
    SNAKEMAKE,
    beginning,
    call,
    products,
    rooms,
    run_demands,
    so_far,
    table_params,
    unrecorded,
)
from trainbench.rules.call import Call, ending_snakemake
from trainbench.terminal import plain_words

# While Snakemake plans, objects only come: looking through them for garbage takes 2 of 15 s for 10,000 runs.
gc.set_threshold(100_000, 50, 1000)

# The scripts of rules end when this process does.
os.environ[lifetime.SNAKEMAKE_VARIABLE] = str(os.getpid())

# Snakemake has left it by the time of its last lines.
WORKING_FOLDER = Path.cwd()

with ending_snakemake():
    CALL = call.read(call.options_of(workflow), call.config_of(workflow, CONFIG_FILES, config), Path(REPOSITORY))
    for warning in CALL.warnings:
        logger.warning(warning)
    # Snakemake would hand out as many cores as --cores says, however few there are: runs that reserve all of them would
    # begin side by side. Where runs are submitted, --cores would cut what they ask for, and is about this machine alone.
    if CALL.options.submits or CALL.machine.cores is not None:
        workflow.register_resource("_cores", CALL.machine.cores)
    # Without a limit it would start as many GPU jobs as there are cores.
    for name, count in CALL.cards_to_hand_out.items():
        workflow.global_resources.setdefault(name, count)
    WORKING_FOLDER_HELD = beginning.go_on(CALL)

STUDY, CONFIG = CALL.study, CALL.config
ORDER = table_params.order(STUDY)
ALL_METRICS = products.metrics(STUDY.runs())
PRODUCTS = products.everything(STUDY, CONFIG)


PLAIN_WORDS = plain_words.PlainWords(
    WORKING_FOLDER, lambda: WORKING_FOLDER_HELD is None and working_folder.is_held(WORKING_FOLDER / SNAKEMAKE)
)
if CALL.options.is_main:
    logger.addFilter(PLAIN_WORDS)


def training_jobs(jobs):
    """Those of these jobs that train; in a workflow that takes this one in, rules have other names."""
    return [job for job in jobs if job.rule is rules.train.rule]


def runs_of(jobs):
    """The runs among these jobs."""
    return [Run.named(job.wildcards) for job in training_jobs(jobs)]


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
        runs = runs_of(jobs)
        if CALL.options.is_main and jobs:
            written = [file for job in jobs for file in (*job.output, *job.log)]
            to_train = [] if workflow.touch else runs
            patience = next((job.resources for job in training_jobs(jobs)), None)
            with ending_snakemake():
                beginning.hold_against_machine(CALL, written, to_train, patience)
            left_out = call.left_out([STUDY.device(run.device) for run in to_train], os.environ)
            if left_out is not None:
                logger.warning(left_out)
        elif CALL.options.in_job and not CALL.options.submits and runs:
            # A job of several runs has them take turns on the cores that it was given, which may be fewer than the node's.
            workflow.register_resource("_cores", max(run_demands.cores(CALL, run) for run in runs))

    return build_and_look


workflow._build_dag = before_anything_begins(workflow._build_dag)


def each_run(function, *, is_tracked=True):
    """What `function` says of the call and a run, for Snakemake: it asks for each run, and each time for the parameters.

    These are found out once here. Snakemake does not track a function that takes the output.
    """

    def of_run(wildcards, output=None):
        return function(CALL, Run.named(wildcards))

    wildcards, output = inspect.signature(of_run).parameters.values()
    of_run.__signature__ = inspect.Signature([wildcards] if is_tracked else [wildcards, output])
    return of_run


def asked_of_scheduler(name):
    """What a run asks for under this name: its device's, or else what `default-resources` say."""
    default = Resources.from_mapping(workflow.resource_settings.default_resources or {}).get(name)

    def asked(wildcards, input, attempt, threads, rulename, async_run):
        own = submission.resources(STUDY.device(wildcards.device), STUDY.isolation)
        if name in own or default is None:
            return own.get(name)
        given = {"input": input, "attempt": attempt, "threads": threads}
        return default.evaluate(wildcards, **given, rulename=rulename, async_run=async_run).value

    return asked


def made_again(paths):
    """These files, after Snakemake was told to make them again.

    To be called while jobs are looked for, as input functions are: Snakemake decides afterwards what it carries out.
    """
    workflow.dag.forcefiles.update(paths)
    return paths


def outdated_without_record(*made):
    """An input function that adds none: it has outdated results made again that Snakemake has no record of."""
    return lambda wildcards: made_again(unrecorded.outdated(CALL, made) if CALL.options.is_main else [])[:0]


def leftovers(wildcards, output):
    """What goes when tables are made: Snakemake does not track a function that takes the output."""
    return products.leftovers(STUDY, CONFIG, str(Path(output[0]).parents[1]))


def one_of(names):
    """The pattern of these names and no others."""
    return "|".join(map(re.escape, names))


wildcard_constraints:
    model=r"[A-Za-z0-9][A-Za-z0-9._-]*",
    batch_size=r"[1-9]\d*",
    device=r"[A-Za-z0-9][A-Za-z0-9._-]*",
    repeat=r"[1-9]\d*",
    figure=one_of(of_study.NAMES),
