"""Proof that the contenders compute the same: recordings of their first epoch, compared step by step."""
