"""Four IDX files become one prepared data set.

In: a folder. Out: arrays with their checksum. Knows nothing of networks, devices or Snakemake.
"""
