//! The Qb2 service Session (qb2-account-service.md 2.6 and section 5).

use tonic::{Request, Response, Status};

use super::DeviceSession;
use crate::app::App;
use crate::grpc::contract::blickfeld::secure::services::SessionGetNonceResponse;
use crate::grpc::contract::blickfeld::secure::services::session_server::{Session, SessionServer};

/// Answers the calls.
pub struct Door(DeviceSession);

/// The service.
pub fn service(app: &App) -> SessionServer<Door> {
    SessionServer::new(Door(app.device_session.clone()))
}

#[tonic::async_trait]
impl Session for Door {
    async fn get_nonce(&self, _: Request<()>) -> Result<Response<SessionGetNonceResponse>, Status> {
        let session = self.0.current().await?;
        Ok(Response::new(SessionGetNonceResponse { nonce: session.nonce }))
    }

    async fn invalidate(&self, _: Request<()>) -> Result<Response<()>, Status> {
        self.0.invalidate().await?;
        Ok(Response::new(()))
    }
}
