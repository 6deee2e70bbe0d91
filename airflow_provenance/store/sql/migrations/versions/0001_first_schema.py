"""The first schema.

Revision 0001.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_TABLES = (
    "counter",
    "dataset",
    "dataset_partition",
    "dataset_version",
    "edge",
    "event",
    "event_chunk",
    "job",
    "quarantine",
    "run",
    "run_doc",
    "run_input",
    "run_source",
    "run_wire",
    "spool_offset",
)


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "counter",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("value", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )
    op.create_table(
        "dataset",
        sa.Column(
            "id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=False,
            nullable=False,
        ),
        sa.Column("namespace", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("facets", sa.LargeBinary(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("name", "namespace", name="dataset_name"),
    )
    op.create_table(
        "dataset_partition",
        sa.Column("dataset_id", sa.BigInteger(), nullable=False),
        sa.Column("part", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("dataset_id", "part"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "dataset_version",
        sa.Column(
            "id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=False,
            nullable=False,
        ),
        sa.Column("dataset_id", sa.BigInteger(), nullable=False),
        sa.Column("part", sa.Text(), nullable=False),
        sa.Column("run_id", sa.BigInteger(), nullable=True),
        sa.Column("content_id", sa.Text(), nullable=True),
        sa.Column("status", sa.SmallInteger(), nullable=False),
        sa.Column("replaces", sa.SmallInteger(), nullable=False),
        sa.Column("ended_us", sa.BigInteger(), nullable=True),
        sa.Column("first_seen_us", sa.BigInteger(), nullable=True),
        sa.Column("verified", sa.SmallInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(
        "dataset_version_content",
        "dataset_version",
        ["dataset_id", "content_id", "status", "ended_us"],
        unique=False,
        sqlite_where=sa.text("content_id IS NOT NULL"),
        postgresql_where=sa.text("content_id IS NOT NULL"),
    )
    op.create_index(
        "dataset_version_newest",
        "dataset_version",
        ["dataset_id", "part", "status", "ended_us"],
        unique=False,
    )
    op.create_index(
        "dataset_version_run", "dataset_version", ["run_id", "dataset_id", "part"], unique=True
    )
    op.create_table(
        "edge",
        sa.Column("dst", sa.BigInteger(), nullable=False),
        sa.Column("src", sa.BigInteger(), nullable=False),
        sa.Column("via", sa.BigInteger(), nullable=False),
        sa.Column("rule", sa.SmallInteger(), nullable=False),
        sa.PrimaryKeyConstraint("dst", "src", "via"),
        sqlite_with_rowid=False,
    )
    op.create_index("edge_src", "edge", ["src", "dst"], unique=False)
    op.create_table(
        "event",
        sa.Column(
            "seq",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=False,
            nullable=False,
        ),
        sa.Column("event_id", sa.LargeBinary(length=16), nullable=False),
        sa.Column("event_us", sa.BigInteger(), nullable=False),
        sa.Column("received_us", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.SmallInteger(), nullable=False),
        sa.Column("event_type", sa.SmallInteger(), nullable=True),
        sa.Column("run_id", sa.BigInteger(), nullable=True),
        sa.Column("job_id", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("seq"),
        sa.UniqueConstraint("event_id"),
    )
    op.create_index("event_run", "event", ["run_id"], unique=False)
    op.create_table(
        "event_chunk",
        sa.Column(
            "first_seq",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=False,
            nullable=False,
        ),
        sa.Column("max_event_us", sa.BigInteger(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("first_seq"),
    )
    op.create_table(
        "job",
        sa.Column(
            "id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=False,
            nullable=False,
        ),
        sa.Column("namespace", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("facets", sa.LargeBinary(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("name", "namespace", name="job_name"),
    )
    op.create_table(
        "quarantine",
        sa.Column(
            "id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=False,
            nullable=False,
        ),
        sa.Column("digest", sa.LargeBinary(length=16), nullable=False),
        sa.Column("received_us", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("digest"),
    )
    op.create_table(
        "run",
        sa.Column(
            "id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=False,
            nullable=False,
        ),
        sa.Column("key", sa.LargeBinary(length=16), nullable=False),
        sa.Column("kind", sa.SmallInteger(), nullable=False),
        sa.Column("job_id", sa.BigInteger(), nullable=False),
        sa.Column("run_uuid", sa.Text(), nullable=True),
        sa.Column("dag_run", sa.Text(), nullable=True),
        sa.Column("task_id", sa.Text(), nullable=True),
        sa.Column("map_index", sa.Integer(), nullable=True),
        sa.Column("try_number", sa.Integer(), nullable=True),
        sa.Column("state", sa.SmallInteger(), nullable=False),
        sa.Column("execution_state", sa.SmallInteger(), nullable=False),
        sa.Column("started_us", sa.BigInteger(), nullable=True),
        sa.Column("ended_us", sa.BigInteger(), nullable=True),
        sa.Column("as_of_us", sa.BigInteger(), nullable=False),
        sa.Column("hostname", sa.Text(), nullable=True),
        sa.Column("override_state", sa.SmallInteger(), nullable=True),
        sa.Column("override_us", sa.BigInteger(), nullable=True),
        sa.Column("override_who", sa.Text(), nullable=True),
        sa.Column("is_final", sa.SmallInteger(), nullable=False),
        sa.Column("flow", sa.LargeBinary(length=16), nullable=True),
        sa.Column("upstream", sa.Text(), nullable=True),
        sa.Column("parent_key", sa.LargeBinary(length=16), nullable=True),
        sa.Column("absorbed_by", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("key"),
    )
    op.create_index(
        "run_flow", "run", ["flow"], unique=False, sqlite_where=sa.text("flow IS NOT NULL")
    )
    op.create_index("run_job", "run", ["job_id", "started_us"], unique=False)
    op.create_index(
        "run_parent",
        "run",
        ["parent_key"],
        unique=False,
        sqlite_where=sa.text("parent_key IS NOT NULL"),
        postgresql_where=sa.text("parent_key IS NOT NULL"),
    )
    op.create_index("run_started", "run", ["started_us"], unique=False)
    op.create_table(
        "run_doc",
        sa.Column(
            "run_id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=False,
            nullable=False,
        ),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("run_id"),
    )
    op.create_table(
        "run_input",
        sa.Column(
            "id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=False,
            nullable=False,
        ),
        sa.Column("run_id", sa.BigInteger(), nullable=False),
        sa.Column("dataset_id", sa.BigInteger(), nullable=False),
        sa.Column("part", sa.Text(), nullable=False),
        sa.Column("named", sa.Text(), nullable=True),
        sa.Column("verified", sa.SmallInteger(), nullable=False),
        sa.Column("as_of_us", sa.BigInteger(), nullable=False),
        sa.Column("consumed", sa.LargeBinary(), nullable=True),
        sa.Column("rule", sa.SmallInteger(), nullable=False),
        sa.Column("observed_id", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("run_input_dataset", "run_input", ["dataset_id", "as_of_us"], unique=False)
    op.create_index(
        "run_input_observed",
        "run_input",
        ["observed_id", "as_of_us"],
        unique=False,
        sqlite_where=sa.text("observed_id IS NOT NULL"),
        postgresql_where=sa.text("observed_id IS NOT NULL"),
    )
    op.create_index("run_input_run", "run_input", ["run_id", "dataset_id", "part"], unique=True)
    op.create_table(
        "run_source",
        sa.Column("flow", sa.LargeBinary(length=16), nullable=False),
        sa.Column("run_id", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("flow", "run_id"),
        sqlite_with_rowid=False,
    )
    op.create_index("run_source_run", "run_source", ["run_id"], unique=False)
    op.create_table(
        "run_wire",
        sa.Column("run_uuid", sa.LargeBinary(length=16), nullable=False),
        sa.Column("job_id", sa.BigInteger(), nullable=False),
        sa.Column("run_id", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("run_uuid", "job_id", "run_id"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "spool_offset",
        sa.Column("file", sa.Text(), nullable=False),
        sa.Column("reached", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("file"),
    )


def downgrade() -> None:
    """Drop the tables."""
    for table in _TABLES:
        op.drop_table(table)
