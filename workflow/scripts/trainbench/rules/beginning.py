"""What is done and refused before anything begins: the working folder held, and the plan held against this machine."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from trainbench.datasets import idx
from trainbench.errors import InputError
from trainbench.machine import working_folder
from trainbench.plan import limits
from trainbench.plan.study import Run
from trainbench.rules import SNAKEMAKE, table_params, unrecorded
from trainbench.rules.call import Call


def go_on(call: Call) -> int | None:
    """Clear away what a call that was killed left of Snakemake's, and keep the results that it left.

    Returns what holds the working folder as long as it stays open, or None; a job does not hold it.

    Raises:
        InputError: a source or the baseline is not there, or Snakemake's folder cannot be written, as it is whatever
            Snakemake is called for.
        OSError: there is no room.
    """
    if not call.options.is_main:
        return None
    table_params.refuse_absent(call.config)
    _refuse(working_folder.obstacle(Path.cwd()))
    _refuse(working_folder.unwritable(Path.cwd(), [str(SNAKEMAKE)]))
    held = None
    try:
        if not call.options.is_dry_run:
            held = working_folder.hold(SNAKEMAKE)
        if held is not None:
            unrecorded.set_aside(call)
    except OSError as error:
        # Results that cannot be written stay as they are; that is told where something is to be made.
        if not working_folder.is_refusal(error):
            raise
    return held


def hold_against_machine(
    call: Call, written: Iterable[str], runs: Sequence[Run], patience: Mapping[str, object] | None
) -> None:
    """Hold what is to be carried out, and no more, against this machine: jobs that write these files, and these runs.

    `patience` are the resources of a run, None where none is carried out: all runs have as much.

    Raises:
        InputError: it cannot carry that out, or the data files are wrong, which are all read before the first run does.
        OSError: there is no room.
    """
    # As far as they are the same for thousands of runs.
    folders = {"/".join(path.parent.parts[:2]) for path in map(Path, written) if not path.is_absolute()}
    prepared = Path(call.prepared).exists()
    # The prepared data set is no output of any job.
    folders |= {limits.DATA_FOLDER} if runs and not prepared else set()
    _refuse(working_folder.unwritable(Path.cwd(), sorted(folders)))
    limits.refuse_no_core(call.machine)
    if patience is not None:
        limits.refuse_impatience(patience)
    limits.refuse_impossible(call.study, runs, idx.read_shape(call.dataset_files), call.machine, prepared=prepared)
    if runs and not prepared:
        idx.read_contents(call.data_folder)


def _refuse(problem: str | None) -> None:
    if problem is not None:
        raise InputError(problem)
