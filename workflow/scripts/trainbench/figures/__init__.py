"""Tables drawn.

In: tables. Out: SVG and PNG. Computes no figure of its own.
"""
