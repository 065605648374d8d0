"""The SQL of leases: until when each holder has said it is alive.

Grants and expiries are events; renewals are not, so this table is the one thing beside the journal that is not a fold
of it. Were it lost, each lease would lapse its length after it was granted.
"""

from __future__ import annotations

import sqlalchemy as sa

from playhead.projector.sql import OPEN

metadata = sa.MetaData()

leases = sa.Table(
    "leases",
    metadata,
    sa.Column("run_id", sa.LargeBinary(16), primary_key=True),
    sa.Column("token", sa.BigInteger, nullable=False),
    sa.Column("expires_at", sa.BigInteger, nullable=False),
    sa.Index("leases_by_expiry", "expires_at"),
)

SAVE_LEASE = """
    INSERT INTO leases (run_id, token, expires_at) VALUES (?, ?, ?)
    ON CONFLICT (run_id) DO UPDATE SET token = excluded.token, expires_at = excluded.expires_at
"""
END_LEASE = "DELETE FROM leases WHERE run_id = ?"
SELECT_LEASE = "SELECT token, expires_at FROM leases WHERE run_id = ?"
SELECT_LAPSED = f"""
    SELECT l.run_id, l.token, l.expires_at, v.state_type FROM leases AS l
    JOIN flow_run_versions AS v ON v.run_id = l.run_id AND v.valid_to = {OPEN}
    WHERE l.expires_at <= ? ORDER BY l.expires_at LIMIT ?
"""
