-- Every look reads the index's list of what is not merged yet from end to end (PostgreSQL manual, GIN fast update):
-- a millisecond a look at a few thousand rows, where merging at once costs the writer a few microseconds.
ALTER INDEX observations_refs_idx SET (fastupdate = off);
SELECT gin_clean_pending_list('observations_refs_idx'::regclass);
