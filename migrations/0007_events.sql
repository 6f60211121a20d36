-- One row per request. The id is a UUID v7: its first 48 bits are the instant of the event, so this one column is
-- identity, time and order at once, and the table is partitioned by it, a partition a month. A month that has no
-- partition yet falls into the default one, so that an insert can never fail for want of a table.
--
-- (user_id, id) pages through a user's events and is what a repeated insert collides with. Rows without a user must
-- collide too, hence "nulls not distinct". There is no foreign key: the id stays as a pseudonym when the user goes.
create table events (
    id uuid not null,
    user_id uuid,
    service text not null,
    started_at timestamptz not null,
    ended_at timestamptz not null,
    status smallint not null,
    bytes_out bigint not null,
    method text not null,
    path text not null,
    ip inet,
    user_agent text,
    request_id text not null,
    service_data jsonb
) partition by range (id);

create unique index events_user_id_key on events (user_id, id) nulls not distinct;
create index events_id_idx on events using brin (id);

create table events_default partition of events default;
