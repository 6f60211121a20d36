//! People and what they do: sign up, prove their mail, log in.

use bloq_accounts::error::Result;
use bloq_accounts::users::password::Password;
use bloq_accounts::users::{AccessLevel, By, EmailAddress, LoginName, NewName, NewUser, User, UserChange, UserId};
use serde_json::{Value, json};

use super::{Call, TestApp};

/// A password that passes the rule.
pub const STRONG: &str = "Analytical Engine 1843";

/// Another one.
pub const STRONGER: &str = "Difference Engine No 2";

/// Somebody with an account and a token.
#[derive(Clone, Debug)]
pub struct Person {
    pub id: String,
    pub email: String,
    pub password: String,
    pub token: String,
}

/// The body of a sign-up that is fine.
pub fn sign_up_body(email: &str) -> Value {
    json!({"email": email, "displayName": "Somebody", "password": STRONG})
}

impl TestApp {
    /// A stranger signs up; answers the id that was shown.
    pub async fn sign_up(&self, email: &str) -> String {
        let answer = self.post("/users").json(&sign_up_body(email)).await.expect(201);
        answer.json()["id"].as_str().expect("an id").to_owned()
    }

    /// Proves an e-mail with a token of a mail.
    pub fn verify(&self, user: &str, token: &str) -> Call {
        self.put(&format!("/users/{user}/token/{token}"))
    }

    /// Exchanges an activation password for a real one.
    pub fn activate(&self, user: &str, activation: &str, new: &str) -> Call {
        let body = json!({"activationPassword": activation, "newPassword": new});
        self.put(&format!("/users/{user}/activation")).json(&body)
    }

    /// Changes the password of whoever bears this token.
    pub fn change_password(&self, token: &str, old: &str, new: &str) -> Call {
        let body = json!({"oldPassword": old, "newPassword": new});
        self.put("/users/me/password").bearer(token).json(&body)
    }

    /// Looks at the profile of whoever bears this token.
    pub fn me(&self, token: &str) -> Call {
        self.get("/users/me").bearer(token)
    }

    /// Asks for a new password, as somebody who forgot the old one.
    pub fn forget_password(&self, email: &str) -> Call {
        self.post("/users/password-reset").json(&json!({"email": email}))
    }

    /// Sets a new password with a token of a mail.
    pub fn reset_password(&self, user: &str, token: &str, new: &str) -> Call {
        self.put(&format!("/users/{user}/password/{token}")).json(&json!({"newPassword": new}))
    }

    /// Asks for another e-mail.
    pub fn change_email(&self, token: &str, email: &str, password: &str) -> Call {
        self.put("/users/me/email").bearer(token).json(&json!({"email": email, "password": password}))
    }

    /// Confirms another e-mail with a token of a mail.
    pub fn confirm_email(&self, user: &str, token: &str) -> Call {
        self.put(&format!("/users/{user}/email/{token}"))
    }

    /// Changes the profile by a merge patch.
    pub fn change_profile(&self, token: &str, patch: &Value) -> Call {
        self.patch("/users/me").bearer(token).json(patch)
    }

    /// Deletes the account of whoever bears this token.
    pub fn leave(&self, token: &str, password: &str) -> Call {
        self.delete("/users/me").bearer(token).json(&json!({"password": password}))
    }

    /// The subject of the newest mail to this address; everything due is sent first.
    pub async fn newest_subject(&self, email: &str) -> String {
        self.deliver_mail().await;
        self.mailbox().to(email).pop().map(|letter| letter.subject).unwrap_or_default()
    }

    /// Asks for client tokens with client keys.
    pub fn grant_by_keys(&self, id: &str, secret: &str) -> Call {
        let body = json!({"grantType": "clientCredentials", "clientId": id, "clientSecret": secret});
        self.post("/auth/token").json(&body)
    }

    /// Asks for a client access token with a refresh token.
    pub fn grant_by_refresh(&self, refresh: &str) -> Call {
        self.post("/auth/token").json(&json!({"grantType": "refreshToken", "refreshToken": refresh}))
    }

