//! Makes every service once and holds them together. No route, no rule.

use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::FromRef;

use crate::application_keys::ApplicationKeys;
use crate::auth::Auth;
use crate::client_keys::ClientKeys;
use crate::clock::Clock;
use crate::config::Config;
use crate::db::pulse::{Heart, Pulse};
use crate::db::{self, Pool};
use crate::device_session::DeviceSession;
use crate::ethereum::Ethereum;
use crate::events::{Disk, Eraser, Events, Feed, Live, Partitions, Patience, Pruner, Writer};
use crate::export::Export;
use crate::http::Host;
use crate::http::browsers::Browsers;
use crate::http::client_ip::TrustedProxies;
use crate::last_use::LastUses;
use crate::log_ins::LogIns;
use crate::mail::{self, Courier, Mail, Stationery, Transport};
use crate::metrics::Metrics;
use crate::random::Random;
use crate::ratelimit::{Quotas, Throttle};
use crate::signing_keys::{self, SigningKeys};
use crate::sweeper::Sweeper;
use crate::tokens::Tokens;
use crate::user_keys::UserKeys;
use crate::users::Users;
use crate::users::password::{self, Hasher};
use crate::verification::Verification;
use crate::worker::Worker;

/// Every service, once; cheap to clone, which layers do for every request. A handler takes the one it needs: `State<Users>`.
#[derive(Clone)]
pub struct App(Arc<Services>);

impl Deref for App {
    type Target = Services;

    fn deref(&self) -> &Services {
        &self.0
    }
}

macro_rules! hand_out {
    ($($field:ident: $service:ty,)*) => {
        $(impl FromRef<App> for $service {
            fn from_ref(app: &App) -> Self {
                app.$field.clone()
            }
        })*
    };
}

hand_out! {
    auth: Auth,
    ethereum: Ethereum,
    users: Users,
    application_keys: ApplicationKeys,
    client_keys: ClientKeys,
    user_keys: UserKeys,
    tokens: Tokens,
    device_session: DeviceSession,
    verification: Verification,
    signing_keys: SigningKeys,
    events: Events,
    feed: Feed,
    live: Live,
    export: Export,
    pool: Pool,
    pulse: Pulse,
}

/// What an [`App`] is made of.
pub struct Services {
    /// The disk of the private Postgres, if there is one.
    pub disk: Option<Disk>,
    /// Who are you?
    pub auth: Auth,
    /// Who signs in with a wallet?
    pub ethereum: Ethereum,
    /// The users.
    pub users: Users,
    /// The application keys.
    pub application_keys: ApplicationKeys,
    /// The client keys.
    pub client_keys: ClientKeys,
    /// The public keys of users.
    pub user_keys: UserKeys,
    /// The tokens.
    pub tokens: Tokens,
    /// The session of Qb2 tokens.
    pub device_session: DeviceSession,
    /// One-time tokens.
    pub verification: Verification,
    /// The outbox.
    pub mail: Mail,
    /// The key ring.
    pub signing_keys: SigningKeys,
    /// The events.
    pub events: Events,
    /// The events, for readers.
    pub feed: Feed,
    /// The events, for those who follow them.
    pub live: Live,
    /// All that is held about a user.
    pub export: Export,
    /// How often a client address may ask.
    pub quotas: Quotas,
    /// The database.
    pub pool: Pool,
    /// Whether the database is there.
    pub pulse: Pulse,
    /// How busy it is, for the metrics.
    pub hasher: Hasher,
    /// What is counted.
    pub metrics: Metrics,
    /// Networks whose word about a client's address counts.
    pub trusted_proxies: TrustedProxies,
    /// What answers have of this server.
    pub host: Arc<Host>,
    /// Longest time a request may take.
    pub request_timeout: Duration,
}

/// What runs beside the requests. Nothing of it runs yet.
pub struct Workers {
    /// Knows whether the database is there.
    pub heart: Heart,
    /// Without it no request is answered.
    pub writer: Writer,
    /// Sends mails.
    pub courier: Courier,
    /// Makes partitions ahead of time.
    pub partitions: Partitions,
    /// Drops what is over.
    pub sweeper: Sweeper,
    /// Takes deleted users out of events.
    pub eraser: Eraser,
    /// Drops old events.
    pub pruner: Pruner,
    /// Writes when things were last used.
    pub last_uses: LastUses,
}

/// What the rooms have to say about their sections of the configuration, before anything is started.
///
/// # Errors
/// One that names the key and what is allowed.
pub fn check(config: &Config) -> anyhow::Result<()> {
    mail::check(&config.mail)?;
    password::check(&config.password)
}

