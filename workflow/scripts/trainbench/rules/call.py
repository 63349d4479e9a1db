"""What one call of Snakemake asks for: its options, the config, the study, the data, and this machine."""

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from snakemake.settings.types import DeploymentMethod

from trainbench import engines
from trainbench.datasets import idx
from trainbench.errors import InputError
from trainbench.files import fingerprint, full_disk
from trainbench.machine import clean_environment, gpu_cards, gpu_choice, host, working_folder
from trainbench.plan import config_files, configuration, device_cards, limits, typed_config
from trainbench.plan.study import Device, Run, Study
from trainbench.rules import rooms


@contextmanager
def ending_snakemake() -> Iterator[None]:
    """End Snakemake with one sentence where the block meets a user's mistake or a full disk."""
    try:
        yield
    except InputError as error:
        sys.exit(f"trainbench: {error}")
    except OSError as error:
        if not full_disk.is_cause(error):
            raise
        sys.exit(f"trainbench: {full_disk.sentence(Path.cwd(), error)}")


@dataclass(frozen=True)
class Options:
    """How Snakemake was called; None is an option that was not given.

    `is_main` is False of the Snakemake within a job, which is `in_job` where that runs on another machine. `submits`
    says that runs go to other machines, of which nothing is known here (`--jobs` is given then). `sets_threads` tells
    whether `--set-threads` sets those of runs.
    """

    is_main: bool = True
    in_job: bool = False
    submits: bool = False
    is_dry_run: bool = False
    uses_conda: bool = False
    cores: int | None = None
    gpus: int | None = None
    max_threads: int | None = None
    sets_threads: bool = False


def options_of(workflow: Any) -> Options:  # noqa: ANN401 - Snakemake has no types
    """The options in the settings of Snakemake's `workflow`."""
    resources, gpus = workflow.resource_settings, workflow.global_resources.get("gpu")
    return Options(
        is_main=workflow.is_main_process,
        in_job=workflow.remote_exec,
        submits=resources.nodes is not None,
        is_dry_run=workflow.output_settings.dryrun,
        uses_conda=DeploymentMethod.CONDA in workflow.deployment_settings.deployment_method,
        cores=resources.cores,
        gpus=None if gpus is None else gpus.value,
        max_threads=resources.max_threads,
        sets_threads="train" in resources.overwrite_threads,
    )


def config_of(workflow: Any, files: Sequence[str], taken_in: Mapping[str, Any]) -> dict[str, Any]:  # noqa: ANN401
    """The config as it is written in `files` and those of Snakemake's options, and after `--config`.

    Not Snakemake's own, in which YAML 1.1 has turned some of it, but where another workflow hands over `taken_in`.

    Raises:
        InputError: something is wrong with it.
    """
    settings = workflow.config_settings
    if workflow.modifier.skip_configfile:
        return typed_config.typed([config_files.Layer(taken_in, None)])
    if workflow.is_main_process:
        for profile in config_files.profiles(sys.argv[1:], os.environ, Path(workflow.workdir_init)):
            config_files.refuse_turned(profile)
    replaced = settings.replace_workflow_config and settings.overwrite_config
    layers = [config_files.read(Path(file)) for file in ([] if replaced else files)]
    layers += [config_files.read(Path(file)) for file in settings.configfiles]
    return typed_config.typed([*layers, config_files.of_command_line(settings.config, sys.argv[1:])])


@dataclass(frozen=True, eq=False)
class Call:
    """A call whose config is right; `warnings` are sentences for the user.

    `code_sha256` is the fingerprint of the code that a run depends on, by framework.
    """

    repository: Path
    options: Options
    config: Mapping[str, Any]
    study: Study
    dataset_files: idx.IdxFiles
    dataset_files_sha256: str
    code_sha256: Mapping[str, str]
    machine: limits.Machine
    warnings: tuple[str, ...] = ()

    @property
    def data_folder(self) -> Path:
        """Where the data files are."""
        return self.dataset_files.train_images.parent

    @cached_property
    def prepared(self) -> str:
        """The prepared data set: other data, other checksums or other code to prepare them make another file.

        No rule makes it and none has it as an input: whichever run finds it missing prepares it. As an input it would
        run everything again whenever it is made again (because somebody deleted it) or, being larger than what
        Snakemake computes checksums of, merely touched. As an input marked `ancient` it would hide missing runs:
        Snakemake does not look at jobs behind an ancient file about to be made.
        """
        sums = fingerprint.of_files(self.data_folder.glob(idx.SUMS_NAME))
        name = fingerprint.of_texts(self.dataset_files_sha256, sums, fingerprint.of_rooms(["datasets"]))
        return f"{limits.DATA_FOLDER}/{name}.safetensors"

    @cached_property
    def gpus_side_by_side(self) -> int:
        """How many GPU runs may share the cores."""
        return limits.gpus_side_by_side(self.study, self.machine)

    @cached_property
    def priorities(self) -> dict[Run, int]:
        """The priority of each run: the later its turn, the lower."""
        return {run: priority for priority, run in enumerate(reversed(self.study.turns()), start=1)}

    @property
    def cards_to_hand_out(self) -> dict[str, int]:
        """How many cards runs may have at once, in all and of each kind, by the name of Snakemake's resource."""
        if self.machine.gpus is None or not self.options.is_main:
            return {}
        all_cards = self.machine.cards
        return {name: len(cards) for name, cards in {"gpu": all_cards, **device_cards.by_resource(all_cards)}.items()}

    def settings(self, run: Run) -> dict[str, Any]:
        """Everything in the config that alters a run's result.

        Raises:
            InputError: the config does not describe its model or device.
        """
        return self.study.settings(run, self.dataset_files_sha256)

    def data(self, _: Run) -> dict[str, str]:
        """Where a run finds its data."""
        return {"prepared": self.prepared, "folder": str(self.data_folder)}

    def code(self, run: Run) -> str:
        """The fingerprint of the code that a run depends on."""
        return self.code_sha256[self.study.device(run.device).framework]


