//! One member of a JSON merge patch (RFC 7396), read by a door and done by a service.

/// What a patch says of one member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change<T> {
    /// Nothing: it is absent.
    Keep,
    /// To remove it: it is null.
    Remove,
    /// To put this in its place.
    Set(T),
}

impl<T> Change<T> {
    /// Does it to a value that may be missing.
    pub fn apply(self, current: &mut Option<T>) {
        match self {
            Self::Keep => {}
            Self::Remove => *current = None,
            Self::Set(new) => *current = Some(new),
        }
    }

    /// Does it to a value that is always there; removed, it is what it was at the beginning.
    pub fn apply_or(self, current: &mut T, initial: T) {
        match self {
            Self::Keep => {}
            Self::Remove => *current = initial,
            Self::Set(new) => *current = new,
        }
    }

    /// The same change of what `convert` makes of the value.
    pub fn map<U>(self, convert: impl FnOnce(T) -> U) -> Change<U> {
        match self {
            Self::Keep => Change::Keep,
            Self::Remove => Change::Remove,
            Self::Set(new) => Change::Set(convert(new)),
        }
    }
}
