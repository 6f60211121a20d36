-- Ethereum addresses with which users sign in. An address is one user's, whoever came first: an administrator who enabled it, or
-- the user who has proved by a signature to hold its key and linked it. A row that is neither would say nothing, and is gone.
create table wallets (
    address bytea constraint wallets_pkey primary key
        constraint wallets_address_check check (octet_length(address) = 20),
    user_id uuid not null constraint wallets_user_fkey references users on delete cascade,
    -- when its user proved to hold the key
    linked_at timestamptz,
    -- since when it opens the door; null: it does not
    enabled_at timestamptz,
    created_at timestamptz not null,
    constraint wallets_use_check check (linked_at is not null or enabled_at is not null)
);

create index wallets_user_idx on wallets (user_id, created_at, address);

-- What a wallet is to sign next, one for each user, address and purpose: addresses are public, and whoever asks for nonces in
-- masses must neither fill the disk nor take away what somebody else is just about to sign: the one before lives out its time.
-- Using one deletes the row, so of several who do that at the same moment one wins.
create table wallet_nonces (
    user_id uuid not null constraint wallet_nonces_user_fkey references users on delete cascade,
    address bytea not null constraint wallet_nonces_address_check check (octet_length(address) = 20),
    purpose text not null constraint wallet_nonces_purpose_check check (purpose in ('sign_in', 'link')),
    nonce text not null constraint wallet_nonces_nonce_check check (nonce ~ '^[0-9A-Za-z]{17}$'),
    created_at timestamptz not null,
    previous_nonce text,
    previous_created_at timestamptz,
    constraint wallet_nonces_previous_check check ((previous_nonce is null) = (previous_created_at is null)),
    constraint wallet_nonces_pkey primary key (user_id, address, purpose)
);

create index wallet_nonces_created_at_idx on wallet_nonces (created_at);
