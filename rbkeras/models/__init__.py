"""Layers, networks and the classifier that trains them."""
