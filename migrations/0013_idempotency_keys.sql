-- Answers to requests with an Idempotency-Key, for the ten minutes in which a client may repeat one whose answer was lost.
--
-- The answer holds a client secret, of which only a hash may be stored elsewhere; so it is sealed with the master key, for
-- exactly this user, token and key. It goes with its client key: a secret that opens nothing is not worth repeating.
create table idempotency_keys (
    token_id uuid not null, -- the jti of the token that made the request
    idempotency_key text not null,
    user_id uuid not null constraint idempotency_keys_user_fkey references users on delete cascade,
    client_key_id text not null constraint idempotency_keys_client_key_fkey references client_keys on delete cascade,
    body_hash bytea not null
        constraint idempotency_keys_hash_check check (octet_length(body_hash) = 32),
    sealed_answer bytea not null,
    created_at timestamptz not null,
    constraint idempotency_keys_pkey primary key (token_id, idempotency_key)
);

create index idempotency_keys_created_idx on idempotency_keys (created_at);
create index idempotency_keys_client_key_idx on idempotency_keys (client_key_id);
create index idempotency_keys_user_idx on idempotency_keys (user_id);
