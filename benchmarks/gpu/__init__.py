"""What a graphics card makes of all this, from tests to kernels; `python -m benchmarks.gpu`."""
