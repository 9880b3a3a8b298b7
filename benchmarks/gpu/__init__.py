"""What a graphics card makes of all this: tests, parity, costs, training, commands; `python -m benchmarks.gpu`."""
