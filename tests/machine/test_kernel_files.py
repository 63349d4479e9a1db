"""The kernel's own formats are read."""

import pytest

from trainbench.machine import kernel_files


@pytest.mark.parametrize(("listed", "numbers"), [("0-3,8", (0, 1, 2, 3, 8)), ("5", (5,)), ("", ()), (None, ())])
def test_the_kernels_list_format_is_expanded(listed, numbers):
    assert kernel_files.cpu_list(listed) == numbers
