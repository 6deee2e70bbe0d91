"""Promises in force, how they stood, and what was expected of DAGs.

Revision 0005.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the tables and indexes."""
    op.create_table(
        "policy",
        sa.Column("policy_id", sa.Text(), nullable=False),
        sa.Column("revision", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("place", sa.Text(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("since_us", sa.BigInteger(), nullable=False),
        sa.Column("next_us", sa.BigInteger(), nullable=True),
        sa.Column("active", sa.SmallInteger(), nullable=False),
        sa.PrimaryKeyConstraint("policy_id", "revision"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "evaluation_change",
        sa.Column(
            "seq",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=False,
            nullable=False,
        ),
        sa.Column("at_us", sa.BigInteger(), nullable=False),
        sa.Column("policy_id", sa.Text(), nullable=False),
        sa.Column("revision", sa.Text(), nullable=False),
        sa.Column("period", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("severity", sa.Text(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=True),
        sa.Column("notify", sa.Text(), nullable=False),
        sa.Column("observed", sa.Double(), nullable=True),
        sa.Column("threshold", sa.Double(), nullable=True),
        sa.Column("unit", sa.Text(), nullable=False),
        sa.Column("due_us", sa.BigInteger(), nullable=True),
        sa.Column("breached_us", sa.BigInteger(), nullable=True),
        sa.Column("detected_us", sa.BigInteger(), nullable=True),
        sa.Column("recovered_us", sa.BigInteger(), nullable=True),
        sa.Column("runs", sa.Text(), nullable=False),
        sa.Column("cause", sa.Text(), nullable=True),
        sa.Column("target", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("seq"),
    )
    op.create_index(
        "evaluation_change_period",
        "evaluation_change",
        ["policy_id", "revision", "period", "seq"],
        unique=True,
    )
    op.create_index("evaluation_change_at", "evaluation_change", ["at_us"])
    op.create_table(
        "expected_run",
        sa.Column("dag_id", sa.Text(), nullable=False),
        sa.Column("due_us", sa.BigInteger(), nullable=False),
        sa.Column("logical_us", sa.BigInteger(), nullable=True),
        sa.Column("came_us", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("dag_id", "due_us"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "dag_condition",
        sa.Column("dag_id", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("from_us", sa.BigInteger(), nullable=False),
        sa.Column("until_us", sa.BigInteger(), nullable=True),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("dag_id", "kind", "from_us"),
        sqlite_with_rowid=False,
    )


def downgrade() -> None:
    """Drop them."""
    for table in ("dag_condition", "expected_run", "evaluation_change", "policy"):
        op.drop_table(table)
