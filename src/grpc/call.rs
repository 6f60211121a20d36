//! What there is to call, who may, and who does.

use std::time::Duration;

use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName};

use super::fields;
use crate::auth::{Auth, Qb2Caller};
use crate::error::{Code, Error, Problem, Result};
use crate::events::Draft;
use crate::http::client_ip::ClientIp;
use crate::http::extract::agent;
use crate::origin::Origin;
use crate::secret::PlainSecret;
use crate::tokens::Level;
use crate::users::{By, UserId};

/// The metadata in which a token travels, bare.
pub const TOKEN: HeaderName = HeaderName::from_static("token");

/// The metadata with the time that a caller gives a call.
const TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");

/// A method of the contract, and who may call it (qb2-account-service.md section 3).
#[derive(Debug)]
pub struct Method {
    /// The path of a call.
    pub path: &'static str,
    /// The least level of a caller; `Public` is everybody.
    pub level: Level,
    /// Whether somebody who may only read may call it.
    pub is_for_readers: bool,
}

const fn method(path: &'static str, level: Level, is_for_readers: bool) -> Method {
    Method { path, level, is_for_readers }
}

/// Every method that there is. `proto/` says the same in options; a test compares.
pub const METHODS: [Method; 13] = [
    method("/blickfeld.secure.services.Account/List", Level::Admin, true),
    method("/blickfeld.secure.services.Account/Create", Level::Admin, false),
    method("/blickfeld.secure.services.Account/Block", Level::Admin, false),
    method("/blickfeld.secure.services.Account/Reset", Level::Admin, false),
    method("/blickfeld.secure.services.Account/Delete", Level::Admin, false),
    method("/blickfeld.secure.services.Account/Get", Level::Public, true),
    method("/blickfeld.secure.services.Account/Store", Level::Public, true),
    method("/blickfeld.secure.services.ApplicationKey/List", Level::Authorized, true),
    method("/blickfeld.secure.services.ApplicationKey/Create", Level::Authorized, true),
    method("/blickfeld.secure.services.ApplicationKey/Delete", Level::Authorized, true),
    method("/blickfeld.secure.services.Authentication/Login", Level::Public, true),
    method("/blickfeld.secure.services.Session/GetNonce", Level::Public, true),
    method("/blickfeld.secure.services.Session/Invalidate", Level::Admin, false),
];

impl Method {
    /// The method with this path.
    pub fn find(path: &str) -> Option<&'static Self> {
        METHODS.iter().find(|method| method.path == path)
    }

    /// Whether this caller may call it.
    ///
    /// # Errors
    /// `Unauthorized` without a token, `Forbidden`.
    fn admit(&self, caller: Option<&Qb2Caller>) -> Result<()> {
        match caller {
            _ if self.level == Level::Public => Ok(()),
            None => Err(Code::Unauthorized.into()),
            Some(caller) if caller.level < self.level => Err(Code::Forbidden.into()),
            Some(caller) if caller.read_only && !self.is_for_readers => Err(Code::Forbidden.into()),
            Some(_) => Ok(()),
        }
    }
}

/// A call on its way to its method, which was admitted; hung on the request.
#[derive(Clone, Debug)]
pub struct Call {
    caller: Option<Qb2Caller>,
    /// The draft of its event.
    pub draft: Draft,
    /// From where it comes.
    pub origin: Origin,
}

impl Call {
    /// Finds out who calls, and whether that is allowed. A token that is no good is refused by every method, also by those that
    /// need none: that is how the vendor's clients learn that they need another one.
    ///
    /// # Errors
    /// `Unauthorized`, `TokenInvalid`, `UserBlocked`, `Forbidden`.
    pub async fn identify(auth: &Auth, method: &Method, head: &Parts) -> Result<Self> {
        let draft: Draft = head.extensions.get().cloned().unwrap_or_default();
        let caller = match token(&head.headers)? {
            Some(token) => Some(auth.identify_qb2(&token, &draft).await?),
            None => None,
        };
        method.admit(caller.as_ref())?;
        let address = head.extensions.get::<ClientIp>().map(|client| client.address);
        Ok(Self { caller, draft, origin: Origin { address, agent: agent(&head.headers) } })
    }

    /// The call that a request of the library is.
    ///
    /// # Errors
    /// None in practice: the layers of this door have hung one on every request.
    pub fn of<T>(request: &tonic::Request<T>) -> Result<Self> {
        let call = request.extensions().get::<Self>().cloned();
        call.ok_or_else(|| Error::Internal(anyhow::anyhow!("a call without a caller")))
    }

    /// Whoever calls, also with the token of an activation password.
    ///
    /// # Errors
    /// `Unauthorized`.
    pub fn caller(&self) -> Result<&Qb2Caller> {
        Ok(self.caller.as_ref().ok_or(Code::Unauthorized)?)
    }

