"""The store in SQLite or PostgreSQL, both through SQLAlchemy.

``tables`` is the schema, ``migrations`` how a store gets there, ``engine`` how it is opened,
``bulk`` what the two databases do differently, ``ledger`` and ``reader`` the two sides of `store`.
"""
