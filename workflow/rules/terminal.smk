import atexit
import contextlib

from snakemake.settings.enums import Quietness

from trainbench.rules.rule_script import show
from trainbench.terminal import upcoming

VIEW = contextlib.ExitStack()


def runs_asked_for():
    """The runs that Snakemake was asked for, and whether it carries each of them out."""
    needed = set(runs_of(workflow.dag.needrun_jobs(exclude_finished=False)))
    return {run: run in needed for run in runs_of(workflow.dag.jobs)}


def is_quiet_about(*parts):
    """Whether Snakemake was told (--quiet) to say nothing at all, or nothing of these."""
    return not {Quietness.ALL, *parts}.isdisjoint(workflow.output_settings.quiet or ())


def tell_plan():
    """Say what a dry run would measure and how long that would take, where it asks for runs at all."""
    # Without a scheduler it has ended before it knew what there is to do.
    if workflow.scheduler is not None and not is_quiet_about() and (runs := runs_asked_for()):
        show(f"\n{upcoming.of_call(CALL, runs, WORKING_FOLDER / RESULTS)}")


if CALL.options.is_main and CALL.options.is_dry_run:
    atexit.register(tell_plan)


def begin_view():
    """Show on a terminal how far the study is; elsewhere the lines that runs write are all there is."""
    runs = [run for run, comes in runs_asked_for().items() if comes]
    if not runs or is_quiet_about(Quietness.PROGRESS) or not CALL.options.is_main:
        return
    try:
        from trainbench.terminal import live_view
    except ModuleNotFoundError:
        return  # rich is not installed beside this Snakemake: conda and pipx bring just what it needs
    if live_view.is_wanted(os.environ):
        names = {job.rule.name for job in workflow.dag.needrun_jobs()}
        colored = not workflow.output_settings.nocolor
        VIEW.enter_context(live_view.shown(CALL, runs, WORKING_FOLDER / RESULTS, logger, names, colored=colored))


onstart:
    # Snakemake limits how many runs begin in a second, and for that wakes up a second after each, once more for good:
    # after some hundred runs that takes a tenth of a core beside those that are measured (version 9.27). Where runs are
    # submitted to others the limit stays.
    if not CALL.options.submits:
        workflow.scheduler.job_rate_limiter = None
    begin_view()


onsuccess:
    VIEW.close()
    # Where jobs are submitted all at once, this is said when none has run.
    if not workflow.remote_execution_settings.immediate_submit:
        up_to_date = {str(path) for job in workflow.dag.jobs for path in job.output}
        for folder in (RESULTS, products.SO_FAR):
            show(plain_words.results_of(up_to_date, folder, products.figures(STUDY, CONFIG, folder)))


onerror:
    VIEW.close()
    # Below what Snakemake itself will still say.
    atexit.register(lambda: sys.stderr.write(PLAIN_WORDS.last_words()))
