-- Who follows events needs an order in which none comes before one that was handed out already. Ids are no such order: they
-- are made before the commit, and a smaller one may be committed later. Transactions are one, once all before them are over:
-- (xact, id) of events whose transaction is older than every one in progress.
--
-- An index in this order would cost a fifth of an event. Not needed: what was written lately is found by its id, which holds
-- the instant. That fails for an event that was written well after (or, by a clock that is wrong, before) its instant. Of such
-- the row says when its statement came, and they have an index of their own. All by the clock of this Postgres.
--
-- A row that is written once more keeps its first transaction. Rows from before this migration have that of the migration.
alter table events
    add column xact xid8 not null default pg_current_xact_id(),
    add column written_at timestamptz;

create index events_written_at_idx on events (user_id, xact, id) where written_at is not null;

-- The ids of events that are written about their instant by the statement that asks: from three seconds before to one after.
-- The transaction has its number before the clock is read, so that it began no later than what this says. Not a function in
-- SQL, whose text would be planned again for each statement.
create function events_of_now(out first uuid, out last uuid) language plpgsql volatile as $$
begin
    perform pg_current_xact_id();
    first := encode(
        int8send((extract(epoch from clock_timestamp()) * 1000 - 3000)::bigint << 16) || int8send(0), 'hex')::uuid;
    last := encode(
        int8send((extract(epoch from statement_timestamp()) * 1000 + 1000)::bigint << 16) || int8send(0), 'hex')::uuid;
end
$$;
