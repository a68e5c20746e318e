-- The kit's tables, the same in every service's database. Run once by the service's first migration.
-- Design: the outbox is insert-only and read in full-snapshot windows, so that a late commit is never lost
-- and no key is ever reordered.

CREATE TABLE aggregates (
  agg_key text PRIMARY KEY,
  version bigint NOT NULL
) WITH (fillfactor = 70);

CREATE TABLE outbox (
  id bigint GENERATED ALWAYS AS IDENTITY,
  xid xid8 NOT NULL DEFAULT pg_current_xact_id(),
  -- 8 slots of 3 hours, rotated by TRUNCATE
  slot smallint NOT NULL DEFAULT ((extract(epoch FROM now())::bigint / 10800) % 8),
  shard smallint NOT NULL,
  event_id uuid NOT NULL,
  agg_key text NOT NULL,
  agg_version bigint NOT NULL,
  topic text NOT NULL,
  headers jsonb NOT NULL,
  payload bytea,
  created_at timestamptz NOT NULL DEFAULT now()
) PARTITION BY LIST (slot);

CREATE TABLE outbox_cursor (
  shard smallint PRIMARY KEY,
  epoch int NOT NULL DEFAULT 1,
  lo pg_snapshot NOT NULL,
  hi pg_snapshot,
  last_id bigint NOT NULL DEFAULT 0,
  owner uuid,
  lease_until timestamptz NOT NULL DEFAULT '-infinity',
  fence bigint NOT NULL DEFAULT 0
) WITH (fillfactor = 50);

CREATE TABLE cursors (
  grp text NOT NULL,
  topic text NOT NULL,
  part int NOT NULL,
  next_offset bigint,
  fence bigint NOT NULL DEFAULT 1,
  moved_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (grp, topic, part)
) WITH (fillfactor = 50);

-- 12 slots of one week of business time; a slot is emptied when its newest day is older than 75 days.
CREATE TABLE inbox (
  slot smallint NOT NULL,
  grp text NOT NULL,
  event_id uuid NOT NULL,
  day date NOT NULL,
  PRIMARY KEY (slot, grp, event_id)
) PARTITION BY LIST (slot);

DO $$
BEGIN
  FOR k IN 0..7 LOOP
    EXECUTE format('CREATE TABLE outbox_%s PARTITION OF outbox FOR VALUES IN (%s)', k, k);
    EXECUTE format('CREATE INDEX ON outbox_%s (shard, xid, id)', k);
  END LOOP;
  FOR k IN 0..11 LOOP
    EXECUTE format('CREATE TABLE inbox_%s PARTITION OF inbox FOR VALUES IN (%s)', k, k);
  END LOOP;
END $$;

CREATE TABLE parked_keys (
  grp text NOT NULL,
  agg_key text NOT NULL,
  reason text NOT NULL,
  parked_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (grp, agg_key)
);

CREATE TABLE parked_messages (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  grp text NOT NULL,
  agg_key text NOT NULL,
  topic text NOT NULL,
  part int NOT NULL,
  record_offset bigint NOT NULL,
  headers jsonb NOT NULL,
  payload bytea,
  parked_at timestamptz NOT NULL DEFAULT now(),
  UNIQUE (grp, topic, part, record_offset)
);
CREATE INDEX ON parked_messages (grp, agg_key, id);

CREATE TABLE dead_letters (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  grp text NOT NULL,
  agg_key text NOT NULL,
  topic text NOT NULL,
  part int NOT NULL,
  record_offset bigint NOT NULL,
  event_id text NOT NULL,
  event_type text NOT NULL,
  error text NOT NULL,
  state text NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'replayed', 'dropped')),
  created_at timestamptz NOT NULL DEFAULT now(),
  UNIQUE (grp, topic, part, record_offset)
);

CREATE TABLE timers (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  case_id text NOT NULL,
  kind text NOT NULL,
  step text NOT NULL DEFAULT '',
  due_at timestamptz NOT NULL,
  state text NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'leased', 'done', 'canceled', 'failed')),
  payload jsonb NOT NULL DEFAULT '{}',
  shard smallint NOT NULL DEFAULT 0,
  fence bigint NOT NULL DEFAULT 0,
  tries int NOT NULL DEFAULT 0,
  error text,
  lease_until timestamptz,
  armed_by text NOT NULL DEFAULT '',
  first_span text NOT NULL DEFAULT '',
  changed_at timestamptz NOT NULL DEFAULT now(),
  UNIQUE (case_id, kind, step)
) WITH (fillfactor = 70);
CREATE INDEX timers_due ON timers (due_at) WHERE state IN ('pending', 'leased');

CREATE TABLE effects (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  kind text NOT NULL,
  idem_key text NOT NULL,
  case_id text NOT NULL,
  payload jsonb NOT NULL,
  state text NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'leased', 'done', 'failed')),
  not_before timestamptz NOT NULL DEFAULT '-infinity',
  fence bigint NOT NULL DEFAULT 0,
  tries int NOT NULL DEFAULT 0,
  error text,
  lease_until timestamptz,
  traceparent text NOT NULL DEFAULT '',
  created_at timestamptz NOT NULL DEFAULT now(),
  changed_at timestamptz NOT NULL DEFAULT now(),
  UNIQUE (kind, idem_key)
) WITH (fillfactor = 70);
CREATE INDEX effects_open ON effects (not_before) WHERE state IN ('pending', 'leased');

-- The service's role may not TRUNCATE; it may ask for the rotation of an outbox slot that is fully sent.
-- Lock first, then check, then truncate: a check before the lock could miss a row in between.
CREATE FUNCTION rotate_outbox(k int) RETURNS boolean LANGUAGE plpgsql SECURITY DEFINER SET search_path = public AS $$
DECLARE sent boolean;
BEGIN
  SET LOCAL lock_timeout = '200ms';
  EXECUTE format('LOCK TABLE outbox_%s IN ACCESS EXCLUSIVE MODE', k);
  EXECUTE format(
    'SELECT NOT EXISTS (SELECT 1 FROM outbox_cursor c WHERE pg_snapshot_xmin(c.lo) <='
    ' (SELECT max(xid) FROM outbox_%s o WHERE o.shard = c.shard))', k) INTO sent;
  IF sent THEN EXECUTE format('TRUNCATE outbox_%s', k); END IF;
  RETURN sent;
END $$;

CREATE FUNCTION rotate_inbox(k int, today date) RETURNS boolean LANGUAGE plpgsql SECURITY DEFINER SET search_path = public AS $$
DECLARE old boolean;
BEGIN
  SET LOCAL lock_timeout = '200ms';
  EXECUTE format('LOCK TABLE inbox_%s IN ACCESS EXCLUSIVE MODE', k);
  EXECUTE format('SELECT coalesce(max(day) < $1 - 75, false) FROM inbox_%s', k) INTO old USING today;
  IF old THEN EXECUTE format('TRUNCATE inbox_%s', k); END IF;
  RETURN old;
END $$;
