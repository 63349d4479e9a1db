"""The products and additions in PyTorch by which a device's ceilings are found."""

from collections.abc import Callable
from typing import Any

import torch

from trainbench.engines.torch.team import Team


class Probes:
    """`engines.shared.ceilings.Probes` on one device, shared among threads like the steps are."""

    def __init__(self, device: Any, compute_type: Any, team: Team, wait_for_device: Callable[[], None]) -> None:
        self._device = device
        self._type = compute_type
        self._team = team
        self._wait = wait_for_device

    def product(self, size: int) -> Callable[[], None]:
        """Random matrices: a GPU draws less power, and clocks higher, for constant ones."""
        generator = torch.Generator(self._device).manual_seed(size)
        left, right = (
            torch.rand((size, size), generator=generator, device=self._device).mul_(2).sub_(1).to(self._type)
            for _ in ("left", "right")
        )
        lefts = left.tensor_split(self._team.members)
        products = [torch.empty_like(rows) for rows in lefts]

        def multiply() -> None:
            self._team.run(lambda number, _: torch.mm(lefts[number], right, out=products[number]))
            self._wait()

        return multiply

    def addition(self, values: int) -> Callable[[int], None]:
        """Starting an addition takes microseconds, the smallest one that a device is measured by many times that."""
        sources = torch.ones(values, device=self._device).tensor_split(self._team.members)
        targets = [torch.ones_like(source) for source in sources]

        def add(times: int) -> None:
            def member(number: int, _: Callable[[], object]) -> None:
                for _time in range(times):
                    targets[number].add_(sources[number])

            self._team.run(member)
            self._wait()

        return add
