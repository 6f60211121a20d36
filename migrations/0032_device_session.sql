-- The session that every Qb2 token is bound to. One row for all replicas, so that they agree on who is logged in: whoever
-- finds the row of an earlier day puts a new one in its place, and so does whoever ends the session.
create table device_session (
    singleton boolean constraint device_session_pkey primary key default true
        constraint device_session_singleton_check check (singleton),
    id uuid not null,
    nonce text not null
        constraint device_session_nonce_check check (nonce ~ '^[0-9a-f]{64}$'),
    began_at timestamptz not null
);