    /// Whoever calls with the rights of an account.
    ///
    /// # Errors
    /// `Unauthorized`; `Forbidden` for the token of an activation password.
    pub fn member(&self) -> Result<&Qb2Caller> {
        let caller = self.caller()?;
        if caller.level >= Level::Authorized { Ok(caller) } else { Err(Code::Forbidden.into()) }
    }

    /// The account that a field names: the caller's own where it is empty. To fill it in is for administrators, and to change
    /// somebody else for those who may do more than read: they could give themselves any right.
    ///
    /// # Errors
    /// `Unauthorized`, `Forbidden`, `ValidationFailed`.
    pub fn account(&self, field: &str, uuid: &str, whom: Whom) -> Result<UserId> {
        let caller = self.member()?;
        if uuid.is_empty() {
            return Ok(caller.user.id);
        }
        if caller.level < Level::Admin {
            return Err(Code::Forbidden.into());
        }
        let account = self.named(field, uuid)?;
        let is_allowed = whom == Whom::ToSee || account == caller.user.id || !caller.read_only;
        if is_allowed { Ok(account) } else { Err(Code::Forbidden.into()) }
    }

    /// The account that a field must name, of which the event tells.
    ///
    /// # Errors
    /// `ValidationFailed`.
    pub fn named(&self, field: &str, uuid: &str) -> Result<UserId> {
        let account = fields::only(field, fields::account(uuid))?;
        self.touched(account);
        Ok(account)
    }

    /// On whose word something is done.
    ///
    /// # Errors
    /// `Unauthorized`.
    pub fn by(&self) -> Result<By> {
        Ok(self.caller()?.by())
    }

    /// Notes in the event which account a call was about, where that is not the caller's own.
    pub fn touched(&self, account: UserId) {
        if self.caller.as_ref().is_none_or(|caller| caller.user.id != account) {
            self.draft.add("user", account.to_string());
        }
    }
}

/// What is to happen to an account that a call names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whom {
    /// It is only looked at.
    ToSee,
    /// It is changed, or something of it.
    ToChange,
}

/// The token of a call, if it has one.
///
/// # Errors
/// `TokenInvalid` for two of them, and for one that is no text.
fn token(headers: &HeaderMap) -> Result<Option<PlainSecret>> {
    let mut values = headers.get_all(TOKEN).iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => Ok(Some(PlainSecret::new(value.to_str().map_err(|_| Code::TokenInvalid)?))),
        _ => Err(Code::TokenInvalid.into()),
    }
}

/// How long a caller waits, if that is said.
///
/// # Errors
/// `ValidationFailed` for what is no time (at most eight digits and a unit, as gRPC has it).
pub fn patience(headers: &HeaderMap) -> Result<Option<Duration>> {
    let Some(value) = headers.get(TIMEOUT) else { return Ok(None) };
    let read = || {
        let (digits, unit) = value.to_str().ok()?.split_at_checked(value.len().checked_sub(1)?)?;
        let is_number = (1..=8).contains(&digits.len()) && digits.bytes().all(|digit| digit.is_ascii_digit());
        let count: u64 = digits.parse().ok().filter(|_| is_number)?;
        Some(match unit {
            "H" => Duration::from_secs(count * 60 * 60),
            "M" => Duration::from_secs(count * 60),
            "S" => Duration::from_secs(count),
            "m" => Duration::from_millis(count),
            "u" => Duration::from_micros(count),
            "n" => Duration::from_nanos(count),
            _ => return None,
        })
    };
    let problem = || Problem::new("grpc-timeout", "must be 1 to 8 digits and one of H, M, S, m, u, n");
    read().map(Some).ok_or_else(|| Error::invalid_fields(vec![problem()]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Option<Option<Duration>> {
        patience(&HeaderMap::from_iter([(TIMEOUT, text.parse().expect("a header"))])).ok()
    }

    #[test]
    fn a_time_is_digits_and_a_unit() {
        assert_eq!(patience(&HeaderMap::new()).ok(), Some(None));
        for (text, expected) in [
            ("1S", Duration::from_secs(1)),
            ("99999999H", Duration::from_secs(99_999_999 * 3600)),
            ("2M", Duration::from_secs(120)),
            ("500m", Duration::from_millis(500)),
            ("0n", Duration::ZERO),
            ("00000012u", Duration::from_micros(12)),
        ] {
            assert_eq!(read(text), Some(Some(expected)), "{text}");
        }
        for text in ["", "S", "1", "1s", "-1S", "+1S", "1.5S", "123456789S", "1 S", "S1", "ü"] {
            assert_eq!(read(text), None, "{text}");
        }
    }
}
