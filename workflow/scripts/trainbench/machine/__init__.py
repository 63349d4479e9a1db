"""The machine: its hardware, limits and cards, the locks that share them out, and processes that end together.

In: /proc, /sys, NVML. Out: facts and leases. Knows nothing of studies, runs or frameworks.
"""
