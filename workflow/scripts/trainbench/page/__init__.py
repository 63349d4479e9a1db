"""Everything on one page that loads nothing.

In: tables and figures, and nothing else. Out: report.html. Computes nothing.
"""
