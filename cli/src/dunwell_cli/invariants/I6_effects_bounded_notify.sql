-- service: notify
-- No effect waits longer than 6 hours past its start, and none has failed for good.
SELECT id, kind, state, error FROM effects
WHERE (state IN ('pending', 'leased') AND greatest(not_before, created_at) < least($1::timestamptz, now()) - interval '6 hours') OR state = 'failed'
