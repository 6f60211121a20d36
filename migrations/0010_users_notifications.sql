-- Which notices a user wants by mail. A kind that is not in the object is wanted, so that a new kind needs no new row.
alter table users add column notifications jsonb not null default '{}';
