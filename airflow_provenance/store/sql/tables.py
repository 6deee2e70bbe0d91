"""The schema. Times are UTC microseconds; runs and dataset versions share one space of ids.

============  =====================================================================================
``event``     the log: one row per event or note; ``event_chunk`` holds their bytes, many in one
``run``       the facts of a run; ``run_doc`` the document they are derived from
``run_wire``  the runIds under which a run was seen; two runs can share one
``run_source``  the DAG runs whose asset events a run consumed
``dataset_version``  what runs wrote, and what they read of datasets nobody here wrote
``dependency_set``  lists of what was installed, each once; documents have their hashes
``run_input``  what runs read, before and after it is linked
``edge``      the lineage graph along the data, indexed both ways
``feed``      how far each feed is; ``dead_letter`` what its backend refused
``policy``    promises in force; ``evaluation_change`` how they stood, never changed again
``expected_run``  runs that a schedule asks for; ``dag_condition`` what held DAGs back
``alert``     what is broken now; ``incident`` what was told of it; ``notice`` the outbox of that
``alert_action``  what people said of alerts: acknowledged, silenced, excused
============  =====================================================================================

``part`` is a partition: empty for the whole dataset, else ``=`` and the partition's key. So it is
never NULL and fits into unique indexes alike in both databases.
"""

from __future__ import annotations

import sqlalchemy as sa

metadata = sa.MetaData()

_Id = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_Digest = sa.LargeBinary(16)

counter = sa.Table(
    "counter",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("value", sa.BigInteger, nullable=False),
)

event = sa.Table(
    "event",
    metadata,
    sa.Column("seq", _Id, primary_key=True, autoincrement=False),
    sa.Column("event_id", _Digest, nullable=False, unique=True),
    sa.Column("event_us", sa.BigInteger, nullable=False),
    sa.Column("received_us", sa.BigInteger, nullable=False),
    sa.Column("kind", sa.SmallInteger, nullable=False),
    sa.Column("event_type", sa.SmallInteger),
    sa.Column("run_id", sa.BigInteger),
    sa.Column("job_id", sa.BigInteger),
    sa.Index("event_run", "run_id"),
)

event_chunk = sa.Table(
    "event_chunk",
    metadata,
    sa.Column("first_seq", _Id, primary_key=True, autoincrement=False),
    sa.Column("max_event_us", sa.BigInteger, nullable=False),
    sa.Column("body", sa.LargeBinary, nullable=False),
)

job = sa.Table(
    "job",
    metadata,
    sa.Column("id", _Id, primary_key=True, autoincrement=False),
    sa.Column("namespace", sa.Text, nullable=False),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("facets", sa.LargeBinary),
    sa.UniqueConstraint("name", "namespace", name="job_name"),
)

dataset = sa.Table(
    "dataset",
    metadata,
    sa.Column("id", _Id, primary_key=True, autoincrement=False),
    sa.Column("namespace", sa.Text, nullable=False),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("facets", sa.LargeBinary),
    sa.UniqueConstraint("name", "namespace", name="dataset_name"),
)

run = sa.Table(
    "run",
    metadata,
    sa.Column("id", _Id, primary_key=True, autoincrement=False),
    sa.Column("key", _Digest, nullable=False, unique=True),
    sa.Column("kind", sa.SmallInteger, nullable=False),
    sa.Column("job_id", sa.BigInteger, nullable=False),
    sa.Column("run_uuid", sa.Text),
    sa.Column("dag_run", sa.Text),
    sa.Column("task_id", sa.Text),
    sa.Column("map_index", sa.Integer),
    sa.Column("try_number", sa.Integer),
    sa.Column("state", sa.SmallInteger, nullable=False),
    sa.Column("execution_state", sa.SmallInteger, nullable=False),
    sa.Column("started_us", sa.BigInteger),
    sa.Column("ended_us", sa.BigInteger),
    sa.Column("as_of_us", sa.BigInteger, nullable=False),
    sa.Column("hostname", sa.Text),
    sa.Column("override_state", sa.SmallInteger),
    sa.Column("override_us", sa.BigInteger),
    sa.Column("override_who", sa.Text),
    sa.Column("is_final", sa.SmallInteger, nullable=False),
    sa.Column("flow", _Digest),
    sa.Column("upstream", sa.Text),
    sa.Column("parent_key", _Digest),
    sa.Column("absorbed_by", sa.BigInteger),
    # See `formats.brief`; NULL where a release wrote the run that knew of none.
    sa.Column("brief", sa.LargeBinary),
    sa.Index(
        "run_flow",
        "flow",
        sqlite_where=sa.text("flow IS NOT NULL"),
        postgresql_where=sa.text("flow IS NOT NULL"),
    ),
    sa.Index(
        "run_parent",
        "parent_key",
        sqlite_where=sa.text("parent_key IS NOT NULL"),
        postgresql_where=sa.text("parent_key IS NOT NULL"),
    ),
    sa.Index(
        "run_absorbed",
        "absorbed_by",
        sqlite_where=sa.text("absorbed_by IS NOT NULL"),
        postgresql_where=sa.text("absorbed_by IS NOT NULL"),
    ),
    sa.Index("run_job", "job_id", "started_us"),
    sa.Index("run_started", "started_us"),
)

