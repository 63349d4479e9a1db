"""A specification as PyTorch code: the only place that imports PyTorch."""
