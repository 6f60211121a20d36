//! Somebody at the gRPC door.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use bloq_accounts::grpc::contract::blickfeld::base::access_control::Level;
use bloq_accounts::grpc::contract::blickfeld::secure::config::account::State;
use bloq_accounts::grpc::contract::blickfeld::secure::config::{Account, ApplicationKey};
use bloq_accounts::grpc::contract::blickfeld::secure::services::account_store_request::PasswordUpdate;
use bloq_accounts::grpc::contract::blickfeld::secure::services::authentication_login_request::{
    Application, Credentials, User,
};
use bloq_accounts::grpc::contract::blickfeld::secure::services::*;
use prost::Message;
use tonic::client::Grpc;
use tonic::metadata::MetadataValue;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};
use tonic_prost::ProstCodec;

use super::{Person, STRONG, TestApp};

pub type Said<T> = Result<T, Status>;

/// A connection, and perhaps a token.
#[derive(Clone, Debug)]
pub struct Qb2 {
    channel: Channel,
    pub token: Option<String>,
}

impl TestApp {
    /// Where the gRPC door is.
    pub fn qb2_address(&self) -> SocketAddr {
        self.addresses.grpc.expect("a gRPC door")
    }

    /// Somebody at the gRPC door who carries nothing.
    pub fn qb2(&self) -> Qb2 {
        let endpoint = Endpoint::from_shared(format!("http://{}", self.qb2_address())).expect("an address");
        let endpoint = endpoint.user_agent("qb2-tests/1.0").expect("a header");
        Qb2 { channel: endpoint.connect_lazy(), token: None }
    }

    /// An administrator at the gRPC door: the first one of the server.
    pub async fn qb2_admin(&self) -> Qb2 {
        self.named("root", bloq_accounts::users::AccessLevel::Admin).await;
        self.qb2().enter("root", STRONG).await
    }

    /// The same person at the gRPC door.
    pub async fn at_qb2(&self, person: &Person) -> Qb2 {
        self.qb2().enter(&person.id, &person.password).await
    }
}

impl Qb2 {
    /// The same connection with this token.
    pub fn with(&self, token: &str) -> Self {
        Self { token: Some(token.to_owned()), ..self.clone() }
    }

    /// The connection itself.
    pub fn channel(&self) -> Channel {
        self.channel.clone()
    }

    /// The same connection without a token.
    pub fn bare(&self) -> Self {
        Self { token: None, ..self.clone() }
    }

    /// Logs in with this password.
    pub async fn enter(&self, name: &str, password: &str) -> Self {
        self.with(&self.bare().login(name, password).await.expect("the password is right"))
    }

    /// Calls a method by its path below the package.
    pub async fn call<Q, A>(&self, method: &str, message: Q) -> Said<A>
    where
        Q: Message + Send + Sync + 'static,
        A: Message + Default + Send + Sync + 'static,
    {
        self.send(method, Request::new(message)).await.map(tonic::Response::into_inner)
    }

    /// The same with metadata and a deadline of the test's own.
    pub async fn send<Q, A>(&self, method: &str, mut request: Request<Q>) -> Said<tonic::Response<A>>
    where
        Q: Message + Send + Sync + 'static,
        A: Message + Default + Send + Sync + 'static,
    {
        if let Some(token) = &self.token {
            request.metadata_mut().insert("token", MetadataValue::try_from(token).expect("ASCII"));
        }
        let mut client = Grpc::new(self.channel.clone()).max_decoding_message_size(64 << 20);
        client.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
        let path = format!("/blickfeld.secure.services.{method}").parse().expect("a path");
        client.unary(request, path, ProstCodec::<Q, A>::default()).await
    }

    pub async fn login(&self, name: &str, password: &str) -> Said<String> {
        let user = User { name: name.to_owned(), password: password.to_owned() };
        self.login_by(Some(Credentials::User(user))).await
    }

    pub async fn login_with_key(&self, secret: &str) -> Said<String> {
        self.login_by(Some(Credentials::Application(Application { key: secret.to_owned() }))).await
    }

    pub async fn login_by(&self, credentials: Option<Credentials>) -> Said<String> {
        let answer: AuthenticationLoginResponse =
            self.call("Authentication/Login", AuthenticationLoginRequest { credentials }).await?;
        Ok(answer.token)
    }

    pub async fn nonce(&self) -> Said<String> {
        self.call("Session/GetNonce", ()).await.map(|answer: SessionGetNonceResponse| answer.nonce)
    }

    pub async fn invalidate(&self) -> Said<()> {
        self.call("Session/Invalidate", ()).await
    }

    pub async fn list(&self) -> Said<BTreeMap<String, Account>> {
        self.call("Account/List", ()).await.map(|answer: AccountListResponse| answer.account)
    }

