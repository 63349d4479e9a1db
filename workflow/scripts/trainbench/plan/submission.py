"""Says what a run asks of the scheduler that it is submitted to, and which cores it got.

Standard library only: rules import this module whenever Snakemake reads them, also in every submitted job.
"""

from collections.abc import Mapping
from typing import Final

from trainbench.plan.study import ALL_CORES, Device, reserves_machine

FLAGS: Final = {"slurm_extra": "--exclusive", "lsf_extra": "-x"}
"""How a job asks for a node of its own, by the resource that takes further options of the submit command.

Sources: sbatch(1) of Slurm, bsub(1) of LSF, and the documentation of Snakemake's executor plugins for them.
"""

WHOLE_NODE: Final = "whole_node"
"""The same for submit commands of one's own (`{resources.whole_node}`): 1 or 0, for a job of several runs their sum."""

GIVEN_CORES: Final = ("SLURM_CPUS_ON_NODE",)
SHARED_NODE_CORES: Final = ("LSB_DJOB_NUMPROC", "NSLOTS", "NCPUS")
"""Where Slurm, and LSF, Grid Engine and PBS, tell a job how many cores it has on its node.

Only Slurm counts all cores of a node that a job has to itself; the others repeat the number that was asked for.
"""


def cores(device: Device, isolation: str) -> int:
    """Cores to ask for; 1 where the number is the node's or the site's to say (`resources`)."""
    if reserves_machine(device, isolation) or device.threads == ALL_CORES:
        return 1
    return device.threads


def resources(device: Device, isolation: str) -> dict[str, int | str]:
    """What a run on `device` asks for: what the config says, and a node of its own where `isolation` demands one."""
    asked = dict(device.resources)
    if device.gpus > 1:
        # To Slurm --gpus is a number for the whole job, which may lie on several nodes; a run is one process on one.
        asked.setdefault("nodes", 1)
    alone = reserves_machine(device, isolation)
    asked[WHOLE_NODE] = int(alone)
    if alone:
        for name, flag in FLAGS.items():
            asked[name] = f"{flag} {asked[name]}" if name in asked else flag
    if (alone or device.threads == ALL_CORES) and "cpus_per_gpu" not in asked:
        # Below 0 the Slurm plugin gives no number: the job has its whole node, or the site's default for a GPU.
        asked.setdefault("cpus_per_task", -1)
    return asked


def cores_on_node(device: Device, isolation: str, usable: int, environment: Mapping[str, str]) -> int:
    """How many of the `usable` cores of a node a run's job was given; `environment` is the job's.

    `usable` are those that the process may keep busy: what `--cores` says is not about the node, but about the machine
    that submits.
    """
    names = GIVEN_CORES if reserves_machine(device, isolation) else (*GIVEN_CORES, *SHARED_NODE_CORES)
    counts = [int(environment[name]) for name in names if environment.get(name, "").isdecimal()]
    return min([usable, *(count for count in counts if count > 0)])
