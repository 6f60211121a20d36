//! SQL for `events` and `erasures`, by what is done.

mod erase;
mod follow;
mod months;
mod read;
mod write;

pub use self::erase::*;
pub use self::follow::*;
pub use self::months::*;
pub use self::read::*;
pub use self::write::*;
