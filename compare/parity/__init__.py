"""Checks that the contenders compute the same: their first epochs are recorded and compared step by step."""