    /// Makes an account with this name; answers its uuid and its activation password.
    pub async fn create(&self, name: &str) -> Said<(String, String)> {
        self.create_as(Account { name: name.to_owned(), ..Account::default() }).await
    }

    pub async fn create_as(&self, account: Account) -> Said<(String, String)> {
        let request = AccountCreateRequest { account: Some(account) };
        let answer: AccountCreateResponse = self.call("Account/Create", request).await?;
        Ok((answer.uuid, answer.activation_password))
    }

    pub async fn block(&self, uuid: &str) -> Said<()> {
        self.call("Account/Block", AccountBlockRequest { uuid: uuid.to_owned() }).await
    }

    pub async fn reset(&self, uuid: &str) -> Said<String> {
        let answer: AccountResetResponse =
            self.call("Account/Reset", AccountResetRequest { uuid: uuid.to_owned() }).await?;
        Ok(answer.activation_password)
    }

    pub async fn delete(&self, uuid: &str) -> Said<()> {
        self.call("Account/Delete", AccountDeleteRequest { uuid: uuid.to_owned() }).await
    }

    pub async fn get(&self, uuid: &str) -> Said<AccountGetResponse> {
        self.call("Account/Get", AccountGetRequest { uuid: uuid.to_owned() }).await
    }

    /// The account of this uuid, or the own one.
    pub async fn account(&self, uuid: &str) -> Account {
        self.get(uuid).await.expect("it may be seen").account.expect("an account")
    }

    pub async fn store(&self, request: AccountStoreRequest) -> Said<()> {
        self.call("Account/Store", request).await
    }

    /// Changes an account, as what it was but for this.
    pub async fn change(&self, uuid: &str, change: impl FnOnce(&mut Account)) -> Said<()> {
        let mut account = self.account(uuid).await;
        change(&mut account);
        self.store(AccountStoreRequest { uuid: uuid.to_owned(), account: Some(account), password_update: None }).await
    }

    /// Changes the own password.
    pub async fn update_password(&self, current: &str, new: &str) -> Said<()> {
        let password_update = Some(password(current, new));
        self.store(AccountStoreRequest { password_update, ..AccountStoreRequest::default() }).await
    }

    pub async fn keys(&self, uuid: &str) -> Said<BTreeMap<String, ApplicationKey>> {
        let request = ApplicationKeyListRequest { account_uuid: uuid.to_owned() };
        self.call("ApplicationKey/List", request).await.map(|answer: ApplicationKeyListResponse| answer.application_key)
    }

    /// Makes a key; answers its uuid and its secret.
    pub async fn create_key(&self, uuid: &str, key: ApplicationKey) -> Said<(String, String)> {
        let request = ApplicationKeyCreateRequest { account_uuid: uuid.to_owned(), application_key: Some(key) };
        let answer: ApplicationKeyCreateResponse = self.call("ApplicationKey/Create", request).await?;
        Ok((answer.uuid, answer.key))
    }

    pub async fn delete_key(&self, uuid: &str) -> Said<()> {
        self.call("ApplicationKey/Delete", ApplicationKeyDeleteRequest { uuid: uuid.to_owned() }).await
    }

    /// An account of this name that is active, with the tests' password; answers its uuid and whoever is logged in to it.
    pub async fn member(&self, name: &str) -> (String, Self) {
        self.member_as(Account { name: name.to_owned(), ..Account::default() }).await
    }

    pub async fn member_as(&self, account: Account) -> (String, Self) {
        let name = account.name.clone();
        let (uuid, activation) = self.create_as(account).await.expect("it is made");
        let newcomer = self.bare().enter(&name, &activation).await;
        newcomer.update_password(&activation, STRONG).await.expect("it is activated");
        (uuid, self.bare().enter(&name, STRONG).await)
    }
}

/// Fails the test unless this was refused with the status.
#[track_caller]
pub fn refused<T: std::fmt::Debug>(said: Said<T>, code: Code) -> Status {
    let status = said.expect_err("it is refused");
    assert_eq!(status.code(), code, "{status:?}");
    status
}

/// A change of password.
pub fn password(current: &str, new: &str) -> PasswordUpdate {
    PasswordUpdate { current: current.to_owned(), new: new.to_owned() }
}

/// The public code of a refusal.
pub fn code_of(status: &Status) -> &str {
    status.metadata().get("error-code").map_or("", |code| code.to_str().expect("ASCII"))
}

pub const AUTHORIZED: i32 = Level::Authorized as i32;
pub const ADMIN: i32 = Level::Admin as i32;
pub const WAITING: i32 = State::WaitingForActivation as i32;
pub const ACTIVE: i32 = State::Active as i32;
pub const BLOCKED: i32 = State::Blocked as i32;
