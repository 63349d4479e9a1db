"""Exceptions whose text is written for the user.

In: a sentence. Out: the end of a call or a run. Must never know: anything else.
"""


class InputError(Exception):
    """Something the user gave cannot be used.

    The text is one sentence that says what was found, what was expected, where, and what to do. Whoever catches it
    shows that sentence alone, never a traceback.
    """


class RunFailed(Exception):  # noqa: N818 - the name says what is the case
    """A run's process ended without a result: a bug, or somebody killed it. The text shows the end of its log."""
