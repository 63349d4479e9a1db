"""Tables drawn: figures of a whole study in `of_study`, a module each; of single runs in `timeline`.

In: tables. Out: SVG and PNG. Must never know: how a number is computed, or what trains.
"""
