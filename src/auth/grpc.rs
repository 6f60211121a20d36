//! The Qb2 service Authentication (qb2-account-service.md 2.6 and section 5).

use tonic::{Request, Response, Status};

use super::Auth;
use crate::app::App;
use crate::error::{Error, Problem};
use crate::grpc::call::Call;
use crate::grpc::contract::blickfeld::secure::services::authentication_login_request::Credentials;
use crate::grpc::contract::blickfeld::secure::services::authentication_server::{Authentication, AuthenticationServer};
use crate::grpc::contract::blickfeld::secure::services::{AuthenticationLoginRequest, AuthenticationLoginResponse};
use crate::grpc::fields::{self, Fields};
use crate::users::Login;

/// Characters of a name. E-mails that are longer log in elsewhere.
const LONGEST_NAME: usize = 100;

/// Answers the calls.
pub struct Door(Auth);

/// The service.
pub fn service(app: &App) -> AuthenticationServer<Door> {
    AuthenticationServer::new(Door(app.auth.clone()))
}

#[tonic::async_trait]
impl Authentication for Door {
    async fn login(
        &self,
        request: Request<AuthenticationLoginRequest>,
    ) -> Result<Response<AuthenticationLoginResponse>, Status> {
        let Call { draft, origin, .. } = Call::of(&request)?;
        let token = match request.into_inner().credentials {
            Some(Credentials::User(user)) => {
                let mut fields = Fields::default();
                let login = fields.read("user.name", name(&user.name));
                let password = fields.read("user.password", fields::password(user.password));
                fields.finish()?;
                let (Some(login), Some(password)) = (login, password) else { return Err(nobody().into()) };
                self.0.log_in_to_qb2(&login, &password, &origin, &draft).await?
            }
            Some(Credentials::Application(application)) => {
                let secret = fields::only("application.key", fields::secret(&application.key))?;
                self.0.log_in_with_key(&secret, &origin, &draft).await?
            }
            None => return Err(nobody().into()),
        };
        Ok(Response::new(AuthenticationLoginResponse { token: token.expose().to_owned() }))
    }
}

fn nobody() -> Error {
    Error::invalid_fields(vec![Problem::new("credentials", "must be a user or an application key")])
}

fn name(text: &str) -> Result<Login, String> {
    match text.chars().count() {
        0 => Err("is required".into()),
        count if count > LONGEST_NAME => Err(format!("must have at most {LONGEST_NAME} characters")),
        // A NUL names nobody; Postgres would refuse it as text.
        _ if text.contains('\0') => Ok(Login::Nobody),
        _ => Ok(Login::parse(text)),
    }
}
