"""Says what a run reserves of this machine, or asks of a scheduler, and when its turn comes."""

import os
from collections.abc import Callable

from trainbench.plan import device_cards, submission
from trainbench.plan.study import Run, cores_of_run
from trainbench.rules.call import Call


def cores(call: Call, run: Run) -> int:
    """Cores that a run reserves, asks a scheduler for, or was given by it."""
    device, isolation = call.study.device(run.device), call.study.isolation
    if call.options.submits:
        return submission.cores(device, isolation)
    usable = call.machine.cores or call.options.cores or 1
    if call.options.in_job:
        return submission.cores_on_node(device, isolation, usable, os.environ)
    return cores_of_run(device, isolation, usable, call.gpus_side_by_side)


def gpus_by_kind(call: Call) -> dict[str, Callable[[Call, Run], int]]:
    """The GPUs that a run reserves of each kind, by the name of the resource; nothing where all are of one kind."""
    reserved = {
        name: device_cards.reserved(device, call.machine.cards) for name, device in call.study.device_settings.items()
    }

    def of_kind(kind: str) -> Callable[[Call, Run], int]:
        return lambda _, run: reserved[run.device][kind] if run.device in reserved else 0

    return {kind: of_kind(kind) for kind in device_cards.by_resource(call.machine.cards)}


def priority(call: Call, run: Run) -> int:
    """The later its turn, the lower its priority; runs that the study does not ask for come last."""
    return call.priorities.get(run, 0)


def environment(call: Call, run: Run) -> str:
    """The conda environment of a run: that of its device's framework and kind."""
    device = call.study.device(run.device)
    return str(call.repository / "envs" / f"train-{device.framework}-{'cuda' if device.gpus else 'cpu'}.yaml")


def names_asked_of_scheduler(call: Call) -> list[str]:
    """What any run asks for by name; nothing where none are submitted."""
    devices = call.study.device_settings.values() if call.options.submits else ()
    return sorted({name for device in devices for name in submission.resources(device, call.study.isolation)})
