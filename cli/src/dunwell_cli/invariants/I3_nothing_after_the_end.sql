-- service: retry
-- Nothing is sent for a case that has ended; 5 s is the time in which a kill or an end must act.
SELECT a.attempt_id, a.sent_at, c.ended_at FROM charge_attempts a JOIN cases c USING (case_id)
WHERE c.ended_at IS NOT NULL AND a.sent_at > c.ended_at + interval '5 seconds'
