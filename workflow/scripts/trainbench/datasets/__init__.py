"""Four IDX files become one prepared data set.

In: a folder. Out: arrays with their checksum. Must never know: networks, devices or Snakemake.
"""
