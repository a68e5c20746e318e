"""Paired measurements of Dunwell on real Kafka and Postgres; `python -m bench --help` explains."""
