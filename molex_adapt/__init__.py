"""molex-adapt: keep an audio-deepfake detector current with a mixture of LoRA experts."""

__version__ = "0.1.0"
