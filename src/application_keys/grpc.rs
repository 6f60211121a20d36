//! The Qb2 service ApplicationKey (qb2-account-service.md 2.5 and 4.9).

use std::collections::BTreeMap;

use tonic::{Request, Response, Status};

use super::{ApplicationKeys, NewApplicationKey};
use crate::app::App;
use crate::error::{Code, Result};
use crate::grpc::call::{Call, Whom};
use crate::grpc::contract::blickfeld::secure::config::ApplicationKey as WireKey;
use crate::grpc::contract::blickfeld::secure::services::application_key_server::{
    ApplicationKey, ApplicationKeyServer,
};
use crate::grpc::contract::blickfeld::secure::services::{
    ApplicationKeyCreateRequest, ApplicationKeyCreateResponse, ApplicationKeyDeleteRequest, ApplicationKeyListRequest,
    ApplicationKeyListResponse,
};
use crate::grpc::fields::{self, Fields};
use crate::tokens::Level;
use crate::users::{AccessLevel, ShortText, Users};

/// Answers the calls.
pub struct Door {
    keys: ApplicationKeys,
    users: Users,
}

/// The service.
pub fn service(app: &App) -> ApplicationKeyServer<Door> {
    ApplicationKeyServer::new(Door { keys: app.application_keys.clone(), users: app.users.clone() })
}

#[tonic::async_trait]
impl ApplicationKey for Door {
    async fn list(
        &self,
        request: Request<ApplicationKeyListRequest>,
    ) -> Result<Response<ApplicationKeyListResponse>, Status> {
        let call = Call::of(&request)?;
        let owner = call.account("account_uuid", &request.get_ref().account_uuid, Whom::ToSee)?;
        self.users.find(owner).await?.ok_or(Code::NotFound)?;
        let application_key: BTreeMap<String, WireKey> = self
            .keys
            .list(owner)
            .await?
            .into_iter()
            .map(|key| {
                let shown = WireKey {
                    purpose: key.purpose,
                    access_level: fields::level_number(key.level),
                    access_read_only: key.read_only,
                    access_http: key.http,
                };
                (key.id, shown)
            })
            .collect();
        Ok(Response::new(ApplicationKeyListResponse { application_key }))
    }

    async fn create(
        &self,
        request: Request<ApplicationKeyCreateRequest>,
    ) -> Result<Response<ApplicationKeyCreateResponse>, Status> {
        let call = Call::of(&request)?;
        let caller = call.member()?;
        let ApplicationKeyCreateRequest { account_uuid, application_key } = request.into_inner();
        let wanted = application_key.unwrap_or_default();
        let mut fields = Fields::default();
        let purpose = fields.read("application_key.purpose", ShortText::parse(&wanted.purpose));
        let level = fields.read("application_key.access_level", fields::level(wanted.access_level)).flatten();
        if level == Some(AccessLevel::Admin) && caller.level < Level::Admin {
            return Err(Code::Forbidden.into());
        }
        let owner = call.account("account_uuid", &account_uuid, Whom::ToChange)?;
        fields.finish()?;
        let new = NewApplicationKey {
            purpose: purpose.unwrap_or(ShortText(String::new())),
            level: level.unwrap_or(AccessLevel::Authorized),
            // Whoever may only read makes no key that may more.
            read_only: wanted.access_read_only || caller.read_only,
            http: wanted.access_http,
        };
        let made = self.keys.create(owner, &new, call.by()?, &call.origin).await?;
        let key = made.secret.expose().to_owned();
        Ok(Response::new(ApplicationKeyCreateResponse { key, uuid: made.key.id }))
    }

    async fn delete(&self, request: Request<ApplicationKeyDeleteRequest>) -> Result<Response<()>, Status> {
        let call = Call::of(&request)?;
        let caller = call.member()?;
        let id = fields::only("uuid", fields::key(&request.get_ref().uuid))?;
        let is_anybodys = caller.level >= Level::Admin && !caller.read_only;
        let owner = self.keys.delete((!is_anybodys).then_some(caller.user.id), id, call.by()?).await?;
        call.touched(owner);
        Ok(Response::new(()))
    }
}
