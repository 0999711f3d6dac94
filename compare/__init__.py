"""Run the recipe's network in every framework, prove that they agree, and measure where they differ.

Importing this imports no framework: each contender lives in a process of its own.
"""
