-- To which keys of OpenPGP the mails of a user are encrypted that hand out a token: those whose ownership was proved. A copy, so
-- that a courier needs to know nothing of how keys come and go.
create table mail_certificates (
    user_id uuid not null constraint mail_certificates_user_fkey references users on delete cascade,
    fingerprint text not null,
    certificate text not null,
    constraint mail_certificates_pkey primary key (user_id, fingerprint)
);
