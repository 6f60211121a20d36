//! `GET /users`, `POST /users/invitations`, `GET`, `PATCH` and `DELETE /users/{userId}`, `POST /users/{userId}/block` and
//! `…/reset`: what administrators do.

use axum::Json;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, StatusCode};
use serde::Serialize;

use super::ProfileView;
use crate::change::Change;
use crate::clock::Timestamp;
use crate::error::{Code, Result};
use crate::events::Draft;
use crate::http::compression::SecretJson;
use crate::http::error::ErrorBody;
use crate::http::extract::{Admin, FullAdmin, JsonBody, MergePatch, PathFields};
use crate::http::openapi::{Anywhere, BadJson, BadRequest, NeedsAccount, TooManyRequests, UnknownThing};
use crate::http::query::{Query, links};
use crate::origin::Origin;
use crate::users::password::Password;
use crate::users::{
    AccessLevel, BlockCause, EmailAddress, LoginName, NewName, NewUser, Place, Search, SearchText, State as UserState,
    User, UserChange, Users, Way,
};

/// Users of a page when nobody says how many.
const USUAL_LIMIT: i64 = 100;

/// Users of a page at most.
const GREATEST_LIMIT: i64 = 1000;

/// A user as administrators see one: the profile, and what the profile does not show.
#[derive(Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct UserView {
    #[serde(flatten)]
    profile: ProfileView,
    /// The login name.
    #[schema(example = "ada")]
    name: Option<String>,
    level: AccessLevel,
    /// Whether only reading is allowed.
    #[schema(example = false)]
    read_only: bool,
    state: UserState,
    /// Who or what blocked the user.
    blocked_by: Option<BlockCause>,
    /// Wrong passwords since the last right one; counted for users without e-mail.
    #[schema(example = 0)]
    failed_login_attempts: i32,
    /// Until when an activation password, which is in the place of a real one, can be exchanged.
    activation_expires_at: Option<Timestamp>,
}

impl From<&User> for UserView {
    fn from(user: &User) -> Self {
        Self {
            profile: user.into(),
            name: user.login_name.clone(),
            level: user.access_level,
            read_only: user.read_only,
            state: user.state(),
            blocked_by: user.block_cause,
            failed_login_attempts: user.failed_login_attempts,
            activation_expires_at: user.activation_expires_at.map(Timestamp::from),
        }
    }
}

/// A user who waits for the first password.
#[derive(Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct InvitedView {
    #[serde(flatten)]
    user: UserView,
    /// To be exchanged within 7 days with `PUT /users/{userId}/activation`; shown here and never again.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "m4KzPq7RtWx9YbCd", format = Password)]
    activation_password: Option<String>,
}

impl InvitedView {
    /// The user, and the activation password if there is one to hand over.
    pub fn new(user: &User, activation: Option<&Password>) -> Self {
        let activation_password = activation.map(|password| password.expose().to_owned());
        Self { user: user.into(), activation_password }
    }
}

/// Which users to list, and how many.
#[derive(utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "for the document; http/query.rs reads the query")]
struct Which {
    /// Only users whose e-mail, login name, display name or id holds this text, without regard to case
    #[param(max_length = 254)]
    search: Option<String>,
    /// authorized or admin
    level: Option<String>,
    /// waiting_for_activation, active or blocked
    state: Option<String>,
    #[param(rename = "readOnly")]
    /// Only users who may only read (true), or only the others (false)
    read_only: Option<bool>,
    /// How many, 1 to 1000; if not given 100
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u16>,
    /// Only users after this place, which a `Link` names
    after: Option<String>,
    /// Only users before this place, which a `Link` names
    before: Option<String>,
}

/// The users
///
/// For administrators, also those who may only read. Oldest first; `Link` leads to those made earlier (`rel="prev"`) and later
/// (`rel="next"`).
#[utoipa::path(
    get,
    path = "/users",
    tag = "Administration",
    params(Which),
    responses(
        Anywhere,
        (status = 200, description = "The users", body = Vec<UserView>,
         headers(("Link" = String, description = "RFC 8288: rel=\"prev\" to older, rel=\"next\" to newer users"))),
        BadRequest, NeedsAccount,
    ),
    security(("account" = [])),
)]
pub(super) async fn list_users(
    State(users): State<Users>,
    _admin: Admin,
    RawQuery(query): RawQuery,
) -> Result<(HeaderMap, Json<Vec<UserView>>)> {
    let mut query = Query::parse(query.as_deref());
    let search = Search {
        text: query.take("search", SearchText::parse),
        level: query.take("level", AccessLevel::parse),
        state: query.take("state", UserState::parse),
        read_only: query.take("readOnly", flag),
    };
    let limit = query.take("limit", limit).unwrap_or(USUAL_LIMIT);
    let after = query.take("after", place);
    let before = query.take("before", |text| match after {
        Some(_) => Err("must not be given together with after".into()),
        None => place(text),
    });
    let kept = query.finish()?;
    let way = before.map_or(Way::After(after.unwrap_or(Place::BEGINNING)), Way::Before);
    let found = users.page(&search, way, limit).await?;
    let links = links("/users", &kept, found.older, found.newer);
    Ok((links, Json(found.users.iter().map(UserView::from).collect())))
}

