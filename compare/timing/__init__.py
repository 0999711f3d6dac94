"""Measurement of training time, latency and memory. These modules run in a contender's process."""
