"""What is trained: networks, their parameters and precisions, in words that every framework understands.

In: names and sizes. Out: specifications. Must never know: a framework.
"""
