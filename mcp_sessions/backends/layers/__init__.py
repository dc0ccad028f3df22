"""Layers: backends that add something to other backends, whatever systems those belong to."""