run_doc = sa.Table(
    "run_doc",
    metadata,
    sa.Column("run_id", _Id, primary_key=True, autoincrement=False),
    sa.Column("body", sa.LargeBinary, nullable=False),
)

dependency_set = sa.Table(
    "dependency_set",
    metadata,
    sa.Column("hash", sa.LargeBinary(32), primary_key=True),
    sa.Column("body", sa.LargeBinary, nullable=False),
)

run_wire = sa.Table(
    "run_wire",
    metadata,
    sa.Column("run_uuid", _Digest, primary_key=True),
    sa.Column("job_id", sa.BigInteger, primary_key=True),
    sa.Column("run_id", sa.BigInteger, primary_key=True),
    sqlite_with_rowid=False,
)

run_source = sa.Table(
    "run_source",
    metadata,
    sa.Column("flow", _Digest, primary_key=True),
    sa.Column("run_id", sa.BigInteger, primary_key=True),
    sa.Index("run_source_run", "run_id"),
    sqlite_with_rowid=False,
)

dataset_version = sa.Table(
    "dataset_version",
    metadata,
    sa.Column("id", _Id, primary_key=True, autoincrement=False),
    sa.Column("dataset_id", sa.BigInteger, nullable=False),
    sa.Column("part", sa.Text, nullable=False),
    sa.Column("run_id", sa.BigInteger),
    sa.Column("content_id", sa.Text),
    sa.Column("status", sa.SmallInteger, nullable=False),
    sa.Column("replaces", sa.SmallInteger, nullable=False),
    sa.Column("ended_us", sa.BigInteger),
    sa.Column("first_seen_us", sa.BigInteger),
    sa.Column("verified", sa.SmallInteger),
    sa.Index("dataset_version_run", "run_id", "dataset_id", "part", unique=True),
    sa.Index("dataset_version_newest", "dataset_id", "part", "status", "ended_us"),
    sa.Index(
        "dataset_version_content",
        "dataset_id",
        "content_id",
        "status",
        "ended_us",
        sqlite_where=sa.text("content_id IS NOT NULL"),
        postgresql_where=sa.text("content_id IS NOT NULL"),
    ),
)

dataset_partition = sa.Table(
    "dataset_partition",
    metadata,
    sa.Column("dataset_id", sa.BigInteger, primary_key=True),
    sa.Column("part", sa.Text, primary_key=True),
    sqlite_with_rowid=False,
)

run_input = sa.Table(
    "run_input",
    metadata,
    sa.Column("id", _Id, primary_key=True, autoincrement=False),
    sa.Column("run_id", sa.BigInteger, nullable=False),
    sa.Column("dataset_id", sa.BigInteger, nullable=False),
    sa.Column("part", sa.Text, nullable=False),
    sa.Column("named", sa.Text),
    sa.Column("verified", sa.SmallInteger, nullable=False),
    sa.Column("as_of_us", sa.BigInteger, nullable=False),
    sa.Column("consumed", sa.LargeBinary),
    sa.Column("rule", sa.SmallInteger, nullable=False),
    sa.Column("observed_id", sa.BigInteger),
    sa.Index("run_input_run", "run_id", "dataset_id", "part", unique=True),
    sa.Index("run_input_dataset", "dataset_id", "as_of_us"),
    sa.Index(
        "run_input_observed",
        "observed_id",
        "as_of_us",
        sqlite_where=sa.text("observed_id IS NOT NULL"),
        postgresql_where=sa.text("observed_id IS NOT NULL"),
    ),
)

edge = sa.Table(
    "edge",
    metadata,
    sa.Column("dst", sa.BigInteger, primary_key=True),
    sa.Column("src", sa.BigInteger, primary_key=True),
    sa.Column("via", sa.BigInteger, primary_key=True),
    sa.Column("rule", sa.SmallInteger, nullable=False),
    sa.Index("edge_src", "src", "dst"),
    sqlite_with_rowid=False,
)

