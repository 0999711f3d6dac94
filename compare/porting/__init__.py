"""Compares two models of PyTorch or Keras: their layers, weights, outputs, gradients and optimizer steps.

`python -m compare diff` is the command, `compare.diff` the function. Each model
is built and run in a process of its own (`worker`), behind one interface
(`side`). Names, shapes and arrays reach this package in PyTorch's layout,
whatever the framework; the `adapters` convert them.
"""
