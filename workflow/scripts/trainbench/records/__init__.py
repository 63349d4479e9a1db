"""What one run leaves behind: the metrics file and its schema, its findings, which of its epochs count as steady.

In: what was measured. Out: a file that is read as it was written. Must never know: how that was measured, or what
follows from it.
"""
