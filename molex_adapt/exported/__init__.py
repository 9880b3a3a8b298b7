"""A detector as one file: written with torch, scored without it."""
