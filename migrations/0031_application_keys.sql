-- Application keys: a Qb2 client logs in with the secret alone, so a key is found by its hash, which is unique. A plain SHA-256
-- will do, as for client keys (0006_client_keys.sql): 32 letters and digits are 190 bits.
--
-- A key with `http` is the password of HTTP Basic beside the name of its user, who can therefore have only one.
create table application_keys (
    id text constraint application_keys_pkey primary key
        constraint application_keys_id_check check (id ~ '^[0-9a-zA-Z]{32}$'),
    user_id uuid not null constraint application_keys_user_fkey references users on delete cascade,
    secret_hash bytea not null constraint application_keys_hash_key unique
        constraint application_keys_hash_check check (octet_length(secret_hash) = 32),
    purpose text not null
        constraint application_keys_purpose_check check (char_length(purpose) <= 200),
    access_level text not null
        constraint application_keys_access_level_check check (access_level in ('authorized', 'admin')),
    read_only boolean not null,
    http boolean not null,
    created_at timestamptz not null
);

create index application_keys_user_idx on application_keys (user_id, created_at, id);
create unique index application_keys_http_key on application_keys (user_id) where http;

-- What a user may do through a key depends on the key: see 0027_users_version_drawn.sql.
create trigger application_keys_insert after insert on application_keys referencing new table as touched
    for each statement execute function draw_versions_of_owners();
create trigger application_keys_delete after delete on application_keys referencing old table as touched
    for each statement execute function draw_versions_of_owners();
create trigger application_keys_update after update on application_keys
    for each row execute function draw_version_of_owner();
create trigger application_keys_truncate after truncate on application_keys
    for each statement execute function draw_all_versions();
