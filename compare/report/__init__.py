"""Reports of the results: in the terminal, as PNG figures, and as an HTML page."""
