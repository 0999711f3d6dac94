"""Export of a trained network to deployment formats."""
