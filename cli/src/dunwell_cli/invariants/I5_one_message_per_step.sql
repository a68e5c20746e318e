-- service: notify
-- At most one message per case, step and channel; every message that went out owns its steps.
SELECT n.notice_id, c.case_id, n.step FROM notices n, unnest(n.case_ids) AS c(case_id)
WHERE n.state IN ('sent', 'unknown', 'sending')
GROUP BY n.notice_id, c.case_id, n.step, n.channel
HAVING count(*) > 1 OR NOT EXISTS (SELECT 1 FROM notice_steps s WHERE s.notice_id = n.notice_id AND s.case_id = c.case_id)
UNION ALL
SELECT min(n.notice_id), n.message_id, n.step FROM notices n WHERE n.message_id <> '' GROUP BY n.message_id, n.step HAVING count(*) > 1
