-- service: retry
-- No attempt without an end is older than its bound: sent 5 minutes, unknown 25 hours; an intent 1 day.
SELECT attempt_id, state, intended_at FROM charge_attempts
WHERE (state = 'sent' AND sent_at < $1::timestamptz - interval '5 minutes') OR (state = 'unknown' AND sent_at < $1::timestamptz - interval '25 hours')
   OR (state = 'intent' AND intended_at < $1::timestamptz - interval '1 day')
