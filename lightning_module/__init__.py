"""The recipe's network in PyTorch Lightning: `python -m lightning_module fit --config simple`."""