/// Whom to invite. Exactly one of `email` and `name`.
#[derive(utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(rename_all = "camelCase")]
#[schema(example = json!({"email": "ada@example.com"}))]
#[expect(dead_code, reason = "for the document; http/fields.rs reads the body")]
struct InvitationRequest {
    #[schema(max_length = 254)]
    email: Option<String>,
    #[schema(pattern = "^[a-zA-Z0-9._-]{1,100}$")]
    name: Option<String>,
    /// If not given `authorized`.
    level: Option<AccessLevel>,
    /// If not given false.
    read_only: Option<bool>,
}

/// Invite somebody
///
/// For administrators. Somebody with an e-mail gets a mail with a token for `PUT /users/{userId}/password/{token}`, good for 7
/// days, which sets the first password and proves the address. For somebody with a login name the answer has an activation
/// password, which is shown nowhere else.
#[utoipa::path(
    post,
    path = "/users/invitations",
    tag = "Administration",
    request_body = InvitationRequest,
    responses(
        Anywhere, TooManyRequests,
        (status = 201, description = "The new user", body = InvitedView),
        BadJson, NeedsAccount,
        (status = 409, description = "`EmailTaken`, `NameTaken`", body = ErrorBody),
    ),
    security(("account" = [])),
)]
pub(super) async fn invite(
    State(users): State<Users>,
    FullAdmin(admin): FullAdmin,
    draft: Draft,
    JsonBody(mut body): JsonBody,
) -> Result<(StatusCode, SecretJson<InvitedView>)> {
    if body.has("email") == body.has("name") {
        body.note("email", Err("is required, or else name, and not both".into()));
    }
    let email = body.optional("email", EmailAddress::parse).map(NewName::Email);
    let name = body.optional("name", LoginName::parse).map(NewName::Name);
    let level = body.optional("level", AccessLevel::parse).unwrap_or(AccessLevel::Authorized);
    let read_only = body.change_flag("readOnly") == Change::Set(true);
    let (Some(name), true) = (email.or(name), body.is_fine()) else { return Err(body.into_error()) };
    let (user, activation) = users.invite(NewUser { name, level, read_only, password: None }, admin.by()).await?;
    draft.add("user", user.id.to_string());
    Ok((StatusCode::CREATED, SecretJson(InvitedView::new(&user, activation.as_ref()))))
}

/// A user
///
/// For administrators, also those who may only read. `userId` may also be the e-mail or the login name.
#[utoipa::path(
    get,
    path = "/users/{userId}",
    tag = "Administration",
    params(("userId" = String, Path, description = "User id, e-mail or login name")),
    responses(
        Anywhere,
        (status = 200, description = "The user", body = UserView),
        NeedsAccount, UnknownThing,
        (status = 409, description = "`SeveralSignUps`", body = ErrorBody),
    ),
    security(("account" = [])),
)]
pub(super) async fn show_user(
    State(users): State<Users>,
    _admin: Admin,
    draft: Draft,
    path: PathFields,
) -> Result<Json<UserView>> {
    Ok(Json((&named(&users, &path, &draft).await?).into()))
}

/// A JSON merge patch of what is an administrator's to change. Nothing of it can be removed.
#[derive(utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(rename_all = "camelCase")]
#[schema(example = json!({"level": "admin"}))]
#[expect(dead_code, reason = "for the document; http/fields.rs reads the body")]
struct UserPatch {
    /// The login name, unique without regard to case.
    #[schema(pattern = "^[a-zA-Z0-9._-]{1,100}$", nullable = false)]
    name: Option<String>,
    #[schema(nullable = false)]
    level: Option<AccessLevel>,
    #[schema(nullable = false)]
    read_only: Option<bool>,
    /// `blocked` blocks, `active` lifts a block from a user who is active without it and begins with no failures; every other
    /// change is `InvalidState`.
    #[schema(nullable = false)]
    state: Option<UserState>,
    #[schema(minimum = 0, maximum = 1_000_000, nullable = false)]
    failed_login_attempts: Option<i32>,
}

