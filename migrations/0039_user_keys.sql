-- Public keys that users have given us: of OpenPGP, and Bitcoin addresses. Whoever gives one has proved nothing yet: several may
-- wait with the same key, which is public, and the first who signs the text made for him keeps it.
create table user_keys (
    user_id uuid not null constraint user_keys_user_fkey references users on delete cascade,
    type text not null constraint user_keys_type_check check (type in ('pgp', 'bit')),
    -- the fingerprint in lower-case hex, or the address
    id text not null constraint user_keys_id_check check (char_length(id) between 26 and 64),
    -- ASCII armor, with nothing in it but what the owner has signed
    certificate text,
    -- what the certificate says of itself, so that nobody has to verify it again to show it
    algorithm text,
    made_at timestamptz,
    expires_at timestamptz,
    user_ids text[],
    -- whether mails can be encrypted to it, and until when: null where that ends with the key itself
    encrypts boolean not null default false,
    encrypts_until timestamptz,
    -- what is to be signed, and since when
    challenge text,
    challenge_made_at timestamptz,
    verified_at timestamptz,
    -- whether everybody may have the certificate
    published boolean not null default false,
    -- where a Web Key Directory has it: domain and hashed local part of the e-mail that the user had when publishing it
    wkd_domain text,
    wkd_name text,
    created_at timestamptz not null,
    constraint user_keys_pkey primary key (user_id, type, id),
    constraint user_keys_certificate_check check (
        (type = 'pgp') = (certificate is not null) and (type = 'pgp') = (algorithm is not null)
        and (type = 'pgp') = (made_at is not null) and (type = 'pgp') = (user_ids is not null)),
    constraint user_keys_encrypts_check check (encrypts_until is null or encrypts),
    constraint user_keys_challenge_check check (
        (verified_at is null) = (challenge is not null) and (challenge is null) = (challenge_made_at is null)),
    constraint user_keys_published_check check (not published or (type = 'pgp' and verified_at is not null)),
    constraint user_keys_wkd_check check (
        (wkd_domain is null) = (wkd_name is null) and (published or wkd_domain is null))
);

create unique index user_keys_proved_key on user_keys (type, id) where verified_at is not null;
create index user_keys_wkd_idx on user_keys (wkd_domain, wkd_name) where published;
