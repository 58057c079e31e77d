"""Exported models: writing them with TensorFlow, checking them, and running them without it."""
