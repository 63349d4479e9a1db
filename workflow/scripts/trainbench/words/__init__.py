"""Turns numbers and names into what people read: digits, lists, Markdown.

In: plain values. Out: text. Must never know: runs, tables or machines.
"""
