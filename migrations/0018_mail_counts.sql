-- How many mails of a kind somebody got, apart from the mails: those go with the user who caused them, and whoever deletes
-- the account and signs up again must not begin with fresh caps. A row tells nothing but when: who and of which kind is a
-- digest under the master key. It is dropped after a day, the longest period of a cap.
create table mail_counts (
    id uuid constraint mail_counts_pkey primary key,
    digest bytea not null constraint mail_counts_digest_check check (octet_length(digest) = 32),
    counted_at timestamptz not null
);

create index mail_counts_recent_idx on mail_counts (digest, counted_at);
create index mail_counts_over_idx on mail_counts (counted_at);

drop index outbox_recipient_idx;

-- The last mail to somebody who left is nobody's.
alter table outbox alter column user_id drop not null;
