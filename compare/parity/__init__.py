"""Checks that the contenders compute the same values: their first epochs are recorded and compared step by step."""