/// Change a user
///
/// For administrators. A JSON merge patch (RFC 7396). `userId` may also be the e-mail or the login name.
#[utoipa::path(
    patch,
    path = "/users/{userId}",
    tag = "Administration",
    params(("userId" = String, Path, description = "User id, e-mail or login name")),
    request_body(content(
        (UserPatch = "application/merge-patch+json"),
        (UserPatch = "application/json"),
    )),
    responses(
        Anywhere,
        (status = 200, description = "The user as it is now", body = UserView),
        BadJson, NeedsAccount, UnknownThing,
        (status = 409, description = "`NameTaken`, `InvalidState`, `LastAdmin`, `SeveralSignUps`", body = ErrorBody),
    ),
    security(("account" = [])),
)]
pub(super) async fn change_user(
    State(users): State<Users>,
    FullAdmin(admin): FullAdmin,
    draft: Draft,
    path: PathFields,
    MergePatch(mut body): MergePatch,
) -> Result<Json<UserView>> {
    let (name, level) = (body.change("name", LoginName::parse), body.change("level", AccessLevel::parse));
    let (read_only, state) = (body.change_flag("readOnly"), body.change("state", UserState::parse));
    let failures = body.change_number("failedLoginAttempts", UserChange::failures);
    let change = UserChange {
        name: body.staying("name", name),
        level: body.staying("level", level),
        read_only: body.staying("readOnly", read_only),
        state: body.staying("state", state),
        failed_login_attempts: body.staying("failedLoginAttempts", failures),
    };
    if !body.is_fine() {
        return Err(body.into_error());
    }
    let user = named(&users, &path, &draft).await?;
    Ok(Json((&users.change(user.id, &change, admin.by()).await?).into()))
}

/// Delete a user
///
/// For administrators. As `DELETE /users/me` does it, without the password. `userId` may also be the e-mail or the login name.
#[utoipa::path(
    delete,
    path = "/users/{userId}",
    tag = "Administration",
    params(("userId" = String, Path, description = "User id, e-mail or login name")),
    responses(
        Anywhere,
        (status = 204, description = "The user is gone"),
        NeedsAccount, UnknownThing,
        (status = 409, description = "`LastAdmin`, `SeveralSignUps`", body = ErrorBody),
    ),
    security(("account" = [])),
)]
pub(super) async fn delete_user(
    State(users): State<Users>,
    FullAdmin(admin): FullAdmin,
    draft: Draft,
    origin: Origin,
    path: PathFields,
) -> Result<StatusCode> {
    let user = named(&users, &path, &draft).await?;
    users.remove(user.id, admin.by(), &origin).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Block a user
///
/// For administrators. Whatever the user's password, tokens and client keys open ends at once, until `PATCH /users/{userId}` makes
/// the user active, or a reset. `userId` may also be the e-mail or the login name.
#[utoipa::path(
    post,
    path = "/users/{userId}/block",
    tag = "Administration",
    params(("userId" = String, Path, description = "User id, e-mail or login name")),
    responses(
        Anywhere,
        (status = 200, description = "The user, who is blocked", body = UserView),
        NeedsAccount, UnknownThing,
        (status = 409, description = "`LastAdmin`, `SeveralSignUps`", body = ErrorBody),
    ),
    security(("account" = [])),
)]
pub(super) async fn block_user(
    State(users): State<Users>,
    FullAdmin(admin): FullAdmin,
    draft: Draft,
    path: PathFields,
) -> Result<Json<UserView>> {
    let user = named(&users, &path, &draft).await?;
    Ok(Json((&users.block(user.id, admin.by()).await?).into()))
}

/// Reset a user
///
/// For administrators. The user starts over with the activation password of the answer, which is shown nowhere else; the old
/// password, account tokens and mailed tokens end, and so does a block. Rights, client keys and the e-mail stay. `userId` may
/// also be the e-mail or the login name.
#[utoipa::path(
    post,
    path = "/users/{userId}/reset",
    tag = "Administration",
    params(("userId" = String, Path, description = "User id, e-mail or login name")),
    responses(
        Anywhere, TooManyRequests,
        (status = 200, description = "The user, who waits for activation", body = InvitedView),
        NeedsAccount, UnknownThing,
        (status = 409, description = "`LastAdmin`, `SeveralSignUps`", body = ErrorBody),
    ),
    security(("account" = [])),
)]
pub(super) async fn reset_user(
    State(users): State<Users>,
    FullAdmin(admin): FullAdmin,
    draft: Draft,
    path: PathFields,
) -> Result<SecretJson<InvitedView>> {
    let user = named(&users, &path, &draft).await?;
    let (user, activation) = users.reset(user.id, admin.by()).await?;
    Ok(SecretJson(InvitedView::new(&user, Some(&activation))))
}

/// The user whom the path names. The administrator's event says who that was, also where the path does not.
pub async fn named(users: &Users, path: &PathFields, draft: &Draft) -> Result<User> {
    let user = users.find_named(&path.user()).await?.ok_or(Code::NotFound)?;
    draft.add("user", user.id.to_string());
    Ok(user)
}

fn flag(text: &str) -> Result<bool, String> {
    text.parse().map_err(|_| "must be true or false".into())
}

fn limit(text: &str) -> Result<i64, String> {
    let limit = text.parse().ok().filter(|limit| (1..=GREATEST_LIMIT).contains(limit));
    limit.ok_or_else(|| "must be a number from 1 to 1000".into())
}

fn place(text: &str) -> Result<Place, String> {
    text.parse().map_err(|()| "must be a place as a Link of this list names it".into())
}
