import atexit
import contextlib

from snakemake.settings.enums import Quietness

from trainbench.rules import forecast
from trainbench.rules.rule_script import show

# When a dry run ends, Snakemake has left the working folder already.
RESULTS = WORKING_FOLDER / "results"


def runs_asked_for():
    """The runs that Snakemake was asked for, and whether it carries each of them out."""
    needed = set(runs_of(workflow.dag.needrun_jobs(exclude_finished=False)))
    return {run: run in needed for run in runs_of(workflow.dag.jobs)}


def past_and_place():
    """The runs that have ended, from which times are known, and the machine, of which nothing is known elsewhere."""
    if SUBMITS:
        place = forecast.Place(cores=None, gpus=0, host=None)
    else:
        machine = host.inventory()
        cores = MACHINE.cores or machine.usable_threads
        place = forecast.Place(cores=cores, gpus=limits.gpus_side_by_side(STUDY, MACHINE), host=asdict(machine))
    return forecast.History(STUDY, RESULTS, DATASET_FINGERPRINT, place.host), place


def is_quiet_about(*parts):
    """Whether Snakemake was told (--quiet) to say nothing at all, or nothing of these."""
    return not {Quietness.ALL, *parts}.isdisjoint(workflow.output_settings.quiet or ())


def tell_plan():
    """Say what a dry run would measure and how long that would take, where it asks for runs at all."""
    if workflow.scheduler is None or is_quiet_about():
        return  # ended before it knew what there is to do
    from trainbench.terminal import upcoming

    asked_for = runs_asked_for()
    to_come, there = ([run for run, comes in asked_for.items() if comes is wanted] for wanted in (True, False))
    if asked_for:
        changes = so_far.changes(STUDY, to_come, RESULTS, DATASET_FINGERPRINT)
        show(f"\n{upcoming.text(STUDY, to_come, there, *past_and_place(), changes=changes)}")


if workflow.is_main_process and workflow.output_settings.dryrun:
    atexit.register(tell_plan)


def tell_last_words():
    """Say how the study ended where it did not succeed."""
    sys.stderr.write(PLAIN_WORDS.last_words())


VIEW = contextlib.ExitStack()


def begin_view():
    """Show on a terminal how far the study is; elsewhere the lines that runs write are all there is."""
    runs = [run for run, comes in runs_asked_for().items() if comes]
    if not runs or is_quiet_about(Quietness.PROGRESS) or not workflow.is_main_process:
        return
    try:
        from trainbench.terminal import live_view
    except ModuleNotFoundError:
        return  # rich is not installed beside this Snakemake: conda and pipx bring just what it needs
    if live_view.is_wanted(os.environ):
        from trainbench.terminal import under_way

        watch = under_way.Watch(STUDY, runs, *past_and_place(), RESULTS)
        events = live_view.JobEvents(watch, "train")
        logger.addHandler(events)
        VIEW.callback(logger.removeHandler, events)
        rules_to_come = {job.rule.name for job in workflow.dag.needrun_jobs()}
        VIEW.callback(
            live_view.View(watch.state, rules=rules_to_come, colored=not workflow.output_settings.nocolor).stop
        )


onstart:
    # Snakemake limits how many runs begin in a second, and for that wakes up a second after each, once more for good:
    # after some hundred runs that takes a tenth of a core beside those that are measured (version 9.27). Where runs are
    # submitted to others the limit stays.
    if workflow.resource_settings.nodes is None:
        workflow.scheduler.job_rate_limiter = None
    begin_view()


onsuccess:
    VIEW.close()
    # Where jobs are submitted all at once, this is said when none has run.
    if not workflow.remote_execution_settings.immediate_submit:
        up_to_date = {str(path) for job in workflow.dag.jobs for path in job.output}
        for folder in ("results", "results/so_far"):
            show(plain_words.results_of(up_to_date, folder, PAGE, all_figures(folder)))


onerror:
    VIEW.close()
    # Below what Snakemake itself will still say.
    atexit.register(tell_last_words)
