"""A Slurm of one's own on this machine: four pretend nodes on the loopback device, in a temporary folder.

Its configuration is nowhere but in that folder, every port is a free one, and its daemons are ended by the pid files
that they leave there. It needs root, because slurmd starts jobs as their users.
"""

import getpass
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil

PROGRAMS: Final = ("munged", "slurmctld", "slurmd", "sbatch", "srun")
DATABASE_PROGRAMS: Final = ("slurmdbd", "sacctmgr", "mariadbd", "mariadb-install-db", "mariadb-admin", "mariadb")
NODES: Final = ("cpu1", "cpu2", "gpu1", "gpu2")
CLUSTER: Final = "trainbench"
ACCOUNT: Final = "measuring"
CARD: Final = "titanx"
CORES_PER_NODE: Final = 2
_WAIT_SECONDS: Final = 30.0

SLURM_CONF = """
ClusterName=trainbench
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[slurmctld]}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket={folder}/run/munge.socket
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
MpiDefault=none
MailProg=/bin/true
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/linux
SchedulerParameters=bf_interval=1,sched_interval=1,batch_sched_delay=0,sched_min_interval=0
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
GresTypes=gpu
ReturnToService=2
KillWait=2
MinJobAge=300
SlurmdParameters=config_overrides
StateSaveLocation={folder}/state/ctld
SlurmdSpoolDir={folder}/state/%n
SlurmctldPidFile={folder}/run/slurmctld.pid
SlurmdPidFile={folder}/run/slurmd-%n.pid
SlurmctldLogFile={folder}/log/slurmctld.log
SlurmdLogFile={folder}/log/slurmd-%n.log
{accounting}
NodeName=DEFAULT CPUs={cores} RealMemory=64000
NodeName=cpu[1-2] NodeHostname={host} NodeAddr=127.0.0.1 Port=[{ports[cpu1]},{ports[cpu2]}]
NodeName=gpu[1-2] NodeHostname={host} NodeAddr=127.0.0.1 Port=[{ports[gpu1]},{ports[gpu2]}] Gres=gpu:{card}:2
PartitionName=cpu Nodes=cpu[1-2] Default=YES MaxTime=600 State=UP
PartitionName=gpu Nodes=gpu[1-2] MaxTime=600 State=UP
"""

ACCOUNTING = """
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=127.0.0.1
AccountingStoragePort={ports[slurmdbd]}
AccountingStoragePass={folder}/run/munge.socket
AccountingStorageTRES=gres/gpu
AccountingStoreFlags=job_comment
AccountingStorageEnforce=associations
"""

SLURMDBD_CONF = """
AuthType=auth/munge
AuthInfo=socket={folder}/run/munge.socket
DbdHost={host}
DbdAddr=127.0.0.1
DbdPort={ports[slurmdbd]}
CommunicationParameters=NoInAddrAny
SlurmUser=root
StorageType=accounting_storage/mysql
StorageHost=127.0.0.1
StoragePort={ports[mariadb]}
StorageUser=slurm
StoragePass=slurm
StorageLoc=slurm_acct_db
LogFile={folder}/log/slurmdbd.log
PidFile={folder}/run/slurmdbd.pid
"""

GRES_CONF = """
AutoDetect=off
NodeName=gpu1 Name=gpu Type={card} File=/dev/null
NodeName=gpu1 Name=gpu Type={card} File=/dev/full
NodeName=gpu2 Name=gpu Type={card} File=/dev/zero
NodeName=gpu2 Name=gpu Type={card} File=/dev/random
"""
"""Any device file passes for a card, as long as nothing computes on it."""


def missing(with_accounting: bool) -> str | None:
    """Why no Slurm can be started here, or None."""
    programs = [*PROGRAMS, *(DATABASE_PROGRAMS if with_accounting else ())]
    absent = [name for name in programs if shutil.which(name) is None]
    if absent:
        return f"Slurm is not installed here: {', '.join(absent)} not found"
    return None if os.geteuid() == 0 else "a Slurm of one's own needs root"


class CommandError(Exception):
    """A Slurm command failed."""