impl App {
    /// Connects, migrates, opens or makes the keys, and makes every service.
    pub async fn build(
        config: &Config,
        database_url: &str,
        clock: Clock,
        random: Random,
    ) -> anyhow::Result<(Self, Workers)> {
        // The writer and the pulse have connections of their own: a crowd of requests must keep neither from its work.
        let most = config.database.max_connections;
        let statements = ((most - 1) / 2).min(3);
        let pool = db::connect(database_url, most - statements - 1).await?;
        let (pulse, heart) = Heart::new(pool.clone()).await?;

        let partitions = Partitions::new(pool.clone(), clock.clone());
        let keys = db::alone(&pool, async |connection| {
            db::migrate(connection).await?;
            Live::settle(connection).await?;
            signing_keys::establish(connection, config, &random, clock.now()).await
        })
        .await?;
        partitions.step().await?;

        let metrics = Metrics::default();
        let (signing_keys, master_key) = (keys.signing_keys, keys.master_key);
        let verification = Verification::new(pool.clone(), clock.clone(), random.clone());
        let mail = Mail::new(pool.clone(), master_key.clone(), clock.clone(), random.clone());
        let device_session = DeviceSession::new(pool.clone(), clock.clone(), random.clone());
        let tokens = Tokens::new(
            pool.clone(),
            signing_keys.clone(),
            device_session.clone(),
            clock.clone(),
            random.clone(),
            config.tokens.clone(),
        );
        let (events, writer) = Events::new(
            pool.clone(),
            statements as usize,
            pulse.clone(),
            &config.events,
            clock.clone(),
            random.clone(),
            metrics.clone(),
        );
        let throttle = Throttle::new(&config.rate_limit, clock.clone(), metrics.clone());
        let log_ins = LogIns::new(pool.clone(), clock.clone());
        let hasher = Hasher::new(&config.password, random.clone(), metrics.clone())?;
        let users = Users::new(
            pool.clone(),
            hasher.clone(),
            &config.password,
            verification.clone(),
            mail.clone(),
            tokens.clone(),
            events.clone(),
            log_ins.clone(),
            throttle.clone(),
            clock.clone(),
            random.clone(),
        );
        let application_keys =
            ApplicationKeys::new(pool.clone(), users.clone(), mail.clone(), clock.clone(), random.clone());
        let client_keys =
            ClientKeys::new(pool.clone(), users.clone(), mail.clone(), master_key, clock.clone(), random.clone());

        let user_keys = UserKeys::new(
            pool.clone(),
            users.clone(),
            mail.clone(),
            clock.clone(),
            random.clone(),
            &config.server.public_url,
        );
        let ethereum = Ethereum::new(
            pool.clone(),
            users.clone(),
            tokens.clone(),
            mail.clone(),
            throttle.clone(),
            clock.clone(),
            random.clone(),
            config.wallet.clone(),
        );

        let request_timeout = Duration::from_secs(config.server.request_timeout_seconds);
        let patience = Patience::new(pulse.clone(), request_timeout);
        let feed = Feed::new(events.clone(), patience.clone());
        let export = Export {
            users: users.clone(),
            application_keys: application_keys.clone(),
            client_keys: client_keys.clone(),
            user_keys: user_keys.clone(),
            ethereum: ethereum.clone(),
            verification: verification.clone(),
            log_ins: log_ins.clone(),
            mail: mail.clone(),
            tokens: tokens.clone(),
            feed: feed.clone(),
        };
        let auth = Auth::new(
            pool.clone(),
            users.clone(),
            application_keys.clone(),
            client_keys.clone(),
            tokens.clone(),
            device_session.clone(),
            clock.clone(),
        );
        let app = Self(Arc::new(Services {
            disk: Disk::of(config),
            auth,
            ethereum,
            users,
            application_keys,
            client_keys,
            user_keys,
            tokens,
            device_session,
            verification,
            mail,
            signing_keys,
            export,
            live: Live::new(events.clone(), patience),
            feed,
            events,
            quotas: Quotas::new(&config.rate_limit, &clock, metrics.clone())?,
            pool,
            pulse,
            hasher,
            metrics,
            trusted_proxies: TrustedProxies::new(&config.server.trusted_proxies),
            host: Arc::new(Host { random, browsers: Browsers::new(config) }),
            request_timeout,
        }));
        let courier = Courier::new(
            app.pool.clone(),
            app.pulse.clone(),
            app.mail.clone(),
            Stationery::new(&config.server.public_url)?,
            Transport::new(&config.mail, &config.data_dir, app.host.random.clone())?,
            clock,
            app.metrics.clone(),
        );
        let sweeper = Sweeper {
            users: app.users.clone(),
            client_keys: app.client_keys.clone(),
            ethereum: app.ethereum.clone(),
            tokens: app.tokens.clone(),
            verification: app.verification.clone(),
            mail: app.mail.clone(),
            log_ins,
            quotas: app.quotas.clone(),
            throttle,
        };
        let last_uses = LastUses { tokens: app.tokens.clone(), client_keys: app.client_keys.clone() };
        let (eraser, pruner) = (Eraser(app.events.clone()), app.events.pruner());
        let workers = Workers { heart, writer, courier, partitions, sweeper, eraser, pruner, last_uses };
        Ok((app, workers))
    }
}