def read(options: Options, config: Mapping[str, Any], repository: Path) -> Call:
    """The call with these options and this config, of the workflow in `repository`.

    Raises:
        InputError: no machine could carry out what the config asks for, or what it names is not there.
    """
    machine = _machine(options)
    framework = configuration.framework_for_auto(config)
    builds_for_gpus = machine.frameworks is None or machine.frameworks[framework] is not False
    gpu_found = bool(machine.cards) and machine.gpu_limit != 0 and builds_for_gpus
    study = configuration.study_of(config, None if options.submits else gpu_found)
    # Where the data files are: seen from the working folder or, where there is nothing, from the repository. Unlike
    # Path.exists, os.path's says no of what may not be looked at.
    here, there = (os.path.exists(folder / study.dataset_path) for folder in (Path(), repository))  # noqa: PTH110
    files = idx.find_files((repository if there and not here else Path()) / study.dataset_path)
    warnings: list[str] = []
    if options.is_main:
        limits.refuse_contradictions(study, study.runs(), idx.read_shape(files))
        is_auto = config["devices"] == configuration.AUTO
        of_gpus = limits.gpu_warning(study, machine, is_auto=is_auto)
        warnings += [] if of_gpus is None else [of_gpus]
        if is_auto and machine.cards and not gpu_found:
            warnings.append(
                "A GPU is found but not measured: --resources gpu=0 rules it out, or "
                f"{framework} is installed in its build for CPUs alone "
                f"({engines.how_to_install(framework, for_gpus=True)})."
            )
    return Call(
        repository=repository,
        options=options,
        config=config,
        study=study,
        dataset_files=files,
        dataset_files_sha256=fingerprint.of_files(files),
        code_sha256={
            device.framework: rooms.code_of_run(device.framework) for device in study.device_settings.values()
        },
        machine=machine,
        warnings=tuple(warnings),
    )


def _machine(options: Options) -> limits.Machine:
    """What this machine has, or nothing known where runs are submitted to others."""
    if options.submits:
        return limits.Machine(max_threads=options.max_threads, set_threads=options.sets_threads)
    return limits.Machine(
        max_threads=options.max_threads,
        set_threads=options.sets_threads,
        cores=given_cores(options, host.inventory().usable_threads),
        gpus=gpu_choice.look(gpu_cards.inventory(), os.environ),
        gpu_limit=options.gpus,
        frameworks=None if options.uses_conda else _installed_frameworks(),  # conda brings what runs need
        memory_mib=host.available_memory_mib(),
        disks=working_folder.disks(Path.cwd(), (limits.RUNS_FOLDER, limits.DATA_FOLDER, limits.RECORDS_FOLDER)),
    )


def _installed_frameworks() -> dict[str, bool | None]:
    return {name: engines.uses_gpus(name) for name in engines.ENGINES}


def given_cores(options: Options, usable: int) -> int | None:
    """The cores that runs get of the `usable` ones, None where that is not known."""
    if options.in_job:
        return usable  # --cores is what the call was given that submitted the job, and says nothing of this node
    # A dry run without --cores pretends to have one core: that says nothing about the run that follows.
    if options.cores is None or (options.is_dry_run and options.cores == 1):
        return None
    return min(options.cores, usable)


def left_out(devices: Sequence[Device], environment: Mapping[str, str]) -> str | None:
    """Which variables of the shell would change the speed of runs on these devices, which do not get them."""
    set_by_devices = {name for device in devices for name in device.environment}
    names = [name for name in clean_environment.left_out(environment) if name not in set_by_devices]
    if not names or not devices:
        return None
    return (
        f"Runs start in a clean environment, without {', '.join(names)}. To measure with a variable, give it to a "
        f"device: device_settings='{{{devices[0].entry}: {{environment: {{{names[0]}: ...}}}}}}' (config/README.md)."
    )
