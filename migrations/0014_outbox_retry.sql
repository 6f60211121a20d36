-- An operator may give a mail another try (`admin mail retry`). Two things were missing for it.
--
-- A mail that was given up keeps its sealed variables until the row is swept (at most a week), where it used to lose them
-- at once: without them there is nothing to send. A mail that was sent still loses them at once.
--
-- `next_attempt_at` alone does not tell a mail that waits from one that a courier holds right now, and a retry of the
-- latter would send it twice; so a courier says until when the mail is its own.
alter table outbox add column taken_until timestamptz;

-- Few mails fail among many that were sent.
create index outbox_failed_idx on outbox (id) where failed_at is not null;
