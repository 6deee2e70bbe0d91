"""A person's way: a real browser at a real Airflow."""
