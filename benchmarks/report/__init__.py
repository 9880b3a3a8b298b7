"""The page of everything measured."""
