"""What only the workflow needs: scripts that end with one sentence, what is there by now, what a killed call left.

In: a study and what lies in its folder. Out: what Snakemake is told. Rules import this room at every parse, so it
imports nothing that takes time.
"""
