"""What a study says on the terminal: what is to come, how far it is, how it ended.

In: the study and Snakemake's events. Out: lines. Must never know: how to alter anything.
"""
