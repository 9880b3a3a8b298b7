"""Measurements behind the figures in RESULTS.md; each writes one JSON under results/."""
