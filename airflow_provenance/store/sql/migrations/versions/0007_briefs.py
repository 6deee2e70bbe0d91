"""Beside each run the little of its document that most promises go by.

Revision 0007. Runs that are there already have none: who asks reads their documents, as before, so
that a large store is brought up to date at once, and none is older than promises look back.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column."""
    op.add_column("run", sa.Column("brief", sa.LargeBinary(), nullable=True))


def downgrade() -> None:
    """Drop it."""
    op.drop_column("run", "brief")
