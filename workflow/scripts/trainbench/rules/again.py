"""Says which files Snakemake is to make again although it would take them for up to date."""

from collections.abc import Sequence
from functools import cache

from trainbench.rules import so_far, unrecorded
from trainbench.rules.call import RESULTS, SNAKEMAKE, Call


def out_of_memory(call: Call) -> list[str]:
    """The metrics files of runs that were out of memory; other failures leave none, so any call carries them out."""
    return [str(path) for path in so_far.out_of_memory(call.study, RESULTS)]


def outdated_without_record(call: Call, made: Sequence[str]) -> list[str]:
    """What is outdated of the study's runs, and of the files `made`, and Snakemake has no record of.

    A run says what it was measured with, so it may be up to date all the same; the files `made` do not.
    """
    known = _recorded(call)
    if not call.options.is_main or known is None:
        return []
    return [*_outdated_runs(call), *unrecorded.without_record(made, known)]


@cache  # a study may have thousands of runs
def _recorded(call: Call) -> frozenset[str] | None:
    return unrecorded.recorded(SNAKEMAKE) if call.options.is_main else None


@cache
def _outdated_runs(call: Call) -> list[str]:
    known = _recorded(call) or frozenset()
    return unrecorded.outdated_runs(call.study, RESULTS, known, call.dataset_files_sha256, call.code_sha256)
