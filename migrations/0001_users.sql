-- One table of users for every door.
--
-- State is derived from separate facts instead of stored as one word, so that no fact can overwrite another: proving an
-- e-mail never lifts a block, replacing an activation password never proves an e-mail.
--
-- An unproved sign-up does not *hold* its e-mail: several strangers may claim one address, the first who proves it keeps
-- it. Users made by an administrator hold theirs at once. Only held addresses are unique.
create table users (
    id uuid constraint users_pkey primary key,
    email text,
    email_canonical text,
    email_held boolean not null default false,
    email_verified_at timestamptz,
    -- from which address the sign-up came, for the mails that ask for its proof; erased by the proof
    signed_up_from inet,
    login_name text,
    display_name text,
    entity_type text not null default 'individual'
        constraint users_entity_type_check check (entity_type in ('individual', 'business')),
    billing_address jsonb,
    password_hash text not null,
    -- set while the password is an activation password: until then it may be exchanged for a real one, and nothing else
    activation_expires_at timestamptz,
    activated_at timestamptz,
    blocked_at timestamptz,
    block_cause text
        constraint users_block_cause_check check (block_cause in ('admin', 'failures')),
    failed_login_attempts integer not null default 0,
    access_level text not null default 'authorized'
        constraint users_access_level_check check (access_level in ('authorized', 'admin')),
    read_only boolean not null default false,
    -- counted up by a new password and by Reset: account tokens of an older version are dead
    token_version bigint not null default 0,
    created_at timestamptz not null,
    updated_at timestamptz not null,
    constraint users_email_check check ((email is null) = (email_canonical is null)),
    constraint users_email_held_check check (email_held or email_verified_at is null),
    constraint users_named_check check (email is not null or login_name is not null),
    constraint users_block_check check ((blocked_at is null) = (block_cause is null))
);

create unique index users_email_key on users (email_canonical) where email_held;
create index users_email_canonical_idx on users (email_canonical, email_held desc, created_at desc, id);
create unique index users_login_name_key on users (lower(login_name));
-- the sweep of sign-ups that nobody proved in time
create index users_unproved_idx on users (created_at) where email_canonical is not null and not email_held;
-- "is this the last active administrator?"
create index users_admins_idx on users (id) where access_level = 'admin';
