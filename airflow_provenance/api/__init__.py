"""HTTP: OpenLineage events in, answers out; mounted in Airflow's API server, or served alone.

``app`` builds the application, and is the one place where errors become statuses. ``security`` says
what must be known of who asks; ``tokens`` and ``airflow_users`` find it out. ``visible`` is the
store as one viewer may see it: every answer is made from it by the same functions as the command
line's, so a route cannot forget to filter. ``body`` reads what is sent, within its limits.

Nothing here is imported by a task's process, and importing it opens nothing.
"""
