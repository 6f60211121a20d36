//! Who reads on after the request was answered. An answer may go on for hours, and outlives no right to it.

use std::convert::Infallible;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;

use crate::app::App;
use crate::auth::Auth;
use crate::error::{Code, Result};
use crate::events::{Draft, Patience, Whose};
use crate::http::extract::credentials;
use crate::secret::PlainSecret;

/// The bearer of the account token of a request, who was identified when it came.
pub struct Reader {
    auth: Auth,
    patience: Patience,
    token: PlainSecret,
}

impl Reader {
    /// Asks once more whether these events are for this bearer: one's own, or anybody's for administrators.
    ///
    /// # Errors
    /// Those of a request with the token, `Forbidden` without the right, and those of [`Patience::bound`].
    pub async fn may_still_see(&self, whose: Whose) -> Result<()> {
        // Nobody's draft allows no memory: the rows are read.
        let caller = self.patience.bound(self.auth.identify(&self.token, &Draft::default())).await??;
        let is_own = whose == Whose::User(caller.user.id);
        if is_own || caller.user.is_admin() { Ok(()) } else { Err(Code::Forbidden.into()) }
    }
}

impl FromRequestParts<App> for Reader {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Infallible> {
        let token = PlainSecret::new(credentials(&parts.headers, "bearer").unwrap_or_default());
        let patience = Patience::new(app.pulse.clone(), app.request_timeout);
        Ok(Self { auth: app.auth.clone(), patience, token })
    }
}
