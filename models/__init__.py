"""Offline half: the demo domain, training, evaluation and export."""
