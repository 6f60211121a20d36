-- From where a user logged in with success, and when last: a row per user, network (IPv4 /32, IPv6 /64) and user agent.
-- Somebody who logged in from a network before is not slowed down by strangers who guess the password elsewhere, and a
-- pair that was not seen for long is worth a mail.
--
-- last_at is coarse: it is rewritten when it is an hour old, so that a thousand log-ins are one write. A row goes after
-- 90 days, but the newest of a user stays: without it, nobody could tell a first log-in from the first after a long pause.
create table log_ins (
    id bigint generated always as identity constraint log_ins_pkey primary key,
    user_id uuid not null constraint log_ins_user_fkey references users on delete cascade,
    network inet not null,
    -- null when none was sent
    agent text constraint log_ins_agent_check check (octet_length(agent) <= 256),
    first_at timestamptz not null,
    last_at timestamptz not null
);

create unique index log_ins_key on log_ins (user_id, network, agent) nulls not distinct;
create index log_ins_last_at_idx on log_ins (last_at, id);
