//! What a user says about himself, checked (decisions.md section 2, "Profile").

use serde::{Deserialize, Serialize};

use super::EntityType;
use crate::change::Change;
use crate::mail::Letter;

/// A name to show: 1 to 200 characters, none of them a control character, not all blank.
#[derive(Clone, Debug)]
pub struct DisplayName(String);

impl DisplayName {
    /// Reads a display name.
    ///
    /// # Errors
    /// What is wrong, in words for the person who typed it.
    pub fn parse(text: &str) -> Result<Self, String> {
        ShortText::parse_filled(text).map(|text| Self(text.0))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Up to 200 characters, none of them a control character.
#[derive(Clone, Debug)]
pub struct ShortText(pub String);

impl ShortText {
    /// Reads a short text.
    ///
    /// # Errors
    /// What is wrong, in words for the person who typed it.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.chars().count() > 200 {
            return Err("must be at most 200 characters long".into());
        }
        if text.chars().any(char::is_control) {
            return Err("must not contain control characters".into());
        }
        Ok(Self(text.to_owned()))
    }

    /// The same that is not all blank: a name.
    ///
    /// # Errors
    /// What is wrong, in words for the person who typed it.
    pub fn parse_filled(text: &str) -> Result<Self, String> {
        if text.trim().is_empty() { Err("must not be empty".into()) } else { Self::parse(text) }
    }
}

/// An ISO 3166-1 alpha-2 code, upper case.
#[derive(Clone, Debug)]
pub struct Country(pub String);

impl Country {
    /// Reads a country code.
    ///
    /// # Errors
    /// What is wrong, in words for the person who typed it.
    pub fn parse(text: &str) -> Result<Self, String> {
        match rust_iso3166::from_alpha2(text) {
            Some(country) if country.alpha2 == text => Ok(Self(text.to_owned())),
            _ => Err("must be an ISO 3166-1 alpha-2 code such as US".into()),
        }
    }
}

/// Where bills go. Each part may be missing; the vendor's client leaves out `state` where a country has none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(example = json!({"address": "123 Abc Street", "zipCode": "12345", "state": "CA", "country": "US"}))]
pub struct BillingAddress {
    /// Street and number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 200, nullable = false)]
    pub address: Option<String>,
    /// Postal code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 200, nullable = false)]
    pub zip_code: Option<String>,
    /// Region.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 200, nullable = false)]
    pub state: Option<String>,
    /// ISO 3166-1 alpha-2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(min_length = 2, max_length = 2, nullable = false)]
    pub country: Option<String>,
}

/// Which notices a user wants by mail. All of them, until the user says otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", default)]
#[schema(example = json!({"passwordChanged": true, "emailChanged": true, "newClientKey": true, "newLogIn": false}))]
pub struct Notifications {
    /// The password was changed.
    pub password_changed: bool,
    /// The e-mail was changed; this one goes to the old address.
    pub email_changed: bool,
    /// A client key was made.
    pub new_client_key: bool,
    /// Somebody logged in from an address and with a program not seen in 90 days.
    pub new_log_in: bool,
}

impl Default for Notifications {
    fn default() -> Self {
        Self { password_changed: true, email_changed: true, new_client_key: true, new_log_in: true }
    }
}

impl Notifications {
    /// Whether this letter is wanted. What is no notice is not asked.
    pub fn want(&self, letter: &Letter) -> bool {
        match letter {
            // A reset is the way around the password; its owner is told in any case.
            Letter::PasswordChanged { is_reset, .. } => *is_reset || self.password_changed,
            Letter::EmailChanged { .. } => self.email_changed,
            Letter::NewClientKey { .. } | Letter::NewApplicationKey { .. } => self.new_client_key,
            Letter::NewLogIn { .. } => self.new_log_in,
            // Like a password, an address opens the whole account, and a key shuts out whoever cannot read what is encrypted to it.
            Letter::WalletLinked { .. }
            | Letter::WalletEnabled { .. }
            | Letter::UserKeyProved { .. }
            | Letter::UserKeyDeleted { .. } => true,
            Letter::Verification { .. }
            | Letter::AddressTaken { .. }
            | Letter::PasswordReset { .. }
            | Letter::Invitation { .. }
            | Letter::EmailChange { .. }
            | Letter::EmailChangeAsked { .. }
            | Letter::AccountDeleted { .. } => true,
        }
    }
}

/// A merge patch of a profile.
#[derive(Clone, Debug)]
pub struct ProfileChange {
    /// The name to show, which cannot be removed.
    pub display_name: Option<DisplayName>,
    /// A person or a company.
    pub entity_type: Change<EntityType>,
    /// Where bills go.
    pub billing_address: Change<BillingAddressChange>,
    /// Which notices are wanted.
    pub notifications: Change<NotificationsChange>,
}

/// A merge patch of a [`BillingAddress`].
#[derive(Clone, Debug)]
pub struct BillingAddressChange {
    /// Street and number.
    pub address: Change<String>,
    /// Postal code.
    pub zip_code: Change<String>,
    /// Region.
    pub state: Change<String>,
    /// ISO 3166-1 alpha-2.
    pub country: Change<String>,
}

/// A merge patch of [`Notifications`].
#[derive(Clone, Debug)]
pub struct NotificationsChange {
    /// See [`Notifications::password_changed`].
    pub password_changed: Change<bool>,
    /// See [`Notifications::email_changed`].
    pub email_changed: Change<bool>,
    /// See [`Notifications::new_client_key`].
    pub new_client_key: Change<bool>,
    /// See [`Notifications::new_log_in`].
    pub new_log_in: Change<bool>,
}

impl BillingAddressChange {
    /// Does it to an address that is there, or begins a new one (RFC 7396 section 2).
    pub fn apply(self, current: Option<BillingAddress>) -> BillingAddress {
        let mut address = current.unwrap_or_default();
        self.address.apply(&mut address.address);
        self.zip_code.apply(&mut address.zip_code);
        self.state.apply(&mut address.state);
        self.country.apply(&mut address.country);
        address
    }
}

impl NotificationsChange {
    /// Does it.
    pub fn apply(self, current: &mut Notifications) {
        let initial = Notifications::default();
        self.password_changed.apply_or(&mut current.password_changed, initial.password_changed);
        self.email_changed.apply_or(&mut current.email_changed, initial.email_changed);
        self.new_client_key.apply_or(&mut current.new_client_key, initial.new_client_key);
        self.new_log_in.apply_or(&mut current.new_log_in, initial.new_log_in);
    }
}
