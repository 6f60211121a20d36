-- The Ethereum address with which a token was fetched (EIP-55): an address that signs nobody in any more takes its tokens with it.
alter table account_tokens add column address text
    constraint account_tokens_address_check check (address ~ '^0x[0-9a-fA-F]{40}$');
