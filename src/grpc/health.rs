//! The standard health service: whether this server can answer calls right now.

use std::future::pending;
use std::pin::Pin;

use futures_util::{Stream, StreamExt, stream};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_server::{Health, HealthServer};
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};

use super::call::METHODS;
use crate::db::pulse::Pulse;

/// Says that it serves while the database is there and nobody has asked it to stop.
#[derive(Clone)]
pub struct Doctor {
    pulse: Option<Pulse>,
    stop: CancellationToken,
}

impl Doctor {
    /// For a server with a database. One without is starting, and serves nobody yet. Who watches is told no more after `stop`.
    pub fn service(pulse: Option<Pulse>, stop: CancellationToken) -> HealthServer<Self> {
        HealthServer::new(Self { pulse, stop })
    }

    fn look(&self) -> ServingStatus {
        let is_well = self.pulse.as_ref().is_some_and(Pulse::is_here) && !self.stop.is_cancelled();
        if is_well { ServingStatus::Serving } else { ServingStatus::NotServing }
    }

    /// Resolves when it may be something else than this.
    async fn turn(&self, told: Option<ServingStatus>) {
        let turn = async {
            match (&self.pulse, told) {
                (Some(pulse), Some(ServingStatus::Serving)) => pulse.away().await,
                (Some(pulse), Some(ServingStatus::NotServing)) => pulse.here().await,
                _ => pending().await,
            }
        };
        tokio::select! {
            () = turn => {}
            () = self.stop.cancelled() => {}
        }
    }
}

/// The empty name is the server.
fn is_known(service: &str) -> bool {
    service.is_empty()
        || METHODS.iter().any(|method| method.path.trim_start_matches('/').split('/').next() == Some(service))
}

fn response(status: ServingStatus) -> HealthCheckResponse {
    HealthCheckResponse { status: status.into() }
}

#[tonic::async_trait]
impl Health for Doctor {
    async fn check(&self, request: Request<HealthCheckRequest>) -> Result<Response<HealthCheckResponse>, Status> {
        if !is_known(&request.get_ref().service) {
            return Err(Status::not_found("There is no such service."));
        }
        Ok(Response::new(response(self.look())))
    }

    type WatchStream = Pin<Box<dyn Stream<Item = Result<HealthCheckResponse, Status>> + Send>>;

    /// Tells at once, and whenever it is something else; a server that stops tells so last.
    async fn watch(&self, request: Request<HealthCheckRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let (doctor, is_known) = (self.clone(), is_known(&request.get_ref().service));
        let news = stream::unfold(None, move |told| {
            let doctor = doctor.clone();
            async move {
                loop {
                    let status = if is_known { doctor.look() } else { ServingStatus::ServiceUnknown };
                    if told != Some(status) {
                        return Some((Ok(response(status)), Some(status)));
                    }
                    if doctor.stop.is_cancelled() {
                        return None;
                    }
                    doctor.turn(told).await;
                }
            }
        });
        Ok(Response::new(news.boxed()))
    }
}
