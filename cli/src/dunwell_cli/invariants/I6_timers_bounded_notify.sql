-- service: notify
-- No timer that is due waits longer than 6 hours of business time, and none was set aside.
SELECT id, case_id, kind, due_at, state, error FROM timers
WHERE (state IN ('pending', 'leased') AND due_at < $1::timestamptz - interval '6 hours') OR state = 'failed'
