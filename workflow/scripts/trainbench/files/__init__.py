"""Reads, writes and recognises files: whole or not at all, no larger than allowed, by fingerprint, on a full disk.

In: paths and bytes. Out: contents, or what is wrong with them. Must never know: what the files mean.
"""
