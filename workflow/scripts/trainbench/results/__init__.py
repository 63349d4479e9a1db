"""Metrics files, found and read, become the tables of runs, epochs, checks and cells.

In: results folders. Out: tables, a row a run or a cell. Must never know: what trains.
"""
