//! Named actions and how often one client address may do them. Knows no HTTP: every door asks the same quotas.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Context;
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::StateStore;
use governor::state::keyed::ShrinkableKeyedStateStore;
use governor::{Quota, RateLimiter};

use super::ledger::{Key, Ledger};
use super::{Network, too_many};
use crate::clock::Clock;
use crate::config;
use crate::error::Result;
use crate::metrics::Metrics;

/// What strangers may do so many times a minute from one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Whatever hashes a password for a stranger: log-in, activation, reset.
    LogIn,
    /// Making an account.
    SignUp,
    /// Whatever mails somebody on a stranger's word.
    Mail,
    /// Client tokens.
    TokenGrant,
    /// Whatever computes at length for somebody with a live token: the hash of a password, a public key.
    Confirmation,
    /// Redeeming a token of a mail, for whoever is named.
    Redemption,
    /// Asking what a wallet is to sign.
    Nonce,
    /// Asking for a published key.
    Lookup,
}

impl Action {
    fn label(self) -> &'static str {
        match self {
            Self::LogIn => "log_in",
            Self::SignUp => "sign_up",
            Self::Mail => "mail",
            Self::TokenGrant => "token_grant",
            Self::Confirmation => "confirmation",
            Self::Redemption => "redemption",
            Self::Nonce => "nonce",
            Self::Lookup => "lookup",
        }
    }
}

/// How often one client address may do each [`Action`]; cheap to clone.
///
/// A full allowance may be spent at once and comes back evenly: of 300 a minute one every 200 ms.
#[derive(Clone)]
pub struct Quotas(Option<Arc<Limits>>);

struct Limits {
    clock: Clock,
    log_ins: Limiter,
    sign_ups: Limiter,
    mails: Limiter,
    token_grants: Limiter,
    confirmations: Limiter,
    redemptions: Limiter,
    nonces: Limiter,
    lookups: Limiter,
    metrics: Metrics,
}

type Limiter = RateLimiter<Network, Counters, Ticks, NoOpMiddleware<Duration>>;

impl Quotas {
    /// The quotas of the section `[rate_limit]`; none at all when that is switched off.
    ///
    /// # Errors
    /// When an allowance is 0.
    pub fn new(config: &config::RateLimit, clock: &Clock, metrics: Metrics) -> anyhow::Result<Self> {
        if !config.enabled {
            return Ok(Self(None));
        }
        let a_minute = |times: u32| -> anyhow::Result<Limiter> {
            let quota = Quota::per_minute(times.try_into().context("an allowance of 0 in [rate_limit]")?);
            Ok(RateLimiter::new(quota, Counters::default(), Ticks(clock.clone())))
        };
        Ok(Self(Some(Arc::new(Limits {
            clock: clock.clone(),
            log_ins: a_minute(config.log_ins)?,
            sign_ups: a_minute(config.sign_ups)?,
            mails: a_minute(config.mails)?,
            token_grants: a_minute(config.token_grants)?,
            confirmations: a_minute(config.confirmations)?,
            redemptions: a_minute(config.redemptions)?,
            nonces: a_minute(config.nonces)?,
            lookups: a_minute(config.lookups)?,
            metrics,
        }))))
    }

    /// Counts one more time.
    ///
    /// # Errors
    /// `TooManyRequests` when the allowance is used up; then this time does not count.
    pub fn ask(&self, action: Action, client: Network) -> Result<()> {
        let Some(limits) = &self.0 else { return Ok(()) };
        let limiter = match action {
            Action::LogIn => &limits.log_ins,
            Action::SignUp => &limits.sign_ups,
            Action::Mail => &limits.mails,
            Action::TokenGrant => &limits.token_grants,
            Action::Confirmation => &limits.confirmations,
            Action::Redemption => &limits.redemptions,
            Action::Nonce => &limits.nonces,
            Action::Lookup => &limits.lookups,
        };
        limiter.check_key(&client).map_err(|until| {
            limits.metrics.limited(action.label());
            too_many(until.wait_time_from(limits.clock.elapsed()))
        })
    }

    /// Forgets addresses that have their whole allowance again.
    pub fn sweep(&self) {
        let limiters = |limits: &Limits| {
            let Limits { log_ins, sign_ups, mails, token_grants, confirmations, redemptions, nonces, lookups, .. } =
                limits;
            for limiter in [log_ins, sign_ups, mails, token_grants, confirmations, redemptions, nonces, lookups] {
                limiter.retain_recent();
            }
        };
        self.0.as_deref().into_iter().for_each(limiters);
    }
}

impl Key for Network {
    fn neighbourhood(&self) -> impl std::hash::Hash {
        Network::neighbourhood(*self)
    }
}

/// Our clock as the library reads one, which counts nanoseconds in 64 bits: it stands still at the end of those.
struct Ticks(Clock);