@dataclass(frozen=True)
class Job:
    """One job as squeue lists it."""

    number: str
    comment: str
    partition: str
    node: str
    cores: int
    state: str
    alone: bool
    time_limit: str
    allocated: str


@dataclass(frozen=True)
class PrivateSlurm:
    """A running Slurm."""

    folder: Path

    @property
    def environment(self) -> dict[str, str]:
        """What a command needs to reach this Slurm.

        The executor plugin takes SLURM_CONF from the srun inside a job, so a srun that knows the file comes first.
        """
        path = f"{self.folder / 'bin'}{os.pathsep}{os.environ['PATH']}"
        return {"SLURM_CONF": str(self.folder / "etc/slurm.conf"), "PATH": path}

    def run(self, *command: str) -> str:
        """What a Slurm command prints."""
        environment = {**os.environ, **self.environment}
        done = subprocess.run(
            command,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=20,
            check=False,
        )
        if done.returncode != 0:
            raise CommandError(f"{' '.join(command)} ended with {done.returncode}: {done.stdout}")
        return done.stdout

    def jobs(self) -> list[Job]:
        """All jobs, also those that ended."""
        columns = ("JobID", "Comment", "Partition", "NodeList", "NumCPUs", "State", "OverSubscribe", "TimeLimit")
        fields = ",".join(f"{name}:|" for name in (*columns, "tres-alloc"))
        listed = self.run("squeue", "--states=all", "--noheader", f"--Format={fields}").splitlines()
        return [
            Job(number, comment, partition, node, int(cores), state, shared in ("NO", "EXC"), time_limit, allocated)
            for number, comment, partition, node, cores, state, shared, time_limit, allocated, _ in (
                line.split("|") for line in listed
            )
        ]


@contextmanager
def running(folder: Path, with_accounting: bool) -> Iterator[PrivateSlurm]:
    """A Slurm in `folder`, with or without a database of its jobs, until the block is left."""
    slurm = PrivateSlurm(folder)
    ports = _free_ports("slurmctld", "cpu1", "cpu2", "gpu1", "gpu2", "slurmdbd", "mariadb")
    _configure(folder, ports, with_accounting)
    try:
        _start_munge(slurm)
        if with_accounting:
            _start_accounting(slurm, ports["mariadb"])
        _start_slurm(slurm)
        yield slurm
    finally:
        _stop(slurm)


def _configure(folder: Path, ports: Mapping[str, int], with_accounting: bool) -> None:
    for name in ("etc", "run", "log", "bin", "state/ctld", *(f"state/{node}" for node in NODES)):
        (folder / name).mkdir(parents=True)
    folder.chmod(0o755)  # munge wants its socket to be within everybody's reach
    host = socket.gethostname().partition(".")[0]
    values = {"folder": folder, "host": host, "ports": ports, "cores": CORES_PER_NODE, "card": CARD}
    accounting = ACCOUNTING.format(**values) if with_accounting else "AccountingStorageType=accounting_storage/none"
    _write(folder / "etc/slurm.conf", SLURM_CONF.format(**values, accounting=accounting))
    _write(folder / "etc/slurmdbd.conf", SLURMDBD_CONF.format(**values), mode=0o600)
    _write(folder / "etc/gres.conf", GRES_CONF.format(**values))
    _write(folder / "etc/munge.key", os.urandom(64).hex(), mode=0o600)
    srun = f'#!/bin/sh\nSLURM_CONF={folder}/etc/slurm.conf exec {shutil.which("srun")} "$@"\n'
    _write(folder / "bin/srun", srun, mode=0o755)


def _write(file: Path, text: str, mode: int = 0o644) -> None:
    file.write_text(text, encoding="utf-8")
    file.chmod(mode)


def _free_ports(*names: str) -> dict[str, int]:
    with ExitStack() as stack:
        sockets = {name: stack.enter_context(socket.socket()) for name in names}
        for each in sockets.values():
            each.bind(("127.0.0.1", 0))
        return {name: each.getsockname()[1] for name, each in sockets.items()}


