-- The keys that sign our tokens. The private half is sealed with the master key; the public half is what JWKS shows.
-- The algorithm belongs to the key, so that no token can choose one. The newest key signs, every key verifies.
create table signing_keys (
    kid text constraint signing_keys_pkey primary key,
    algorithm text not null
        constraint signing_keys_algorithm_check check (algorithm in ('ES256', 'EdDSA')),
    sealed_private_key bytea not null,
    public_jwk jsonb not null,
    created_at timestamptz not null
);
