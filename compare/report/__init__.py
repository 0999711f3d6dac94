"""The results told: in the terminal, as a picture, as a page, and as the README's table."""