def _start_munge(slurm: PrivateSlurm) -> None:
    run = slurm.folder / "run"
    slurm.run(
        "munged",
        f"--key-file={slurm.folder}/etc/munge.key",
        f"--socket={run}/munge.socket",
        f"--pid-file={run}/munged.pid",
        f"--log-file={slurm.folder}/log/munged.log",
        f"--seed-file={run}/munge.seed",
    )


def _start_accounting(slurm: PrivateSlurm, port: int) -> None:
    folder = slurm.folder
    as_root = ["--no-defaults", "--user=root", f"--datadir={folder}/database"]
    slurm.run("mariadb-install-db", *as_root, "--auth-root-authentication-method=socket", "--skip-test-db")
    with (folder / "log/mariadbd.log").open("w") as log:
        subprocess.Popen(
            [
                *["mariadbd", *as_root, f"--socket={folder}/run/mariadb.sock", f"--pid-file={folder}/run/mariadbd.pid"],
                *["--bind-address=127.0.0.1", f"--port={port}", "--innodb-buffer-pool-size=64M"],
                *["--innodb-log-file-size=64M", "--innodb-lock-wait-timeout=900"],
            ],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    client = ["--no-defaults", f"--socket={folder}/run/mariadb.sock"]
    _wait("the database answers", lambda: slurm.run("mariadb-admin", *client, "ping") != "", slurm)
    slurm.run(
        *["mariadb", *client, "--execute"],
        "create database slurm_acct_db; create user slurm@127.0.0.1 identified by 'slurm'; "
        "grant all on slurm_acct_db.* to slurm@127.0.0.1;",
    )
    slurm.run("slurmdbd")
    _wait("slurmdbd answers", lambda: slurm.run("sacctmgr", "-n", "show", "cluster") is not None, slurm)
    slurm.run("sacctmgr", "-i", "-Q", "add", "cluster", CLUSTER)
    slurm.run("sacctmgr", "-i", "-Q", "add", "account", ACCOUNT, f"cluster={CLUSTER}")
    slurm.run("sacctmgr", "-i", "-Q", "add", "user", getpass.getuser(), f"account={ACCOUNT}")


def _start_slurm(slurm: PrivateSlurm) -> None:
    slurm.run("slurmctld", "-c")
    _wait("slurmctld answers", lambda: "is UP" in slurm.run("scontrol", "ping"), slurm)
    for node in NODES:
        slurm.run("slurmd", "-N", node)
    _wait("all nodes are idle", lambda: set(slurm.run("sinfo", "-h", "-N", "-o", "%T").split()) == {"idle"}, slurm)


def _wait(what: str, is_so: Callable[[], bool], slurm: PrivateSlurm) -> None:
    until = time.monotonic() + _WAIT_SECONDS
    while time.monotonic() < until:
        with suppress(CommandError, subprocess.TimeoutExpired):
            if is_so():
                return
        time.sleep(0.1)
    logs = "\n".join(f"{log.name}: {log.read_text()[-2000:]}" for log in sorted(slurm.folder.glob("log/*.log")))
    raise TimeoutError(f"not within {_WAIT_SECONDS:.0f} s: {what}\n{logs}")


def _stop(slurm: PrivateSlurm) -> None:
    """End all jobs, then every daemon that left a pid file, munge last: the others sign with it."""
    with suppress(CommandError, subprocess.TimeoutExpired):
        slurm.run("scancel", "--partition=cpu,gpu")
        _wait("all jobs have ended", lambda: not slurm.run("squeue", "--noheader"), slurm)
    for pattern in ("slurmd-*.pid", "slurmctld.pid", "slurmdbd.pid", "mariadbd.pid", "munged.pid"):
        _end([int(file.read_text()) for file in slurm.folder.glob(f"run/{pattern}")])


def _end(process_ids: Sequence[int]) -> None:
    processes = [psutil.Process(process_id) for process_id in process_ids if psutil.pid_exists(process_id)]
    for process in processes:
        process.terminate()
    _, alive = psutil.wait_procs(processes, timeout=_WAIT_SECONDS)
    for process in alive:
        process.kill()
