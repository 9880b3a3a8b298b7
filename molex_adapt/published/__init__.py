"""Detectors that others published: recognised, and taken apart into a frozen encoder and a head as they were."""

from molex_adapt.published.card import Card, read_card
from molex_adapt.published.detector import PublishedDetector
from molex_adapt.published.open import onnx_refused, open_published

__all__ = ["Card", "PublishedDetector", "onnx_refused", "open_published", "read_card"]
