"""Connections of Airflow that this provider knows: where a feed delivers to.

`backend` is told to Airflow by `get_provider_info`, form included, so that Airflow shows the form
without loading it. `wiring` reads the connection for a feed with ``conn_id``.
"""
