-- Most requests are named by us, by a UUID, which takes 37 bytes as text and 16 as what it is. A name that a client chose stays
-- text. One of the two is there.
alter table events
    add column request_uuid uuid,
    alter column request_id drop not null;
