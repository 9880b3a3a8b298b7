"""Pretraining of the small embedded base, so that everything can be shown without a download."""
