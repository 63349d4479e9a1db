"""What is concluded, a module a table, found by its name: `costs` makes costs.csv.

A module has `COLUMNS`, the table's columns and their types, and a function, `costs_table`, whose arguments are called
like other tables or like fields of the `Question`.

In: tables. Out: one more. Must never know: text or files.
"""
