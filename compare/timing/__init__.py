"""Measurement of training time, latency and memory, in a contender's process."""
