-- Which Postgres these tables have been in, and since when. Rows of events keep the number of their transaction
-- (0023_events_xact.sql), and numbers of one Postgres mean nothing in another, where a backup was restored: what was written before
-- the arrival is followed by id. A server that starts looks where it is.
--
-- Postgres has an identifier of its own, which a copy of its files keeps, and the count of transactions with it.
create table clusters (
    arrived_at timestamptz constraint clusters_pkey primary key,
    system_identifier bigint not null
);

insert into clusters (arrived_at, system_identifier) select to_timestamp(0), system_identifier from pg_control_system();
