-- Client keys: an id that is public and a secret of 40 random bytes, of which a plain SHA-256 stays. (Slow hashes protect
-- guessable secrets; 320 random bits are not guessable.)
create table client_keys (
    id text constraint client_keys_pkey primary key
        constraint client_keys_id_check check (id ~ '^[0-9a-f]{40}$'),
    user_id uuid not null constraint client_keys_user_fkey references users on delete cascade,
    secret_hash bytea not null
        constraint client_keys_hash_check check (octet_length(secret_hash) = 32),
    -- refresh tokens carry the generation they were made in; counting it up ends them all
    generation bigint not null default 0,
    created_at timestamptz not null
);

create index client_keys_user_idx on client_keys (user_id, created_at desc);
