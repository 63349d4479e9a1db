"""Turns numbers and names into what people read: digits, lists, Markdown.

In: plain values. Out: text. Knows nothing of runs, tables or machines.
"""
