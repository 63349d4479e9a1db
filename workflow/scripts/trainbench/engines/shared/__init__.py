"""What engines of all frameworks share, and what a run asks of one.

In: a specification and images. Out: an interface, proofs and ceilings. Must never know: a framework.
"""
