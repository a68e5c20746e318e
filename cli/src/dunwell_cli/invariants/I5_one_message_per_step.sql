-- service: notify
-- Every message that went out owns a step of each of its cases, and no two messages share an identity.
SELECT n.notice_id, c.case_id, n.step FROM notices n, unnest(n.case_ids) AS c(case_id)
WHERE n.state IN ('sent', 'unknown', 'sending')
  AND NOT EXISTS (SELECT 1 FROM notice_steps s WHERE s.notice_id = n.notice_id AND s.case_id = c.case_id)
UNION ALL
SELECT min(n.notice_id), n.message_id, min(n.step) FROM notices n
WHERE n.message_id <> '' GROUP BY n.message_id HAVING count(*) > 1
