"""The table of credentials in PostgreSQL, as migrations that run in order, each once.

Three roles. `ibkr_bridge_owner` owns the table and cannot log in. `ibkr_bridge` is what the bridge logs in as: it sees
the rows of one user, the one whose id the transaction has set. `ibkr_bridge_list` sees names and kinds of all rows and
no sealed column; the bridge becomes it for the list. Row-level security is forced, so the owner obeys it too.

Row-level security guards against a forgotten WHERE and a wrong user. Whoever can run SQL as `ibkr_bridge` can set any
user: what guards then is that each sealed column is bound to its user.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from asyncpg import Connection, Record

CHANNEL = "ibkr_bridge_credentials"
"""NOTIFY sends `user_id` and `profile` as JSON here after each change."""

_ROLES = """
DO $$ BEGIN
  IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'ibkr_bridge_owner') THEN
    CREATE ROLE ibkr_bridge_owner NOLOGIN;
  END IF;
  IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'ibkr_bridge_list') THEN
    CREATE ROLE ibkr_bridge_list NOLOGIN;
  END IF;
  IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'ibkr_bridge') THEN
    CREATE ROLE ibkr_bridge LOGIN NOINHERIT;
  END IF;
END $$;
GRANT ibkr_bridge_list TO ibkr_bridge;
"""
_TABLE = """
CREATE TABLE user_exchange_credentials (
  user_id       text NOT NULL CHECK (user_id <> ''),
  exchange      text NOT NULL DEFAULT 'ibkr',
  profile       text NOT NULL UNIQUE,
  kind          text NOT NULL,
  account_id    text,
  access_token  bytea,
  refresh_token bytea,
  bundle        bytea NOT NULL,
  token_expiry  timestamptz,
  version       bigint NOT NULL CHECK (version > 0),
  status        text NOT NULL DEFAULT 'new',
  status_since  timestamptz NOT NULL DEFAULT now(),
  created_at    timestamptz NOT NULL DEFAULT now(),
  updated_at    timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (user_id, exchange, profile)
);
ALTER TABLE user_exchange_credentials OWNER TO ibkr_bridge_owner;
ALTER TABLE user_exchange_credentials ENABLE ROW LEVEL SECURITY;
ALTER TABLE user_exchange_credentials FORCE ROW LEVEL SECURITY;
-- After a transaction with SET LOCAL the setting reads '' and not NULL: neither is a user.
CREATE POLICY own_rows ON user_exchange_credentials TO ibkr_bridge
  USING (user_id = nullif(current_setting('app.user_id', true), ''))
  WITH CHECK (user_id = nullif(current_setting('app.user_id', true), ''));
CREATE POLICY names_of_all ON user_exchange_credentials FOR SELECT TO ibkr_bridge_list USING (true);
GRANT SELECT, INSERT, UPDATE, DELETE ON user_exchange_credentials TO ibkr_bridge;
GRANT SELECT (user_id, exchange, profile, kind, status, version) ON user_exchange_credentials TO ibkr_bridge_list;
"""
_NOTIFY = f"""
CREATE FUNCTION ibkr_bridge_notify() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE changed record;
BEGIN
  IF TG_OP = 'DELETE' THEN changed := OLD; ELSE changed := NEW; END IF;
  PERFORM pg_notify('{CHANNEL}', json_build_object('user_id', changed.user_id, 'profile', changed.profile)::text);
  RETURN NULL;
END $$;
CREATE TRIGGER credentials_changed AFTER INSERT OR UPDATE OR DELETE ON user_exchange_credentials
  FOR EACH ROW EXECUTE FUNCTION ibkr_bridge_notify();
"""
_VERSIONS = """CREATE TABLE IF NOT EXISTS ibkr_bridge_schema
 (version int PRIMARY KEY, applied_at timestamptz DEFAULT now())"""
MIGRATIONS: tuple[str, ...] = (_ROLES + _TABLE + _NOTIFY,)


async def migrate(connection: Connection[Record]) -> int:
    """Bring the database to the newest version, as a role that may make roles and tables. Returns how many ran."""
    done = 0
    async with connection.transaction():
        # Two programs at a time: the second waits here, and finds what the first has made.
        await connection.execute("SELECT pg_advisory_xact_lock(hashtext('ibkr_bridge_schema'))")
        await connection.execute(_VERSIONS)
        current = await connection.fetchval("SELECT coalesce(max(version), 0) FROM ibkr_bridge_schema")
        for version, text in enumerate(MIGRATIONS, 1):
            if version > current:
                await connection.execute(text)
                await connection.execute("INSERT INTO ibkr_bridge_schema (version) VALUES ($1)", version)
                done += 1
    return done
