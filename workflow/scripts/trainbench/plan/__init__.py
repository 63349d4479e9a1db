"""The config becomes a study: its runs, their settings, and what this machine cannot carry.

In: the merged config. Out: runs, or one sentence on what is wrong. Must never know: results.
"""