/// 292 years.
const END_OF_TICKS: Duration = Duration::from_nanos(i64::MAX as u64);

impl governor::clock::Clock for Ticks {
    type Instant = Duration;

    fn now(&self) -> Duration {
        self.0.elapsed().min(END_OF_TICKS)
    }
}

/// The library's state of each address, in a ledger that is bounded where the library's own would grow.
#[derive(Default)]
struct Counters(Mutex<Ledger<Network, Option<Nanos>>>);

impl Counters {
    fn ledger(&self) -> MutexGuard<'_, Ledger<Network, Option<Nanos>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl StateStore for Counters {
    type Key = Network;

    fn measure_and_replace<T, F, E>(&self, key: &Network, measure: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        let mut ledger = self.ledger();
        let state = ledger.entry(key);
        let (outcome, next) = measure(*state)?;
        *state = Some(next);
        Ok(outcome)
    }
}

impl ShrinkableKeyedStateStore<Network> for Counters {
    fn retain_recent(&self, drop_below: Nanos) {
        self.ledger().sweep(|state| state.is_none_or(|free_at| free_at <= drop_below));
    }

    fn len(&self) -> usize {
        self.ledger().len()
    }

    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

    use chrono::{DateTime, TimeDelta};

    use super::*;
    use crate::ratelimit::defaults;
    use crate::ratelimit::ledger::MOST_KEYS;

    fn clock() -> Clock {
        Clock::frozen(DateTime::from_timestamp_millis(1_700_000_000_000).expect("in range"))
    }

    fn quotas(clock: &Clock) -> Quotas {
        let config = config::RateLimit { log_ins: 3, ..defaults() };
        Quotas::new(&config, clock, Metrics::default()).expect("no allowance is 0")
    }

    fn places(quotas: &Quotas) -> usize {
        quotas.0.as_ref().expect("they are on").log_ins.len()
    }

    /// The `number`th of many networks of one provider.
    fn many(number: u32) -> Network {
        let [a, b, c, d] = number.to_be_bytes();
        Network::of(IpAddr::V6(Ipv6Addr::from([0x20, 1, 0xd, 0xb8, a, b, c, d, 0, 0, 0, 0, 0, 0, 0, 1])))
    }

    fn one(a: u8, b: u8) -> Network {
        Network::of(IpAddr::V4(Ipv4Addr::new(a, b, 0, 1)))
    }

    #[test]
    fn two_hundred_thousand_addresses_neither_fill_the_memory_nor_switch_the_limit_off_nor_shut_others_out() {
        let clock = clock();
        let quotas = quotas(&clock);
        let ask = |client| quotas.ask(Action::LogIn, client).is_ok();
        let early = one(192, 168);
        assert!(ask(early) && ask(early));

        let admitted = (0..200_000).filter(|number| ask(many(*number))).count();
        assert_eq!(places(&quotas), MOST_KEYS);
        assert_eq!(admitted, MOST_KEYS - 1 + 3, "those without a place share the allowance of one");
        assert!(!ask(many(199_999)) && !ask(many(300_000)));

        assert!(ask(early) && !ask(early), "who was there before keeps the own count");
        // One of 4096 places is spent, so of 200 strangers from elsewhere all but a handful find theirs free.
        let elsewhere = (0..200).filter(|number| ask(one(10, *number))).count();
        assert!(elsewhere >= 190, "{elsewhere}");
        let newcomer = (0..200).map(|number| one(11, number)).find(|newcomer| ask(*newcomer)).expect("most of them");
        let further = (0..10).filter(|_| ask(newcomer)).count();
        assert!(further <= 2, "a shared place has the allowance of one: {further}");
    }

    #[test]
    fn a_sweep_forgets_those_who_have_their_whole_allowance_again() {
        let clock = clock();
        let quotas = quotas(&clock);
        for number in 0..1000 {
            quotas.ask(Action::LogIn, many(number)).expect("the first time");
        }
        quotas.sweep();
        assert_eq!(places(&quotas), 1000, "they are remembered for a while");
        clock.advance(TimeDelta::minutes(1));
        quotas.sweep();
        assert_eq!(places(&quotas), 0);
    }

    #[test]
    fn an_allowance_may_be_spent_at_once_and_comes_back_evenly() {
        let clock = clock();
        let quotas = quotas(&clock);
        let ask = || quotas.ask(Action::LogIn, one(192, 168)).is_ok();
        assert!(ask() && ask() && ask() && !ask());
        clock.advance(TimeDelta::milliseconds(19_999));
        assert!(!ask());
        clock.advance(TimeDelta::milliseconds(1));
        assert!(ask() && !ask());
        assert!(quotas.ask(Action::SignUp, one(192, 168)).is_ok(), "each action has its own");
    }
}
