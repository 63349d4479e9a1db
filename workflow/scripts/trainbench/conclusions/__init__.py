"""What follows from the cells: speedups, crossovers, costs, scaling, and the sentences that say so; a module a table.

In: the tables of results. Out: further tables and sentences, each with its interval. Must never know: what trains.
"""
