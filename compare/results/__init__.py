"""results.json: its schema, how it is put together from the jobs' answers, and what is computed from it."""
