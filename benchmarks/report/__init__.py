"""Pages out of plans and results: RESULTS.md, and the table in the README."""
