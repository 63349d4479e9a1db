"""The replicas but the first: each in a process of its own, which does what the first one does."""

import multiprocessing.connection
import os
import subprocess
import sys
import traceback
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Final

import torch

from trainbench.engines.shared.interface import Execution, OutOfMemory, Refused
from trainbench.engines.torch.devices import FRAMEWORK, device_of, set_up
from trainbench.engines.torch.replica import Replica
from trainbench.machine import lifetime

_FAILURE_SECONDS: Final = 10.0
"""How long to wait for another replica to say why it failed, when a replica's own step has failed."""


class Followers:
    """The other replicas' processes, which do what the first replica does."""

    def __init__(self, execution: Execution) -> None:
        store = torch.distributed.TCPStore(
            "127.0.0.1", 0, world_size=execution.replicas, is_master=True, wait_for_workers=False
        )
        self._processes: dict[Any, subprocess.Popen[bytes]] = {}
        """By our end of the pipe to each, in the replicas' order."""
        for rank in range(1, execution.replicas):
            ours, theirs = multiprocessing.connection.Pipe()
            self._processes[ours] = subprocess.Popen(
                [sys.executable, "-m", __name__, *map(str, (os.getpid(), theirs.fileno(), rank, store.port))],
                env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
            )
            theirs.close()
            ours.send(execution)
        self.answers()
        _join(execution, 0, store)

    def order(self, name: str, arguments: tuple[Any, ...]) -> None:
        """Have each of them carry out a method of its replica."""
        for pipe in self._processes:
            # One that has ended is noticed when answers are asked for.
            with suppress(BrokenPipeError):
                pipe.send((name, arguments))

    def answers(self) -> list[Any]:
        """What each of them answers, in their order; whatever stops one of them is raised as soon as it says so."""
        found: dict[Any, Any] = {}
        while waiting := [pipe for pipe in self._processes if pipe not in found]:
            found |= {pipe: self._answer(pipe) for pipe in multiprocessing.connection.wait(waiting)}
        return [found[pipe] for pipe in self._processes]

    def raise_failure(self) -> None:
        """Raise what stopped one of them, if one says so soon."""
        for pipe in multiprocessing.connection.wait(self._processes, _FAILURE_SECONDS):
            self._answer(pipe)

    def _answer(self, pipe: Any) -> Any:
        try:
            answer = pipe.recv()
        except (EOFError, ConnectionResetError):
            rank, code = list(self._processes).index(pipe) + 1, self._processes[pipe].wait()
            raise RuntimeError(f"the process of replica {rank} ended with exit code {code}") from None
        if isinstance(answer, Exception):
            raise answer
        return answer


def _join(execution: Execution, rank: int, store: Any) -> None:
    """Become one of the processes that add up their gradients."""
    # All are on this machine: names of hosts, and other networks, take no part.
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    if torch.distributed.is_initialized():
        # PyTorch has one such group a process; an earlier engine's is not wanted any more.
        torch.distributed.destroy_process_group()
    torch.distributed.init_process_group(
        "gloo" if execution.kind == "cpu" else "nccl",
        store=store,
        rank=rank,
        world_size=execution.replicas,
        device_id=None if execution.kind == "cpu" else device_of(execution, rank),
    )


def follow(arguments: Sequence[str]) -> None:
    """Be another replica: carry out what comes through the pipe until it is closed."""
    parent_pid, descriptor, rank, port = (int(argument) for argument in arguments)
    lifetime.end_with(parent_pid)
    pipe = multiprocessing.connection.Connection(descriptor)
    try:
        execution = pipe.recv()
        set_up(execution, rank, parts=1)
        pipe.send(None)
        store = torch.distributed.TCPStore("127.0.0.1", port, world_size=execution.replicas, is_master=False)
        _join(execution, rank, store)
        replica = Replica(execution, rank, parts=1)
        while True:
            order = pipe.recv()
            with FRAMEWORK.naming_out_of_memory():
                pipe.send(replica.carry_out(*order))
    except EOFError:
        return
    except (OutOfMemory, Refused) as error:
        pipe.send(error)
    except Exception:
        # Where nobody listens any more, the first replica has failed and said why.
        with suppress(BrokenPipeError):
            pipe.send(RuntimeError(f"replica {rank} failed: {traceback.format_exc()}"))


if __name__ == "__main__":
    follow(sys.argv[1:])
    # All is said: taking the framework apart would only wait for the others.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)