    /// The newest verification token that was mailed to this address.
    pub async fn mailed_token(&self, email: &str) -> String {
        self.deliver_mail().await;
        self.mailbox().last_to(email).token()
    }

    /// Logs in; answers the account token.
    pub async fn log_in(&self, name: &str, password: &str) -> String {
        let answer = self.post("/auth").basic(name, password).await.expect(200);
        answer.json()["accessToken"].as_str().expect("a token").to_owned()
    }

    /// Somebody who signed up, proved the e-mail `<name>@example.com` and logged in.
    pub async fn person(&self, name: &str) -> Person {
        let email = format!("{name}@example.com");
        let id = self.sign_up(&email).await;
        let token = self.mailed_token(&email).await;
        self.put(&format!("/users/{id}/token/{token}")).await.expect(200);
        let token = self.log_in(&email, STRONG).await;
        Person { id, email, password: STRONG.into(), token }
    }

    /// A user with a login name, made by an operator with a real password.
    pub async fn named(&self, name: &str, level: AccessLevel) -> Person {
        let new = NewUser {
            name: NewName::Name(LoginName::parse(name).expect("a login name")),
            level,
            read_only: false,
            password: Some(Password::new(STRONG)),
        };
        let (user, _) = self.app.users.create(new, By::Operator).await.expect("the user is made");
        let token = self.log_in(name, STRONG).await;
        Person { id: user.id.to_string(), email: String::new(), password: STRONG.into(), token }
    }

    /// A user made by an operator without a password; answers the id and the activation password.
    pub async fn invited(&self, name: NewName) -> (String, String) {
        let new = NewUser { name, level: AccessLevel::Authorized, read_only: false, password: None };
        let (user, activation) = self.app.users.create(new, By::Operator).await.expect("the user is made");
        (user.id.to_string(), activation.expect("an activation password").expose().to_owned())
    }

    /// What the row says of a user.
    pub async fn user(&self, id: &str) -> User {
        self.app.users.find(id.parse().expect("a user id")).await.expect("it answers").expect("there is one")
    }

    /// An administrator changes a user.
    pub async fn change_user(&self, id: &str, change: UserChange) -> Result<User> {
        self.app.users.change(id.parse().expect("a user id"), &change, By::Operator).await
    }

    /// Client keys of this person: id and secret.
    pub async fn client_key(&self, person: &Person) -> (String, String) {
        let key = self.post("/users/me/client-keys").bearer(&person.token).await.expect(200).json();
        let text = |name: &str| key[name].as_str().expect("a text").to_owned();
        (text("clientId"), text("clientSecret"))
    }

    /// Access and refresh token for client keys.
    pub async fn grant(&self, (id, secret): &(String, String)) -> (String, String) {
        let body = json!({"grantType": "clientCredentials", "clientId": id, "clientSecret": secret});
        let tokens = self.post("/auth/token").json(&body).await.expect(200).json();
        let text = |name: &str| tokens[name].as_str().expect("a text").to_owned();
        (text("accessToken"), text("refreshToken"))
    }

    /// The events that a person sees, oldest first.
    pub async fn events_of(&self, person: &Person) -> Vec<Value> {
        let answer = self.get("/users/me/events?limit=1000").bearer(&person.token).await.expect(200);
        answer.json().as_array().expect("a bare array").clone()
    }

    /// Blocks a user as an administrator does.
    pub async fn block(&self, id: &str, cause: &str) {
        let id: UserId = id.parse().expect("a user id");
        sqlx::query("update users set blocked_at = created_at, block_cause = $2 where id = $1")
            .bind(id.0)
            .bind(cause)
            .execute(&self.pool())
            .await
            .expect("the user is blocked");
    }
}

/// Reads an e-mail for [`NewName::Email`].
pub fn email(text: &str) -> EmailAddress {
    EmailAddress::parse(text).expect("an e-mail")
}
