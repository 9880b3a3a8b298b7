"""Measurements: a plan says what, a results file holds what was found, one report shows it.

python -m benchmarks cost            measure what plans/cost.yaml asks for and results/cost.json lacks
python -m benchmarks.report          write RESULTS.md and the README's table from results/*.json
python -m benchmarks.report --check  fail where a page shows what is not true of the present recipe
"""
