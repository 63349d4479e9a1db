"""trainbench: how fast machines train small neural networks."""

__version__ = "0.1.0"
