-- Nearly all events are of the REST door, and its name is a fifteenth of a row. The usual is not written: no service is
-- `cloud-accounts`. Rows that name it mean the same.
alter table events alter column service drop not null;
