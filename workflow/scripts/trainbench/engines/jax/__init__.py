"""A specification as JAX code: the only place that imports JAX."""
