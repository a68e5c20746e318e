-- service: ingest
-- The outbox is fully published: nothing is older than a minute and not below its shard's cursor.
SELECT o.id, o.topic, o.created_at, $1::timestamptz AS as_of FROM outbox o JOIN outbox_cursor c USING (shard)
WHERE o.created_at < now() - interval '60 seconds' AND NOT pg_visible_in_snapshot(o.xid, c.lo) LIMIT 20
