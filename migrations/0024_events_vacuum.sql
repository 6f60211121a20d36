-- Percentages do not fit a table that only grows: at 20 % a partition of ten million events would be looked at after two million
-- more. With fixed numbers vacuum and statistics stay as far behind as they are in a small table, and each round reads only
-- what is new. `insert_partition` gives new partitions the same numbers; a partitioned table can hand down those of its
-- indexes, but has none itself.
--
-- The pages are filled to the brim, which is the default: rows are written once, and hardly ever again.
do $$
declare
    part regclass;
begin
    for part in select inhrelid from pg_inherits where inhparent = 'events'::regclass loop
        execute format('alter table %s set (
            autovacuum_vacuum_threshold = 50000, autovacuum_vacuum_scale_factor = 0,
            autovacuum_vacuum_insert_threshold = 100000, autovacuum_vacuum_insert_scale_factor = 0,
            autovacuum_analyze_threshold = 50000, autovacuum_analyze_scale_factor = 0)', part);
    end loop;
end
$$;
