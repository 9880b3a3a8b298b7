"""Wide-band embedded base: its speech, own neural vocoders that forge it, and the training of the base."""
