"""One run: a fresh training process, watched from outside, becomes one metrics file.

In: the settings of one run, as JSON, and its data. Out: its metrics file, samples and log. Must never know: the study
around it, or other runs.
"""