quarantine = sa.Table(
    "quarantine",
    metadata,
    sa.Column("id", _Id, primary_key=True, autoincrement=False),
    sa.Column("digest", _Digest, nullable=False, unique=True),
    sa.Column("received_us", sa.BigInteger, nullable=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("message", sa.Text, nullable=False),
    sa.Column("source", sa.Text, nullable=False),
    sa.Column("size_bytes", sa.BigInteger, nullable=False),
    sa.Column("body", sa.LargeBinary, nullable=False),
)

spool_offset = sa.Table(
    "spool_offset",
    metadata,
    sa.Column("file", sa.Text, primary_key=True),
    sa.Column("reached", sa.BigInteger, nullable=False),
)

feed = sa.Table(
    "feed",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("position", sa.BigInteger, nullable=False),
    sa.Column("enabled", sa.SmallInteger, nullable=False),
    sa.Column("max_backlog", sa.BigInteger, nullable=False),
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("next_attempt_us", sa.BigInteger, nullable=False),
    sa.Column("last_error", sa.Text),
    sa.Column("last_error_us", sa.BigInteger),
    sa.Column("delivered_us", sa.BigInteger),
    sa.Column("suspended", sa.Text),
)

dead_letter = sa.Table(
    "dead_letter",
    metadata,
    sa.Column("feed", sa.Text, primary_key=True),
    sa.Column("seq", sa.BigInteger, primary_key=True),
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("error", sa.Text, nullable=False),
    sa.Column("at_us", sa.BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

lease = sa.Table(
    "lease",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("holder", sa.Text, nullable=False),
    sa.Column("expires_us", sa.BigInteger, nullable=False),
)

policy = sa.Table(
    "policy",
    metadata,
    sa.Column("policy_id", sa.Text, primary_key=True),
    sa.Column("revision", sa.Text, primary_key=True),
    sa.Column("source", sa.Text, nullable=False),
    sa.Column("place", sa.Text, nullable=False),
    sa.Column("body", sa.Text, nullable=False),
    sa.Column("since_us", sa.BigInteger, nullable=False),
    sa.Column("next_us", sa.BigInteger),
    sa.Column("active", sa.SmallInteger, nullable=False),
    sqlite_with_rowid=False,
)

evaluation_change = sa.Table(
    "evaluation_change",
    metadata,
    sa.Column("seq", _Id, primary_key=True, autoincrement=False),
    sa.Column("at_us", sa.BigInteger, nullable=False),
    sa.Column("policy_id", sa.Text, nullable=False),
    sa.Column("revision", sa.Text, nullable=False),
    sa.Column("period", sa.Text, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("severity", sa.Text, nullable=False),
    sa.Column("owner", sa.Text),
    sa.Column("notify", sa.Text, nullable=False),
    sa.Column("observed", sa.Double),
    sa.Column("threshold", sa.Double),
    sa.Column("unit", sa.Text, nullable=False),
    sa.Column("due_us", sa.BigInteger),
    sa.Column("breached_us", sa.BigInteger),
    sa.Column("detected_us", sa.BigInteger),
    sa.Column("recovered_us", sa.BigInteger),
    sa.Column("runs", sa.Text, nullable=False),
    sa.Column("cause", sa.Text),
    sa.Column("target", sa.Text, nullable=False),
    sa.Index("evaluation_change_period", "policy_id", "revision", "period", "seq", unique=True),
    sa.Index("evaluation_change_at", "at_us"),
)

expected_run = sa.Table(
    "expected_run",
    metadata,
    sa.Column("dag_id", sa.Text, primary_key=True),
    sa.Column("due_us", sa.BigInteger, primary_key=True),
    sa.Column("logical_us", sa.BigInteger),
    sa.Column("came_us", sa.BigInteger),
    sqlite_with_rowid=False,
)

dag_condition = sa.Table(
    "dag_condition",
    metadata,
    sa.Column("dag_id", sa.Text, primary_key=True),
    sa.Column("kind", sa.Text, primary_key=True),
    sa.Column("from_us", sa.BigInteger, primary_key=True),
    sa.Column("until_us", sa.BigInteger),
    sa.Column("detail", sa.Text, nullable=False),
    sqlite_with_rowid=False,
)

alert = sa.Table(
    "alert",
    metadata,
    sa.Column("fingerprint", sa.Text, primary_key=True),
    sa.Column("body", sa.Text, nullable=False),
)

incident = sa.Table(
    "incident",
    metadata,
    sa.Column("incident_key", sa.Text, primary_key=True),
    sa.Column("body", sa.Text, nullable=False),
)

_NOTICE_WAITS = sa.text("delivered_us IS NULL AND dead_us IS NULL")

notice = sa.Table(
    "notice",
    metadata,
    sa.Column("id", _Id, primary_key=True, autoincrement=False),
    sa.Column("incident", sa.Text, nullable=False),
    sa.Column("transition", sa.Integer, nullable=False),
    sa.Column("channel", sa.Text, nullable=False),
    sa.Column("body", sa.Text, nullable=False),
    sa.Column("created_us", sa.BigInteger, nullable=False),
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("next_attempt_us", sa.BigInteger, nullable=False),
    sa.Column("delivered_us", sa.BigInteger),
    sa.Column("dead_us", sa.BigInteger),
    sa.Column("last_error", sa.Text),
    sa.Column("last_error_us", sa.BigInteger),
    sa.UniqueConstraint("incident", "transition", "channel", name="notice_once"),
    sa.Index("notice_waiting", "id", sqlite_where=_NOTICE_WAITS, postgresql_where=_NOTICE_WAITS),
)

alert_action = sa.Table(
    "alert_action",
    metadata,
    sa.Column("id", _Id, primary_key=True, autoincrement=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("matchers", sa.Text, nullable=False),
    sa.Column("author", sa.Text, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("at_us", sa.BigInteger, nullable=False),
    sa.Column("until_us", sa.BigInteger),
)
