//! What a user says about himself, checked (decisions.md section 2, "Profile").

use serde::{Deserialize, Serialize};

/// A name to show: 1 to 200 characters, none of them a control character, not all blank.
#[derive(Clone, Debug)]
pub struct DisplayName(String);

impl DisplayName {
    /// Reads a display name.
    ///
    /// # Errors
    /// What is wrong, in words for the person who typed it.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.trim().is_empty() {
            return Err("must not be empty".into());
        }
        ShortText::parse(text).map(|text| Self(text.0))
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
