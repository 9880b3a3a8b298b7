"""What makes the parts that are committed: the speech, the shipped registry."""
