-- "How many mails of this kind did this recipient get?", whoever asked for them. The case of an address is no way around.
create index outbox_recipient_idx on outbox (lower(recipient), template, created_at);
