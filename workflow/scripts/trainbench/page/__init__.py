"""Everything on one page that loads nothing.

In: tables and figures, and nothing else. Out: report.html. Must never know: how a number is computed, or what trains.
"""
