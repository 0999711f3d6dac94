"""Export of a trained network to the formats of deployment, each checked in a fresh process."""
