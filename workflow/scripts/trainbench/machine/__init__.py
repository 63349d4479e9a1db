"""The machine: its hardware, limits and cards, the locks that share them out, and processes that end together.

In: /proc, /sys, NVML. Out: facts and leases. Must never know: studies, runs or frameworks.
"""
