//! The private Postgres, as the rest of the program and whoever looks after the machine meet it.

mod binaries;
mod death;
mod layout;
mod life;
mod lock;
mod support;
