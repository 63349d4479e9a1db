"""A specification as TensorFlow code: the only place that imports TensorFlow."""
