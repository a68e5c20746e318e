-- service: ingest
-- Every acknowledged webhook has one raw row and ends in exactly one of case, ignored, quarantined.
SELECT delivery_id, state, received_at FROM deliveries WHERE state = 'new' AND received_at < $1::timestamptz - interval '5 minutes'
