"""results.json: its schema, its collection from the jobs' answers, and what is computed from it."""
